// From accumulators to d: a tile's sums go through shared memory, so that neighbouring lanes store neighbouring columns of d
// whichever operand stands on the rows, and the loops that add parts and c and round stay rolled. Where CTAs share a tile along k
// they are a cluster, and each stores a part of the tile: of a small tile the others send it their sums, which are all that it waits for
// then; of a large one each stages its sums in its own shared memory and reads everybody's.
//
// Order of arithmetic: the groups of warps of a split in rising order; these sums of the splits in rising order; then c, then one
// rounding to d's type.
#pragma once

#include "deepwell/gemm.h"
#include "deepwell/ptx/cluster.cuh"
#include "deepwell/ptx/convert.cuh"
#include "deepwell/ptx/mbarrier.cuh"
#include "deepwell/ptx/memory.cuh"
#include "deepwell/ptx/sync.cuh"
#include "deepwell/ptx/warp.cuh"

namespace deepwell {

/// `Accumulators` are a warp's MMA tiles: [x tiles][y tiles][4]. Every math thread calls each function.
template <GemmPlan P>
struct Epilogue {
  static constexpr int kThreads = 32 * math_warps(P);
  static constexpr int kRows = tile_m(P);  // of d
  static constexpr int kCols = tile_n(P);
  static constexpr int kPitch = epilogue_pitch(P);  // floats
  static constexpr int kQuads = kRows * kCols / 4;  // four neighbouring columns each
  static constexpr bool kBf16 = P.d == Dtype::kBf16;
  static_assert(kCols % 4 == 0);

  /// Where a tile's sums go: first row and column of d, and what is left of d from there.
  struct Place {
    int m, n;
    int rows_left, cols_left;
    int batch;
    SmemAddr owners;  // of the tile's rows, and which of them are stored (kContiguous)
    uint32 group;
  };

  /// Writes the warp's sums to the tile in shared memory; `row` and `col` count rows of x and of y in the tile.
  template <int kXTiles, int kYTiles>
  __device__ static void stage(float const (&acc)[kXTiles][kYTiles][4], SmemAddr tile, int row, int col,
                               int lane) {
    int const g = lane / 4;
    int const t = lane % 4;
#pragma unroll
    for (int i = 0; i < kXTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kYTiles; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          int const x = row + 16 * i + g + 8 * half;
          int const y = col + 8 * j + 2 * t;
          float const first = acc[i][j][2 * half];
          float const second = acc[i][j][2 * half + 1];
          if constexpr (P.swap) {
            store_shared_f32(tile + 4 * (y * kPitch + x), first);
            store_shared_f32(tile + 4 * ((y + 1) * kPitch + x), second);
          } else {
            store_shared_f32x2(tile + 4 * (x * kPitch + y), first, second);
          }
        }
      }
    }
  }

  __device__ static SmemAddr quad_at(SmemAddr tile, int quad) {
    return tile + 4 * (quad / (kCols / 4) * kPitch + quad % (kCols / 4) * 4);
  }

  // ---- sums that are sent ----

  static constexpr bool kSends = sends_sums(P);
  static_assert(!kSends || (kQuads & (kQuads - 1)) == 0);

  /// Quads of rows that count, of a tile with `rows_left` rows; each split adds 2^log2 neighbouring ones, the last ones fewer or none.
  __device__ static int quads_of(int rows_left) {
    return (rows_left < kRows ? rows_left : kRows) * (kCols / 4);
  }
  __device__ static int part_log2(int quads, int splits) {
    int const quads_up = quads > 1 ? 1 + highest_bit(quads - 1) : 0;
    int const log2 = quads_up - highest_bit(splits);
    return log2 > 0 ? log2 : 0;
  }

  /// The barrier that counts what this CTA, split `split`, is sent; by one thread, before the cluster's threads arrive.
  __device__ static void expect_sums(SmemAddr all_sent, int rows_left, int split, int splits) {
    int const quads = quads_of(rows_left);
    int const part = 1 << part_log2(quads, splits);
    int const left = quads - split * part;
    int const mine = left < 0 ? 0 : left < part ? left : part;
    mbarrier_init(all_sent, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect_tx_cluster(all_sent, 16 * splits * mine);
  }

  /// Sends this split's sums, which are staged in `tile`, to the CTAs that add them, into `sent`.
  __device__ static void send(SmemAddr tile, SmemAddr sent, SmemAddr all_sent, int rows_left, int split,
                              int splits) {
    int const quads = quads_of(rows_left);
    int const log2 = part_log2(quads, splits);
#pragma unroll 1
    for (int quad = threadIdx.x; quad < quads; quad += kThreads) {
      float sum[4];
      sum_groups(sum, tile, quad);
      int const owner = quad >> log2;
      int const slot = (split << log2) + quad - (owner << log2);
      store_async_f32x4(cluster_addr(sent + 16 * slot, owner), sum, cluster_addr(all_sent, owner));
    }
  }

  /// d = what was sent to this CTA, + c.
  __device__ static void store_sent(GemmArgs const& args, Place const& place, SmemAddr sent,
                                    SmemAddr all_sent, int split) {
    int const quads = quads_of(place.rows_left);
    int const log2 = part_log2(quads, args.splits);
    int const first = split << log2;
    int const end = first + (1 << log2) < quads ? first + (1 << log2) : quads;
#pragma unroll 1
    for (int quad = first + threadIdx.x; quad < end; quad += kThreads) {
      mbarrier_wait_cluster(all_sent, 0);  // in the loop: threads without a quad have nothing to wait for
      float sum[4];
      load_shared_f32x4(sum, sent + 16 * (quad - first));
      for (int from = 1; from < args.splits; ++from) {
        float part[4];
        load_shared_f32x4(part, sent + 16 * ((from << log2) + quad - first));
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[e] += part[e];
      }
      finish_quad(args, place, quad, sum);
    }
  }

  // ---- sums that are fetched ----

  /// Adds up what every group of warps of every split staged for four neighbouring columns.
  __device__ static void sum_parts(float (&sum)[4], SmemAddr tile, int quad, int splits) {
    constexpr int kPartsAtOnce = 8;  // in flight together
    int const parts = splits * P.warps_k;
#pragma unroll 1
    for (int first = 0; first < parts; first += kPartsAtOnce) {
      float part[kPartsAtOnce][4];
      static_assert(kPartsAtOnce % P.warps_k == 0);
#pragma unroll
      for (int i = 0; i < kPartsAtOnce; ++i) {
        int const split = (first + i) / P.warps_k;
        SmemAddr const staged = quad_at(tile + (first + i) % P.warps_k * staged_bytes(P), quad);
        if (first + i < parts) load_cluster_f32x4(part[i], cluster_addr(staged, split));
      }
#pragma unroll
      for (int i = 0; i < kPartsAtOnce; i += P.warps_k) {
        if (first + i >= parts) continue;
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float of_split = part[i][e];
#pragma unroll
          for (int group = 1; group < P.warps_k; ++group) of_split += part[i + group][e];
          sum[e] = first + i == 0 ? of_split : sum[e] + of_split;
        }
      }
    }
  }

  /// The same where the tile is this CTA's alone.
  __device__ static void sum_groups(float (&sum)[4], SmemAddr tile, int quad) {
    load_shared_f32x4(sum, quad_at(tile, quad));
#pragma unroll
    for (int group = 1; group < P.warps_k; ++group) {
      float part[4];
      load_shared_f32x4(part, quad_at(tile + group * staged_bytes(P), quad));
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[e] += part[e];
    }
  }

  __device__ static float load_element(void const* base, int64 at) {
    if constexpr (kBf16) {
      return bf16_to_f32(static_cast<uint16 const*>(base)[at]);
    } else {
      return static_cast<float const*>(base)[at];
    }
  }

  __device__ static void store_element(void* base, int64 at, float value) {
    if constexpr (kBf16) {
      static_cast<uint16*>(base)[at] = cvt_bf16(value);
    } else {
      static_cast<float*>(base)[at] = value;
    }
  }

  // Four neighbouring columns at a multiple of four elements.
  __device__ static void load_quad(float (&value)[4], void const* base, int64 at) {
    if constexpr (kBf16) {
      uint2 const words = *reinterpret_cast<uint2 const*>(static_cast<uint16 const*>(base) + at);
      value[0] = bits_to_f32(words.x << 16);
      value[1] = bits_to_f32(words.x & 0xffff0000u);
      value[2] = bits_to_f32(words.y << 16);
      value[3] = bits_to_f32(words.y & 0xffff0000u);
    } else {
      load_global_f32x4(value, static_cast<float const*>(base) + at);
    }
  }
  __device__ static void store_quad(void* base, int64 at, float const (&value)[4]) {
    if constexpr (kBf16) {
      *reinterpret_cast<uint2*>(static_cast<uint16*>(base) + at) =
          uint2{cvt_bf16x2(value[0], value[1]), cvt_bf16x2(value[2], value[3])};
    } else {
      store_global_f32x4(static_cast<float*>(base) + at, value);
    }
  }

  /// d = the sums of the tile, or of split `split`'s part of it, + c.
  __device__ static void store(GemmArgs const& args, Place const& place, SmemAddr tile, int split) {
    int const quads = args.splits == 1 ? kQuads : (kQuads + args.splits - 1) / args.splits;
    int const end = (split + 1) * quads < kQuads ? (split + 1) * quads : kQuads;
#pragma unroll 1
    for (int quad = split * quads + threadIdx.x; quad < end; quad += kThreads) {
      int const row = quad / (kCols / 4);
      int const col = quad % (kCols / 4) * 4;
      if (row >= place.rows_left || col >= place.cols_left) continue;
      if constexpr (P.grouping == Grouping::kContiguous) {
        if (load_shared_u32(place.owners + 4 * row) != place.group) continue;
      }
      float sum[4];
      if (!kSends && args.splits > 1) {
        sum_parts(sum, tile, quad, args.splits);
      } else {
        sum_groups(sum, tile, quad);
      }
      finish_quad(args, place, quad, sum);
    }
  }

  /// Adds c to the sums of four neighbouring columns of the tile, rounds and stores them, as far as they are inside d.
  __device__ static void finish_quad(GemmArgs const& args, Place const& place, int quad, float (&sum)[4]) {
    int const row = quad / (kCols / 4);
    int const col = quad % (kCols / 4) * 4;
    if (col >= place.cols_left) return;
    bool const as_quad = args.quad_access && col + 4 <= place.cols_left;
    int64 const d_at = place.batch * args.d_batch_stride + (place.m + row) * args.d_pitch + place.n + col;
    if (args.c != nullptr) {
      int64 const c_at = place.batch * args.c_batch_stride + (place.m + row) * args.c_pitch + place.n + col;
      float c[4] = {};
      if (as_quad) {
        load_quad(c, args.c, c_at);
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (col + e < place.cols_left) c[e] = load_element(args.c, c_at + e);
        }
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[e] += c[e];
    }
    if (as_quad) {
      store_quad(args.d, d_at, sum);
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (col + e < place.cols_left) store_element(args.d, d_at + e, sum[e]);
      }
    }
  }
};

}  // namespace deepwell

// From accumulators to d: a tile's sums go through shared memory, so that neighbouring lanes store neighbouring columns of d
// whichever operand stands on the rows, and the loops that add parts and c and round stay rolled. Where CTAs share a tile along k
// they are a cluster: each stages its sums in its own shared memory, reads everybody's of a part of the tile, and stores that.
//
// Order of arithmetic: splits of k in rising order, within a split the groups of warps in rising order; then c, then one rounding to
// d's type.
#pragma once

#include "deepwell/gemm.h"
#include "deepwell/ptx/cluster.cuh"
#include "deepwell/ptx/convert.cuh"
#include "deepwell/ptx/memory.cuh"
#include "deepwell/ptx/sync.cuh"

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

  /// Adds up what every group of warps of every split staged for four neighbouring columns.
  __device__ static void sum_parts(float (&sum)[4], SmemAddr tile, int quad, int splits) {
    constexpr int kPartsAtOnce = 8;  // in flight together
    int const parts = splits * P.warps_k;
#pragma unroll 1
    for (int first = 0; first < parts; first += kPartsAtOnce) {
      float part[kPartsAtOnce][4];
#pragma unroll
      for (int i = 0; i < kPartsAtOnce; ++i) {
        int const split = (first + i) / P.warps_k;
        SmemAddr const staged = quad_at(tile + (first + i) % P.warps_k * staged_bytes(P), quad);
        if (first + i < parts) load_cluster_f32x4(part[i], cluster_addr(staged, split));
      }
#pragma unroll
      for (int i = 0; i < kPartsAtOnce; ++i) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (first + i < parts) sum[e] = first + i == 0 ? part[i][e] : sum[e] + part[i][e];
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
      bool const as_quad = args.quad_access && col + 4 <= place.cols_left;
      float sum[4];
      if (args.splits > 1) {
        sum_parts(sum, tile, quad, args.splits);
      } else {
        sum_groups(sum, tile, quad);
      }
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
  }
};

}  // namespace deepwell

// From accumulators to d: a tile's sums go through shared memory, so that neighbouring lanes store neighbouring columns of d
// whichever operand stands on the rows, and the loops that add splits and c and round stay rolled.
//
// Order of arithmetic: splits of k in rising order, then c, then one rounding to d's type.
#pragma once

#include "deepwell/gemm.h"
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
  // Splits whose sums are in flight together: one after the other, each would wait for memory.
  static constexpr int kSplitsAtOnce = 8;
  static_assert(kCols % 4 == 0);

  /// Where a tile's sums go: first row and column of d, and what is left of d from there.
  struct Place {
    int m, n;
    int rows_left, cols_left;
    int tile_index;
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

  /// This tile's sums of all splits: [splits][kRows][kCols].
  __device__ static float* partials_of(GemmArgs const& args, Place const& place) {
    return args.partials + static_cast<int64>(place.tile_index) * args.splits * (kRows * kCols);
  }

  /// Copies the staged sums to split `split` of the workspace; true in the CTA that comes last and finishes the tile.
  __device__ static bool publish(GemmArgs const& args, Place const& place, SmemAddr tile, SmemAddr is_last,
                                 int split) {
    float* const mine = partials_of(args, place) + static_cast<int64>(split) * (kRows * kCols);
#pragma unroll 1
    for (int quad = threadIdx.x; quad < kQuads; quad += kThreads) {
      float values[4];
      load_shared_f32x4(values, quad_at(tile, quad));
      store_global_f32x4(mine + 4 * quad, values);
    }
    fence_gpu();
    barrier_sync(1, kThreads);
    if (threadIdx.x == 0) {
      uint32 const before = atomic_add_acq_rel(args.counters + place.tile_index, 1);
      bool const last = before + 1 == static_cast<uint32>(args.splits);
      if (last) args.counters[place.tile_index] = 0;
      store_shared_u32(is_last, last);
    }
    barrier_sync(1, kThreads);
    if (load_shared_u32(is_last) == 0) return false;
    fence_gpu();
    return true;
  }

  __device__ static void sum_splits(float (&sum)[4], GemmArgs const& args, float const* partials, int quad) {
#pragma unroll 1
    for (int first = 0; first < args.splits; first += kSplitsAtOnce) {
      float part[kSplitsAtOnce][4];
#pragma unroll
      for (int s = 0; s < kSplitsAtOnce; ++s) {
        if (first + s < args.splits) {
          load_global_f32x4(part[s], partials + static_cast<int64>(first + s) * (kRows * kCols) + 4 * quad);
        }
      }
#pragma unroll
      for (int s = 0; s < kSplitsAtOnce; ++s) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (first + s < args.splits) sum[e] = first + s == 0 ? part[s][e] : sum[e] + part[s][e];
        }
      }
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

  /// Two neighbouring columns of d at a multiple of two elements.
  __device__ static void store_pair(void* base, int64 at, float first, float second) {
    if constexpr (kBf16) {
      *reinterpret_cast<uint32*>(static_cast<uint16*>(base) + at) = cvt_bf16x2(first, second);
    } else {
      *reinterpret_cast<float2*>(static_cast<float*>(base) + at) = float2{first, second};
    }
  }

  /// d = the tile's sums (of all splits when there are several) + c.
  __device__ static void store(GemmArgs const& args, Place const& place, SmemAddr tile) {
    float const* const partials = partials_of(args, place);
#pragma unroll 1
    for (int quad = threadIdx.x; quad < kQuads; quad += kThreads) {
      int const row = quad / (kCols / 4);
      int const col = quad % (kCols / 4) * 4;
      if (row >= place.rows_left || col >= place.cols_left) continue;
      if constexpr (P.grouping == Grouping::kContiguous) {
        if (load_shared_u32(place.owners + 4 * row) != place.group) continue;
      }
      float sum[4];
      if (args.splits > 1) {
        sum_splits(sum, args, partials, quad);
      } else {
        load_shared_f32x4(sum, quad_at(tile, quad));
      }
      int64 const d_at = place.batch * args.d_batch_stride + (place.m + row) * args.d_pitch + place.n + col;
      if (args.c != nullptr) {
        int64 const c_at = place.batch * args.c_batch_stride + (place.m + row) * args.c_pitch + place.n + col;
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (col + e < place.cols_left) sum[e] += load_element(args.c, c_at + e);
        }
      }
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        if (args.paired_stores && col + e + 1 < place.cols_left) {
          store_pair(args.d, d_at + e, sum[e], sum[e + 1]);
        } else {
          if (col + e < place.cols_left) store_element(args.d, d_at + e, sum[e]);
          if (col + e + 1 < place.cols_left) store_element(args.d, d_at + e + 1, sum[e + 1]);
        }
      }
    }
  }
};

}  // namespace deepwell

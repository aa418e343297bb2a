// The product in front of hyper-connections: d = a b^T in TF32 with FP32 sums, and the sum of squares of each row of a. Few
// columns, a long k: what counts is that every byte of a comes from memory once. Tokens stand on the MMA's side of 16.
//
//   warp      role        reads                        writes
//   0..W-1    math_role   a, b                         d and sqr_sum (or partials, then those)
//   W         load_role   global (TMA, or elements)    a, b
//
//   barrier         init                      arrives                            waits
//   full[stage]     1, + 32 with elements     load warp, TMA unit                the warps whose block it is
//   empty[stage]    warps_rows                lane 0 of each of them, after      load warp
//                                             __syncwarp (every lane: * 32)
//   named 1         32 W threads              math warps                         math warps (epilogue)
//
// Order of arithmetic, per element of d. Of a piece's blocks of 64, warp w of the warps_k takes w, w + warps_k, ... in rising order; in
// a block eight MMAs (m16n8k8), step s multiplying the elements hc_element_of(s, t, e). What an MMA takes of b is its upper 19
// bits; bf16 is TF32 as it is. Sums of the warps are added in rising order of w, then those of the pieces in rising order.
// Squares: lane t adds up those of its elements with one FMA each, in the order of the steps, e = 0 first; then t in rising order
// inside w in rising order, then the pieces.
#pragma once

#include "deepwell/hc_prenorm.h"
#include "deepwell/mma/target.cuh"
#include "deepwell/prim/fragments.cuh"
#include "deepwell/prim/ring.cuh"
#include "deepwell/ptx/async_copy.cuh"
#include "deepwell/ptx/convert.cuh"
#include "deepwell/ptx/memory.cuh"
#include "deepwell/ptx/mma.cuh"

namespace deepwell {

template <HcPrenormPlan P, class Target>
struct HcPrenorm {
  static constexpr HcPrenormSmemMap kSmem = smem_map(P);
  static constexpr int kMathWarps = math_warps(P);
  static constexpr int kMathThreads = 32 * kMathWarps;
  static constexpr int kThreads = threads(P);
  static constexpr int kRowTiles = P.tile_rows / P.warps_rows / 16;  // MMA tiles of a warp
  static constexpr int kColTiles = P.tile_cols / 8;
  static constexpr int kBHalfBytes = kSmem.b_stage_bytes / 2;
  static constexpr int kPieceFloats = P.tile_rows * (P.tile_cols + 1);  // sums, then squares
  // Pieces whose sums are in flight together: one after the other, each would wait for memory.
  static constexpr int kPiecesAtOnce = 16;

  static_assert(kSmem.total <= Target::kSmemPerCta,
                "this plan needs more shared memory than the target has per CTA");
  static_assert(P.tile_rows % (16 * P.warps_rows) == 0 && P.tile_cols % 8 == 0);
  static_assert(P.stages % P.warps_k == 0, "a warp has to wait for every phase of its stages");
  static_assert(P.tile_rows <= 256 && P.tile_cols <= 256, "the box of a tensor map");

  struct Sums {
    float d[kRowTiles][kColTiles][4];
    float squares[kRowTiles][2];  // of rows g and g + 8
  };

  /// This CTA's share.
  struct Work {
    int row;  // first row of a
    int split, piece;
    HcBlocks blocks;
    int rows_left;
    int tile;  // over all splits
  };

  __device__ static Work work_of(HcPrenormArgs const& args) {
    int const split = blockIdx.y / args.pieces;
    int const piece = blockIdx.y % args.pieces;
    int const row = blockIdx.x * P.tile_rows;
    HcBlocks const of_split = part_of({0, hc_blocks(args.k)}, split, args.splits);
    return {.row = row,
            .split = split,
            .piece = piece,
            .blocks = part_of(of_split, piece, args.pieces),
            .rows_left = args.m - row,
            .tile = static_cast<int>(split * gridDim.x + blockIdx.x)};
  }

  __device__ static void run(HcPrenormArgs const& args) {
    extern __shared__ __align__(1024) unsigned char smem_bytes[];
    SmemAddr const smem = smem_addr(smem_bytes);
    if (threadIdx.x == kMathThreads) {  // parameters depend on no other grid
      if (args.a_by_tma) prefetch_tensor_map(&args.a_map);
      if (args.b_by_tma) prefetch_tensor_map(&args.b_map);
    }
    if (threadIdx.x == 0) {
      bool const elements = !(args.a_by_tma && args.b_by_tma);
      for (int stage = 0; stage < P.stages; ++stage) {
        mbarrier_init(smem + kSmem.full + 8 * stage, 1 + (elements ? 32 : 0));
        mbarrier_init(smem + kSmem.empty + 8 * stage,
                      P.every_reader_arrives ? 32 * P.warps_rows : P.warps_rows);
      }
      fence_mbarrier_init();
    }
    Work const work = work_of(args);
    barrier_sync(0, kThreads);
    grid_dependency_wait();
    grid_launch_dependents();
    if (threadIdx.x / 32 == kMathWarps) {
      load_role(args, smem, work);
    } else {
      math_role(args, smem, work);
    }
  }

  // ---- load role ----

  __device__ static int least(int a, int b) { return a < b ? a : b; }

  // Elements come without a branch, so that many loads are in flight: those outside the tensor read its last row or element
  // instead, and count as zeros.

  __device__ static void load_a_elements(HcPrenormArgs const& args, SmemAddr tile, int first_row, int block,
                                         int lane) {
    constexpr int kRowsAtOnce = 16;
    int const k = block * kHcBlockK + 2 * lane;  // and the element after it
    int64 const low_at = 2 * static_cast<int64>(least(k, args.k - 1));
    int64 const high_at = 2 * static_cast<int64>(least(k + 1, args.k - 1));
#pragma unroll 1
    for (int first = 0; first < P.tile_rows; first += kRowsAtOnce) {
      uint32 low[kRowsAtOnce], high[kRowsAtOnce];
#pragma unroll
      for (int i = 0; i < kRowsAtOnce; ++i) {
        unsigned char const* const from = args.a + least(first_row + first + i, args.m - 1) * args.a_pitch;
        low[i] = load_global_u16(from + low_at);
        high[i] = load_global_u16(from + high_at);
      }
#pragma unroll
      for (int i = 0; i < kRowsAtOnce; ++i) {
        bool const inside = first_row + first + i < args.m;
        uint32 const pair =
            (inside && k < args.k ? low[i] : 0) | (inside && k + 1 < args.k ? high[i] << 16 : 0);
        store_shared_u32(tile + swizzled_chunk<128>(first + i, lane / 4) + lane % 4 * 4, pair);
      }
    }
  }

  __device__ static void load_b_elements(HcPrenormArgs const& args, SmemAddr tile, int block, int lane) {
    constexpr int kRowsAtOnce = 8;
    int const k = block * kHcBlockK + lane;  // and the element 32 after it
    int64 const at[2] = {4 * static_cast<int64>(least(k, args.k - 1)),
                         4 * static_cast<int64>(least(k + 32, args.k - 1))};
#pragma unroll 1
    for (int first = 0; first < P.tile_cols; first += kRowsAtOnce) {
      uint32 values[kRowsAtOnce][2];
#pragma unroll
      for (int i = 0; i < kRowsAtOnce; ++i) {
        unsigned char const* const from = args.b + least(first + i, args.n - 1) * args.b_pitch;
#pragma unroll
        for (int half = 0; half < 2; ++half) values[i][half] = load_global_u32(from + at[half]);
      }
#pragma unroll
      for (int i = 0; i < kRowsAtOnce; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          bool const inside = first + i < args.n && k + 32 * half < args.k;
          store_shared_u32(
              tile + half * kBHalfBytes + swizzled_chunk<128>(first + i, lane / 4) + lane % 4 * 4,
              inside ? values[i][half] : 0);
        }
      }
    }
  }

  __device__ static void load_role(HcPrenormArgs const& args, SmemAddr smem, Work const& work) {
    int const lane = lane_id();
    uint32 const bytes =
        (args.a_by_tma ? kSmem.a_stage_bytes : 0) + (args.b_by_tma ? kSmem.b_stage_bytes : 0);
    bool const elements = !(args.a_by_tma && args.b_by_tma);
    RingPosition<P.stages> at;
#pragma unroll 1
    for (int i = 0; i < work.blocks.count; ++i, at.advance()) {
      SmemAddr const full = smem + kSmem.full + 8 * at.stage;
      SmemAddr const a = smem + kSmem.a + at.stage * kSmem.a_stage_bytes;
      SmemAddr const b = smem + kSmem.b + at.stage * kSmem.b_stage_bytes;
      int const block = work.blocks.first + i;
      mbarrier_wait(smem + kSmem.empty + 8 * at.stage, at.phase ^ 1);
      if (lane == 0) {
        mbarrier_arrive_expect_tx(full, bytes);
        if (args.a_by_tma) tma_load_3d(a, &args.a_map, block * kHcBlockK, work.row, 0, full);
        if (args.b_by_tma) {
          tma_load_3d(b, &args.b_map, block * kHcBlockK, 0, 0, full);
          tma_load_3d(b + kBHalfBytes, &args.b_map, block * kHcBlockK + 32, 0, 0, full);
        }
      }
      if (!args.a_by_tma) load_a_elements(args, a, work.row, block, lane);
      if (!args.b_by_tma) load_b_elements(args, b, block, lane);
      if (elements) mbarrier_arrive(full);
    }
  }

  // ---- math role ----

  __device__ static void math_role(HcPrenormArgs const& args, SmemAddr smem, Work const& work) {
    int const warp = threadIdx.x / 32;
    int const lane = lane_id();
    int const row = warp % P.warps_rows * (P.tile_rows / P.warps_rows);
    int const turn = warp / P.warps_rows;
    Sums sums = {};
    RingPosition<P.stages> at;
    for (int i = 0; i < turn; ++i) at.advance();
#pragma unroll 1
    for (int i = turn; i < work.blocks.count; i += P.warps_k) {
      mbarrier_wait(smem + kSmem.full + 8 * at.stage, at.phase);
      multiply_block(sums, smem + kSmem.a + at.stage * kSmem.a_stage_bytes,
                     smem + kSmem.b + at.stage * kSmem.b_stage_bytes, row, lane);
      release_stage<P.every_reader_arrives>(smem + kSmem.empty + 8 * at.stage);
#pragma unroll
      for (int step = 0; step < P.warps_k; ++step) at.advance();
    }
    finish(args, smem, work, sums, row, turn, lane);
  }

  __device__ static void multiply_block(Sums& sums, SmemAddr a, SmemAddr b, int row, int lane) {
    int const g = lane / 4;
    int const t = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      int const chunk = hc_chunk_of(t, half);
      uint32 x[kRowTiles][4][4];  // fragments of the half's four steps
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
        for (int lower = 0; lower < 2; ++lower) {
          uint32 pairs[4];
          load_shared_u32x4(pairs, a + swizzled_chunk<128>(row + 16 * i + 8 * lower + g, chunk));
#pragma unroll
          for (int step = 0; step < 4; ++step) {
            uint32 const first = pairs[step] << 16;
            uint32 const second = pairs[step] & 0xffff0000u;
            x[i][step][lower] = first;
            x[i][step][2 + lower] = second;
            float& square = sums.squares[i][lower];
            square = fma_rn(bits_to_f32(first), bits_to_f32(first), square);
            square = fma_rn(bits_to_f32(second), bits_to_f32(second), square);
          }
        }
      }
      // chunk % 4 is t: the row's 8 elements are two chunks of FP32, in the half of the block that chunk / 4 says.
      SmemAddr const columns = b + chunk / 4 * kBHalfBytes;
#pragma unroll
      for (int j = 0; j < kColTiles; ++j) {
        uint32 y[2][4];
#pragma unroll
        for (int part = 0; part < 2; ++part)
          load_shared_u32x4(y[part], columns + swizzled_chunk<128>(8 * j + g, 2 * t + part));
#pragma unroll
        for (int step = 0; step < 4; ++step) {
          uint32 const pair[2] = {y[step / 2][step % 2 * 2], y[step / 2][step % 2 * 2 + 1]};
#pragma unroll
          for (int i = 0; i < kRowTiles; ++i) mma_tf32_m16n8k8(sums.d[i][j], x[i][step], pair);
        }
      }
    }
  }

  // ---- from sums to d ----

  static constexpr int kPitch = sums_pitch(P);
  static constexpr int kColGroups = P.tile_cols / 8;
  static constexpr int kUnits = P.tile_rows / 4 * kColGroups;  // 4 rows by 8 columns, a warp's share at once

  /// Where a lane stands in unit `unit`.
  struct Place {
    int row, col;
  };
  __device__ static Place place_of(int unit, int lane) {
    return {unit / kColGroups * 4 + lane / 8, unit % kColGroups * 8 + lane % 8};
  }

  /// A warp's sums into the place of the ring.
  __device__ static void stage(SmemAddr smem, Sums const& sums, int row, int turn, int lane) {
    int const g = lane / 4;
    int const t = lane % 4;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int lower = 0; lower < 2; ++lower) {
        int const at = row + 16 * i + 8 * lower + g;
#pragma unroll
        for (int j = 0; j < kColTiles; ++j) {
          store_shared_f32x2(smem + kSmem.sums + 4 * ((turn * P.tile_rows + at) * kPitch + 8 * j + 2 * t),
                             sums.d[i][j][2 * lower], sums.d[i][j][2 * lower + 1]);
        }
        store_shared_f32(smem + kSmem.squares + 4 * ((4 * turn + t) * squares_pitch(P) + at),
                         sums.squares[i][lower]);
      }
    }
  }

  __device__ static float staged_sum(SmemAddr smem, Place place) {
    SmemAddr const at = smem + kSmem.sums + 4 * (place.row * kPitch + place.col);
    float sum = load_shared_f32(at);
#pragma unroll
    for (int turn = 1; turn < P.warps_k; ++turn) sum += load_shared_f32(at + turn * 4 * P.tile_rows * kPitch);
    return sum;
  }

  __device__ static float staged_squares(SmemAddr smem, int row) {
    float sum = 0;
#pragma unroll
    for (int turn = 0; turn < P.warps_k; ++turn) {
      SmemAddr const at = smem + kSmem.squares + 4 * (4 * turn * squares_pitch(P) + row);
      float of_warp = load_shared_f32(at);
#pragma unroll
      for (int t = 1; t < 4; ++t) of_warp += load_shared_f32(at + 4 * t * squares_pitch(P));
      sum = turn == 0 ? of_warp : sum + of_warp;
    }
    return sum;
  }

  __device__ static void store_sum(HcPrenormArgs const& args, Work const& work, Place place, float value) {
    if (place.col >= args.n) return;
    args.d[work.split * args.d_split_stride + (work.row + place.row) * args.d_pitch + place.col] = value;
  }
  __device__ static void store_squares(HcPrenormArgs const& args, Work const& work, int row, float value) {
    args.sqr_sum[work.split * args.sqr_sum_split_stride + (work.row + row) * args.sqr_sum_stride] = value;
  }

  /// Calls sum(place) and squares(row) for all rows of the tile that are rows of a, spread over the math threads.
  template <class Sum, class Squares>
  __device__ static void for_all(Work const& work, int lane, Sum&& sum, Squares&& squares) {
#pragma unroll 1
    for (int unit = threadIdx.x / 32; unit < kUnits; unit += kMathWarps) {
      Place const place = place_of(unit, lane);
      if (place.row < work.rows_left) sum(place);
    }
#pragma unroll 1
    for (int row = threadIdx.x; row < P.tile_rows; row += kMathThreads) {
      if (row < work.rows_left) squares(row);
    }
  }

  __device__ static float sum_pieces(HcPrenormArgs const& args, float const* first_piece) {
    float sum = 0;
#pragma unroll 1
    for (int first = 0; first < args.pieces; first += kPiecesAtOnce) {
      float parts[kPiecesAtOnce];
#pragma unroll
      for (int i = 0; i < kPiecesAtOnce; ++i) {
        if (first + i < args.pieces) parts[i] = load_global_f32(first_piece + (first + i) * kPieceFloats);
      }
#pragma unroll
      for (int i = 0; i < kPiecesAtOnce; ++i) {
        if (first + i < args.pieces) sum = first + i == 0 ? parts[i] : sum + parts[i];
      }
    }
    return sum;
  }

  /// Counts this CTA in; true in the one that comes last and adds up the pieces.
  __device__ static bool comes_last(HcPrenormArgs const& args, SmemAddr smem, Work const& work) {
    fence_gpu();
    barrier_sync(1, kMathThreads);
    if (threadIdx.x == 0) {
      uint32 const before = atomic_add_acq_rel(args.counters + work.tile, 1);
      bool const last = before + 1 == static_cast<uint32>(args.pieces);
      if (last) args.counters[work.tile] = 0;
      store_shared_u32(smem + kSmem.is_last, last);
    }
    barrier_sync(1, kMathThreads);
    if (load_shared_u32(smem + kSmem.is_last) == 0) return false;
    fence_gpu();
    return true;
  }

  __device__ static void finish(HcPrenormArgs const& args, SmemAddr smem, Work const& work, Sums const& sums,
                                int row, int turn, int lane) {
    barrier_sync(1, kMathThreads);  // every math warp has read its last stage
    stage(smem, sums, row, turn, lane);
    barrier_sync(1, kMathThreads);
    if (args.pieces == 1) {
      for_all(
          work, lane, [&](Place place) { store_sum(args, work, place, staged_sum(smem, place)); },
          [&](int at) { store_squares(args, work, at, staged_squares(smem, at)); });
      return;
    }
    constexpr int kSquares = P.tile_rows * P.tile_cols;
    float* const pieces = args.partials + static_cast<int64>(work.tile) * args.pieces * kPieceFloats;
    float* const mine = pieces + work.piece * kPieceFloats;
    for_all(
        work, lane, [&](Place place) { mine[place.row * P.tile_cols + place.col] = staged_sum(smem, place); },
        [&](int at) { mine[kSquares + at] = staged_squares(smem, at); });
    if (!comes_last(args, smem, work)) return;
    for_all(
        work, lane,
        [&](Place place) {
          store_sum(args, work, place, sum_pieces(args, pieces + place.row * P.tile_cols + place.col));
        },
        [&](int at) { store_squares(args, work, at, sum_pieces(args, pieces + kSquares + at)); });
  }
};

}  // namespace deepwell

// Block-scaled GEMM, d = a b^T (+ c), by warp-level mma.sync, for few rows (weights on the MMA's 16-row side) and many.
// The target says whether the MMA applies UE8M0 scales itself; what it does not apply scales partial sums in FP32.
//
//   warp            role        reads                    writes
//   0 .. W-1        math_role   x, y, scales             d (or partials, then d)
//   W               load_role   global (TMA, cp.async)   x, y, scales
//   W+1 .. W+3      none: they fill the load warp's warpgroup, where the plan moves registers
//
//   barrier         init                                   arrives                            waits
//   full[stage]     1, + 32 with words, + 32 with bytes    load warp, TMA unit, cp.async      math warps
//   empty[stage]    W                                      lane 0 of each math warp, after    load warp
//                                                          __syncwarp (W * 32: every lane)
//   named 1         32 W threads                           math warps                         math warps (split-K)
//
// Order of arithmetic, per element of d: k tiles in rising order; inside a tile the groups of k that share the outside scales,
// in rising order: acc = fma(partial * scale_a, scale_b, acc), where a factor that the MMA applied is left out, and two UE8M0
// factors are one exact power of two. Where every FP32 scale that a warp loads for a tile is a power of two, the MMA applies
// them instead. Splits of k are summed in rising order, then c is added, then the sum is rounded once to d's type.
#pragma once

#include "deepwell/gemm.h"
#include "deepwell/mma/target.cuh"
#include "deepwell/prim/fragments.cuh"
#include "deepwell/prim/load_operand.cuh"
#include "deepwell/prim/ring.cuh"
#include "deepwell/prim/scales.cuh"
#include "deepwell/ptx/mma.cuh"
#include "deepwell/ptx/registers.cuh"

namespace deepwell {

template <GemmPlan P, class Target>
struct GemmMx {
  static constexpr GemmSmemMap kSmem = smem_map(P);
  static constexpr int kMathWarps = math_warps(P);
  static constexpr int kThreads = threads(P);
  static constexpr int kXTiles = P.tile_rows / P.warps_rows / 16;  // MMA tiles of a warp
  static constexpr int kYTiles = P.tile_cols / P.warps_cols / 8;
  static constexpr bool kK64 = Target::kBlockScaled && uses_k64(P);
  static constexpr int kSteps = kK64 ? 2 : 4;  // MMA steps per stage
  static constexpr bool kMixed = P.x != P.y;

  // Which operand's UE8M0 scales the MMA applies.
  static constexpr bool kXInside = Target::kBlockScaled && P.x_scale == ScaleKind::kUe8m0;
  static constexpr bool kYInside = Target::kBlockScaled && P.y_scale == ScaleKind::kUe8m0;
  static constexpr bool kAllInside = kXInside && kYInside;
  // FP32 scales that turn out to be powers of two go inside as well.
  static constexpr bool kMayGoInside = Target::kBlockScaled && !kAllInside;
  // Elements of k that share their outside scales.
  static constexpr int kOutsideK =
      (!kXInside && P.x_gran_k == 32) || (!kYInside && P.y_gran_k == 32) ? 32 : 128;
  static constexpr int kGroups = kTileK / kOutsideK;

  static constexpr Fragment form_of(Dtype operand) {
    if (operand == Dtype::kE4m3) return Fragment::kBytes;
    if (kK64) return Fragment::kPacked;
    return Target::kBlockScaled && P.native_e2m1 ? Fragment::kContainers : Fragment::kWidened;
  }
  static constexpr Fragment kXForm = form_of(P.x);
  static constexpr Fragment kYForm = form_of(P.y);
  static constexpr Dtype kXMma = kXForm == Fragment::kContainers ? Dtype::kE2m1 : Dtype::kE4m3;
  static constexpr Dtype kYMma = kYForm == Fragment::kContainers ? Dtype::kE2m1 : Dtype::kE4m3;

  static_assert(kSmem.total <= Target::kSmemPerCta,
                "this plan needs more shared memory than the target has per CTA");
  static_assert(P.tile_rows % (16 * P.warps_rows) == 0 && P.tile_cols % (8 * P.warps_cols) == 0);
  static_assert(kSmem.x_stage_bytes % 1024 == 0, "a swizzled tile starts at a multiple of its period");
  static_assert(kSmem.y_stage_bytes % (row_bytes(P.y) * 8) == 0,
                "a swizzled tile starts at a multiple of its period");

  using Accumulators = float[kXTiles][kYTiles][4];

  /// This CTA's share of the product.
  struct Work {
    int row, col;  // first row of x, first row of y
    int first_k_tile, num_k_tiles;
    int tile_index;  // over all batches
  };

  __device__ static Work work_of(GemmArgs const& args) {
    TileWalk const walk{args.row_tiles, args.col_tiles};
    TileWalk::Tile const tile = walk.at(blockIdx.x);
    int const k_tiles = (args.k + kTileK - 1) / kTileK;
    int const first = blockIdx.y * args.k_tiles_per_split;
    int const left = k_tiles - first;
    return {.row = tile.row * P.tile_rows,
            .col = tile.col * P.tile_cols,
            .first_k_tile = first,
            .num_k_tiles = left < args.k_tiles_per_split ? left : args.k_tiles_per_split,
            .tile_index = static_cast<int>(blockIdx.z * gridDim.x + blockIdx.x)};
  }

  __device__ static void run(GemmArgs const& args) {
    extern __shared__ __align__(1024) unsigned char smem_bytes[];
    SmemAddr const smem = smem_addr(smem_bytes);
    if (threadIdx.x == 0) {
      bool const words = args.x.scale_source == Source::kWords || args.y.scale_source == Source::kWords;
      for (int stage = 0; stage < P.stages; ++stage) {
        mbarrier_init(smem + kSmem.full + 8 * stage, 1 + (words ? 32 : 0) + (any_plain(args) ? 32 : 0));
        mbarrier_init(smem + kSmem.empty + 8 * stage, P.every_reader_arrives ? 32 * kMathWarps : kMathWarps);
      }
      fence_mbarrier_init();
    }
    barrier_sync(0, kThreads);
    grid_dependency_wait();
    grid_launch_dependents();
    Work const work = work_of(args);
    if (threadIdx.x / 32 >= kMathWarps) {
      if constexpr (moves_registers(P)) registers_decrease<72>();
      if (threadIdx.x / 32 == kMathWarps) load_role(args, smem, work);
    } else {
      if constexpr (moves_registers(P)) registers_increase<216>();
      math_role(args, smem, work);
    }
  }

  __device__ static bool any_plain(GemmArgs const& args) {
    return args.x.data_source == Source::kPlain || args.y.data_source == Source::kPlain ||
           args.x.scale_source == Source::kPlain || args.y.scale_source == Source::kPlain;
  }

  // ---- load role ----

  template <Dtype kType, ScaleKind kScale, int kGranK, int kTileRows>
  __device__ static void load_operand(GemmOperandArgs const& operand, SmemAddr tile, SmemAddr scales,
                                      SmemAddr full, int first_row, int k_tile, int batch, int k, int lane) {
    constexpr int kRowBytes = row_bytes(kType);
    if (operand.data_source == Source::kTma) {
      if (lane == 0) tma_load_3d(tile, &operand.data_map, k_tile * kRowBytes, first_row, batch, full);
    } else {
      load_tile_plain<kRowBytes, kTileRows>(tile, operand, first_row, k_tile, batch, k * bits_of(kType) / 8,
                                            lane);
    }
    if (operand.scale_source == Source::kTma) {
      int const word = kGranK == 128 ? k_tile / 4 : k_tile;
      if (lane == 0) tma_load_3d(scales, &operand.scale_map, first_row, word, batch, full);
    } else {
      load_scales<kScale, kGranK, kTileRows>(scales, operand, first_row, k_tile, batch,
                                             (k + kGranK - 1) / kGranK, lane);
    }
  }

  __device__ static void load_role(GemmArgs const& args, SmemAddr smem, Work const& work) {
    int const lane = lane_id();
    int const batch = blockIdx.z;
    bool const words = args.x.scale_source == Source::kWords || args.y.scale_source == Source::kWords;
    bool const plain = any_plain(args);
    uint32 bytes = 0;
    if (args.x.data_source == Source::kTma) bytes += kSmem.x_stage_bytes;
    if (args.y.data_source == Source::kTma) bytes += kSmem.y_stage_bytes;
    if (args.x.scale_source == Source::kTma) bytes += kSmem.scale_x_stage_bytes;
    if (args.y.scale_source == Source::kTma) bytes += kSmem.scale_y_stage_bytes;
    if (lane == 0 && args.x.data_source == Source::kTma) prefetch_tensor_map(&args.x.data_map);
    if (lane == 0 && args.y.data_source == Source::kTma) prefetch_tensor_map(&args.y.data_map);
    RingPosition<P.stages> at;
    for (int i = 0; i < work.num_k_tiles; ++i, at.advance()) {
      SmemAddr const full = smem + kSmem.full + 8 * at.stage;
      mbarrier_wait(smem + kSmem.empty + 8 * at.stage, at.phase ^ 1);
      if (lane == 0) mbarrier_arrive_expect_tx(full, bytes);
      int const k_tile = work.first_k_tile + i;
      load_operand<P.x, P.x_scale, P.x_gran_k, P.tile_rows>(
          args.x, smem + kSmem.x + at.stage * kSmem.x_stage_bytes,
          smem + kSmem.scale_x + at.stage * kScaleXPitch, full, work.row, k_tile, batch, args.k, lane);
      load_operand<P.y, P.y_scale, P.y_gran_k, P.tile_cols>(
          args.y, smem + kSmem.y + at.stage * kSmem.y_stage_bytes,
          smem + kSmem.scale_y + at.stage * kScaleYPitch, full, work.col, k_tile, batch, args.k, lane);
      if (words) cp_async_mbarrier_arrive(full);
      if (plain) mbarrier_arrive(full);
    }
  }

  // ---- math role ----

  static constexpr int kScaleXPitch = static_cast<int>(align_up(kSmem.scale_x_stage_bytes, 128));
  static constexpr int kScaleYPitch = static_cast<int>(align_up(kSmem.scale_y_stage_bytes, 128));

  /// Where a warp stands in the tile, and what it reads in one stage.
  struct Stage {
    SmemAddr x, y, scale_x, scale_y;
    int k_tile;
    int steps;  // of the stage's four steps of 32, those inside k
    int row, col, lane;
  };

  __device__ static void math_role(GemmArgs const& args, SmemAddr smem, Work const& work) {
    int const warp = threadIdx.x / 32;
    int const lane = lane_id();
    int const row = warp / P.warps_cols * (P.tile_rows / P.warps_rows);
    int const col = warp % P.warps_cols * (P.tile_cols / P.warps_cols);
    Accumulators acc = {};
    RingPosition<P.stages> at;
    for (int i = 0; i < work.num_k_tiles; ++i, at.advance()) {
      int const k_tile = work.first_k_tile + i;
      int const left = args.k / kStepK - 4 * k_tile;
      Stage const stage{.x = smem + kSmem.x + at.stage * kSmem.x_stage_bytes,
                        .y = smem + kSmem.y + at.stage * kSmem.y_stage_bytes,
                        .scale_x = smem + kSmem.scale_x + at.stage * kScaleXPitch,
                        .scale_y = smem + kSmem.scale_y + at.stage * kScaleYPitch,
                        .k_tile = k_tile,
                        .steps = left < 4 ? left : 4,
                        .row = row,
                        .col = col,
                        .lane = lane};
      mbarrier_wait(smem + kSmem.full + 8 * at.stage, at.phase);
      multiply_stage(acc, stage);
      release_stage<P.every_reader_arrives>(smem + kSmem.empty + 8 * at.stage);
    }
    if (args.splits > 1 && !reduce_splits(args, smem, work, acc)) return;
    store(args, work, acc, row, col, lane);
  }

  // Scale words as the MMA takes them: two x tiles share a word per lane (lanes t = 0, 1 hold rows g, g + 8 of the even tile,
  // t = 2, 3 of the odd one), four y tiles likewise (lane t holds column g of tile t).
  static constexpr int kXWords = (kXTiles + 1) / 2;
  static constexpr int kYWords = (kYTiles + 3) / 4;

  /// One row's scales of this stage as exponent bytes per k step. FP32 scales clear `powers` if one is not a power of two.
  template <ScaleKind kKind, int kGranK, int kTileRows>
  __device__ static uint32 exponent_word(SmemAddr scales, int row, Stage const& stage, bool& powers) {
    if constexpr (kKind == ScaleKind::kUe8m0) {
      return step_scales<kGranK>(load_shared_u32(scales + 4 * row), stage.k_tile, stage.steps);
    } else {
      uint32 word = 0;
#pragma unroll
      for (int group = 0; group < kTileK / kGranK; ++group) {
        uint32 const value = load_shared_u32(scales + 4 * (group * kTileRows + row));
        bool const inside = kGranK == 128 || group < stage.steps;
        if (inside && !is_plain_power_of_two(value)) powers = false;
        word |= (inside ? value >> 23 & 0xffu : 0x7fu) << (8 * group);
      }
      return kGranK == 128 ? word * 0x01010101u : word;
    }
  }

  struct ScaleWords {
    uint32 x[kXWords], y[kYWords];
  };

  /// Loads the words of all MMA tiles of the warp; false if some lane met an FP32 scale that the MMA cannot apply.
  __device__ static bool load_scale_words(ScaleWords& words, Stage const& stage) {
    int const g = stage.lane / 4;
    int const t = stage.lane % 4;
    bool powers = true;
#pragma unroll
    for (int i = 0; i < kXWords; ++i) {
      int const tile = kXTiles == 1 ? 0 : 2 * i + t / 2;
      words.x[i] = exponent_word<P.x_scale, P.x_gran_k, P.tile_rows>(
          stage.scale_x, stage.row + 16 * tile + g + 8 * (t % 2), stage, powers);
    }
#pragma unroll
    for (int j = 0; j < kYWords; ++j) {
      int const tile = kYTiles < 4 ? t % kYTiles : 4 * j + t;
      words.y[j] = exponent_word<P.y_scale, P.y_gran_k, P.tile_cols>(stage.scale_y, stage.col + 8 * tile + g,
                                                                     stage, powers);
    }
    if constexpr (kAllInside) {
      return true;
    } else {
      return all_lanes(powers);
    }
  }

  /// One MMA with the scales of x tile i, y tile j and k step `kStep`.
  template <int kI, int kJ, int kStep>
  __device__ static void mma(float (&d)[4], uint32 const (&x)[4], uint32 const (&y)[2],
                             ScaleWords const& words) {
    if constexpr (!Target::kBlockScaled) {
      mma_e4m3_m16n8k32(d, x, y);
    } else {
      constexpr int kXThread = kXTiles == 1 ? 0 : kI % 2;
      if constexpr (kK64) {
        mma_mxf4_m16n8k64<2 * kStep, kXThread, 2 * kStep, kJ % 4>(d, x, y, words.x[kI / 2], words.y[kJ / 4]);
      } else {
        mma_mx_m16n8k32<kXMma, kYMma, kStep, kXThread, kStep, kJ % 4>(d, x, y, words.x[kI / 2],
                                                                      words.y[kJ / 4]);
      }
    }
  }

  /// f.operator()<0>() .. f.operator()<kCount - 1>(), unrolled: indices of MMA tiles are immediates of the instruction.
  template <int kFirst, int kCount, class F>
  __device__ __forceinline__ static void unrolled(F&& f) {
    if constexpr (kFirst < kCount) {
      f.template operator()<kFirst>();
      unrolled<kFirst + 1, kCount>(f);
    }
  }

  __device__ static void multiply_stage(Accumulators& acc, Stage const& stage) {
    if constexpr (Target::kBlockScaled) {
      ScaleWords words;
      bool const inside = load_scale_words(words, stage);
      if (kAllInside || inside) {
        multiply_inside(acc, stage, words);
        return;
      }
      if constexpr (kMayGoInside) multiply_outside(acc, stage, words);
    } else {
      multiply_outside(acc, stage, ScaleWords{});
    }
  }

  __device__ static void multiply_inside(Accumulators& acc, Stage const& stage, ScaleWords const& words) {
    uint32 y[kYTiles][kSteps][2];
#pragma unroll
    for (int j = 0; j < kYTiles; ++j)
      load_col_fragments<kYForm, kSteps>(y[j], stage.y, stage.col + 8 * j, stage.lane);
    unrolled<0, kXTiles>([&]<int kI>() {
      uint32 x[kSteps][4];
      load_row_fragments<kXForm, kSteps>(x, stage.x, stage.row + 16 * kI, stage.lane);
      unrolled<0, kSteps>([&]<int kStep>() {
        unrolled<0, kYTiles>(
            [&]<int kJ>() { mma<kI, kJ, kStep>(acc[kI][kJ], x[kStep], y[kJ][kStep], words); });
      });
    });
  }

  // Outside scales of one row (or column) for one group of k: the FP32 value, or the exponent of a UE8M0 scale.
  template <ScaleKind kKind, int kGranK, int kTileRows>
  __device__ static uint32 outside_scale(SmemAddr scales, int row, int group, Stage const& stage) {
    constexpr int kStepsPerGroup = 4 / kGroups;
    int const step = group * kStepsPerGroup;
    if constexpr (kKind == ScaleKind::kF32) {
      uint32 const value = load_shared_u32(scales + 4 * (kGranK == 128 ? row : step * kTileRows + row));
      return step < stage.steps ? value : 0x3f800000u;
    } else {
      return step_scales<kGranK>(load_shared_u32(scales + 4 * row), stage.k_tile, stage.steps) >> (8 * step) &
             0xffu;
    }
  }

  template <ScaleKind kKind>
  __device__ static float scale_value(uint32 scale) {
    return kKind == ScaleKind::kF32 ? bits_to_f32(scale) : ue8m0_to_f32(scale);
  }

  /// acc = fma(partial * scale_a, scale_b, acc) with the factors that stand outside.
  __device__ static float promote(float partial, uint32 scale_x, uint32 scale_y, float acc) {
    if constexpr (kXInside) {
      return fma_rn(partial, bits_to_f32(scale_y), acc);
    } else if constexpr (kYInside) {
      return fma_rn(partial, bits_to_f32(scale_x), acc);
    } else if constexpr (P.x_scale == ScaleKind::kUe8m0 && P.y_scale == ScaleKind::kUe8m0) {
      HalfPowers const x = half_powers(scale_x);
      HalfPowers const y = half_powers(scale_y);
      return fma_rn(partial * (x.lower * y.upper), x.upper * y.lower, acc);
    } else {
      float const value_x = scale_value<P.x_scale>(scale_x);
      float const value_y = scale_value<P.y_scale>(scale_y);
      return P.swap ? fma_rn(partial * value_y, value_x, acc) : fma_rn(partial * value_x, value_y, acc);
    }
  }

  /// Fragments of y are loaded again for each x tile: held, they and the partial sums would spill.
  __device__ static void multiply_outside(Accumulators& acc, Stage const& stage, ScaleWords words) {
    constexpr int kStepsPerGroup = 4 / kGroups;
    int const g = stage.lane / 4;
    int const t = stage.lane % 4;
    if constexpr (Target::kBlockScaled) {
      if constexpr (!kXInside) {
        for (int i = 0; i < kXWords; ++i) words.x[i] = kUnitScales;
      }
      if constexpr (!kYInside) {
        for (int j = 0; j < kYWords; ++j) words.y[j] = kUnitScales;
      }
    }
    unrolled<0, kXTiles>([&]<int kI>() {
      uint32 x[kSteps][4];
      load_row_fragments<kXForm, kSteps>(x, stage.x, stage.row + 16 * kI, stage.lane);
      unrolled<0, kYTiles>([&]<int kJ>() {
        uint32 y[kSteps][2];
        load_col_fragments<kYForm, kSteps>(y, stage.y, stage.col + 8 * kJ, stage.lane);
        unrolled<0, kGroups>([&]<int kGroup>() {
          float partial[4] = {};
          unrolled<kGroup * kStepsPerGroup, (kGroup + 1) * kStepsPerGroup>(
              [&]<int kStep>() { mma<kI, kJ, kStep>(partial, x[kStep], y[kStep], words); });
          uint32 scale_x[2] = {};
          uint32 scale_y[2] = {};
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            if constexpr (!kXInside) {
              scale_x[half] = outside_scale<P.x_scale, P.x_gran_k, P.tile_rows>(
                  stage.scale_x, stage.row + 16 * kI + g + 8 * half, kGroup, stage);
            }
            if constexpr (!kYInside) {
              scale_y[half] = outside_scale<P.y_scale, P.y_gran_k, P.tile_cols>(
                  stage.scale_y, stage.col + 8 * kJ + 2 * t + half, kGroup, stage);
            }
          }
#pragma unroll
          for (int e = 0; e < 4; ++e)
            acc[kI][kJ][e] = promote(partial[e], scale_x[e / 2], scale_y[e % 2], acc[kI][kJ][e]);
        });
      });
    });
  }

  // ---- split-K and the epilogue ----

  // Splits whose sums are in flight together: one after the other, each would wait for memory.
  static constexpr int kSplitsAtOnce = 8;

  /// Writes this split's sums; in the CTA that finishes the tile, returns true with the sums over all splits in order.
  __device__ static bool reduce_splits(GemmArgs const& args, SmemAddr smem, Work const& work,
                                       Accumulators& acc) {
    constexpr int kMathThreads = 32 * kMathWarps;
    constexpr int kTileElements = P.tile_rows * P.tile_cols;
    float* const tile = args.partials + static_cast<int64>(work.tile_index) * args.splits * kTileElements;
    auto at = [&](int split, int i, int j) {
      return tile + static_cast<int64>(split) * kTileElements +
             ((i * kYTiles + j) * kMathThreads + threadIdx.x) * 4;
    };
#pragma unroll
    for (int i = 0; i < kXTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kYTiles; ++j) store_global_f32x4(at(blockIdx.y, i, j), acc[i][j]);
    }
    fence_gpu();
    barrier_sync(1, kMathThreads);
    if (threadIdx.x == 0) {
      uint32 const before = atomic_add_acq_rel(args.counters + work.tile_index, 1);
      bool const last = before + 1 == static_cast<uint32>(args.splits);
      if (last) args.counters[work.tile_index] = 0;
      store_shared_u32(smem + kSmem.is_last, last);
    }
    barrier_sync(1, kMathThreads);
    if (load_shared_u32(smem + kSmem.is_last) == 0) return false;
    fence_gpu();
#pragma unroll
    for (int i = 0; i < kXTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kYTiles; ++j) {
        float sum[4] = {};
        for (int first = 0; first < args.splits; first += kSplitsAtOnce) {
          float part[kSplitsAtOnce][4] = {};
#pragma unroll
          for (int s = 0; s < kSplitsAtOnce; ++s) {
            if (first + s < args.splits) load_global_f32x4(part[s], at(first + s, i, j));
          }
#pragma unroll
          for (int s = 0; s < kSplitsAtOnce; ++s) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              if (first + s < args.splits) sum[e] = first + s == 0 ? part[s][e] : sum[e] + part[s][e];
            }
          }
        }
#pragma unroll
        for (int e = 0; e < 4; ++e) acc[i][j][e] = sum[e];
      }
    }
    return true;
  }

  static constexpr bool kBf16 = P.d == Dtype::kBf16;

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

  /// Two neighbouring columns of d at an even column; the pointer is a multiple of two elements.
  __device__ static void store_pair(GemmArgs const& args, int64 d_at, int64 c_at, float first, float second) {
    if constexpr (kBf16) {
      if (args.c != nullptr) {
        uint32 const c = *reinterpret_cast<uint32 const*>(static_cast<uint16 const*>(args.c) + c_at);
        first += bf16_to_f32(c & 0xffffu);
        second += bf16_to_f32(c >> 16);
      }
      *reinterpret_cast<uint32*>(static_cast<uint16*>(args.d) + d_at) = cvt_bf16x2(first, second);
    } else {
      if (args.c != nullptr) {
        float2 const c = *reinterpret_cast<float2 const*>(static_cast<float const*>(args.c) + c_at);
        first += c.x;
        second += c.y;
      }
      *reinterpret_cast<float2*>(static_cast<float*>(args.d) + d_at) = float2{first, second};
    }
  }

  __device__ static void store(GemmArgs const& args, Work const& work, Accumulators const& acc, int row,
                               int col, int lane) {
    int const g = lane / 4;
    int const t = lane % 4;
    int64 const d_batch = blockIdx.z * args.d_batch_stride;
    int64 const c_batch = blockIdx.z * args.c_batch_stride;
#pragma unroll
    for (int i = 0; i < kXTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kYTiles; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          int const x = work.row + row + 16 * i + g + 8 * half;
          int const y = work.col + col + 8 * j + 2 * t;
          if (x >= args.x.rows) continue;
          float const* const values = acc[i][j] + 2 * half;
          if (!P.swap && args.paired_stores && y + 1 < args.y.rows) {
            store_pair(args, d_batch + x * args.d_pitch + y, c_batch + x * args.c_pitch + y, values[0],
                       values[1]);
            continue;
          }
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            if (y + e >= args.y.rows) continue;
            int64 const m = P.swap ? y + e : x;
            int64 const n = P.swap ? x : y + e;
            float value = values[e];
            if (args.c != nullptr) value += load_element(args.c, c_batch + m * args.c_pitch + n);
            store_element(args.d, d_batch + m * args.d_pitch + n, value);
          }
        }
      }
    }
  }
};

}  // namespace deepwell

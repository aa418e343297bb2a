// Block-scaled GEMM, d = a b^T (+ c), by warp-level mma.sync, for few rows (weights on the MMA's 16-row side) and many.
// The target says whether the MMA applies UE8M0 scales itself; what it does not apply scales partial sums in FP32. Where it has no
// block scales, products with e2m1 are made of f16, which holds both operands exactly.
//
//   warp            role        reads                    writes
//   0 .. W-1        math_role   x, y, scales             d
//   W               load_role   global (TMA, cp.async)   x, y, scales
//   W+1 .. W+3      none: they fill the load warp's warpgroup, where the plan moves registers
//
//   barrier         init                                   arrives                            waits
//   full[stage]     1, + 32 with words, + 32 with bytes    load warp, TMA unit, cp.async      math warps
//   empty[stage]    W                                      lane 0 of each math warp, after    load warp
//                                                          __syncwarp (W * 32: every lane)
//   named 1         32 W threads                           math warps                         math warps (epilogue)
//   named 2         32 (W + 1) threads                     math and load warps                both, between the products of one tile
//   cluster         its CTAs' threads                      math warps at once, load warps     math warps, before they send sums
//                                                          when they end
//   all_sent        1                                      thread 0, the sums themselves      threads of the epilogue that add them
//   cluster, of tiles whose sums are not sent: its CTAs' math warps, around the epilogue
//
// Groups (P.grouping): a CTA multiplies its rows of tokens with the matrix of their group; where rows of one tile belong to several
// groups, with one after the other, and of each product it stores the rows that are that group's. Masked, it goes on to further tiles
// of its batch's rows, where more rows count than were expected.
//
// Order of arithmetic, per element of d and group of warps along k: its k tiles in rising order; inside a tile the groups of k that
// share the outside factors, in rising order: acc = fma(partial * factor_a, factor_b, acc).
//   block-scaled targets: the MMA applies UE8M0 scales and the exponents of FP32 scales; factor_a and factor_b are what is left
//     of FP32 scales, from 1 to 2, and are left out beside UE8M0. Where every FP32 scale that a warp loads for a tile is a power of
//     two, nothing is left: the MMA adds to acc itself.
//   others: two FP32 scales are the factors themselves. Beside a UE8M0 scale, each factor takes half of both exponents, so that
//     neither product leaves FP32's range where the result does not; factor_a has a's fraction, factor_b has b's.
// The epilogue adds the groups' and splits' sums up and rounds once (prim/epilogue.cuh).
#pragma once

#include "deepwell/gemm.h"
#include "deepwell/mma/target.cuh"
#include "deepwell/notes.h"
#include "deepwell/prim/epilogue.cuh"
#include "deepwell/prim/fragments.cuh"
#include "deepwell/prim/groups.cuh"
#include "deepwell/prim/load_operand.cuh"
#include "deepwell/prim/ring.cuh"
#include "deepwell/prim/scales.cuh"
#include "deepwell/ptx/mma.cuh"
#include "deepwell/ptx/reduce.cuh"
#include "deepwell/ptx/registers.cuh"

namespace deepwell {

template <GemmPlan P, class Target>
struct GemmMx {
  static constexpr GemmSmemMap kSmem = smem_map(P);
  static constexpr int kMathWarps = math_warps(P);
  static constexpr int kTileWarps = kMathWarps / P.warps_k;  // that share a k tile
  static constexpr int kThreads = threads(P);
  // CTAs that share an SM: where one stage is much work for a warp, few of them leave the memory idle.
  static constexpr int kMinCtasPerSm =
      !Target::kBlockScaled && P.swap && P.tile_cols <= 16 ? (kMathWarps > 4 ? 2 : 3) : 1;
  static constexpr int kXTiles = P.tile_rows / P.warps_rows / 16;  // MMA tiles of a warp
  static constexpr int kYTiles = P.tile_cols / P.warps_cols / 8;
  static constexpr bool kK64 = Target::kBlockScaled && uses_k64(P);
  static constexpr int kSteps = kK64 ? 2 : 4;  // MMA steps per stage

  // Which operand's scales the MMA applies as a whole.
  static constexpr bool kXInside = Target::kBlockScaled && P.x_scale == ScaleKind::kUe8m0;
  static constexpr bool kYInside = Target::kBlockScaled && P.y_scale == ScaleKind::kUe8m0;
  static constexpr bool kAllInside = kXInside && kYInside;
  // Elements of k that share their outside scales.
  static constexpr int kOutsideK =
      (!kXInside && P.x_gran_k == 32) || (!kYInside && P.y_gran_k == 32) ? 32 : 128;
  static constexpr int kGroups = kTileK / kOutsideK;

  // Whether both operands become f16: e2m1 by moving its bits there.
  static constexpr bool kAsF16 = !Target::kBlockScaled && (P.x == Dtype::kE2m1 || P.y == Dtype::kE2m1);
  static constexpr Fragment form_of(Dtype operand) {
    if (kAsF16) return operand == Dtype::kE4m3 ? Fragment::kInterleaved : Fragment::kMoved;
    if (operand == Dtype::kE4m3) return Fragment::kBytes;
    if (kK64) return Fragment::kPacked;
    return Target::kBlockScaled && P.native_e2m1 ? Fragment::kContainers : Fragment::kWidened;
  }
  static constexpr Fragment kXForm = form_of(P.x);
  static constexpr Fragment kYForm = form_of(P.y);
  // What partial sums of moved e2m1 elements lack.
  static constexpr float kXFactor = kXForm == Fragment::kMoved ? kMovedE2m1 : 1.0f;
  static constexpr float kYFactor = kYForm == Fragment::kMoved ? kMovedE2m1 : 1.0f;
  static constexpr bool kNegative = kXFactor * kYFactor < 0;
  static constexpr ScaleSlots kXSlots = x_scale_slots(P);
  static constexpr ScaleSlots kYSlots = y_scale_slots(P);
  static constexpr int kXRegisters = 4 * mmas_of(kXForm);  // of a k step's fragments
  static constexpr int kYRegisters = 2 * mmas_of(kYForm);
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
    int token_rows;  // rows of a that count
    int token_row;   // first row of a
  };

  __device__ static Work work_of(GemmArgs const& args) {
    TileWalk const walk{args.row_tiles, args.col_tiles};
    TileWalk::Tile const tile = walk.at(blockIdx.x);
    int const k_tiles = static_cast<uint32>(args.k + kTileK - 1) / kTileK;
    int const first = blockIdx.y * args.k_tiles_per_split;
    int const left = k_tiles - first;
    int const token_rows = P.swap ? args.y.rows : args.x.rows;
    return {.row = tile.row * P.tile_rows,
            .col = tile.col * P.tile_cols,
            .first_k_tile = first,
            .num_k_tiles = left < args.k_tiles_per_split ? left : args.k_tiles_per_split,
            .token_rows = P.grouping == Grouping::kMasked ? masked_rows(args, token_rows) : token_rows,
            .token_row = P.swap ? tile.col * P.tile_cols : tile.row * P.tile_rows};
  }

  /// Of this batch's rows those that count.
  __device__ static int masked_rows(GemmArgs const& args, int most) {
    int const wanted = static_cast<int>(load_global_u32(args.layout + blockIdx.z));
    int const rows = wanted < 0 ? 0 : wanted < most ? wanted : most;
    if (rows != wanted && blockIdx.x == 0 && threadIdx.x == 0)
      add_relaxed_gpu(args.notes + static_cast<int>(Note::kBadGroupSize), 1);
    return rows;
  }

  /// Writes the groups of the tile's rows to shared memory; by one warp.
  __device__ static void find_groups(GemmArgs const& args, SmemAddr smem, Work const& work) {
    GroupIds const ids{.ids = args.layout, .rows = work.token_rows, .groups = args.groups};
    uint32 const invalid =
        find_owners<tile_m(P)>(smem + kSmem.owners, ids, work.token_row, args.block, lane_id());
    // One CTA of those that share these rows notes them.
    uint32 const sum = sum_over_lanes((P.swap ? work.row : work.col) == 0 ? invalid : 0);
    if (sum != 0 && lane_id() == 0) add_relaxed_gpu(args.notes + static_cast<int>(Note::kBadGroupId), sum);
  }

  // The matrix of b of the tile's first product, and of the one after `group`; kNoGroup when there is none.
  __device__ static uint32 first_product(SmemAddr smem, Work const& work, int lane) {
    if constexpr (P.grouping == Grouping::kContiguous) {
      return next_group<tile_m(P)>(smem + kSmem.owners, kNoGroup, lane);
    } else if constexpr (P.grouping == Grouping::kMasked) {
      return work.token_row < work.token_rows ? blockIdx.z : kNoGroup;
    } else {
      return blockIdx.z;
    }
  }
  /// Masked: CTAs take every so many tiles of tokens, as many as the launch has; `work` moves on.
  __device__ static uint32 next_product(GemmArgs const& args, SmemAddr smem, Work& work, uint32 group,
                                        int lane) {
    if constexpr (P.grouping == Grouping::kContiguous) {
      return next_group<tile_m(P)>(smem + kSmem.owners, group, lane);
    } else if constexpr (P.grouping == Grouping::kMasked) {
      work.token_row += tile_m(P) * (P.swap ? args.col_tiles : args.row_tiles);
      (P.swap ? work.col : work.row) = work.token_row;
      return work.token_row < work.token_rows ? group : kNoGroup;
    } else {
      return kNoGroup;
    }
  }

  /// Between two products: the ring's memory held staged sums, and goes back to asynchronous copies.
  __device__ static void between_products() {
    fence_proxy_async_shared();
    barrier_sync(2, 32 * (kMathWarps + 1));
  }

  __device__ static void run(GemmArgs const& args) {
    extern __shared__ __align__(1024) unsigned char smem_bytes[];
    SmemAddr const smem = smem_addr(smem_bytes);
    bool const loads = threadIdx.x / 32 == kMathWarps;
    if (threadIdx.x == 32 * kMathWarps) {
      int const arrivals = args.loads == Loads::kCopies ? 1 : args.loads == Loads::kWords ? 33 : 65;
      for (int stage = 0; stage < P.stages; ++stage) {
        mbarrier_init(smem + kSmem.full + 8 * stage, arrivals);
        mbarrier_init(smem + kSmem.empty + 8 * stage, P.every_reader_arrives ? 32 * kMathWarps : kMathWarps);
      }
      fence_mbarrier_init();
    }
    if (threadIdx.x == 0) prefetch_maps(args);
    grid_dependency_wait();
    grid_launch_dependents();
    Work const work = work_of(args);
    if (loads) {
      // Goes on without the others, who wait for its barriers and for the groups.
      if constexpr (P.grouping == Grouping::kContiguous) find_groups(args, smem, work);
      warp_sync();
      barrier_arrive(0, kThreads);
    } else {
      if (sends(args)) {
        if (threadIdx.x == 0)
          Epilogue<P>::expect_sums(smem + kSmem.all_sent, work.token_rows - work.token_row, blockIdx.y,
                                   args.splits);
        cluster_arrive_relaxed();  // the load warp does so when it ends
      }
      barrier_sync(0, kThreads);
    }
    if (threadIdx.x / 32 >= kMathWarps) {
      if constexpr (moves_registers(P)) registers_decrease<72>();
      if (threadIdx.x / 32 == kMathWarps) load_role(args, smem, work);
    } else {
      if constexpr (moves_registers(P)) registers_increase<216>();
      math_role(args, smem, work);
    }
  }

  /// Whether sums go to the CTAs of the cluster that add them.
  __device__ static bool sends(GemmArgs const& args) { return Epilogue<P>::kSends && args.splits > 1; }

  __device__ static void prefetch_maps(GemmArgs const& args) {
    if (args.x.data_source == Source::kTma) prefetch_tensor_map(&args.x.data_map);
    if (args.y.data_source == Source::kTma) prefetch_tensor_map(&args.y.data_map);
    if (args.x.scale_source == Source::kTma) prefetch_tensor_map(&args.x.scale_map);
    if (args.y.scale_source == Source::kTma) prefetch_tensor_map(&args.y.scale_map);
  }

  // ---- load role ----

  /// A stage's tiles from k tile `k_tile` on; what lies past k arrives as zeros.
  template <Loads kLoads, Dtype kType, int kTileRows>
  __device__ static void load_data(GemmOperandArgs const& operand, SmemAddr tile, SmemAddr full,
                                   int first_row, int k_tile, int batch, int k, int lane) {
    constexpr int kRowBytes = row_bytes(kType);
#pragma unroll
    for (int t = 0; t < P.k_tiles; ++t) {
      SmemAddr const to = tile + t * kTileRows * kRowBytes;
      if (kLoads != Loads::kAny || operand.data_source == Source::kTma) {
        if (kLoads == Loads::kCopies || lane == 0)
          tma_load_3d(to, &operand.data_map, (k_tile + t) * kRowBytes, first_row, batch, full);
      } else {
        load_tile_plain<kRowBytes, kTileRows>(to, operand, first_row, k_tile + t, batch,
                                              k * bits_of(kType) / 8, lane);
      }
    }
  }

  /// The scales of the slot that has k tile `k_tile`.
  template <Loads kLoads, ScaleKind kScale, int kGranK, ScaleSlots kSlots, int kTileRows>
  __device__ static void load_slot(GemmOperandArgs const& operand, SmemAddr scales, SmemAddr full,
                                   int first_row, int k_tile, Work const& work, int batch, int k, int lane) {
    int const word = static_cast<int>(static_cast<uint32>(k_tile) / kSlots.tiles) * kSlots.words;
    if (kLoads == Loads::kCopies || operand.scale_source == Source::kTma) {
      if (kLoads == Loads::kCopies || lane == 0)
        tma_load_3d(scales, &operand.scale_map, first_row, word, batch, full);
    } else {
      constexpr int kTileWords = scale_words(kScale, kGranK);
      int const groups = (k + kGranK - 1) / kGranK;
      int const end = (work.first_k_tile + work.num_k_tiles) * kTileWords;
      load_scales<kScale, kSlots, kTileRows, kLoads == Loads::kAny>(
          scales, operand, first_row, word, k_tile * kTileWords, end < groups ? end : groups, batch, groups,
          lane);
    }
  }

  /// The slot of `scales` with k tile `k_tile`, in stage `stage` of a product that begins with `first_k_tile`.
  template <ScaleSlots kSlots>
  __device__ static SmemAddr slot_at(SmemAddr scales, int stage, int first_k_tile, int k_tile) {
    if constexpr (kSlots.tiles == P.k_tiles) {  // each stage has its slot
      return scales + stage * kSlots.bytes;
    } else {
      uint32 const slot =
          static_cast<uint32>(k_tile) / kSlots.tiles - static_cast<uint32>(first_k_tile) / kSlots.tiles;
      return scales + slot % kSlots.slots * kSlots.bytes;
    }
  }

  /// Fills the stages of one product: kCopies by one lane alone, else by the whole warp.
  template <Loads kLoads>
  __device__ static void load_product(GemmArgs const& args, SmemAddr smem, Work const& work, int x_batch,
                                      int y_batch, RingPosition<P.stages> at, int lane) {
#pragma unroll 1
    for (int i = 0; i < work.num_k_tiles; i += P.k_tiles, at.advance()) {
      SmemAddr const full = smem + kSmem.full + 8 * at.stage;
      mbarrier_wait(smem + kSmem.empty + 8 * at.stage, at.phase ^ 1);
      int const k_tile = work.first_k_tile + i;
      bool const with_x = i == 0 || static_cast<uint32>(k_tile) % kXSlots.tiles == 0;
      bool const with_y = i == 0 || static_cast<uint32>(k_tile) % kYSlots.tiles == 0;
      if (kLoads == Loads::kCopies || lane == 0) {
        mbarrier_arrive_expect_tx(full, args.stage_copy_bytes + (with_x ? args.x.scale_copy_bytes : 0) +
                                            (with_y ? args.y.scale_copy_bytes : 0));
      }
      load_data<kLoads, P.x, P.tile_rows>(args.x, smem + kSmem.x + at.stage * kSmem.x_stage_bytes, full,
                                          work.row, k_tile, x_batch, args.k, lane);
      load_data<kLoads, P.y, P.tile_cols>(args.y, smem + kSmem.y + at.stage * kSmem.y_stage_bytes, full,
                                          work.col, k_tile, y_batch, args.k, lane);
      if (with_x) {
        load_slot<kLoads, P.x_scale, P.x_gran_k, kXSlots, P.tile_rows>(
            args.x, slot_at<kXSlots>(smem + kSmem.scale_x, at.stage, work.first_k_tile, k_tile), full,
            work.row, k_tile, work, x_batch, args.k, lane);
      }
      if (with_y) {
        load_slot<kLoads, P.y_scale, P.y_gran_k, kYSlots, P.tile_cols>(
            args.y, slot_at<kYSlots>(smem + kSmem.scale_y, at.stage, work.first_k_tile, k_tile), full,
            work.col, k_tile, work, y_batch, args.k, lane);
      }
      if (kLoads != Loads::kCopies) cp_async_mbarrier_arrive(full);
      if (kLoads == Loads::kAny) mbarrier_arrive(full);
    }
  }

  // FP32 scales have no tensor maps.
  static constexpr bool kMayCopy = P.x_scale == ScaleKind::kUe8m0 && P.y_scale == ScaleKind::kUe8m0;

  __device__ static void load_role(GemmArgs const& args, SmemAddr smem, Work work) {
    int const lane = lane_id();
    int const stages = (work.num_k_tiles + P.k_tiles - 1) / P.k_tiles;
    RingPosition<P.stages> at;
    for (uint32 group = first_product(smem, work, lane); group != kNoGroup;) {
      int const tokens = P.grouping == Grouping::kContiguous ? 0 : static_cast<int>(group);
      int const x_batch = P.swap ? static_cast<int>(group) : tokens;
      int const y_batch = P.swap ? tokens : static_cast<int>(group);
      bool const copies = kMayCopy && args.loads == Loads::kCopies;
      if (copies) {
        if constexpr (kMayCopy) {
          if (elect_lane()) load_product<Loads::kCopies>(args, smem, work, x_batch, y_batch, at, lane);
        }
        warp_sync();
      } else if (args.loads == Loads::kWords) {
        load_product<Loads::kWords>(args, smem, work, x_batch, y_batch, at, lane);
      } else {
        load_product<Loads::kAny>(args, smem, work, x_batch, y_batch, at, lane);
      }
      at.advance_by(stages);
      group = next_product(args, smem, work, group, lane);
      if (P.grouping != Grouping::kNone && group != kNoGroup) between_products();
    }
  }

  // ---- math role ----

  /// The scales of one k tile.
  template <ScaleSlots kSlots>
  __device__ static SmemAddr scales_of(SmemAddr scales, int stage, int first_k_tile, int k_tile) {
    constexpr int kTileWords = kSlots.words / kSlots.tiles;  // 0: a word serves all
    int const in_slot = static_cast<uint32>(k_tile) % kSlots.tiles;
    return slot_at<kSlots>(scales, stage, first_k_tile, k_tile) + in_slot * kTileWords * 4 * kSlots.pitch;
  }

  /// A warp's share of the tile, and its group along k.
  struct Share {
    int row, col, warp_k, lane;
  };

  /// Where a warp stands in the tile, and what it reads of one k tile.
  struct Stage {
    SmemAddr x, y, scale_x, scale_y;
    int k_tile;
    int steps;  // of the stage's four steps of 32, those inside k
    int row, col, lane;
  };

  /// k tile `tile` of a stage whose first one is the work's `first`th.
  __device__ static Stage stage_of(GemmArgs const& args, SmemAddr smem, Work const& work, int stage,
                                   int first, int tile, Share const& share) {
    int const k_tile = work.first_k_tile + first + tile;
    int const left = static_cast<int>(static_cast<uint32>(args.k) / kStepK) - 4 * k_tile;
    return {.x = smem + kSmem.x + stage * kSmem.x_stage_bytes + tile * kSmem.x_tile_bytes,
            .y = smem + kSmem.y + stage * kSmem.y_stage_bytes + tile * kSmem.y_tile_bytes,
            .scale_x = scales_of<kXSlots>(smem + kSmem.scale_x, stage, work.first_k_tile, k_tile),
            .scale_y = scales_of<kYSlots>(smem + kSmem.scale_y, stage, work.first_k_tile, k_tile),
            .k_tile = k_tile,
            .steps = left < 4 ? left : 4,
            .row = share.row,
            .col = share.col,
            .lane = share.lane};
  }

  __device__ static void math_role(GemmArgs const& args, SmemAddr smem, Work work) {
    int const warp = threadIdx.x / 32 % kTileWarps;
    int const warp_k = threadIdx.x / 32 / kTileWarps;
    int const lane = lane_id();
    int const row = warp / P.warps_cols * (P.tile_rows / P.warps_rows);
    int const col = warp % P.warps_cols * (P.tile_cols / P.warps_cols);
    RingPosition<P.stages> at;
    for (uint32 group = first_product(smem, work, lane); group != kNoGroup;) {
      Accumulators acc = {};
      for (int i = 0; i < work.num_k_tiles; i += P.k_tiles, at.advance()) {
        mbarrier_wait(smem + kSmem.full + 8 * at.stage, at.phase);
#pragma unroll
        for (int t = 0; t < P.k_tiles; t += P.warps_k) {
          Stage const stage = stage_of(args, smem, work, at.stage, i, t + warp_k, {row, col, warp_k, lane});
          if (P.k_tiles == 1 || stage.steps > 0) multiply_stage(acc, stage);
        }
        release_stage<P.every_reader_arrives>(smem + kSmem.empty + 8 * at.stage);
      }
      finish(args, smem, work, acc, {row, col, warp_k, lane}, group);
      group = next_product(args, smem, work, group, lane);
      if (P.grouping != Grouping::kNone && group != kNoGroup) between_products();
    }
  }

  // Scale words as the MMA takes them: two x tiles share a word per lane (lanes t = 0, 1 hold rows g, g + 8 of the even tile,
  // t = 2, 3 of the odd one), four y tiles likewise (lane t holds column g of tile t).
  static constexpr int kXWords = (kXTiles + 1) / 2;
  static constexpr int kYWords = (kYTiles + 3) / 4;

  /// One row's scales of this stage as exponent bytes per k step. FP32 scales clear `powers` if one is more than its exponent.
  template <ScaleKind kKind, int kGranK, int kPitch>
  __device__ static uint32 exponent_word(SmemAddr scales, int row, Stage const& stage, bool& powers) {
    if constexpr (kKind == ScaleKind::kUe8m0) {
      return step_scales<kGranK>(load_shared_u32(scales + 4 * row), stage.k_tile, stage.steps);
    } else {
      uint32 word = 0;
#pragma unroll
      for (int group = 0; group < kTileK / kGranK; ++group) {
        uint32 const value = load_shared_u32(scales + 4 * (group * kPitch + row));
        bool const inside = kGranK == 128 || group < stage.steps;
        if (inside && !is_plain_power_of_two(value)) powers = false;
        word |= (inside ? exponent_byte(value) : 0x7fu) << (8 * group);
      }
      return kGranK == 128 ? word * 0x01010101u : word;
    }
  }

  struct ScaleWords {
    uint32 x[kXWords], y[kYWords];
  };

  /// Loads the words of all MMA tiles of the warp; false if some lane met an FP32 scale that the MMA cannot apply alone.
  __device__ static bool load_scale_words(ScaleWords& words, Stage const& stage) {
    int const g = stage.lane / 4;
    int const t = stage.lane % 4;
    bool powers = true;
#pragma unroll
    for (int i = 0; i < kXWords; ++i) {
      int const tile = kXTiles == 1 ? 0 : 2 * i + t / 2;
      words.x[i] = exponent_word<P.x_scale, P.x_gran_k, kXSlots.pitch>(
          stage.scale_x, stage.row + 16 * tile + g + 8 * (t % 2), stage, powers);
    }
#pragma unroll
    for (int j = 0; j < kYWords; ++j) {
      int const tile = kYTiles < 4 ? t % kYTiles : 4 * j + t;
      words.y[j] = exponent_word<P.y_scale, P.y_gran_k, kYSlots.pitch>(
          stage.scale_y, stage.col + 8 * tile + g, stage, powers);
    }
    if constexpr (kAllInside) {
      return true;
    } else {
      return all_lanes(powers);
    }
  }

  /// One MMA with the scales of x tile i, y tile j and k step `kStep`.
  template <int kI, int kJ, int kStep>
  __device__ static void mma(float (&d)[4], uint32 const (&x)[kXRegisters], uint32 const (&y)[kYRegisters],
                             ScaleWords const& words) {
    if constexpr (kAsF16) {
      mma_f16_m16n8k16(d, x, y);
      mma_f16_m16n8k16(d, x + 4, y + 2);
    } else if constexpr (!Target::kBlockScaled) {
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
    ScaleWords words{};
    bool inside = false;
    if constexpr (Target::kBlockScaled) inside = load_scale_words(words, stage);
    if constexpr (!Target::kBlockScaled) {
      multiply_outside(acc, stage, words);
    } else if constexpr (kAllInside) {
      multiply_inside(acc, stage, words);
    } else {
      multiply_scaled(acc, stage, words, inside);
    }
  }

  __device__ static void multiply_inside(Accumulators& acc, Stage const& stage, ScaleWords const& words) {
    uint32 y[kYTiles][kSteps][col_words(kYForm)];
#pragma unroll
    for (int j = 0; j < kYTiles; ++j)
      load_col_fragments<kYForm, kSteps>(y[j], stage.y, stage.col + 8 * j, stage.lane);
    unrolled<0, kXTiles>([&]<int kI>() {
      uint32 x[kSteps][row_words(kXForm)];
      load_row_fragments<kXForm, kSteps>(x, stage.x, stage.row + 16 * kI, stage.lane);
      unrolled<0, kSteps>([&]<int kStep>() {
        unrolled<0, kYTiles>(
            [&]<int kJ>() { mma<kI, kJ, kStep>(acc[kI][kJ], x[kStep], y[kJ][kStep], words); });
      });
    });
  }

  // The scale of one row (or column) for one group of k: the bits of an FP32 value, or a UE8M0 byte.
  template <ScaleKind kKind, int kGranK, int kPitch>
  __device__ static uint32 outside_scale(SmemAddr scales, int row, int group, Stage const& stage) {
    constexpr int kStepsPerGroup = 4 / kGroups;
    int const step = group * kStepsPerGroup;
    if constexpr (kKind == ScaleKind::kF32) {
      uint32 const value = load_shared_u32(scales + 4 * (kGranK == 128 ? row : step * kPitch + row));
      return step < stage.steps ? value : 0x3f800000u;
    } else {
      return step_scales<kGranK>(load_shared_u32(scales + 4 * row), stage.k_tile, stage.steps) >> (8 * step) &
             0xffu;
    }
  }

  template <ScaleKind kKind>
  __device__ static HalfPowers halves_of(uint32 scale) {
    return kKind == ScaleKind::kF32 ? half_scales(scale) : half_powers(scale);
  }

  /// acc = fma(partial * factor_a, factor_b, acc) with the factors that stand outside.
  __device__ static float promote(float partial, uint32 scale_x, uint32 scale_y, float acc) {
    if constexpr (kAsF16) partial *= kXFactor * kYFactor;  // not the scales, which may be at FP32's end
    if constexpr (kXInside) {
      return fma_rn(partial, factor_beside_exponent(scale_y), acc);
    } else if constexpr (kYInside) {
      return fma_rn(partial, factor_beside_exponent(scale_x), acc);
    } else if constexpr (P.x_scale == ScaleKind::kF32 && P.y_scale == ScaleKind::kF32) {
      float const x = Target::kBlockScaled ? factor_beside_exponent(scale_x) : bits_to_f32(scale_x);
      float const y = Target::kBlockScaled ? factor_beside_exponent(scale_y) : bits_to_f32(scale_y);
      return P.swap ? fma_rn(partial * y, x, acc) : fma_rn(partial * x, y, acc);
    } else {
      HalfPowers const x = halves_of<P.x_scale>(scale_x);
      HalfPowers const y = halves_of<P.y_scale>(scale_y);
      float const with_x = x.lower * y.upper, with_y = y.lower * x.upper;
      return P.swap ? fma_rn(partial * with_y, with_x, acc) : fma_rn(partial * with_x, with_y, acc);
    }
  }

  // Scales of a warp's rows and columns for one stage, in registers, on targets whose MMA takes none. Where all are moderate, from
  // 2^-63 to 2^64, no product of two of them and a partial sum leaves FP32's range before the result does, and they act as they
  // are: the same bits as with halves, in a third of the instructions.
  static constexpr bool kOneWord =
      scale_words(P.x_scale, P.x_gran_k) == 1 && scale_words(P.y_scale, P.y_gran_k) == 1;
  static constexpr bool kInRegisters = !Target::kBlockScaled && kOneWord;
  struct OutsideWords {
    uint32 x[kXTiles][2], y[kYTiles][2];
    bool moderate;
  };

  /// The word as factors are taken from it; clears `moderate` if one of its scales is not. Scales past k go along: moderate ones
  /// meet sums of zeros.
  template <ScaleKind kKind, int kGranK, Fragment kForm>
  __device__ static uint32 outside_word(uint32 word, Stage const& stage, bool& moderate) {
    constexpr bool kOneByte = kKind == ScaleKind::kUe8m0 && kGranK == 128;
    constexpr uint32 kTop =  // of each exponent
        kKind == ScaleKind::kF32 ? 0x40000000u
        : kOneByte               ? 0x80u
                                 : 0x80808080u;
    if constexpr (kOneByte) {
      word = word >> (8 * (static_cast<uint32>(stage.k_tile) % 4)) & 0xffu;
    }
    if (((word ^ word << 1) & kTop) != kTop) moderate = false;
    if constexpr (kForm == Fragment::kMoved)
      word += kMovedE2m1Log2 * (kKind == ScaleKind::kF32 ? 1u << 23 : 0x01010101u);
    return word;
  }

  __device__ static OutsideWords load_outside_words(Stage const& stage) {
    OutsideWords words{};
    if constexpr (kInRegisters) {
      int const g = stage.lane / 4;
      int const t = stage.lane % 4;
      bool moderate = true;
#pragma unroll
      for (int i = 0; i < kXTiles; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          uint32 const word = load_shared_u32(stage.scale_x + 4 * (stage.row + 16 * i + g + 8 * half));
          words.x[i][half] = outside_word<P.x_scale, P.x_gran_k, kXForm>(word, stage, moderate);
        }
      }
#pragma unroll
      for (int j = 0; j < kYTiles; ++j) {
        load_shared_u32x2(words.y[j], stage.scale_y + 4 * (stage.col + 8 * j + 2 * t));
#pragma unroll
        for (uint32& word : words.y[j])
          word = outside_word<P.y_scale, P.y_gran_k, kYForm>(word, stage, moderate);
      }
      words.moderate = all_lanes(moderate);
    }
    return words;
  }

  /// The factor of one group of k.
  template <ScaleKind kKind, int kGranK, int kGroup>
  __device__ static float moderate_factor(uint32 word) {
    constexpr int kByte = kGranK == 128 ? 0 : kGroup * (4 / kGroups);
    if constexpr (kKind == ScaleKind::kF32) {
      return bits_to_f32(word);
    } else if constexpr (kByte == 3) {
      return bits_to_f32(word >> 1 & 0x7f800000u);
    } else {
      return bits_to_f32(word << (23 - 8 * kByte) & 0x7f800000u);
    }
  }

  template <int kGroup>
  __device__ static void promote_moderate(float (&acc)[kYTiles][4], float const (&partial)[kYTiles][4],
                                          uint32 const (&words_x)[2], uint32 const (&words_y)[kYTiles][2]) {
    float x[2];
#pragma unroll
    for (int half = 0; half < 2; ++half)
      x[half] = moderate_factor<P.x_scale, P.x_gran_k, kGroup>(words_x[half]);
#pragma unroll
    for (int j = 0; j < kYTiles; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float const y = moderate_factor<P.y_scale, P.y_gran_k, kGroup>(words_y[j][e % 2]);
        float const sum = kNegative ? -partial[j][e] : partial[j][e];
        acc[j][e] = P.swap ? fma_rn(sum * y, x[e / 2], acc[j][e]) : fma_rn(sum * x[e / 2], y, acc[j][e]);
      }
    }
  }

  // The fragments of a stage's columns: words as they were loaded, or expanded once for all rows where that takes few registers.
  static constexpr bool kYExpanded = kXTiles > 1 && kYTiles* kSteps* kYRegisters <= 32;
  static constexpr int kYWidth = kYExpanded ? kYRegisters : col_words(kYForm);
  using YFragments = uint32[kYTiles][kSteps][kYWidth];

  __device__ static void load_y(YFragments& y, Stage const& stage) {
#pragma unroll
    for (int j = 0; j < kYTiles; ++j) {
      if constexpr (kYExpanded) {
        uint32 loaded[kSteps][col_words(kYForm)];
        load_col_fragments<kYForm, kSteps>(loaded, stage.y, stage.col + 8 * j, stage.lane);
#pragma unroll
        for (int step = 0; step < kSteps; ++step) expand_col_fragment<kYForm>(y[j][step], loaded[step]);
      } else {
        load_col_fragments<kYForm, kSteps>(y[j], stage.y, stage.col + 8 * j, stage.lane);
      }
    }
  }

  /// The partial sums of one x tile and one group of k, onto what `partial` holds.
  template <int kI, int kGroup>
  __device__ static void multiply_group(float (&partial)[kYTiles][4],
                                        uint32 const (&x)[kSteps][row_words(kXForm)], YFragments const& y,
                                        ScaleWords const& words) {
    constexpr int kStepsPerGroup = 4 / kGroups;
    unrolled<kGroup * kStepsPerGroup, (kGroup + 1) * kStepsPerGroup>([&]<int kStep>() {
      uint32 x_step[kXRegisters];
      expand_row_fragment<kXForm>(x_step, x[kStep]);
      unrolled<0, kYTiles>([&]<int kJ>() {
        if constexpr (kYExpanded) {
          mma<kI, kJ, kStep>(partial[kJ], x_step, y[kJ][kStep], words);
        } else {
          uint32 y_step[kYRegisters];
          expand_col_fragment<kYForm>(y_step, y[kJ][kStep]);
          mma<kI, kJ, kStep>(partial[kJ], x_step, y_step, words);
        }
      });
    });
  }

  /// Targets with block scales, beside FP32 ones. Where `inside` says that the MMA applied all there is, its sums go on from acc; else
  /// they start from zero and are scaled. One text for both: the instructions are the same, and twice as many take twice as long to
  /// compile.
  __device__ static void multiply_scaled(Accumulators& acc, Stage const& stage, ScaleWords const& words,
                                         bool inside) {
    YFragments y;
    load_y(y, stage);
    unrolled<0, kXTiles>([&]<int kI>() {
      uint32 x[kSteps][row_words(kXForm)];
      load_row_fragments<kXForm, kSteps>(x, stage.x, stage.row + 16 * kI, stage.lane);
      unrolled<0, kGroups>([&]<int kGroup>() {
        float partial[kYTiles][4];
#pragma unroll
        for (int j = 0; j < kYTiles; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e) partial[j][e] = inside ? acc[kI][j][e] : 0.0f;
        }
        multiply_group<kI, kGroup>(partial, x, y, words);
        if (inside) {
#pragma unroll
          for (int j = 0; j < kYTiles; ++j) {
#pragma unroll
            for (int e = 0; e < 4; ++e) acc[kI][j][e] = partial[j][e];
          }
        } else {
          promote_tiles(acc[kI], partial, stage, stage.row + 16 * kI, kGroup);
        }
      });
    });
  }

  // Groups of k whose partial sums are made before any is scaled: their MMAs do not wait for each other.
  static constexpr int kGroupsAtOnce = kYTiles * kGroups <= 8 ? kGroups : 1;

  /// Targets without: every partial sum starts from zero and is scaled.
  __device__ static void multiply_outside(Accumulators& acc, Stage const& stage, ScaleWords const& words) {
    OutsideWords const outside = load_outside_words(stage);
    YFragments y;
    load_y(y, stage);
    unrolled<0, kXTiles>([&]<int kI>() {
      uint32 x[kSteps][row_words(kXForm)];
      load_row_fragments<kXForm, kSteps>(x, stage.x, stage.row + 16 * kI, stage.lane);
      unrolled<0, kGroups / kGroupsAtOnce>([&]<int kBatch>() {
        constexpr int kFirst = kBatch * kGroupsAtOnce;
        float partial[kGroupsAtOnce][kYTiles][4] = {};
        unrolled<0, kGroupsAtOnce>(
            [&]<int kIn>() { multiply_group<kI, kFirst + kIn>(partial[kIn], x, y, words); });
        if (kInRegisters && outside.moderate) {
          unrolled<0, kGroupsAtOnce>([&]<int kIn>() {
            promote_moderate<kFirst + kIn>(acc[kI], partial[kIn], outside.x[kI], outside.y);
          });
        } else {
          unrolled<0, kGroupsAtOnce>([&]<int kIn>() {
            promote_tiles(acc[kI], partial[kIn], stage, stage.row + 16 * kI, kFirst + kIn);
          });
        }
      });
    });
  }

  /// The sums of one x tile and one group of k into acc; `row` is the tile's first row.
  __device__ static void promote_tiles(float (&acc)[kYTiles][4], float const (&partial)[kYTiles][4],
                                       Stage const& stage, int row, int group) {
    int const g = stage.lane / 4;
    int const t = stage.lane % 4;
    uint32 scale_x[2] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if constexpr (!kXInside) {
        scale_x[half] = outside_scale<P.x_scale, P.x_gran_k, kXSlots.pitch>(stage.scale_x, row + g + 8 * half,
                                                                            group, stage);
      }
    }
#pragma unroll
    for (int j = 0; j < kYTiles; ++j) {
      uint32 scale_y[2] = {};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if constexpr (!kYInside) {
          scale_y[half] = outside_scale<P.y_scale, P.y_gran_k, kYSlots.pitch>(
              stage.scale_y, stage.col + 8 * j + 2 * t + half, group, stage);
        }
      }
#pragma unroll
      for (int e = 0; e < 4; ++e)
        acc[j][e] = promote(partial[j][e], scale_x[e / 2], scale_y[e % 2], acc[j][e]);
    }
  }

  /// Sums to d, through shared memory that the ring no longer needs.
  __device__ static void finish(GemmArgs const& args, SmemAddr smem, Work const& work,
                                Accumulators const& acc, Share const& share, uint32 group) {
    using D = Epilogue<P>;
    int const m = work.token_row;
    int const n = P.swap ? work.row : work.col;
    typename D::Place const place{.m = m,
                                  .n = n,
                                  .rows_left = work.token_rows - m,
                                  .cols_left = (P.swap ? args.x.rows : args.y.rows) - n,
                                  .batch = static_cast<int>(blockIdx.z),
                                  .owners = smem + kSmem.owners,
                                  .group = group};
    barrier_sync(1, D::kThreads);  // every math warp has read its last stage
    D::stage(acc, smem + kSmem.d + share.warp_k * staged_bytes(P), share.row, share.col, share.lane);
    if constexpr (D::kSends) {
      barrier_sync(1, D::kThreads);
      if (args.splits > 1) {
        cluster_wait();  // everybody's all_sent is there
        D::send(smem + kSmem.d, smem + kSmem.sent, smem + kSmem.all_sent, place.rows_left, blockIdx.y,
                args.splits);
        D::store_sent(args, place, smem + kSmem.sent, smem + kSmem.all_sent, blockIdx.y);
      } else {
        D::store(args, place, smem + kSmem.d, 0);
      }
    } else if (P.grouping == Grouping::kNone && args.splits > 1) {
      cluster_sync();
      D::store(args, place, smem + kSmem.d, blockIdx.y);
      cluster_sync();  // nobody leaves whose sums are still read
    } else {
      barrier_sync(1, D::kThreads);
      D::store(args, place, smem + kSmem.d, 0);
    }
  }
};

}  // namespace deepwell

// Logits of the lightning indexer: out[i, j] = scale[j] * sum over heads of max(0, <q[i, h], key[j]>) * weight[i, h], for the keys that
// row i sees; keys as one matrix or in pages. Keys stand on the MMA's 16-row side, heads on its 8-column side: a warp keeps all heads
// of its row of queries in registers and keys pass by (prim/mqa_math.cuh). CTAs take equal shares of all tiles of keys.
//
//   warp       role        reads                                                    writes
//   0 .. 7     math_role   stages of keys and of queries                            logits
//   8          load_role   global (TMA, or bytes), lengths, block table             stages, their headers
//   9 .. 11    none: they fill the load warp's warpgroup, whose registers go to the math warps
//   Warp w works on row w / G of its unit and on part w % G of a tile's keys, with G = 8 / query_warps.
//   Queries come through the ring of keys, before the first tile of their unit: nothing waits when the unit changes.
//
//   barrier         init                    arrives                                                       waits
//   full[stage]     1, + 32 with bytes      load warp (its lanes by themselves with bytes), TMA unit      math warps
//   empty[stage]    8                       lane 0 of each math warp, after __syncwarp (256: every lane)  load warp
//
// Order of arithmetic, per logit: <q, key> in FP32 by MMAs of 32 elements (two of 16 where the target lacks block scaling), rising.
// ReLU keeps NaN. Then lane t of four sums heads 2t, 2t + 1, 2t + 8, 2t + 9, ..., rising, each by one fma from zero on; with those four
// sums s: ((s0 + s1) + (s2 + s3)) * scale. Which warp, CTA or tile has the key does not matter. A logit that would be NaN is -inf.
// Keys outside of what a row sees count as zeros in the MMA and are never stored.
#pragma once

#include "deepwell/mqa_logits.h"
#include "deepwell/prim/fragments.cuh"
#include "deepwell/prim/mqa_math.cuh"
#include "deepwell/prim/mqa_work.cuh"
#include "deepwell/prim/ring.cuh"
#include "deepwell/ptx/async_copy.cuh"
#include "deepwell/ptx/reduce.cuh"
#include "deepwell/ptx/registers.cuh"
#include "deepwell/ptx/warp.cuh"

namespace deepwell {

template <MqaPlan P, class Target>
struct MqaLogits {
  using Math = MqaMath<P, Target>;
  using Row = typename Math::Row;
  using Stage = MqaStageAt;
  static constexpr MqaSmemMap kSmem = smem_map(P);
  static constexpr int kThreads = kMqaThreads;
  static constexpr int kKeyWarps = kMqaMathWarps / P.query_warps;
  static constexpr int kWarpKeys = Math::kWarpKeys;
  static constexpr int kGroupKeys = 16 * Math::kGroup;
  static constexpr int kTilePages = P.tile / P.page;
  static constexpr int kStageRows = stage_rows(P);
  static constexpr int kHeaderBytes = sizeof(MqaHeader);

  static_assert(kSmem.total <= Target::kSmemPerCta,
                "this plan needs more shared memory than the target has per CTA");
  static_assert(P.heads == 8 || P.heads == 16 || P.heads == 32 || P.heads == 64);
  static_assert(P.head_dim == 32 || P.head_dim == 64 || P.head_dim == 128);
  static_assert(P.tile % P.page == 0 && kMqaMathWarps % P.query_warps == 0 && kWarpKeys % 16 == 0);

  /// Whether each lane of the load warp tells what it has written: bytes that it brings, and headers where tools do not follow
  /// __syncwarp.
  __device__ static bool every_writer_arrives(MqaArgs const& args) {
    return P.every_reader_arrives || !args.key_copies || !args.query_copies;
  }

  __device__ static void run(MqaArgs const& args) {
    extern __shared__ __align__(1024) unsigned char smem_bytes[];
    SmemAddr const smem = smem_addr(smem_bytes);
    if (threadIdx.x < 32) store_shared_u32(smem + (kSmem.zeros + 4 * threadIdx.x), 0);
    if (threadIdx.x == 0) {
      for (int stage = 0; stage < P.stages; ++stage) {
        mbarrier_init(smem + kSmem.full + 8 * stage, every_writer_arrives(args) ? 33 : 1);
        mbarrier_init(smem + kSmem.empty + 8 * stage,
                      P.every_reader_arrives ? 32 * kMqaMathWarps : kMqaMathWarps);
      }
      fence_mbarrier_init();
    }
    grid_dependency_wait();
    grid_launch_dependents();
    uint32 clipped;
    MqaShare const share = mqa_find_share<P.paged>(args.work, P.query_warps, P.tile, smem + kSmem.share,
                                                   blockIdx.x, gridDim.x, clipped);
    if (blockIdx.x == 0) note(args, Note::kClippedKeys, clipped);
    if (threadIdx.x / 32 >= kMqaMathWarps) {
      registers_decrease<Math::Mma::kF16 ? 40 : 72>();
      if (threadIdx.x / 32 == kMqaMathWarps && share.count > 0) {
        if (args.key_copies && args.query_copies) {
          load_role<true>(args, smem, share);
        } else {
          load_role<false>(args, smem, share);
        }
      }
    } else {
      registers_increase<Math::Mma::kF16 ? 232 : 216>();
      if (share.count > 0) math_role(args, smem);
      if (args.fill) fill_outside(args);
    }
  }

  /// Adds what the lanes of a warp have counted to a note.
  __device__ static void note(MqaArgs const& args, Note which, uint32 count) {
    uint32 const sum = sum_over_lanes(count);
    if (sum != 0 && lane_id() == 0) add_relaxed_gpu(args.notes + static_cast<int>(which), sum);
  }

  // ---- load role ----

  /// The unit whose tiles are being loaded. `cur` and `next` hold 32 entries of its block table each, one a lane.
  struct Unit {
    int index, request;
    int first, count;      // rows of the request
    MqaRange mine, range;  // what the lane's row sees, and what they all see
    int tiles;
    int batch;
    uint32 cur, next;
  };

  /// The first unit from `from` on that has tiles. Lengths that change while the kernel runs may leave none: then one of the last ones,
  /// and one tile, so that the share comes to its end.
  __device__ static Unit open_unit(MqaArgs const& args, int from, int lane) {
    MqaWork const& work = args.work;
    int const units = work.requests * work.units_per_request;
    constexpr int kStep = 32 / P.query_warps;  // units of a batch
    uint32 clipped = 0;
    int base = from < units ? from : units - 1;
    int leader = 0;  // the first lane of the unit's rows
    MqaRange row, range;
#pragma unroll 1
    for (;; base += kStep) {
      row = mqa_batch_row<P.paged>(work, P.query_warps, base, units, lane, clipped);
      range = mqa_batch_unit(row, P.query_warps, lane);
      uint32 const found = minimum_over_lanes(range.hi > 0 ? lane : 32);
      if (found < 32) leader = found;
      if (found < 32 || base + kStep >= units) break;
    }
    Unit unit{.index = base + leader / P.query_warps, .batch = -2};
    unit.request = unit.index / work.units_per_request;
    unit.first = (unit.index - unit.request * work.units_per_request) * P.query_warps;
    unit.count = work.rows - unit.first < P.query_warps ? work.rows - unit.first : P.query_warps;
    int const lo = shuffle(row.lo, leader + lane), hi = shuffle(row.hi, leader + lane);
    unit.mine = lane < unit.count ? MqaRange{lo, hi} : MqaRange{0, 0};
    unit.range = {static_cast<int>(shuffle(range.lo, leader)), static_cast<int>(shuffle(range.hi, leader))};
    int const tiles = mqa_tiles(unit.range, P.tile);
    unit.tiles = tiles > 0 ? tiles : 1;
    return unit;
  }

  /// Entry 32 * batch + lane of the unit's row of the block table; ~0 past its end and past the unit's keys.
  __device__ static uint32 table_entry(MqaArgs const& args, Unit const& unit, int batch, int lane) {
    int const page = 32 * batch + lane;
    if (page >= pages_of(unit) || page >= args.table_columns) return ~0u;
    return load_global_u32(args.block_table + (unit.request * args.table_pitch + page));
  }
  __device__ static int pages_of(Unit const& unit) { return (unit.range.hi + (P.page - 1)) / P.page; }

  /// The pages of a tile, and which of them are there. Counts those that should be in `missing`.
  struct Pages {
    uint32 page[kTilePages];
    uint32 present;
  };
  __device__ static Pages find_pages(MqaArgs const& args, Unit& unit, int tile, int lane, uint32& missing) {
    int const first = tile * kTilePages;
    if (first / 32 != unit.batch) {
      bool const follows = first / 32 == unit.batch + 1;
      unit.batch = first / 32;
      unit.cur = follows ? unit.next : table_entry(args, unit, unit.batch, lane);
      unit.next = table_entry(args, unit, unit.batch + 1, lane);
    }
    Pages out{.present = 0};
#pragma unroll
    for (int i = 0; i < kTilePages; ++i) {
      out.page[i] = shuffle(unit.cur, first % 32 + i);
      bool const wanted = first + i < pages_of(unit);
      if (wanted && out.page[i] < static_cast<uint32>(args.pages)) {
        out.present |= 1u << i;
      } else if (wanted && lane == 0) {
        ++missing;
      }
    }
    return out;
  }

  __device__ static Stage stage_at(SmemAddr smem, int stage) {
    return {smem + kSmem.keys + stage * kSmem.keys_stage_bytes,
            smem + kSmem.scales + stage * kSmem.scales_stage_bytes,
            smem + kSmem.headers + stage * kHeaderBytes, smem + kSmem.full + 8 * stage, smem + kSmem.zeros};
  }
  __device__ static void set_header(Stage const& stage, uint32 kind, int first, uint32 which, int lane) {
    if (lane == 0) {
      store_shared_u32(stage.header, kind);
      store_shared_u32(stage.header + 4, first);
      store_shared_u32(stage.header + 8, which);
    }
  }

  /// kCopies: nothing comes byte by byte.
  template <bool kCopies>
  __device__ static void load_role(MqaArgs const& args, SmemAddr smem, MqaShare const& share) {
    int const lane = lane_id();
    bool const every_writer = kCopies ? P.every_reader_arrives : every_writer_arrives(args);
    if (lane == 0 && args.key_copies) {
      prefetch_tensor_map(&args.key_map);
      prefetch_tensor_map(&args.scale_map);
    }
    if (lane == 0 && args.query_copies) {
      prefetch_tensor_map(&args.query_map);
      prefetch_tensor_map(&args.weight_map);
    }
    uint32 missing = 0;
    Unit unit = open_unit(args, share.unit, lane);
    int tile = share.tile;
    int loaded_rows = 0;  // of the unit's queries
    RingPosition<P.stages> at;
    for (int64 left = share.count; left > 0; at.advance()) {
      if (tile >= unit.tiles) {
        unit = open_unit(args, unit.index + 1, lane);
        tile = loaded_rows = 0;
      }
      Stage const stage = stage_at(smem, at.stage);
      mbarrier_wait(smem + kSmem.empty + 8 * at.stage, at.phase ^ 1);
      if (loaded_rows < unit.count) {
        load_queries<kCopies>(args, unit, loaded_rows, stage, lane);
        loaded_rows += kStageRows;
      } else {
        Pages pages{.present = 1};
        if constexpr (P.paged) pages = find_pages(args, unit, tile, lane, missing);
        int const first = unit.range.lo + tile * P.tile;
        set_header(stage, left == 1 ? kMqaLast : 0, first, pages.present, lane);
        if (kCopies || args.key_copies) {
          if (lane == 0) copy_tile(args, pages, first, stage);
        } else {
          load_tile_by_bytes(args, pages, first, stage, lane);
          if (lane == 0) mbarrier_arrive(stage.full);
        }
        ++tile;
        --left;
      }
      if (every_writer) {
        fence_proxy_async_shared();  // that a later user of the stage may start
        mbarrier_arrive(stage.full);
      }
    }
    if constexpr (P.paged) note(args, Note::kBadPage, missing);
  }

  /// Queries and weights of up to kStageRows rows, from row `from` of the unit on.
  template <bool kCopies>
  __device__ static void load_queries(MqaArgs const& args, Unit const& unit, int from, Stage const& stage,
                                      int lane) {
    int const line = unit.request * args.work.rows + unit.first + from;
    int const rows = unit.count - from < kStageRows ? unit.count - from : kStageRows;
    set_header(stage, kMqaQueries, line, from, lane);
    if (lane < kMqaMathWarps) {
      store_shared_u32(stage.header + (16 + 8 * lane), unit.mine.lo);
      store_shared_u32(stage.header + (20 + 8 * lane), unit.mine.hi);
    }
    warp_sync();  // lane 0 arrives for all
    if (!kCopies && !args.query_copies) {
#pragma unroll 1
      for (int row = 0; row < rows; ++row) load_query_by_bytes(args, unit, from + row, row, stage, lane);
      if (lane == 0) mbarrier_arrive(stage.full);
    } else if (lane == 0) {  // rows past the unit's last one come along and are not used
      mbarrier_arrive_expect_tx(stage.full, copy_rows(P) * P.heads * (P.head_dim + 4));
      tma_load_3d(stage.keys, &args.query_map, 0, 0, line, stage.full);
      tma_load_3d(stage.scales, &args.weight_map, 0, line, 0, stage.full);
    }
  }

  __device__ static void copy_tile(MqaArgs const& args, Pages const& pages, int first, Stage const& stage) {
    if constexpr (!P.paged) {
      mbarrier_arrive_expect_tx(stage.full, kSmem.keys_stage_bytes + kSmem.scales_stage_bytes);
      tma_load_3d(stage.keys, &args.key_map, 0, first, 0, stage.full);
      tma_load_3d(stage.scales, &args.scale_map, first, 0, 0, stage.full);
    } else {
      uint32 bytes = 0;
#pragma unroll
      for (int i = 0; i < kTilePages; ++i) bytes += (pages.present >> i & 1) * (P.page * (P.head_dim + 4));
      mbarrier_arrive_expect_tx(stage.full, bytes);
#pragma unroll
      for (int i = 0; i < kTilePages; ++i) {
        if ((pages.present >> i & 1) == 0) continue;
        tma_load_3d(stage.keys + i * P.page * P.head_dim, &args.key_map, 0, 0, pages.page[i], stage.full);
        tma_load_3d(stage.scales + i * P.page * 4, &args.scale_map, 0, pages.page[i], 0, stage.full);
      }
    }
  }

  __device__ static uint32 word_at(unsigned char const* from) {
    uint32 word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) word |= load_global_u8(from + i) << (8 * i);
    return word;
  }

  /// What copy_tile does, for addresses and strides that tensor maps do not take. Keys that do not exist become zeros.
  __device__ static void load_tile_by_bytes(MqaArgs const& args, Pages const& pages, int first,
                                            Stage const& stage, int lane) {
    constexpr int kRowWords = P.head_dim / 4;
#pragma unroll 1
    for (int i = 0; i < kTilePages; ++i) {
      if ((pages.present >> i & 1) == 0) continue;
      unsigned char const* from = args.keys + static_cast<int64>(first) * args.keys_stride;
      unsigned char const* scales_from = args.scales + static_cast<int64>(first) * 4;
      int64 const pitch = P.paged ? P.head_dim : args.keys_stride;
      int count = P.page;
      if constexpr (P.paged) {
        from = args.keys + static_cast<int64>(pages.page[i]) * args.keys_stride;
        scales_from = from + P.page * P.head_dim;
      } else if (args.work.keys - first < P.page) {
        count = args.work.keys - first;
      }
#pragma unroll 1
      for (int word = lane; word < P.page * kRowWords; word += 32) {
        int const row = word / kRowWords, byte = word % kRowWords * 4;
        store_shared_u32(stage.keys + (swizzled_chunk<P.head_dim>(i * P.page + row, byte / 16) + byte % 16),
                         row < count ? word_at(from + row * pitch + byte) : 0);
      }
#pragma unroll 1
      for (int row = lane; row < P.page; row += 32) {
        store_shared_u32(stage.scales + 4 * (i * P.page + row),
                         row < count ? word_at(scales_from + 4 * row) : 0);
      }
    }
  }

  /// What the copies of load_queries do for one row, which is row `to` of the stage.
  __device__ static void load_query_by_bytes(MqaArgs const& args, Unit const& unit, int row, int to,
                                             Stage const& stage, int lane) {
    constexpr int kRowWords = P.head_dim / 4;
    int64 const line = static_cast<int64>(unit.request) * args.work.rows + unit.first + row;
    unsigned char const* const q =
        args.q + unit.request * args.q_request_stride + (unit.first + row) * args.q_row_stride;
    unsigned char const* const weights = args.weights + line * args.weights_pitch;
#pragma unroll 1
    for (int word = lane; word < P.heads * kRowWords; word += 32) {
      int const head = word / kRowWords, byte = word % kRowWords * 4;
      store_shared_u32(stage.keys + (swizzled_chunk<P.head_dim>(to * P.heads + head, byte / 16) + byte % 16),
                       head < args.heads ? word_at(q + head * args.q_head_stride + byte) : 0);
    }
#pragma unroll 1
    for (int head = lane; head < P.heads; head += 32)
      store_shared_u32(stage.scales + 4 * (to * P.heads + head),
                       head < args.heads ? word_at(weights + 4 * head) : 0);
  }

  // ---- math role ----

  /// Takes what a stage of queries has for row `slot` of the unit.
  __device__ static void open_row(MqaArgs const& args, Row& row, Stage const& stage, int slot, int lane) {
    int const from = load_shared_u32(stage.header + 8);
    if (from == 0) {
      row.range.lo = load_shared_u32(stage.header + (16 + 8 * slot));
      row.range.hi = load_shared_u32(stage.header + (20 + 8 * slot));
    }
    int const place = slot - from;
    if (row.range.hi == 0 || place < 0 || place >= kStageRows) return;
    int64 const line = static_cast<int>(load_shared_u32(stage.header + 4)) + place;
    row.out = args.logits + line * args.logits_pitch - (args.compressed ? row.range.lo : 0);
    int const first = place * P.heads;
    Math::load_heads(row, stage.keys, first, lane);
#pragma unroll
    for (int tile = 0; tile < Math::kHeadTiles; ++tile)
      load_shared_f32x2(row.weight[tile], stage.scales + 4 * (first + 8 * tile + 2 * (lane % 4)));
  }

  __device__ static void math_role(MqaArgs const& args, SmemAddr smem) {
    int const warp = threadIdx.x / 32;
    int const lane = lane_id();
    int const first_key = warp % kKeyWarps * kWarpKeys;
    Row row{};
    typename Math::Pending last{.key = -1};
    uint32 nans = 0;
    uint32 kind = 0;
    for (RingPosition<P.stages> at; (kind & kMqaLast) == 0; at.advance()) {
      Stage const stage = stage_at(smem, at.stage);
      bool const there = mbarrier_try_wait(stage.full, at.phase);
      Math::add_last_block(last, row);  // while the answer comes
      if (!there) mbarrier_wait(stage.full, at.phase);
      uint32 header[4];
      load_shared_u32x4(header, stage.header);
      kind = header[0];
      Math::finish(last, row, lane, nans);
      if ((kind & kMqaQueries) != 0) {
        open_row(args, row, stage, warp / kKeyWarps, lane);
      } else {
        auto const take = [&]<bool kFirst>(int key) {
          int const from = static_cast<int>(header[1]) + key;
          if (from >= row.range.hi || from + kGroupKeys <= row.range.lo) return;
          bool const present = (header[2] >> (key / P.page) & 1) != 0;
          Math::template take_keys<kFirst>(last, row, stage, key, from, present, lane, nans);
        };
        take.template operator()<true>(first_key);
#pragma unroll 1
        for (int key = first_key + kGroupKeys; key < first_key + kWarpKeys; key += kGroupKeys)
          take.template operator()<false>(key);
      }
      release_stage<P.every_reader_arrives>(smem + kSmem.empty + 8 * at.stage);
    }
    Math::add_last_block(last, row);
    Math::finish(last, row, lane, nans);
    note(args, Note::kNanLogit, nans);
  }

  /// -inf to all columns outside of a row's keys, row by row; without compression.
  __device__ static void fill_outside(MqaArgs const& args) {
    int64 const rows = static_cast<int64>(args.work.requests) * args.work.rows;
    for (int64 line = blockIdx.x; line < rows; line += grid_size_x()) {
      bool clipped;
      MqaRange const range = mqa_row_range<P.paged>(args.work, 0, static_cast<int>(line), clipped);
      float* const out = args.logits + line * args.logits_pitch;
      for (int column = threadIdx.x; column < args.columns; column += 32 * kMqaMathWarps) {
        if (column < range.lo || column >= range.hi) store_global_u32(out + column, Math::kMinusInfinity);
      }
    }
  }
};

}  // namespace deepwell

// The work of the indexer's logits: what keys a row sees, what tiles a unit has, and which tiles are whose. Everything comes from the
// lengths themselves and is bounded by the tensors, whatever the lengths say.
#pragma once

#include "deepwell/mqa_logits.h"
#include "deepwell/ptx/memory.cuh"
#include "deepwell/ptx/sync.cuh"
#include "deepwell/ptx/warp.cuh"

namespace deepwell {

/// Keys lo <= j < hi; lo == hi == 0 when there are none.
struct MqaRange {
  int lo, hi;
};

/// What row `row` of a request sees. Reversed ranges are empty; a range that begins before key 0 begins there; what reaches past the
/// keys or is longer than a row of the result ends there. `clipped` says that one of this happened.
template <bool kPaged>
__device__ __forceinline__ MqaRange mqa_row_range(MqaWork const& work, int request, int row, bool& clipped) {
  int const end =
      static_cast<int>(load_global_u32(work.ends + (static_cast<int64>(request) * work.rows + row)));
  int const start = kPaged ? 0 : static_cast<int>(load_global_u32(work.starts + row));
  int const most = kPaged ? work.width : work.keys;
  int const lo = start < 0 ? 0 : start;
  int hi = end < most ? end : most;
  if (start == end || lo >= hi) {
    clipped = start != end;
    return {0, 0};
  }
  if (hi - lo > work.width) hi = lo + work.width;
  clipped = lo != start || hi != end;
  return {lo, hi};
}

/// All keys that rows of a unit see, as one range that begins at a multiple of four: their scales are copied from there.
template <bool kPaged>
__device__ __forceinline__ MqaRange mqa_unit_range(MqaWork const& work, int unit, uint32* clipped_rows) {
  int const request = unit / work.units_per_request;
  int const first = (unit - request * work.units_per_request) * work.unit_rows;
  int const count = work.rows - first < work.unit_rows ? work.rows - first : work.unit_rows;
  MqaRange all{0, 0};
#pragma unroll 4
  for (int i = 0; i < count; ++i) {
    bool clipped;
    MqaRange const row = mqa_row_range<kPaged>(work, request, first + i, clipped);
    if (clipped_rows != nullptr && clipped) ++*clipped_rows;
    if (row.hi == 0) continue;
    all.lo = all.hi == 0 || row.lo < all.lo ? row.lo : all.lo;
    all.hi = row.hi > all.hi ? row.hi : all.hi;
  }
  all.lo &= ~3;
  return all;
}

__device__ __forceinline__ int mqa_tiles(MqaRange range, int tile) {
  return (range.hi - range.lo) / tile + ((range.hi - range.lo) % tile != 0 ? 1 : 0);
}

/// A consecutive part of all tiles of all units.
struct MqaShare {
  int unit, tile;  // where it begins
  int64 count;
};

/// The sum over this lane and those below it.
__device__ __forceinline__ uint64 mqa_prefix_over_lanes(uint64 value, int lane) {
  auto const add = [&]<int kDelta>() {
    uint32 const low = shuffle_up<kDelta>(static_cast<uint32>(value));
    uint32 const high = shuffle_up<kDelta>(static_cast<uint32>(value >> 32));
    if (lane >= kDelta) value += static_cast<uint64>(high) << 32 | low;
  };
  add.template operator()<1>();
  add.template operator()<2>();
  add.template operator()<4>();
  add.template operator()<8>();
  add.template operator()<16>();
  return value;
}

/// Share `index` of `shares` equal ones, found by all kMqaThreads threads of the CTA: each adds up the tiles of some consecutive
/// units. `scratch` is an MqaShareScratch in shared memory; two barriers. `clipped_rows`: null, or where clipped rows are counted.
template <bool kPaged>
__device__ MqaShare mqa_find_share(MqaWork const& work, int tile_keys, SmemAddr scratch, int index,
                                   int shares, uint32* clipped_rows) {
  constexpr int kWarps = kMqaThreads / 32;
  int const thread = threadIdx.x;
  int const lane = lane_id();
  int const units = work.requests * work.units_per_request;
  int const each = units / kMqaThreads + (units % kMqaThreads != 0 ? 1 : 0);
  int64 const begin = static_cast<int64>(thread) * each;
  int const first = begin < units ? static_cast<int>(begin) : units;
  int const last = begin + each < units ? static_cast<int>(begin + each) : units;
  uint64 mine = 0;
  for (int unit = first; unit < last; ++unit)
    mine += mqa_tiles(mqa_unit_range<kPaged>(work, unit, clipped_rows), tile_keys);
  uint64 const inside = mqa_prefix_over_lanes(mine, lane);
  if (lane == 31) store_shared_u64(scratch + 8 * (thread / 32), inside);
  if (thread == 0) {
    store_shared_u32(scratch + 8 * kWarps, units);
    store_shared_u32(scratch + (8 * kWarps + 4), 0);
  }
  barrier_sync(0, kMqaThreads);
  uint64 before = inside - mine, total = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) {
    uint64 const sum = load_shared_u64(scratch + 8 * warp);
    if (warp < thread / 32) before += sum;
    total += sum;
  }
  uint64 const from = total * index / shares, to = total * (index + 1) / shares;
  if (before <= from && from < before + mine) {
    int tile = static_cast<int>(from - before);
    int unit = first;
    for (;; ++unit) {
      int const tiles = mqa_tiles(mqa_unit_range<kPaged>(work, unit, nullptr), tile_keys);
      if (tile < tiles || unit + 1 >= last) break;
      tile -= tiles;
    }
    store_shared_u32(scratch + 8 * kWarps, unit);
    store_shared_u32(scratch + (8 * kWarps + 4), tile);
  }
  barrier_sync(0, kMqaThreads);
  return {.unit = static_cast<int>(load_shared_u32(scratch + 8 * kWarps)),
          .tile = static_cast<int>(load_shared_u32(scratch + (8 * kWarps + 4))),
          .count = static_cast<int64>(to - from)};
}

}  // namespace deepwell

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

/// Ranges are read by batches of 32 rows of consecutive units, one a lane, so that lanes read what lies together: lane l has row
/// l % unit_rows of unit `first` + l / unit_rows, and an empty range from unit `end` on. `unit_rows` is the work's. Adds a clipped row to
/// `clipped_rows`.
template <bool kPaged>
__device__ __forceinline__ MqaRange mqa_batch_row(MqaWork const& work, int unit_rows, int first, int end,
                                                  int lane, uint32& clipped_rows) {
  int const unit = first + lane / unit_rows;
  int const request = unit / work.units_per_request;
  int const row = (unit - request * work.units_per_request) * unit_rows + (lane & (unit_rows - 1));
  if (unit >= end || row >= work.rows) return {0, 0};
  bool clipped;
  MqaRange const range = mqa_row_range<kPaged>(work, request, row, clipped);
  clipped_rows += clipped ? 1 : 0;
  return range;
}

/// All keys that rows of the lane's unit see, as one range that begins at a multiple of four: their scales are copied from there.
__device__ __forceinline__ MqaRange mqa_batch_unit(MqaRange row, int unit_rows, int lane) {
  int lo = row.hi == 0 ? 0x7fffffff : row.lo;
  int hi = row.hi;
#pragma unroll
  for (int step = 1; step < kMqaMathWarps; step *= 2) {  // the most rows of a unit
    if (step >= unit_rows) break;
    int const other_lo = shuffle(lo, lane ^ step);
    int const other_hi = shuffle(hi, lane ^ step);
    lo = other_lo < lo ? other_lo : lo;
    hi = other_hi > hi ? other_hi : hi;
  }
  return {hi == 0 ? 0 : lo & ~3, hi};
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
__device__ __forceinline__ uint32 mqa_prefix_over_lanes(uint32 value, int lane) {
  auto const add = [&]<int kDelta>() {
    uint32 const below = shuffle_up<kDelta>(value);
    if (lane >= kDelta) value += below;
  };
  add.template operator()<1>();
  add.template operator()<2>();
  add.template operator()<4>();
  add.template operator()<8>();
  add.template operator()<16>();
  return value;
}

/// The sum over all lanes.
__device__ __forceinline__ uint64 mqa_sum_over_lanes(uint64 value, int lane) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    uint32 const low = shuffle(static_cast<uint32>(value), lane ^ step);
    uint32 const high = shuffle(static_cast<uint32>(value >> 32), lane ^ step);
    value += static_cast<uint64>(high) << 32 | low;
  }
  return value;
}

/// The tiles of a batch's units, each at the first of its lanes.
__device__ __forceinline__ uint32 mqa_batch_tiles(MqaRange row, int unit_rows, int tile_keys, int lane) {
  MqaRange const unit = mqa_batch_unit(row, unit_rows, lane);
  return (lane & (unit_rows - 1)) == 0 ? mqa_tiles(unit, tile_keys) : 0;
}

/// Share `index` of `shares` equal ones, found by all kMqaThreads threads of the CTA: each warp adds up the tiles of some consecutive
/// units. `scratch` is an MqaShareScratch in shared memory; two barriers. `clipped_rows`: set to how many rows the lane saw clipped.
template <bool kPaged>
__device__ __forceinline__ MqaShare mqa_find_share(MqaWork const& work, int unit_rows, int tile_keys,
                                                   SmemAddr scratch, int index, int shares,
                                                   uint32& clipped_rows) {
  constexpr int kWarps = kMqaThreads / 32;
  int const thread = threadIdx.x;
  int const lane = lane_id();
  int const units = work.requests * work.units_per_request;
  int const step = 32 / unit_rows;  // units of a batch
  int const each = (units / kWarps + (units % kWarps != 0 ? 1 : 0) + step - 1) / step * step;
  int64 const begin = static_cast<int64>(thread / 32) * each;
  int const first = begin < units ? static_cast<int>(begin) : units;
  int const last = begin + each < units ? static_cast<int>(begin + each) : units;
  constexpr int kAtOnce = 4;  // batches whose loads are under way together
  uint64 tiles_of_lane = 0;
  clipped_rows = 0;
#pragma unroll 1
  for (int unit = first; unit < last; unit += kAtOnce * step) {
    MqaRange rows[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      rows[i] = mqa_batch_row<kPaged>(work, unit_rows, unit + i * step, last, lane, clipped_rows);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) tiles_of_lane += mqa_batch_tiles(rows[i], unit_rows, tile_keys, lane);
  }
  uint64 const mine = mqa_sum_over_lanes(tiles_of_lane, lane);
  if (lane == 0) store_shared_u64(scratch + 8 * (thread / 32), mine);
  if (thread == 0) {
    store_shared_u32(scratch + 8 * kWarps, units);
    store_shared_u32(scratch + (8 * kWarps + 4), 0);
  }
  barrier_sync(0, kMqaThreads);
  uint64 before = 0, total = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) {
    uint64 const sum = load_shared_u64(scratch + 8 * warp);
    if (warp < thread / 32) before += sum;
    total += sum;
  }
  uint64 const from = total * index / shares, to = total * (index + 1) / shares;
  if (before <= from && from < before + mine) {
    uint64 left = from - before;
    uint32 again = 0;
#pragma unroll 1
    for (int unit = first; unit < last; unit += step) {
      MqaRange const row = mqa_batch_row<kPaged>(work, unit_rows, unit, last, lane, again);
      uint32 const tiles = mqa_batch_tiles(row, unit_rows, tile_keys, lane);
      uint32 const inside = mqa_prefix_over_lanes(tiles, lane);
      if (left < inside && inside - tiles <= left) {
        store_shared_u32(scratch + 8 * kWarps, unit + lane / unit_rows);
        store_shared_u32(scratch + (8 * kWarps + 4), static_cast<uint32>(left) - (inside - tiles));
      }
      uint32 const sum = shuffle(inside, 31);
      if (left < sum) break;
      left -= sum;
    }
  }
  barrier_sync(0, kMqaThreads);
  return {.unit = static_cast<int>(load_shared_u32(scratch + 8 * kWarps)),
          .tile = static_cast<int>(load_shared_u32(scratch + (8 * kWarps + 4))),
          .count = static_cast<int64>(to - from)};
}

}  // namespace deepwell

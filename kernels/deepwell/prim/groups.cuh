// Which group's matrix a row of tokens is multiplied with, for products whose rows are sorted into groups by a list of ids.
//
// Blocks of `block` rows follow each other from row 0. A row whose id names a group belongs to that group. A row without (-1, or
// an id that names none) is padding: it belongs to the group of the nearest row before it in its block that has one, else of the
// nearest after it in its block, else to no group.
#pragma once

#include "deepwell/gemm.h"
#include "deepwell/ptx/memory.cuh"
#include "deepwell/ptx/warp.cuh"

namespace deepwell {

inline constexpr uint32 kNoGroup = 0xffffffffu;

/// Reads ids of rows; outside the list there is none.
struct GroupIds {
  int const* ids;
  int rows, groups;

  /// The group of a row; `invalid` counts ids that are neither -1 nor a group.
  __device__ __forceinline__ uint32 at(int row, uint32& invalid) const {
    if (row < 0 || row >= rows) return kNoGroup;
    uint32 const id = load_global_u32(ids + row);
    if (id < static_cast<uint32>(groups)) return id;
    if (id != kNoGroup) ++invalid;
    return kNoGroup;
  }
};

/// The nearest group before row `row` in its block, or after it when `step` is 1: 32 rows at a time, by a whole warp.
template <int kStep>
__device__ __forceinline__ uint32 nearest_group(GroupIds const& ids, int row, int block, int lane) {
  int const first = row / block * block;
  int const last = first + block - 1 < ids.rows - 1 ? first + block - 1 : ids.rows - 1;
  uint32 ignored = 0;
  for (int at = row + kStep * (1 + lane); any_lane(at >= first && at <= last); at += kStep * 32) {
    uint32 const id = at >= first && at <= last ? ids.at(at, ignored) : kNoGroup;
    uint32 const found = ballot(id != kNoGroup);
    if (found != 0) return shuffle(id, lowest_bit(found));
  }
  return kNoGroup;
}

/// Writes the groups of rows `first` .. + kRows - 1 to `owners` in shared memory; by a whole warp. Returns how many ids of these
/// rows are invalid, in this lane.
template <int kRows>
__device__ __forceinline__ uint32 find_owners(SmemAddr owners, GroupIds const& ids, int first, int block,
                                              int lane) {
  uint32 invalid = 0;
#pragma unroll 1
  for (int chunk = 0; chunk < kRows; chunk += 32) {
    int const row = first + chunk + lane;
    bool const inside = chunk + lane < kRows && row < ids.rows;
    // Rows after the tile's are of use where a block goes on there.
    uint32 beyond = 0;
    uint32 const id = ids.at(row, inside ? invalid : beyond);
    uint32 const known = ballot(id != kNoGroup);
    uint32 const until_me = 0xffffffffu >> (31 - lane);
    if (kRows <= 32 && block % kRows == 0 && (known & 1) != 0) {
      // The usual case: the tile lies in one block, and its first row has a group.
      uint32 const owner = shuffle(id, highest_bit(known & until_me));
      if (lane < kRows) store_shared_u32(owners + 4 * lane, owner);
      break;
    }
    // Lanes of this row's block, within the chunk.
    int const block_first = row / block * block - (first + chunk);
    uint32 const from = block_first > 0 ? 0xffffffffu << block_first : 0xffffffffu;
    uint32 const to = block_first + block < 32 ? (1u << (block_first + block)) - 1 : 0xffffffffu;
    uint32 const before = known & from & until_me;
    uint32 const after = known & to & ~until_me;
    int const source = before != 0 ? highest_bit(before) : after != 0 ? lowest_bit(after) : lane;
    uint32 owner = shuffle(id, source);
    // Groups of rows outside the chunk, for the blocks at its two ends.
    bool const reaches_back = inside && before == 0 && block_first < 0;
    bool const reaches_on = inside && (before | after) == 0 && block_first + block > 32;
    if (any_lane(reaches_back)) {
      uint32 const nearest = nearest_group<-1>(ids, first + chunk, block, lane);
      if (reaches_back && nearest != kNoGroup) owner = nearest;
    }
    if (any_lane(reaches_on)) {
      uint32 const nearest = nearest_group<1>(ids, first + chunk + 31, block, lane);
      if (reaches_on && owner == kNoGroup) owner = nearest;
    }
    if (chunk + lane < kRows) store_shared_u32(owners + 4 * (chunk + lane), owner);
  }
  return invalid;
}

/// The lowest group above `group` among the owners of a tile's rows; kNoGroup after the last. `group` = kNoGroup asks for the
/// first one.
template <int kRows>
__device__ __forceinline__ uint32 next_group(SmemAddr owners, uint32 group, int lane) {
  uint32 next = kNoGroup;
  for (int row = lane; row < kRows; row += 32) {
    uint32 const owner = load_shared_u32(owners + 4 * row);
    if (owner + 1 > group + 1 && owner < next) next = owner;
  }
  return minimum_over_lanes(next);
}

}  // namespace deepwell

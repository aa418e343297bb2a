// What the lanes of a warp tell each other, and bits of a word that names lanes. Every lane of the warp takes part.
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// vote.sync.ballot (PTX ISA 9.7.13.7): bit l is lane l's value.
__device__ __forceinline__ uint32 ballot(bool value) {
  uint32 result;
  asm volatile(
      "{\n"
      ".reg .pred mine;\n"
      "setp.ne.u32 mine, %1, 0;\n"
      "vote.sync.ballot.b32 %0, mine, 0xffffffff;\n"
      "}"
      : "=r"(result)
      : "r"(static_cast<uint32>(value)));
  return result;
}

/// Whether some lane says so.
__device__ __forceinline__ bool any_lane(bool value) { return ballot(value) != 0; }

/// shfl.sync.idx (PTX ISA 9.7.9.6): the value of lane `source`.
__device__ __forceinline__ uint32 shuffle(uint32 value, int source) {
  uint32 result;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(result) : "r"(value), "r"(source));
  return result;
}

/// redux.sync.min.u32 (PTX ISA 9.7.13, redux).
__device__ __forceinline__ uint32 minimum_over_lanes(uint32 value) {
  uint32 result;
  asm volatile("redux.sync.min.u32 %0, %1, 0xffffffff;" : "=r"(result) : "r"(value));
  return result;
}

/// bfind.u32 (PTX ISA 9.7.1.15): position of the highest bit that is set; there has to be one.
__device__ __forceinline__ int highest_bit(uint32 bits) {
  int position;
  asm("bfind.u32 %0, %1;" : "=r"(position) : "r"(bits));
  return position;
}

/// Position of the lowest bit that is set; there has to be one.
__device__ __forceinline__ int lowest_bit(uint32 bits) { return highest_bit(bits & (0u - bits)); }

}  // namespace deepwell

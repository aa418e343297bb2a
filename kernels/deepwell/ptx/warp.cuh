// What the lanes of a warp tell each other, and bits of a word that names lanes. Every lane of the warp takes part.
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// elect.sync (PTX ISA 9.7.13.15) of the whole warp: true in one of its lanes.
__device__ __forceinline__ bool elect_lane() {
  uint32 elected;
  asm volatile(
      "{\n"
      ".reg .pred mine;\n"
      "elect.sync _|mine, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, mine;\n"
      "}"
      : "=r"(elected)
      :
      : "memory");
  return elected != 0;
}

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

/// shfl.sync.bfly: the value of lane `lane ^ kMask`.
template <int kMask>
__device__ __forceinline__ float shuffle_xor(float value) {
  float other;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(other) : "f"(value), "n"(kMask));
  return other;
}

/// shfl.sync.up: the value of the lane `kDelta` below; the first kDelta lanes get their own.
template <int kDelta>
__device__ __forceinline__ uint32 shuffle_up(uint32 value) {
  uint32 other;
  asm volatile("shfl.sync.up.b32 %0, %1, %2, 0, 0xffffffff;" : "=r"(other) : "r"(value), "n"(kDelta));
  return other;
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

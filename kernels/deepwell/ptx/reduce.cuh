// Sums over a warp and over the whole system.
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// redux.sync.add.u32 (PTX ISA 9.7.13, redux) over the whole warp.
__device__ __forceinline__ uint32 sum_over_lanes(uint32 value) {
  uint32 sum;
  asm volatile("redux.sync.add.u32 %0, %1, 0xffffffff;" : "=r"(sum) : "r"(value));
  return sum;
}

/// red.relaxed.sys.global.add.u32 (PTX ISA 9.7.13, red): also for memory of the host.
__device__ __forceinline__ void add_relaxed_system(unsigned* at, uint32 value) {
  asm volatile("red.relaxed.sys.global.add.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}

}  // namespace deepwell

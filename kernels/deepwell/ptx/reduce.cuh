// Sums over a warp and over the grid.
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// redux.sync.add.u32 (PTX ISA 9.7.13, redux) over the whole warp.
__device__ __forceinline__ uint32 sum_over_lanes(uint32 value) {
  uint32 sum;
  asm volatile("redux.sync.add.u32 %0, %1, 0xffffffff;" : "=r"(sum) : "r"(value));
  return sum;
}

/// red.relaxed.gpu.global.add.u32 (PTX ISA 9.7.13, red). Also for memory of the host that the host only reads: one of the whole
/// system needs a GPU with native atomics on it, which those behind PCIe lack.
__device__ __forceinline__ void add_relaxed_gpu(unsigned* at, uint32 value) {
  asm volatile("red.relaxed.gpu.global.add.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}

}  // namespace deepwell

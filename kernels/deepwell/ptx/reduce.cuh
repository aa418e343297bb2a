// Exchange and sums over a warp, sums over the grid.
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// redux.sync.add.u32 (PTX ISA 9.7.13, redux) over the whole warp.
__device__ __forceinline__ uint32 sum_over_lanes(uint32 value) {
  uint32 sum;
  asm volatile("redux.sync.add.u32 %0, %1, 0xffffffff;" : "=r"(sum) : "r"(value));
  return sum;
}

/// redux.sync.min.u32 over the whole warp.
__device__ __forceinline__ uint32 min_over_lanes(uint32 value) {
  uint32 least;
  asm volatile("redux.sync.min.u32 %0, %1, 0xffffffff;" : "=r"(least) : "r"(value));
  return least;
}

/// shfl.sync.bfly.b32 (PTX ISA 9.7.9.6): the value of lane `lane ^ kMask`.
template <int kMask>
__device__ __forceinline__ float shuffle_xor(float value) {
  float other;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(other) : "f"(value), "n"(kMask));
  return other;
}

/// shfl.sync.idx.b32: the value of lane `lane`, below 32.
__device__ __forceinline__ uint32 shuffle_from(uint32 value, int lane) {
  uint32 other;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(other) : "r"(value), "r"(lane));
  return other;
}

/// shfl.sync.up.b32: the value of the lane `kDelta` below; the first kDelta lanes get their own.
template <int kDelta>
__device__ __forceinline__ uint32 shuffle_up(uint32 value) {
  uint32 other;
  asm volatile("shfl.sync.up.b32 %0, %1, %2, 0, 0xffffffff;" : "=r"(other) : "r"(value), "n"(kDelta));
  return other;
}

/// red.relaxed.gpu.global.add.u32 (PTX ISA 9.7.13, red). Also for memory of the host that the host only reads: one of the whole
/// system needs a GPU with native atomics on it, which those behind PCIe lack.
__device__ __forceinline__ void add_relaxed_gpu(unsigned* at, uint32 value) {
  asm volatile("red.relaxed.gpu.global.add.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}

}  // namespace deepwell

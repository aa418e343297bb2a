// Asynchronous copies from global to shared memory: tensor tiles (TMA) and four-byte words (cp.async).
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// cp.async.bulk.tensor.3d (PTX ISA 9.7.9.27): the box at (c0, c1, c2) of a tensor map; completes `bytes of the box` on `barrier`.
/// Elements outside the tensor arrive as zeros.
__device__ __forceinline__ void tma_load_3d(SmemAddr to, void const* tensor_map, int c0, int c1, int c2,
                                            SmemAddr barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cta.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, "
      "%5}], [%2];" ::"r"(to.value),
      "l"(tensor_map), "r"(barrier.value), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}

/// prefetch.tensormap (PTX ISA 9.7.9.17) of a map in parameter space, through its generic address.
__device__ __forceinline__ void prefetch_tensor_map(void const* tensor_map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(tensor_map) : "memory");
}

/// cp.async.ca of four bytes (PTX ISA 9.7.9.25.3.1). Both addresses are multiples of four.
__device__ __forceinline__ void cp_async_4(SmemAddr to, void const* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to.value), "l"(from) : "memory");
}

/// cp.async.mbarrier.arrive.noinc (PTX ISA 9.7.13.15.17): arrives once all earlier cp.async of this thread have completed.
__device__ __forceinline__ void cp_async_mbarrier_arrive(SmemAddr barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier.value) : "memory");
}

}  // namespace deepwell

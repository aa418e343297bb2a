// mbarrier objects in shared memory (PTX ISA 9.7.13.15).
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// mbarrier.init: `count` arrivals complete a phase.
__device__ __forceinline__ void mbarrier_init(SmemAddr barrier, uint32 count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier.value), "r"(count) : "memory");
}

/// Makes initialised barriers visible to the asynchronous proxy (PTX ISA 9.7.13.4, fence.mbarrier_init).
__device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/// mbarrier.arrive, release at CTA scope.
__device__ __forceinline__ void mbarrier_arrive(SmemAddr barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier.value) : "memory");
}

/// mbarrier.arrive.expect_tx: arrives and adds `bytes` to what the phase waits for.
__device__ __forceinline__ void mbarrier_arrive_expect_tx(SmemAddr barrier, uint32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier.value), "r"(bytes)
               : "memory");
}

/// mbarrier.try_wait.parity: whether the phase of this parity has completed; may suspend the thread for a while.
__device__ __forceinline__ bool mbarrier_try_wait(SmemAddr barrier, uint32 parity) {
  uint32 done;
  asm volatile(
      "{\n"
      ".reg .pred complete;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
      "selp.u32 %0, 1, 0, complete;\n"
      "}"
      : "=r"(done)
      : "r"(barrier.value), "r"(parity)
      : "memory");
  return done != 0;
}

/// Waits until the phase of this parity has completed.
__device__ __forceinline__ void mbarrier_wait(SmemAddr barrier, uint32 parity) {
  while (!mbarrier_try_wait(barrier, parity)) {
  }
}

}  // namespace deepwell

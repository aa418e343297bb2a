// Barriers, fences and grid dependencies.
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// barrier.cta.sync (PTX ISA 9.7.13.1) on barrier `id` among `threads` threads, a multiple of 32.
__device__ __forceinline__ void barrier_sync(int id, int threads) {
  asm volatile("barrier.cta.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// barrier.cta.arrive (PTX ISA 9.7.13.1): this warp's part of barrier `id`, without waiting.
__device__ __forceinline__ void barrier_arrive(int id, int threads) {
  asm volatile("barrier.cta.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// bar.warp.sync (PTX ISA 9.7.13.2) of the whole warp: orders its lanes' memory accesses.
__device__ __forceinline__ void warp_sync() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }

/// fence.acq_rel.gpu (PTX ISA 9.7.13.4).
__device__ __forceinline__ void fence_gpu() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

/// fence.proxy.async (PTX ISA 9.7.13.4): orders this thread's accesses to shared memory before those of asynchronous copies that
/// follow a barrier.
__device__ __forceinline__ void fence_proxy_async_shared() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// griddepcontrol.wait (PTX ISA 9.7.13.14): returns when the grids this one depends on have finished and are visible.
__device__ __forceinline__ void grid_dependency_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

/// griddepcontrol.launch_dependents (PTX ISA 9.7.13.14): grids that depend on this one may start.
__device__ __forceinline__ void grid_launch_dependents() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/// vote.sync.all (PTX ISA 9.7.13.7): whether every lane of the warp says so.
__device__ __forceinline__ bool all_lanes(bool value) {
  uint32 result;
  asm volatile(
      "{\n"
      ".reg .pred mine, every;\n"
      "setp.ne.u32 mine, %1, 0;\n"
      "vote.sync.all.pred every, mine, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, every;\n"
      "}"
      : "=r"(result)
      : "r"(static_cast<uint32>(value)));
  return result != 0;
}

}  // namespace deepwell

// Moving registers between warpgroups (PTX ISA 9.7.19.5, setmaxnreg). Every warp of a warpgroup executes it.
#pragma once

namespace deepwell {

/// Waits until the warpgroup has `kRegisters` registers a thread.
template <int kRegisters>
__device__ __forceinline__ void registers_increase() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// Keeps `kRegisters` registers a thread and gives the others back.
template <int kRegisters>
__device__ __forceinline__ void registers_decrease() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace deepwell

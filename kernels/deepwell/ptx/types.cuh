// Types of instruction operands. A shared-memory address is its own type: 32 bits, not interchangeable with data.
#pragma once

namespace deepwell {

using int64 = long long;
using uint8 = unsigned char;
using uint16 = unsigned short;
using uint32 = unsigned int;
using uint64 = unsigned long long;

/// A byte address in the CTA's shared memory window.
struct SmemAddr {
  uint32 value;
  __device__ __forceinline__ SmemAddr operator+(uint32 bytes) const { return {value + bytes}; }
};

/// The shared-memory address of a generic pointer into shared memory (PTX ISA 9.7.9.21, cvta).
__device__ __forceinline__ SmemAddr smem_addr(void const* pointer) {
  uint64 address;
  asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(pointer));
  return {static_cast<uint32>(address)};
}

/// The lane's index in its warp (PTX ISA 10, %laneid).
__device__ __forceinline__ int lane_id() {
  int lane;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}

/// CTAs of the grid along x (PTX ISA 10, %nctaid), read anew by each call: where registers are short, gridDim.x would be kept in one.
__device__ __forceinline__ int grid_size_x() {
  int size;
  asm volatile("mov.u32 %0, %%nctaid.x;" : "=r"(size));
  return size;
}

}  // namespace deepwell

// Loads, stores and atomics (PTX ISA 9.7.9).
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// ld.global.nc of one byte.
__device__ __forceinline__ uint32 load_global_u8(void const* from) {
  uint32 value;
  asm volatile("ld.global.nc.u8 %0, [%1];" : "=r"(value) : "l"(from));
  return value;
}

/// ld.global.nc of two bytes, a multiple of two.
__device__ __forceinline__ uint32 load_global_u16(void const* from) {
  uint16 value;
  asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(value) : "l"(from));
  return value;
}

/// ld.global.nc of four bytes, a multiple of four.
__device__ __forceinline__ uint32 load_global_u32(void const* from) {
  uint32 value;
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(value) : "l"(from));
  return value;
}

/// ld.shared of two bytes.
__device__ __forceinline__ uint32 load_shared_u16(SmemAddr from) {
  uint16 value;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(value) : "r"(from.value) : "memory");
  return value;
}

/// ld.shared of four bytes.
__device__ __forceinline__ uint32 load_shared_u32(SmemAddr from) {
  uint32 value;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(from.value) : "memory");
  return value;
}

/// ld.shared.v2.u32, 8-byte aligned.
__device__ __forceinline__ void load_shared_u32x2(uint32 (&value)[2], SmemAddr from) {
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
               : "=r"(value[0]), "=r"(value[1])
               : "r"(from.value)
               : "memory");
}

/// st.shared of four bytes.
__device__ __forceinline__ void store_shared_u32(SmemAddr to, uint32 value) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(to.value), "r"(value) : "memory");
}

/// st.shared of one float.
__device__ __forceinline__ void store_shared_f32(SmemAddr to, float value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(to.value), "f"(value) : "memory");
}

/// st.shared.v2.f32, 8-byte aligned.
__device__ __forceinline__ void store_shared_f32x2(SmemAddr to, float first, float second) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to.value), "f"(first), "f"(second) : "memory");
}

/// ld.shared of one float.
__device__ __forceinline__ float load_shared_f32(SmemAddr from) {
  float value;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(from.value) : "memory");
  return value;
}

/// ld.shared.v4.u32, 16-byte aligned.
__device__ __forceinline__ void load_shared_u32x4(uint32 (&value)[4], SmemAddr from) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value[0]), "=r"(value[1]), "=r"(value[2]), "=r"(value[3])
               : "r"(from.value)
               : "memory");
}

/// ld.shared.v4.f32, 16-byte aligned.
__device__ __forceinline__ void load_shared_f32x4(float (&value)[4], SmemAddr from) {
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value[0]), "=f"(value[1]), "=f"(value[2]), "=f"(value[3])
               : "r"(from.value)
               : "memory");
}

/// ld.global of one float that this launch may have written.
__device__ __forceinline__ float load_global_f32(void const* from) {
  float value;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(value) : "l"(from) : "memory");
  return value;
}

/// ld.global.v4.f32, 16-byte aligned.
__device__ __forceinline__ void load_global_f32x4(float (&value)[4], void const* from) {
  asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value[0]), "=f"(value[1]), "=f"(value[2]), "=f"(value[3])
               : "l"(from)
               : "memory");
}

/// st.global.v4.f32, 16-byte aligned.
__device__ __forceinline__ void store_global_f32x4(void* to, float const (&value)[4]) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(value[0]), "f"(value[1]),
               "f"(value[2]), "f"(value[3])
               : "memory");
}

/// atom.global.add.u32, acquire and release at GPU scope; returns the value before.
__device__ __forceinline__ uint32 atomic_add_acq_rel(unsigned* at, uint32 value) {
  uint32 before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(at), "r"(value)
               : "memory");
  return before;
}

}  // namespace deepwell

// Conversions and byte permutes.
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// cvt.rn.bf16x2.f32 (PTX ISA 9.7.9.22): `low` in the lower half.
__device__ __forceinline__ uint32 cvt_bf16x2(float low, float high) {
  uint32 packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

/// cvt.rn.bf16.f32.
__device__ __forceinline__ uint16 cvt_bf16(float value) {
  uint16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result) : "f"(value));
  return result;
}

/// The FP32 value of a bf16.
__device__ __forceinline__ float bf16_to_f32(uint32 bits) {
  float value;
  asm("mov.b32 %0, %1;" : "=f"(value) : "r"(bits << 16));
  return value;
}

__device__ __forceinline__ float bits_to_f32(uint32 bits) {
  float value;
  asm("mov.b32 %0, %1;" : "=f"(value) : "r"(bits));
  return value;
}

/// cvt.rn.f16x2.e4m3x2 (PTX ISA 9.7.9.22) of the lower or the upper half of four e4m3 elements; exact.
template <bool kUpper>
__device__ __forceinline__ uint32 cvt_f16x2_e4m3x2(uint32 bytes) {
  uint32 result;
  if constexpr (kUpper) {
    asm("{\n"
        ".reg .b16 low, high;\n"
        "mov.b32 {low, high}, %1;\n"
        "cvt.rn.f16x2.e4m3x2 %0, high;\n"
        "}"
        : "=r"(result)
        : "r"(bytes));
  } else {
    asm("{\n"
        ".reg .b16 low, high;\n"
        "mov.b32 {low, high}, %1;\n"
        "cvt.rn.f16x2.e4m3x2 %0, low;\n"
        "}"
        : "=r"(result)
        : "r"(bytes));
  }
  return result;
}

/// prmt.b32 (PTX ISA 9.7.9.7): byte i of the result is byte `selector` nibble i of {b, a}.
__device__ __forceinline__ uint32 prmt(uint32 a, uint32 b, uint32 selector) {
  uint32 result;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(selector));
  return result;
}

/// fma.rn.f32 (PTX ISA 9.7.3.6).
__device__ __forceinline__ float fma_rn(float a, float b, float c) {
  float result;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(result) : "f"(a), "f"(b), "f"(c));
  return result;
}

}  // namespace deepwell

// Scales on their way from shared memory to where they act: inside the MMA as exponent bytes, or outside it as FP32 factors of
// a partial sum.
#pragma once

#include "deepwell/gemm.h"
#include "deepwell/ptx/convert.cuh"
#include "deepwell/ptx/memory.cuh"

namespace deepwell {

/// Exponent bytes of ones.
inline constexpr uint32 kUnitScales = 0x7f7f7f7fu;

/// The word whose byte s scales k step s of the stage. `steps` of the stage's four k steps lie inside k; the others get ones.
template <int kGranK>
__device__ __forceinline__ uint32 step_scales(uint32 word, int k_tile, int steps) {
  if constexpr (kGranK == 128) {
    return (word >> (8 * (k_tile % 4)) & 0xffu) * 0x01010101u;
  } else {
    uint32 const inside = steps == 4 ? 0xffffffffu : (1u << (8 * steps)) - 1;
    return (word & inside) | (kUnitScales & ~inside);
  }
}

/// 2^exponent for exponents from -254 to 254, the range of a product of two UE8M0 scales, as two FP32 factors (below 2^-252,
/// where every product with a partial sum is zero, as 2^-252).
struct PowerOfTwo {
  float first, second;
};
__device__ __forceinline__ PowerOfTwo power_of_two(int exponent) {
  int const first = exponent > 127 ? 127 : (exponent < -126 ? -126 : exponent);
  int const rest = exponent - first;  // within -128 .. 127
  int const second = rest < -126 ? -126 : rest;
  return {bits_to_f32(static_cast<uint32>(first + 127) << 23),
          bits_to_f32(static_cast<uint32>(second + 127) << 23)};
}

/// The FP32 value of a UE8M0 byte: 0 is 2^-127, a subnormal; 255 is NaN.
__device__ __forceinline__ float ue8m0_to_f32(uint32 byte) {
  uint32 const bits = byte == 0 ? 0x00400000u : byte << 23;
  return bits_to_f32(byte == 255 ? 0x7fffffffu : bits);
}

/// Whether an FP32 scale is a positive power of two that a UE8M0 byte can hold, subnormals aside.
__device__ __forceinline__ bool is_plain_power_of_two(uint32 bits) {
  uint32 const exponent = bits >> 23;
  return (bits & 0x007fffffu) == 0 && exponent - 1 < 254;
}

}  // namespace deepwell

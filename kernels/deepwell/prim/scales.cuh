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
    return (word >> (8 * (static_cast<uint32>(k_tile) % 4)) & 0xffu) * 0x01010101u;
  } else {
    uint32 const inside = steps == 4 ? 0xffffffffu : (1u << (8 * steps)) - 1;
    return (word & inside) | (kUnitScales & ~inside);
  }
}

/// The value of a UE8M0 byte as two powers of two, lower = 2^floor(e / 2) and upper = 2^ceil(e / 2), e = byte - 127. The product
/// of two scales, up to 2^+-254, does not fit FP32; (x.lower y.upper) and (x.upper y.lower) always do, and a value that is
/// multiplied by one and then the other meets no range on the way that the result does not meet. Byte 255 is NaN.
struct HalfPowers {
  float lower, upper;
};
__device__ __forceinline__ HalfPowers half_powers(uint32 byte) {
  return {bits_to_f32((byte + 127) << 22 & 0x7f800000u),
          bits_to_f32(byte == 255 ? 0x7fffffffu : (byte + 128) << 22 & 0x7f800000u)};
}

/// An FP32 scale in the same way: `upper` is a power of two, `lower` has the sign and the fraction.
__device__ __forceinline__ HalfPowers half_scales(uint32 bits) {
  uint32 const upper = ((bits >> 23 & 0xffu) + 128) << 22 & 0x7f800000u;
  return {bits_to_f32(bits) * bits_to_f32(0x7f000000u - upper), bits_to_f32(upper)};
}

/// What the MMA applies of an FP32 scale: the byte of its exponent field. Infinity and NaN stay outside as a whole.
__device__ __forceinline__ uint32 exponent_byte(uint32 bits) {
  uint32 const exponent = bits >> 23 & 0xffu;
  return exponent == 255 ? 127 : exponent;
}

/// What is left of it: a factor of 1 to 2 with the scale's sign; below 2 for zero and subnormal scales.
__device__ __forceinline__ float factor_beside_exponent(uint32 bits) {
  uint32 const exponent = bits >> 23 & 0xffu;
  if (exponent == 0) return bits_to_f32(bits) * 0x1p127f;
  return exponent == 255 ? bits_to_f32(bits) : bits_to_f32((bits & 0x807fffffu) | 0x3f800000u);
}

/// Whether an FP32 scale is a positive power of two that a UE8M0 byte can hold, subnormals aside.
__device__ __forceinline__ bool is_plain_power_of_two(uint32 bits) {
  uint32 const exponent = bits >> 23;
  return (bits & 0x007fffffu) == 0 && exponent - 1 < 254;
}

}  // namespace deepwell

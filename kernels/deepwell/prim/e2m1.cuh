// Packed e2m1 in registers: widening to the bytes that an 8-bit MMA takes.
#pragma once

#include "deepwell/ptx/convert.cuh"
#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// Each of the four nibbles of the low half of `packed` in the upper half of a byte of its own; lower halves hold other bits.
__device__ __forceinline__ uint32 spread_nibbles(uint32 packed) { return prmt(packed << 4, packed, 0x5140); }

/// Four e2m1 elements as four e4m3 bytes of the same value.
__device__ __forceinline__ uint32 e2m1x4_to_e4m3x4(uint32 packed) {
  // e4m3 bytes of 0, 0.5, 1, 1.5 and 2, 3, 4, 6
  uint32 const magnitudes = prmt(0x3c383000u, 0x4c484440u, packed & 0x7777u);
  return magnitudes | (spread_nibbles(packed) & 0x80808080u);
}

/// Four e2m1 elements in the containers of kind::mxf8f6f4: bits 5..2 of each byte.
__device__ __forceinline__ uint32 e2m1x4_to_containers(uint32 packed) {
  return (spread_nibbles(packed) >> 2) & 0x3c3c3c3cu;
}

// Of a word of eight e2m1 elements the even or the odd ones as f16 of -2^-14 times their value, in pairs of elements four apart: the
// sign's complement, exponent and fraction go to where f16 has them; subnormal numbers become subnormal numbers, -0 becomes what 0 does.
//
// For an element with sign s and other bits e, n = 8 s + e, the byte 240 - 14 n = 16 (15 - 7 s - e) + 2 e has e in bits 3 to 1, and in
// bit 7 the complement of s, unless n is -0. So one multiplication makes the upper bytes of f16 of four elements; two of them stand
// where a pair of f16 has them, and a multiplication by 256 times as much brings the other two there. Multiplications go to another
// pipe than shifts and masks.
inline constexpr float kMovedE2m1 = -0x1p14f;  // what takes the moved elements back to their value
inline constexpr uint32 kMovedE2m1Log2 = 14;   // of its magnitude

/// Four elements, in the lower halves of the bytes of `nibbles`, upper halves zero: those of bytes 0 and 2, and those of 1 and 3.
__device__ __forceinline__ void move_nibbles(uint32& first, uint32& second, uint32 nibbles) {
  first = (0xf0f0f0f0u - nibbles * (14u << 8)) & 0x8e008e00u;
  second = (0xf0f0f0f0u - nibbles * 14u) & 0x8e008e00u;
}
__device__ __forceinline__ void e2m1_even_to_f16(uint32& first, uint32& second, uint32 word) {
  move_nibbles(first, second, word & 0x0f0f0f0fu);
}
__device__ __forceinline__ void e2m1_odd_to_f16(uint32& first, uint32& second, uint32 word) {
  move_nibbles(first, second, word >> 4 & 0x0f0f0f0fu);
}

}  // namespace deepwell

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

}  // namespace deepwell

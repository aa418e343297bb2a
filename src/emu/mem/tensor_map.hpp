// Tensor maps as the emulator keeps them: 128 bytes of its own format, the rules they obey, and their swizzles.
//
// The bytes may live anywhere a program puts them (parameter, constant, shared, global memory) and survive plain copies.
// Layout, little endian: 0 "DWTM", 4 version, 5 rank, 6 data type, 7 swizzle, 8 base (u64), 16 dims (5 x u64),
// 56 strides in bytes (4 x u64), 88 box (5 x u32), 108 element strides (5 x u8), 113 interleave, 114 l2 promotion,
// 115 oob fill, 116 zeros, 120 checksum of bytes 0..119 (u64).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "emu/emu.hpp"
#include "emu/mem/fault.hpp"

namespace deepwell::emu {

/// CUtensorMapDataType.
enum class TensorMapType : int {
  kU8,
  kU16,
  kU32,
  kS32,
  kU64,
  kS64,
  kF16,
  kF32,
  kF64,
  kBf16,
  kF32Ftz,
  kTf32,
  kTf32Ftz,
  kU4Align8,
  kU4Align16,
  kU6Align16
};
/// CUtensorMapSwizzle.
enum class TensorMapSwizzle : int {
  kNone,
  k32B,
  k64B,
  k128B,
  k128BAtom32B,
  k128BAtom32BFlip8B,
  k128BAtom64B
};

char const* name_of(TensorMapType type);
/// Bits of one element in global memory.
int bits_of(TensorMapType type);
bool is_floating(TensorMapType type);

/// Throws Error naming the field, its value and what the driver would have accepted. Unused dimensions are not looked at.
void check_tensor_map(TensorMapSpec const& spec);

/// The 128 bytes of a map that has not been checked: tensormap.replace builds maps field by field.
std::array<std::byte, 128> pack_tensor_map(TensorMapSpec const& spec);

/// The inverse. Throws Error (kDevice) when the bytes are not a tensor map of this machine (never encoded, overwritten, half copied).
TensorMapSpec unpack_tensor_map(std::span<std::byte const> bytes);

/// Bytes of a swizzle's span, 0 for none.
int span_of(TensorMapSwizzle swizzle);

/// Where a byte of a tile lies: the swizzle permutes address bits, on the absolute shared-memory address.
std::uint32_t swizzle_address(TensorMapSwizzle swizzle, std::uint32_t address);

}  // namespace deepwell::emu

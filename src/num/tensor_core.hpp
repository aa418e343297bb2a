// The arithmetic of the tensor cores bit for bit, as published for Hopper and RTX Blackwell (MMA-Sim, arXiv 2511.10909).
//
// A dot product with its addend is one fused operation: every product keeps the product of the two significands (not
// renormalised) and the sum of the two exponents, all products and C are aligned to the largest exponent among them, each
// is truncated toward zero a fixed number of bits below it, the sum is exact, and its conversion to f32 truncates toward
// zero. Choices where publications are silent are constants or comments of tensor_core.cpp, "Choices".
#pragma once

#include <cstdint>

#include "num/formats.hpp"

namespace deepwell::num {

enum class TensorCore {
  kHopper,     // SM 9.0: e4m3 and e5m2 go through f16
  kBlackwell,  // SM 12.x
};

inline constexpr int kMmaM = 16, kMmaN = 8;

/// D = A B + C for one tile. `a` is [16][k] row-major, `b` is [8][k] (one column of B after the other), `c` and `d` are
/// [16][8] row-major codes of `accumulator` (kF32, or kF16 in the low 16 bits). `d` may be `c`.
/// Code: uint8_t for the 8-bit containers (e4m3, e5m2; e3m2 and e2m3 in bits 5..0; e2m1 in bits 5..2), uint16_t for bf16
/// and f16, uint32_t for tf32. k is at most 32, 16 and 8.
template <class Code>
struct MmaTile {
  Format a_format, b_format;
  int k;
  Code const* a;
  Code const* b;
  std::uint32_t const* c;
  std::uint32_t* d;
  Format accumulator = Format::kF32;
  std::uint8_t const* scale_a = nullptr;  // [16] ue8m0, one a row; both or none; kBlackwell and f32 only
  std::uint8_t const* scale_b = nullptr;  // [8] ue8m0, one a column
};

/// Throws Error (kBadArgument) for a combination that no instruction has.
void mma(TensorCore core, MmaTile<std::uint8_t> const& tile);
void mma(TensorCore core, MmaTile<std::uint16_t> const& tile);
void mma(TensorCore core, MmaTile<std::uint32_t> const& tile);

/// m16n8k64 on packed e2m1 (kind::mxf4, kind::mxf4nvf4): `a` is [16][32 bytes], `b` [8][32 bytes], low nibble first.
/// Scales are [16][blocks] and [8][blocks] codes of `scale_format` (kUe8m0 or kUe4m3, whose bit 7 is ignored), each for
/// 64 / blocks consecutive k; blocks is 2 or 4.
struct MmaFp4Tile {
  Format scale_format;
  int blocks;
  std::uint8_t const* a;
  std::uint8_t const* b;
  std::uint8_t const* scale_a;
  std::uint8_t const* scale_b;
  std::uint32_t const* c;
  std::uint32_t* d;
};
void mma_fp4(MmaFp4Tile const& tile);

/// Integer MMA: operands are bytes, signed or not; the sum wraps, or saturates if `satfinite`. k is at most 128.
struct MmaIntTile {
  bool a_signed, b_signed, satfinite;
  int k;
  std::uint8_t const* a;
  std::uint8_t const* b;
  std::uint32_t const* c;
  std::uint32_t* d;
};
void mma_int(MmaIntTile const& tile);

}  // namespace deepwell::num

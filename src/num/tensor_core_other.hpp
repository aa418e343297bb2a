// MMAs that are no fused sums of products: single bits, f64, and f16 with k 4.
#pragma once

#include <cstdint>
#include <span>

#include "num/tensor_core.hpp"

namespace deepwell::num {

/// The number of ones in A and B, or in A xor B, is added to C; the sum wraps. `a` is [16][k / 8], `b` is [8][k / 8].
struct MmaBitsTile {
  bool is_and;
  int k;
  std::uint8_t const* a;
  std::uint8_t const* b;
  std::uint32_t const* c;
  std::uint32_t* d;
};
void mma_bits(MmaBitsTile const& tile);

/// A chain of fma from C on, k upward, each rounded once. `a` is [rows][k], `b` is [8][k], `c` and `d` are [rows][8].
struct MmaF64Tile {
  Rounding rounding;
  int rows, k;
  double const* a;
  double const* b;
  double const* c;
  double* d;
};
void mma_f64(MmaF64Tile const& tile);

/// What m8n8k4 computes on chips that have no such unit, in FP32 with FMA: for an f32 result the products one after the
/// other, then C; for an f16 result C, then products 0 and 1, then products 2 and 3.
std::uint32_t dot4_f16(std::span<std::uint16_t const, 4> a, std::span<std::uint16_t const, 4> b,
                       std::uint32_t c, Format c_format, Format d_format);

}  // namespace deepwell::num

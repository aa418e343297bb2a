// One output of a floating-point MMA by the definition, written to be read. It decides wherever the fast loops
// (tensor_core_fused.cpp, tensor_core_fp4.cpp) do not, and says what their bits must be.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "num/tensor_core.hpp"

namespace deepwell::num {

inline constexpr int kNoExponent = -100000;  // of zero: below every other one

/// How addends are aligned: `fraction_bits` are kept below the largest exponent, which counts as `smallest` if it is less.
struct Alignment {
  int fraction_bits, smallest;
};
inline constexpr Alignment kFusedAlignment{25, -133};       // k32 and narrower MMAs: never below 2^-158
inline constexpr Alignment kFp4Alignment{35, kNoExponent};  // the k64 MMA
inline constexpr int kFp4GroupK = 16;  // ... and its products that are summed before scaling

/// significand * 2^lsb_exponent, with the exponent at which it takes part in the search for the largest. A product's is the
/// sum of its factors' exponents, however large the product of the significands is.
struct Addend {
  std::int64_t significand = 0;
  int lsb_exponent = 0;
  int exponent = 0;
};

/// sum * 2^lsb_exponent as a code. f32 truncates toward zero, f16 rounds to nearest even; zero is +0.
std::uint32_t pack_sum(std::int64_t sum, int lsb_exponent, Format accumulator);

/// The addends aligned, truncated toward zero, summed exactly, and the sum as a code of `accumulator`.
std::uint32_t aligned_sum(std::span<Addend const> addends, Alignment alignment, Format accumulator);

/// NaN and infinity among operands, scales, products and C.
struct Specials {
  bool nan = false, plus_infinity = false, minus_infinity = false;

  bool any() const { return nan || plus_infinity || minus_infinity; }
  void add(Unpacked const& addend);
  void add_product(Unpacked const& x, Unpacked const& y);
  std::uint32_t result(Format accumulator) const;  // where there is any
};

/// C as an addend.
Addend addend_of(Unpacked const& c, Format accumulator);

/// Output (m, n) of the tile, on top of `c` instead of the tile's. With `through_f16`, operands are widened to f16 first: the
/// values stay, but subnormal numbers of e4m3 become normal.
template <class Code>
std::uint32_t fused_dot(MmaTile<Code> const& tile, bool through_f16, int m, int n, std::uint32_t c);

inline constexpr int kFp4Groups = 64 / kFp4GroupK;

std::uint32_t fp4_dot(MmaFp4Tile const& tile, int m, int n);

/// The same from the exact sums of its groups, in units of the smallest product, 0.25.
std::uint32_t fp4_sum(MmaFp4Tile const& tile, int m, int n,
                      std::array<std::int32_t, kFp4Groups> const& groups);

}  // namespace deepwell::num

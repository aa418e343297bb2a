// Scalar floating-point arithmetic with exactly one rounding, in every PTX rounding mode, for f16, bf16 and f32.
#pragma once

#include <cstdint>

#include "num/formats.hpp"

namespace deepwell::num {

/// x + y rounded to odd in double: whatever is then rounded to a format of at most 51 significant bits is rounded as if
/// from the exact sum.
double add_to_odd(double x, double y);

struct ArithmeticOptions {
  Rounding rounding = Rounding::kNearestEven;
  bool ftz = false;   // subnormal inputs and results become zero, sign kept
  bool sat = false;   // result clamped to [0, 1], NaN to +0
  bool relu = false;  // negative results become +0, NaN stays
};

/// Codes in, code out (kF16, kBf16 or kF32). A NaN result is the canonical one (0x7fff, 0x7fffffff).
std::uint32_t add(Format format, std::uint32_t a, std::uint32_t b, ArithmeticOptions const& options = {});
std::uint32_t sub(Format format, std::uint32_t a, std::uint32_t b, ArithmeticOptions const& options = {});
std::uint32_t mul(Format format, std::uint32_t a, std::uint32_t b, ArithmeticOptions const& options = {});
std::uint32_t fma(Format format, std::uint32_t a, std::uint32_t b, std::uint32_t c,
                  ArithmeticOptions const& options = {});

/// A subnormal code becomes a zero of the same sign; any other code is returned as it is.
std::uint32_t flush_subnormal(Format format, std::uint32_t code);

}  // namespace deepwell::num

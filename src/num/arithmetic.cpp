// One-rounding arithmetic through double: products of two operands are exact there, sums are rounded to odd first.
#include "num/arithmetic.hpp"

#include <bit>
#include <cmath>

#include "base/error.hpp"

namespace deepwell::num {
namespace {

std::uint32_t negate(Format format, std::uint32_t code) {
  FormatInfo const& f = info(format);
  return code ^ 1u << (f.exponent_bits + f.fraction_bits);
}

double load(Format format, std::uint32_t code, bool ftz) {
  return decode(format, ftz ? flush_subnormal(format, code) : code);
}

/// `exact` is the result or its rounding to odd. `zero_sum` says that an exact cancellation made it: then the sign of
/// zero is the rounding mode's.
std::uint32_t finish(Format format, double exact, bool zero_sum, ArithmeticOptions const& options) {
  if (zero_sum) exact = options.rounding == Rounding::kDown ? -0.0 : 0.0;
  std::uint32_t code = encode(format, exact, {.rounding = options.rounding, .relu = options.relu});
  if (options.ftz) code = flush_subnormal(format, code);
  if (options.sat) {
    double const value = decode(format, code);
    if (std::isnan(value) || std::signbit(value) || value == 0.0) return 0;
    if (value > 1.0) return encode(format, 1.0);
  }
  return code;
}

void check_format(Format format) {
  if (format != Format::kF16 && format != Format::kBf16 && format != Format::kF32) {
    throw bad_argument("format", std::string(info(format).name), "f16, bf16 or f32");
  }
}

bool cancels(double x, double y) { return x == -y && x != 0.0 && std::isfinite(x); }
bool opposite_zeros(double x, double y) { return x == 0.0 && y == 0.0 && std::signbit(x) != std::signbit(y); }

}  // namespace

double add_to_odd(double x, double y) {
  double const sum = x + y;
  if (!std::isfinite(sum)) return sum;
  double const y_part = sum - x;
  double const error = (x - (sum - y_part)) + (y - y_part);
  if (error == 0.0) return sum;
  std::uint64_t bits = std::bit_cast<std::uint64_t>(sum);
  if (bits & 1) return sum;
  // The exact sum lies strictly between `sum` and its neighbour on the side of the error; that neighbour is odd.
  bool const away_from_zero = (error > 0) == (sum > 0);
  return std::bit_cast<double>(away_from_zero ? bits + 1 : bits - 1);
}

std::uint32_t flush_subnormal(Format format, std::uint32_t code) {
  FormatInfo const& f = info(format);
  std::uint32_t const exponent_mask = ((1u << f.exponent_bits) - 1) << f.fraction_bits;
  std::uint32_t const sign_mask = 1u << (f.exponent_bits + f.fraction_bits);
  return (code & exponent_mask) == 0 ? code & sign_mask : code;
}

std::uint32_t add(Format format, std::uint32_t a, std::uint32_t b, ArithmeticOptions const& options) {
  check_format(format);
  double const x = load(format, a, options.ftz), y = load(format, b, options.ftz);
  return finish(format, add_to_odd(x, y), cancels(x, y) || opposite_zeros(x, y), options);
}

std::uint32_t sub(Format format, std::uint32_t a, std::uint32_t b, ArithmeticOptions const& options) {
  return add(format, a, negate(format, b), options);
}

std::uint32_t mul(Format format, std::uint32_t a, std::uint32_t b, ArithmeticOptions const& options) {
  check_format(format);
  return finish(format, load(format, a, options.ftz) * load(format, b, options.ftz), false, options);
}

std::uint32_t fma(Format format, std::uint32_t a, std::uint32_t b, std::uint32_t c,
                  ArithmeticOptions const& options) {
  check_format(format);
  double const product = load(format, a, options.ftz) * load(format, b, options.ftz);
  double const addend = load(format, c, options.ftz);
  return finish(format, add_to_odd(product, addend),
                cancels(product, addend) || opposite_zeros(product, addend), options);
}

}  // namespace deepwell::num

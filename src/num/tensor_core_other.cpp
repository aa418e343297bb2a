// MMAs that are no fused sums: see tensor_core_other.hpp.
#include "num/tensor_core_other.hpp"

#include <bit>
#include <cfenv>
#include <cmath>

#include "base/error.hpp"

namespace deepwell::num {
namespace {

int host_mode(Rounding rounding) {
  switch (rounding) {
    case Rounding::kNearestEven: return FE_TONEAREST;
    case Rounding::kZero: return FE_TOWARDZERO;
    case Rounding::kUp: return FE_UPWARD;
    case Rounding::kDown: return FE_DOWNWARD;
    case Rounding::kNearestAway: break;
  }
  throw bad_argument("rounding", "nearest away", "nearest even, zero, up or down");
}

/// Kept out of line, so that nothing moves across the change of mode.
[[gnu::noinline]] double fma_in(int mode, double a, double b, double c) {
  double volatile x = a, y = b, z = c;
  std::fesetround(mode);
  double volatile const result = std::fma(x, y, z);
  std::fesetround(FE_TONEAREST);
  return result;
}

/// The NaN of fma, as measured on SM 9.0: that of b, else of c, else of a, quiet; of no NaN the sign and the quiet bit.
double nan_of(double a, double b, double c) {
  for (double const operand : {b, c, a}) {
    if (std::isnan(operand))
      return std::bit_cast<double>(std::bit_cast<std::uint64_t>(operand) | 0x0008000000000000u);
  }
  return std::bit_cast<double>(std::uint64_t{0xfff8000000000000});
}

std::uint32_t f32_code(float value) {
  return std::isnan(value) ? kCanonicalNan : std::bit_cast<std::uint32_t>(value);
}

}  // namespace

void mma_bits(MmaBitsTile const& tile) {
  if (tile.k <= 0 || tile.k % 8 != 0) throw bad_argument("k", fmt::format("{}", tile.k), "a multiple of 8");
  int const bytes = tile.k / 8;
  for (int m = 0; m < kMmaM; ++m) {
    for (int n = 0; n < kMmaN; ++n) {
      std::uint32_t sum = tile.c[m * kMmaN + n];
      for (int i = 0; i < bytes; ++i) {
        unsigned const a = tile.a[m * bytes + i], b = tile.b[n * bytes + i];
        sum += static_cast<std::uint32_t>(std::popcount(tile.is_and ? a & b : a ^ b));
      }
      tile.d[m * kMmaN + n] = sum;
    }
  }
}

void mma_f64(MmaF64Tile const& tile) {
  int const mode = host_mode(tile.rounding);
  for (int m = 0; m < tile.rows; ++m) {
    for (int n = 0; n < kMmaN; ++n) {
      double sum = tile.c[m * kMmaN + n];
      for (int k = 0; k < tile.k; ++k) {
        double const a = tile.a[m * tile.k + k], b = tile.b[n * tile.k + k];
        double const next = fma_in(mode, a, b, sum);
        sum = std::isnan(next) ? nan_of(a, b, sum) : next;
      }
      tile.d[m * kMmaN + n] = sum;
    }
  }
}

std::uint32_t dot4_f16(std::span<std::uint16_t const, 4> a, std::span<std::uint16_t const, 4> b,
                       std::uint32_t c, Format c_format, Format d_format) {
  float x[4], y[4];
  for (std::size_t i = 0; i < 4; ++i) {
    x[i] = f16_to_float(a[i]);
    y[i] = f16_to_float(b[i]);
  }
  float const addend =
      c_format == Format::kF16 ? f16_to_float(static_cast<std::uint16_t>(c)) : std::bit_cast<float>(c);
  if (d_format == Format::kF16) {
    float const first = std::fma(x[1], y[1], x[0] * y[0]);
    float const second = std::fma(x[3], y[3], x[2] * y[2]);
    return float_to_f16((addend + first) + second);
  }
  float sum = std::fma(x[0], y[0], 0.0f);
  for (int i = 1; i < 4; ++i) sum = std::fma(x[i], y[i], sum);
  return f32_code(addend + sum);
}

}  // namespace deepwell::num

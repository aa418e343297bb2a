// The registry of the corpus, and formats of few bits.
#include "corpus/data.hpp"

#include <filesystem>

namespace deepwell::corpus {

std::uint64_t Data::bits() {
  // splitmix64
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::vector<Entry>& entries() {
  static std::vector<Entry> all;
  return all;
}

Registration::Registration(std::string_view path, emu::LaunchConfig const& launch,
                           std::function<void(Data&)> fill) {
  emu::LaunchConfig whole = launch;  // extents that are not given are 1
  for (auto* const shape : {&whole.grid, &whole.block, &whole.cluster}) {
    for (std::uint32_t& extent : *shape) extent = std::max(1u, extent);
  }
  entries().push_back({std::filesystem::path(path).stem().string(), whole, std::move(fill)});
}

double rounded(double x, Format format, bool saturate) {
  if (std::isnan(x) || x == 0) return x;
  if (std::isinf(x)) return saturate ? std::copysign(format.largest, x) : x;
  int exponent = 0;
  std::frexp(x, &exponent);  // x = m 2^exponent, 0.5 <= |m| < 1
  int const least = 1 - format.bias();
  double const unit = std::ldexp(1.0, std::max(exponent - 1, least) - format.fraction);
  double const out = std::nearbyint(x / unit) * unit;  // x / unit is exact: unit is a power of two
  if (std::abs(out) <= format.largest) return out;
  bool const overflows = !saturate && format.has_infinity;
  return std::copysign(overflows ? std::numeric_limits<double>::infinity() : format.largest, x);
}

double decoded(std::uint32_t code, Format format) {
  std::uint32_t const sign = code >> (format.exponent + format.fraction) & 1;
  std::uint32_t const exponent = code >> format.fraction & ((1u << format.exponent) - 1);
  std::uint32_t const fraction = code & ((1u << format.fraction) - 1);
  double const f = fraction;
  double out = 0;
  bool const top = exponent == (1u << format.exponent) - 1;
  if (format.has_infinity && top) {
    out = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    out = std::ldexp(f, 1 - format.bias() - format.fraction);
  } else {
    out =
        std::ldexp(f + (1u << format.fraction), static_cast<int>(exponent) - format.bias() - format.fraction);
  }
  if (out > format.largest && !format.has_infinity) out = std::numeric_limits<double>::quiet_NaN();
  return sign != 0 ? -out : out;
}

std::uint32_t encoded(double x, Format format) {
  std::uint32_t const sign = std::signbit(x) ? 1u << (format.exponent + format.fraction) : 0;
  std::uint32_t const top = ((1u << format.exponent) - 1) << format.fraction;
  if (std::isnan(x)) return top | ((1u << format.fraction) - 1);
  if (std::isinf(x)) return sign | top;
  if (x == 0) return sign;
  int exponent = 0;
  std::frexp(x, &exponent);
  int const biased = exponent - 1 + format.bias();
  double const magnitude = std::abs(x);
  if (biased <= 0)
    return sign | static_cast<std::uint32_t>(std::ldexp(magnitude, format.bias() - 1 + format.fraction));
  double const fraction = std::ldexp(magnitude, format.fraction - (exponent - 1)) - (1u << format.fraction);
  return sign | static_cast<std::uint32_t>(biased) << format.fraction | static_cast<std::uint32_t>(fraction);
}

}  // namespace deepwell::corpus

// Small number formats for the launch sheets: by searching all values, which is slow and plainly right.
#include "launch_sheets.hpp"

namespace deepwell::third_party {

double e4m3_magnitude(std::uint8_t byte) {
  int const exponent = byte >> 3 & 15, mantissa = byte & 7;
  if ((byte & 0x7f) == 0x7f) return std::nan("");
  return exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
}

double e2m1_value(unsigned nibble) {
  static constexpr double kMagnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  return nibble & 8 ? -kMagnitudes[nibble & 7] : kMagnitudes[nibble & 7];
}

std::uint8_t to_e4m3(double value) {
  double const magnitude = std::abs(value);
  int best = 0;
  for (int code = 1; code < 0x7f; ++code) {
    double const was = std::abs(e4m3_magnitude(static_cast<std::uint8_t>(best)) - magnitude);
    double const now = std::abs(e4m3_magnitude(static_cast<std::uint8_t>(code)) - magnitude);
    if (now < was || (now == was && code % 2 == 0)) best = code;
  }
  return static_cast<std::uint8_t>(best | (std::signbit(value) ? 0x80 : 0));
}

unsigned to_e2m1(double value) {
  double const magnitude = std::abs(value);
  unsigned best = 0;
  for (unsigned code = 1; code < 8; ++code) {
    double const was = std::abs(e2m1_value(best) - magnitude), now = std::abs(e2m1_value(code) - magnitude);
    if (now < was || (now == was && code % 2 == 0)) best = code;
  }
  return best | (std::signbit(value) ? 8u : 0u);
}

}  // namespace deepwell::third_party

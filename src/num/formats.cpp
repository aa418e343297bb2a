// Software number formats: see formats.hpp. One rounding routine serves all formats; it works on the bits of a double.
#include "num/formats.hpp"

#include <array>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace deepwell::num {
namespace {

// clang-format off
constexpr FormatInfo kFormats[] = {
    // name    bits  exp frac bias   max_code     inf          nan         signed
    {"e4m3",    8,   4,  3,   7,     0x7e,        -1,          0x7f,       true},
    {"e5m2",    8,   5,  2,   15,    0x7b,        0x7c,        0x7f,       true},
    {"e3m2",    6,   3,  2,   3,     0x1f,        -1,          -1,         true},
    {"e2m3",    6,   2,  3,   1,     0x1f,        -1,          -1,         true},
    {"e2m1",    4,   2,  1,   1,     0x7,         -1,          -1,         true},
    {"ue8m0",   8,   8,  0,   127,   0xfe,        -1,          0xff,       false},
    {"ue4m3",   8,   4,  3,   7,     0x7e,        -1,          0x7f,       false},
    {"bf16",    16,  8,  7,   127,   0x7f7f,      0x7f80,      0x7fff,     true},
    {"f16",     16,  5,  10,  15,    0x7bff,      0x7c00,      0x7fff,     true},
    {"tf32",    32,  8,  10,  127,   0x7f7fe000,  0x7f800000,  0x7fffe000, true},
    {"f32",     32,  8,  23,  127,   0x7f7fffff,  0x7f800000,  0x7fffffff, true},
};
// clang-format on

constexpr int kTf32TailBits = 13;

/// significand >> shift, rounded; `negative` matters to the directed modes only. shift >= 0.
std::uint64_t shift_right_rounded(std::uint64_t significand, int shift, bool negative, Rounding rounding) {
  if (shift == 0) return significand;
  if (shift > 62) {  // less than half of the last place: only "something or nothing" matters
    significand = significand != 0;
    shift = 62;
  }
  std::uint64_t const kept = significand >> shift;
  std::uint64_t const rest = significand & ((std::uint64_t{1} << shift) - 1);
  std::uint64_t const half = std::uint64_t{1} << (shift - 1);
  bool up = false;
  switch (rounding) {
    case Rounding::kNearestEven: up = rest > half || (rest == half && (kept & 1)); break;
    case Rounding::kNearestAway: up = rest >= half; break;
    case Rounding::kZero: break;
    case Rounding::kUp: up = rest != 0 && !negative; break;
    case Rounding::kDown: up = rest != 0 && negative; break;
  }
  return kept + up;
}

bool overflow_stays_finite(Rounding rounding, bool negative) {
  return rounding == Rounding::kZero || (rounding == Rounding::kUp && negative) ||
         (rounding == Rounding::kDown && !negative);
}

template <int kCodes>
std::array<float, kCodes> decode_table(Format format) {
  std::array<float, kCodes> table{};
  for (int code = 0; code < kCodes; ++code)
    table[code] = decode_f32(format, static_cast<std::uint32_t>(code));
  return table;
}

}  // namespace

FormatInfo const& info(Format format) { return kFormats[static_cast<int>(format)]; }

Unpacked unpack(Format format, std::uint32_t code) {
  FormatInfo const& f = info(format);
  if (format == Format::kUe8m0) {
    code &= 0xff;
    if (code == 0xff) return {.is_nan = true};
    return {.exponent = static_cast<int>(code) - f.bias, .significand = 1};
  }
  if (format == Format::kTf32) code >>= kTf32TailBits;
  int const sign_position = f.exponent_bits + f.fraction_bits;
  std::uint32_t const fraction = code & ((1u << f.fraction_bits) - 1);
  int const field = static_cast<int>(code >> f.fraction_bits & ((1u << f.exponent_bits) - 1));
  Unpacked u;
  u.negative = f.is_signed && (code >> sign_position & 1);
  std::uint32_t const magnitude = code & ((1u << sign_position) - 1);
  if (f.inf_code >= 0) {
    if (field == (1 << f.exponent_bits) - 1) {
      u.is_inf = fraction == 0;
      u.is_nan = fraction != 0;
      return u;
    }
  } else if (f.nan_code >= 0 && magnitude == static_cast<std::uint32_t>(f.nan_code)) {
    u.is_nan = true;
    return u;
  }
  bool const normal = field != 0;
  u.exponent = normal ? field - f.bias : f.min_exponent();
  u.significand = fraction | (normal ? 1u << f.fraction_bits : 0u);
  return u;
}

double decode(Format format, std::uint32_t code) {
  Unpacked const u = unpack(format, code);
  if (u.is_nan) return std::numeric_limits<double>::quiet_NaN();
  double const magnitude =
      u.is_inf ? std::numeric_limits<double>::infinity()
               : std::ldexp(static_cast<double>(u.significand), u.exponent - info(format).fraction_bits);
  return u.negative ? -magnitude : magnitude;
}

float decode_f32(Format format, std::uint32_t code) { return static_cast<float>(decode(format, code)); }

std::uint32_t encode(Format format, double value, EncodeOptions const& options) {
  FormatInfo const& f = info(format);
  if (format == Format::kUe8m0) {
    throw bad_argument("format", "ue8m0", "a format with a fraction; encode_ue8m0 serves this one");
  }
  std::uint64_t const bits = std::bit_cast<std::uint64_t>(value);
  bool const negative = bits >> 63;
  int const field = static_cast<int>(bits >> 52 & 0x7ff);
  std::uint64_t const fraction = bits & ((std::uint64_t{1} << 52) - 1);
  auto no_such_code = [&] {
    return bad_argument(
        "value", fmt::format("{}", value),
        fmt::format("a value within {}, which has no infinity and no NaN, or satfinite", f.name));
  };

  if (field == 0x7ff && fraction != 0) {
    if (f.nan_code >= 0) return static_cast<std::uint32_t>(f.nan_code);
    if (!options.satfinite) throw no_such_code();
    return f.max_code;
  }
  bool const clamps_to_zero = options.relu || !f.is_signed;
  if (negative && clamps_to_zero) return 0;

  int const tail = format == Format::kTf32 ? kTf32TailBits : 0;
  int const sign_position = f.exponent_bits + f.fraction_bits;
  std::uint32_t const sign = negative ? 1u << (sign_position + tail) : 0u;

  std::uint64_t magnitude = std::numeric_limits<std::uint64_t>::max();  // infinity: beyond every code
  if (field != 0x7ff) {
    int const exponent = field == 0 ? -1022 : field - 1023;
    std::uint64_t const significand = fraction | (field == 0 ? 0 : std::uint64_t{1} << 52);
    int const kept_exponent = exponent < f.min_exponent() ? f.min_exponent() : exponent;
    int const shift = 52 - f.fraction_bits + (kept_exponent - exponent);
    std::uint64_t const rounded = shift_right_rounded(significand, shift, negative, options.rounding);
    // A carry out of the fraction moves into the exponent field by itself.
    magnitude = (static_cast<std::uint64_t>(kept_exponent - f.min_exponent()) << f.fraction_bits) + rounded;
    magnitude <<= tail;
  }
  if (magnitude <= f.max_code) return sign | static_cast<std::uint32_t>(magnitude);
  bool const was_inf = field == 0x7ff;
  if (options.satfinite || (!was_inf && overflow_stays_finite(options.rounding, negative)))
    return sign | f.max_code;
  if (f.inf_code >= 0) return sign | static_cast<std::uint32_t>(f.inf_code);
  if (f.nan_code >= 0) return sign | static_cast<std::uint32_t>(f.nan_code);
  throw no_such_code();
}

std::uint8_t encode_ue8m0(float value, Rounding rounding, bool satfinite) {
  if (rounding != Rounding::kUp && rounding != Rounding::kZero) {
    throw bad_argument("rounding", fmt::format("{}", static_cast<int>(rounding)),
                       "up (.rp) or toward zero (.rz) for ue8m0");
  }
  std::uint32_t const magnitude = std::bit_cast<std::uint32_t>(value) & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0xff;
  std::uint32_t code = magnitude >> 23;
  bool const inexact = (magnitude & 0x7fffffu) != 0;
  std::uint32_t const two_to_minus_127 = 0x00400000u;
  if (rounding == Rounding::kUp && inexact && magnitude > two_to_minus_127) ++code;
  if (code == 0xff && satfinite) code = 0xfe;
  return static_cast<std::uint8_t>(code);
}

std::optional<std::uint8_t> exact_ue8m0(float value) {
  std::uint32_t const bits = std::bit_cast<std::uint32_t>(value);
  if (bits == 0x00400000u) return std::uint8_t{0};
  if (!is_power_of_two(value) || bits < 0x00800000u) return std::nullopt;
  return static_cast<std::uint8_t>(bits >> 23);
}

bool is_power_of_two(float value) {
  std::uint32_t const bits = std::bit_cast<std::uint32_t>(value);
  if (bits == 0 || bits >= 0x7f800000u) return false;  // zero, infinity, NaN, anything negative
  std::uint32_t const fraction = bits & 0x7fffffu;
  return bits < 0x00800000u ? std::has_single_bit(bits) : fraction == 0;
}

float bf16_to_float(std::uint16_t code) { return std::bit_cast<float>(std::uint32_t{code} << 16); }

std::uint16_t float_to_bf16(float value) {
  std::uint32_t const bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return kCanonicalNan16;
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float f16_to_float(std::uint16_t code) {
  std::uint32_t const sign = std::uint32_t{code & 0x8000u} << 16;
  std::uint32_t const magnitude = code & 0x7fffu;
  if (magnitude > 0x7c00u) return std::bit_cast<float>(kCanonicalNan);
  if (magnitude == 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u);
  if (magnitude < 0x0400u) {
    float const value = static_cast<float>(magnitude) * 0x1p-24f;
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
}

std::uint16_t float_to_f16(float value) { return static_cast<std::uint16_t>(encode(Format::kF16, value)); }

float e4m3_to_float(std::uint8_t code) {
  static std::array<float, 256> const table = decode_table<256>(Format::kE4m3);
  return table[code];
}

std::uint8_t float_to_e4m3(float value) {
  return static_cast<std::uint8_t>(encode(Format::kE4m3, value, {.satfinite = true}));
}

float e2m1_to_float(std::uint8_t code) {
  static std::array<float, 16> const table = decode_table<16>(Format::kE2m1);
  return table[code & 0xf];
}

std::uint8_t float_to_e2m1(float value) {
  return static_cast<std::uint8_t>(encode(Format::kE2m1, value, {.satfinite = true}));
}

float ue8m0_to_float(std::uint8_t code) {
  std::uint32_t const bits = code == 0      ? 0x00400000u
                             : code == 0xff ? kCanonicalNan
                                            : std::uint32_t{code} << 23;
  return std::bit_cast<float>(bits);
}

std::uint32_t narrow_nan(std::uint64_t f64_bits, Format format) {
  FormatInfo const& f = info(format);
  std::uint32_t const sign = static_cast<std::uint32_t>(f64_bits >> 63)
                             << (f.exponent_bits + f.fraction_bits);
  std::uint32_t const exponent = ((1u << f.exponent_bits) - 1) << f.fraction_bits;
  std::uint32_t const payload =
      static_cast<std::uint32_t>((f64_bits & 0x000fffffffffffffu) >> (52 - f.fraction_bits));
  return sign | exponent | payload | 1u << (f.fraction_bits - 1);
}

std::uint64_t widen_nan(std::uint32_t code, Format format) {
  FormatInfo const& f = info(format);
  std::uint64_t const sign = std::uint64_t{code >> (f.exponent_bits + f.fraction_bits) & 1} << 63;
  std::uint64_t const payload = std::uint64_t{code & ((1u << f.fraction_bits) - 1)} << (52 - f.fraction_bits);
  return sign | 0x7ff8000000000000u | payload;
}

}  // namespace deepwell::num

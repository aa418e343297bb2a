// The number formats of tensor-core kernels in software: decode, encode with every rounding that PTX names, exactly.
// Sources: OCP Microscaling Formats (MX) v1.0, IEEE 754-2019, and the PTX ISA's chapters on `cvt` and alternate formats.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

namespace deepwell::num {

/// A code is the format's bits in the low end of an integer; a tf32 code is the f32 pattern whose low 13 bits are ignored.
enum class Format {
  kE4m3,   // 1-4-3, no infinity, 0x7f and 0xff are NaN, largest 448
  kE5m2,   // 1-5-2, IEEE-like, largest 57344
  kE3m2,   // 1-3-2, all codes finite, largest 28
  kE2m3,   // 1-2-3, all codes finite, largest 7.5
  kE2m1,   // 1-2-1, all codes finite, largest 6
  kUe8m0,  // 2^(code - 127), 255 is NaN
  kUe4m3,  // e4m3 without its sign (bit 7 is ignored), 0x7f is NaN
  kBf16,
  kF16,
  kTf32,
  kF32,
};

enum class Rounding {
  kNearestEven,  // PTX .rn
  kNearestAway,  // PTX .rna
  kZero,         // PTX .rz
  kUp,           // PTX .rp
  kDown,         // PTX .rm
};

struct FormatInfo {
  std::string_view name;
  int code_bits;
  int exponent_bits, fraction_bits;
  int bias;
  std::uint32_t max_code;  // the largest finite value, without sign
  std::int64_t inf_code;   // -1: the format has none
  std::int64_t nan_code;   // what a NaN is encoded as; -1: the format has none
  bool is_signed;

  constexpr int min_exponent() const {
    return 1 - bias;
  }  // of the smallest normal number and of all subnormal ones
};

FormatInfo const& info(Format format);

/// A code taken apart: value = (-1)^negative * significand * 2^(exponent - fraction_bits). The significand of a normal
/// number has its hidden bit, a subnormal number has the format's smallest exponent. Zero has significand 0.
struct Unpacked {
  bool negative = false;
  bool is_nan = false;
  bool is_inf = false;
  int exponent = 0;
  std::uint32_t significand = 0;

  bool is_zero() const { return significand == 0 && !is_nan && !is_inf; }
};

Unpacked unpack(Format format, std::uint32_t code);

/// The value of a code, exact. NaN decodes to a quiet NaN.
double decode(Format format, std::uint32_t code);
float decode_f32(Format format, std::uint32_t code);

struct EncodeOptions {
  Rounding rounding = Rounding::kNearestEven;
  bool satfinite = false;  // beyond the largest finite value, infinity included: that value
  bool relu = false;       // negative values and -0: +0; NaN stays NaN
};

/// Rounds `value` once. Without satfinite, overflow follows IEEE (infinity, or the largest value where the rounding points
/// toward zero) and gives NaN in e4m3. NaN gives the format's `nan_code`, or its largest value if it has no NaN.
/// Throws Error (kBadArgument) where the result does not exist: a format without infinity and NaN and no satfinite.
/// kUe8m0 goes through `encode_ue8m0`.
std::uint32_t encode(Format format, double value, EncodeOptions const& options = {});

/// PTX cvt.{rp|rz}{.satfinite}.ue8m0x2.f32, one element: the sign is ignored, anything up to 2^-127 (zero too) is code 0,
/// NaN is 255, infinity and what rounds beyond 2^127 are 254 with satfinite and 255 without. `rounding` is kUp or kZero.
std::uint8_t encode_ue8m0(float value, Rounding rounding, bool satfinite = true);

/// The code whose value is exactly `value`, if there is one.
std::optional<std::uint8_t> exact_ue8m0(float value);

/// True for 2^e, e from -149 to 127: positive, finite, one significant bit (FP32 subnormals included).
bool is_power_of_two(float value);

/// Packed e2m1: element i of a row is the low nibble of byte i/2 if i is even, else the high one.
constexpr std::uint8_t packed_e2m1(std::uint8_t const* bytes, std::size_t i) {
  return static_cast<std::uint8_t>((bytes[i / 2] >> (i % 2 * 4)) & 0xf);
}
constexpr std::uint8_t pack_e2m1(std::uint8_t low, std::uint8_t high) {
  return static_cast<std::uint8_t>((low & 0xf) | (high & 0xf) << 4);
}

/// Frequent cases of the functions above, fast; results are the same bits.
float bf16_to_float(std::uint16_t code);   // keeps a NaN's payload, as the 16-bit shift in hardware does
std::uint16_t float_to_bf16(float value);  // nearest even; NaN gives 0x7fff
float f16_to_float(std::uint16_t code);    // NaN gives 0x7fffffff
std::uint16_t float_to_f16(float value);   // nearest even; NaN gives 0x7fff
float e4m3_to_float(std::uint8_t code);
std::uint8_t float_to_e4m3(float value);  // nearest even, satfinite
float e2m1_to_float(std::uint8_t code);
std::uint8_t float_to_e2m1(float value);  // nearest even, satfinite
float ue8m0_to_float(std::uint8_t code);

/// A NaN of f64 as cvt makes one of a narrower format (f32, f16, bf16) of it, and the other way round from f16 and bf16:
/// sign and the upper payload stay, and it is quiet.
std::uint32_t narrow_nan(std::uint64_t f64_bits, Format format);
std::uint64_t widen_nan(std::uint32_t code, Format format);

/// What a tensor core reads of an f32 register that holds tf32: the low 13 bits are dropped.
constexpr std::uint32_t drop_tf32_tail(std::uint32_t f32_bits) { return f32_bits & 0xffffe000u; }

inline constexpr std::uint32_t kCanonicalNan =
    0x7fffffffu;  // the NaN that FP32 and tensor-core arithmetic produces
inline constexpr std::uint16_t kCanonicalNan16 = 0x7fffu;  // the same for f16 and bf16

}  // namespace deepwell::num

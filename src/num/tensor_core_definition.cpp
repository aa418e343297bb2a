// One output of a floating-point MMA by the definition: see tensor_core_definition.hpp.
#include "num/tensor_core_definition.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace deepwell::num {
namespace {

/// value * 2^shift toward zero. A shift to the left fits: no addend exceeds 2^16 units at the largest exponent.
std::int64_t shift_toward_zero(std::int64_t value, int shift) {
  std::int64_t const magnitude = value < 0 ? -value : value;
  std::int64_t const shifted = shift >= 0 ? magnitude << shift : magnitude >> std::min(-shift, 63);
  return value < 0 ? -shifted : shifted;
}

std::int64_t signed_significand(Unpacked const& u) {
  return u.negative ? -static_cast<std::int64_t>(u.significand) : static_cast<std::int64_t>(u.significand);
}

/// An operand, and the format of which its exponent is.
struct Factor {
  Unpacked number;
  int fraction_bits;
};

Factor factor(Format format, std::uint32_t code, bool through_f16) {
  if (format == Format::kE2m1) code >>= 2;  // its place in an 8-bit container
  Format const read_as = through_f16 ? Format::kF16 : format;
  if (through_f16) code = encode(Format::kF16, decode(format, code));
  return {unpack(read_as, code), info(read_as).fraction_bits};
}

/// A code of e2m1 in units of its smallest number, 0.5.
std::int32_t e2m1_units(std::uint32_t code) {
  return static_cast<std::int32_t>(2 * decode(Format::kE2m1, code));
}

}  // namespace

std::uint32_t pack_sum(std::int64_t sum, int lsb_exponent, Format accumulator) {
  if (sum == 0) return 0;
  bool const negative = sum < 0;
  std::uint64_t const magnitude =
      negative ? 0 - static_cast<std::uint64_t>(sum) : static_cast<std::uint64_t>(sum);
  if (accumulator == Format::kF16) {
    std::uint32_t const code = encode(Format::kF16, std::ldexp(static_cast<double>(magnitude), lsb_exponent));
    return negative && code != 0 ? code | 0x8000u : code;
  }
  std::uint32_t const sign = negative ? 0x80000000u : 0u;
  int const width = std::bit_width(magnitude);
  int const exponent = lsb_exponent + width - 1;
  if (exponent > 127) return sign | 0x7f800000u;
  int const unit = std::max(exponent, -126) - 23;  // exponent of the result's last place
  int const shift = unit - lsb_exponent;
  if (shift > 63) return 0;
  std::uint32_t const significand =
      static_cast<std::uint32_t>(shift >= 0 ? magnitude >> shift : magnitude << -shift);
  if (significand == 0) return 0;
  if (exponent < -126) return sign | significand;
  return sign | ((static_cast<std::uint32_t>(exponent + 126) << 23) + significand);
}

std::uint32_t aligned_sum(std::span<Addend const> addends, Alignment alignment, Format accumulator) {
  int largest = kNoExponent;
  for (Addend const& addend : addends) {
    if (addend.significand != 0) largest = std::max(largest, addend.exponent);
  }
  if (largest == kNoExponent) return 0;
  int const lsb_exponent = std::max(largest, alignment.smallest) - alignment.fraction_bits;
  std::int64_t sum = 0;
  for (Addend const& addend : addends) {
    if (addend.significand != 0)
      sum += shift_toward_zero(addend.significand, addend.lsb_exponent - lsb_exponent);
  }
  return pack_sum(sum, lsb_exponent, accumulator);
}

void Specials::add(Unpacked const& addend) {
  nan |= addend.is_nan;
  if (addend.is_inf) (addend.negative ? minus_infinity : plus_infinity) = true;
}

void Specials::add_product(Unpacked const& x, Unpacked const& y) {
  bool const infinite = x.is_inf || y.is_inf;
  nan |= x.is_nan || y.is_nan || (infinite && (x.is_zero() || y.is_zero()));
  if (infinite) (x.negative != y.negative ? minus_infinity : plus_infinity) = true;
}

std::uint32_t Specials::result(Format accumulator) const {
  bool const half = accumulator == Format::kF16;
  if (nan || (plus_infinity && minus_infinity)) return half ? kCanonicalNan16 : kCanonicalNan;
  return (half ? 0x7c00u : 0x7f800000u) | (minus_infinity ? (half ? 0x8000u : 0x80000000u) : 0u);
}

Addend addend_of(Unpacked const& c, Format accumulator) {
  return {signed_significand(c), c.exponent - info(accumulator).fraction_bits, c.exponent};
}

template <class Code>
std::uint32_t fused_dot(MmaTile<Code> const& tile, bool through_f16, int m, int n, std::uint32_t c_code) {
  Specials specials;
  int scale_exponent = 0;
  if (tile.scale_a) {
    Unpacked const scale_a = unpack(Format::kUe8m0, tile.scale_a[m]);
    Unpacked const scale_b = unpack(Format::kUe8m0, tile.scale_b[n]);
    specials.nan = scale_a.is_nan || scale_b.is_nan;
    scale_exponent = scale_a.exponent + scale_b.exponent;
  }
  std::array<Addend, 33> addends;
  std::size_t count = 0;
  for (int k = 0; k < tile.k; ++k) {
    Factor const x = factor(tile.a_format, tile.a[m * tile.k + k], through_f16);
    Factor const y = factor(tile.b_format, tile.b[n * tile.k + k], through_f16);
    specials.add_product(x.number, y.number);
    int const exponent = x.number.exponent + y.number.exponent + scale_exponent;
    addends[count++] = {signed_significand(x.number) * signed_significand(y.number),
                        exponent - x.fraction_bits - y.fraction_bits, exponent};
  }
  Unpacked const c = unpack(tile.accumulator, c_code);
  specials.add(c);
  addends[count++] = addend_of(c, tile.accumulator);
  if (specials.any()) return specials.result(tile.accumulator);
  return aligned_sum({addends.data(), count}, kFusedAlignment, tile.accumulator);
}

template std::uint32_t fused_dot(MmaTile<std::uint8_t> const&, bool, int, int, std::uint32_t);
template std::uint32_t fused_dot(MmaTile<std::uint16_t> const&, bool, int, int, std::uint32_t);
template std::uint32_t fused_dot(MmaTile<std::uint32_t> const&, bool, int, int, std::uint32_t);

std::uint32_t fp4_dot(MmaFp4Tile const& tile, int m, int n) {
  std::array<std::int32_t, kFp4Groups> groups{};
  for (std::size_t k = 0; k < kFp4Groups * kFp4GroupK; ++k)
    groups[k / kFp4GroupK] +=
        e2m1_units(packed_e2m1(tile.a + m * 32, k)) * e2m1_units(packed_e2m1(tile.b + n * 32, k));
  return fp4_sum(tile, m, n, groups);
}

std::uint32_t fp4_sum(MmaFp4Tile const& tile, int m, int n,
                      std::array<std::int32_t, kFp4Groups> const& groups) {
  int const product_fraction_bits =
      2 * (info(Format::kE2m1).fraction_bits + info(tile.scale_format).fraction_bits);
  Specials specials;
  std::array<Addend, kFp4Groups + 1> addends;
  for (std::size_t group = 0; group < kFp4Groups; ++group) {
    int const block = static_cast<int>(group) * tile.blocks / kFp4Groups;
    Unpacked const scale_a = unpack(tile.scale_format, tile.scale_a[m * tile.blocks + block]);
    Unpacked const scale_b = unpack(tile.scale_format, tile.scale_b[n * tile.blocks + block]);
    specials.nan |= scale_a.is_nan || scale_b.is_nan;
    int const exponent = scale_a.exponent + scale_b.exponent;
    addends[group] = {std::int64_t{groups[group]} * scale_a.significand * scale_b.significand,
                      exponent - product_fraction_bits, exponent};
  }
  Unpacked const c = unpack(Format::kF32, tile.c[m * kMmaN + n]);
  specials.add(c);
  addends[kFp4Groups] = addend_of(c, Format::kF32);
  if (specials.any()) return specials.result(Format::kF32);
  return aligned_sum(addends, kFp4Alignment, Format::kF32);
}

}  // namespace deepwell::num

// The arithmetic of the tensor cores a second time, on exact rationals: docs/emulator.md, "Arithmetic", sentence by sentence.
//
// It shares nothing with src/num but the names of formats. Every choice is a field of Rules, so that a test can ask for a
// wrong machine too.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "num/formats.hpp"
#include "unit/num/dyadic.hpp"

namespace deepwell::second {

using num::Format;

/// Where a product stands when addends are aligned.
enum class Stands {
  kAtFormatExponents,  // the sum of the factors' exponents, subnormal factors having their format's smallest one
  kAtLeadingOfFactors,  // the same with subnormal factors normalised
  kAtLeadingOfProduct,
};

enum class HopperFp8 {
  kPairsOfFour,  // a step over k mod 4 in {0, 1}, a second over {2, 3}, then C
  kHalves,       // the first and the second half of k, then C
  kOneStep,      // all of k, then C
  kNative,       // all of k and C in one step
};

/// The machine of the documents, unless a field says otherwise.
struct Rules {
  int fraction_bits = 25;
  int fp4_fraction_bits = 35;
  int fp4_group = 16;
  Stands stands = Stands::kAtFormatExponents;
  Cut term_cut = Cut::kTowardZero;
  Cut f32_cut = Cut::kTowardZero;
  Cut hopper_add_cut = Cut::kNearestEven;
  HopperFp8 hopper_fp8 = HopperFp8::kPairsOfFour;
  bool zeros_align = false;       // zeros take part in the largest exponent
  bool keeps_tf32_tail = false;   // tf32 operands are f32
  bool ignores_specials = false;  // NaN and infinity count as 0
  bool adds_c_last = false;       // C is no addend of the fused sum

  // Choices that publications leave open; docs/emulator.md states them.
  int least_alignment = -133;        // the largest exponent counts as no less than this
  int fp4_least_alignment = -10000;  // the same in the k64 forms: no such bound
  bool keeps_tf32_nans = false;      // a NaN whose payload is all in the bits that tf32 loses stays one
  Cut f16_cut = Cut::kNearestEven;   // the rounding to an f16 accumulator
};

enum class Specials { kNone, kTopCodeIsNan, kIeee };

/// Sign, exponent and fraction stand in the bits from `shift` up; other bits are not looked at.
struct Layout {
  int shift, exponent_bits, fraction_bits, bias;
  Specials specials;
  bool is_signed = true;

  constexpr std::uint32_t top_field() const { return (1u << exponent_bits) - 1; }
  constexpr std::uint32_t top_fraction() const { return (1u << fraction_bits) - 1; }
  constexpr int sign_bit() const { return shift + exponent_bits + fraction_bits; }
  constexpr std::uint32_t code(bool negative, std::uint32_t field, std::uint32_t fraction) const {
    return (std::uint32_t{negative && is_signed} << sign_bit()) |
           ((field << fraction_bits | fraction) << shift);
  }
};

inline constexpr Layout kPackedE2m1 = {0, 2, 1, 1, Specials::kNone};
inline constexpr Layout kF32Layout = {0, 8, 23, 127, Specials::kIeee};
inline constexpr Layout kF16Layout = {0, 5, 10, 15, Specials::kIeee};

inline Layout layout_of(Format format) {
  switch (format) {
    case Format::kE4m3: return {0, 4, 3, 7, Specials::kTopCodeIsNan};
    case Format::kE5m2: return {0, 5, 2, 15, Specials::kIeee};
    case Format::kE3m2: return {0, 3, 2, 3, Specials::kNone};
    case Format::kE2m3: return {0, 2, 3, 1, Specials::kNone};
    case Format::kE2m1: return {2, 2, 1, 1, Specials::kNone};
    case Format::kUe4m3: return {0, 4, 3, 7, Specials::kTopCodeIsNan, false};
    case Format::kUe8m0: return {0, 8, 0, 127, Specials::kTopCodeIsNan, false};
    case Format::kBf16: return {0, 8, 7, 127, Specials::kIeee};
    case Format::kF16: return kF16Layout;
    case Format::kTf32: return {13, 8, 10, 127, Specials::kIeee};
    case Format::kF32: break;
  }
  return kF32Layout;
}

/// A factor or an addend: the value, and the exponent at which it stands (that of the format, not of its leading bit).
struct Number {
  enum Kind { kFinite, kInfinity, kNan } kind = kFinite;
  Dyadic value;
  int exponent = 0;

  bool is_zero() const { return kind == kFinite && value.is_zero(); }
};

inline Number number_of(Layout const& layout, std::uint32_t code) {
  std::uint32_t const fraction = (code >> layout.shift) & layout.top_fraction();
  std::uint32_t const field = (code >> (layout.shift + layout.fraction_bits)) & layout.top_field();
  Number number;
  number.value.negative = layout.is_signed && (code >> layout.sign_bit() & 1) != 0;
  if (field == layout.top_field()) {
    if (layout.specials == Specials::kTopCodeIsNan && fraction == layout.top_fraction())
      number.kind = Number::kNan;
    if (layout.specials == Specials::kIeee) number.kind = fraction == 0 ? Number::kInfinity : Number::kNan;
    if (number.kind != Number::kFinite) return number;
  }
  // ue8m0 has no fraction, and so neither subnormal numbers nor zero: field 0 is 2^-127.
  bool const has_hidden_bit = field != 0 || layout.fraction_bits == 0;
  number.exponent = static_cast<int>(has_hidden_bit ? field : 1) - layout.bias;
  number.value.magnitude = fraction + (has_hidden_bit ? 1u << layout.fraction_bits : 0u);
  number.value.exponent = number.exponent - layout.fraction_bits;
  return number;
}

inline Number number_of(Format format, std::uint32_t code) { return number_of(layout_of(format), code); }

inline Number tf32_operand(Rules const& rules, std::uint32_t code) {
  Number const whole = number_of(kF32Layout, code);
  if (rules.keeps_tf32_tail || (rules.keeps_tf32_nans && whole.kind == Number::kNan)) return whole;
  return number_of(Format::kTf32, code);
}

/// An IEEE-like code. Zero is +0, whatever it comes from.
inline std::uint32_t code_of(Layout const& layout, Dyadic const& value, Cut cut) {
  if (value.is_zero()) return 0;
  int const min_exponent = 1 - layout.bias;
  int const exponent = std::max(value.floor_log2(), min_exponent);
  std::uint32_t const infinity = layout.code(false, layout.top_field(), 0);
  std::uint32_t magnitude = infinity;
  if (exponent <= layout.bias) {
    // With the hidden bit of a normal number, the integer carries into the exponent as it should.
    Natural const integer = value.cut(exponent - layout.fraction_bits, cut).magnitude;
    magnitude = static_cast<std::uint32_t>(exponent - min_exponent) << layout.fraction_bits;
    magnitude = std::min(infinity, magnitude + static_cast<std::uint32_t>(integer.to_u64()));
  }
  if (magnitude == 0) return 0;
  return magnitude | std::uint32_t{value.negative} << layout.sign_bit();
}

struct Alignment {
  int fraction_bits;   // kept below the largest exponent
  int least = -10000;  // what the largest exponent counts as if it is less
};

/// The addends of one result, and what its NaN and infinite operands make of it.
class FusedSum {
 public:
  explicit FusedSum(Rules const& rules) : rules_(rules) { terms_.reserve(80); }

  void add(Number const& number) { add_product({number}); }

  /// Exact product of the values, at the sum of the exponents.
  void add_product(std::initializer_list<Number> factors) {
    Number product = {Number::kFinite, {false, 1, 0}, 0};
    bool has_zero = false, has_infinity = false, has_nan = false, negative = false;
    for (Number const& factor : factors) {
      has_nan |= factor.kind == Number::kNan;
      has_infinity |= factor.kind == Number::kInfinity;
      has_zero |= factor.is_zero();
      negative ^= factor.value.negative;
      product.value = product.value * factor.value;
      product.exponent += standing(factor, Stands::kAtLeadingOfFactors);
    }
    if (has_nan || has_infinity) {
      if (rules_.ignores_specials) return;
      nan_ |= has_nan || has_zero;
      infinity_[negative] |= has_infinity;
      return;
    }
    terms_.push_back(product);
  }

  bool is_special() const { return nan_ || infinity_[0] || infinity_[1]; }

  std::uint32_t special_code(Layout const& layout) const {
    // All bits but the sign: 0x7fffffff in f32, 0x7fff in f16.
    if (nan_ || (infinity_[0] && infinity_[1])) return (1u << layout.sign_bit()) - 1;
    return layout.code(infinity_[1], layout.top_field(), 0);
  }

  /// Every addend cut below the largest exponent, then their exact sum.
  Dyadic value(Alignment const& alignment) const {
    int largest = alignment.least;
    for (Number const& term : terms_) {
      if (term.is_zero() && !rules_.zeros_align) continue;
      int const exponent = standing(term, Stands::kAtLeadingOfProduct);
      largest = std::max(largest, exponent);
    }
    Dyadic sum;
    for (Number const& term : terms_) {
      if (!term.is_zero()) sum = sum + term.value.cut(largest - alignment.fraction_bits, rules_.term_cut);
    }
    return sum;
  }

 private:
  int standing(Number const& number, Stands normalised) const {
    bool const at_leading_bit =
        rules_.stands == normalised && number.kind == Number::kFinite && !number.is_zero();
    return at_leading_bit ? number.value.floor_log2() : number.exponent;
  }

  Rules const& rules_;
  std::vector<Number> terms_;
  bool nan_ = false;
  bool infinity_[2] = {false, false};  // +, -
};

inline std::uint32_t code_of(Layout const& layout, FusedSum const& sum, Alignment const& alignment, Cut cut) {
  return sum.is_special() ? sum.special_code(layout) : code_of(layout, sum.value(alignment), cut);
}

/// An addition as PTX has it: exact, rounded once.
inline std::uint32_t add(Layout const& layout, std::uint32_t x, std::uint32_t y, Cut cut) {
  Rules const rules;
  FusedSum sum(rules);
  sum.add(number_of(layout, x));
  sum.add(number_of(layout, y));
  int const all_bits = 400;  // more than lie between the largest f32 and the last bit of the smallest
  return code_of(layout, sum, {all_bits}, cut);
}

using Numbers = std::vector<Number>;

/// `c` is a code of `out`, as the result is. Scales may be null.
inline std::uint32_t dot(Rules const& rules, Layout const& out, Number const* a, Number const* b, int k,
                         std::uint32_t c, Number const* scale_a = nullptr, Number const* scale_b = nullptr) {
  FusedSum sum(rules);
  for (int i = 0; i < k; ++i) {
    if (scale_a != nullptr) {
      sum.add_product({a[i], b[i], *scale_a, *scale_b});
    } else {
      sum.add_product({a[i], b[i]});
    }
  }
  Alignment const alignment = {rules.fraction_bits, rules.least_alignment};
  Cut const cut = out.exponent_bits == 5 ? rules.f16_cut : rules.f32_cut;
  if (rules.adds_c_last) return add(out, code_of(out, sum, alignment, cut), c, Cut::kNearestEven);
  sum.add(number_of(out, c));
  return code_of(out, sum, alignment, cut);
}

/// e4m3 or e5m2 as the f16 of the same value: subnormal numbers of e4m3 become normal ones.
inline Number through_f16(Number const& number) {
  if (number.kind != Number::kFinite) return number;
  return number_of(kF16Layout, code_of(kF16Layout, number.value, Cut::kNearestEven));
}

/// The documents have this for f32 only. In f16 num does the same steps and addition, each rounded to f16.
inline std::uint32_t dot_hopper_fp8(Rules const& rules, Layout const& out, Number const* a, Number const* b,
                                    int k, std::uint32_t c) {
  auto step_of = [&](int i) {
    if (rules.hopper_fp8 == HopperFp8::kPairsOfFour) return i % 4 / 2;
    return rules.hopper_fp8 == HopperFp8::kHalves ? i / (k / 2) : 0;
  };
  std::uint32_t sum = rules.hopper_fp8 == HopperFp8::kNative ? c : 0;
  for (int step = 0; step < 2; ++step) {
    Numbers step_a, step_b;
    for (int i = 0; i < k; ++i) {
      if (step_of(i) != step) continue;
      step_a.push_back(through_f16(a[i]));
      step_b.push_back(through_f16(b[i]));
    }
    if (step_a.empty()) continue;
    sum = dot(rules, out, step_a.data(), step_b.data(), static_cast<int>(step_a.size()), sum);
  }
  return rules.hopper_fp8 == HopperFp8::kNative ? sum : add(out, sum, c, rules.hopper_add_cut);
}

/// 64 products of e2m1, `scales` of each side for equal parts of them.
inline std::uint32_t dot_fp4(Rules const& rules, Number const* a, Number const* b, Number const* scale_a,
                             Number const* scale_b, int blocks, std::uint32_t c) {
  FusedSum sum(rules);
  for (int first = 0; first < 64; first += rules.fp4_group) {
    Number group;
    for (int i = first; i < first + rules.fp4_group; ++i) group.value = group.value + a[i].value * b[i].value;
    int const block = first / (64 / blocks);
    sum.add_product({group, scale_a[block], scale_b[block]});
  }
  sum.add(number_of(kF32Layout, c));
  return code_of(kF32Layout, sum, {rules.fp4_fraction_bits, rules.fp4_least_alignment}, rules.f32_cut);
}

/// Bytes; the exact sum, then 32 bits of it or the nearest 32-bit integer.
inline std::uint32_t dot_int(std::uint8_t const* a, bool a_signed, std::uint8_t const* b, bool b_signed,
                             int k, std::uint32_t c, bool satfinite) {
  auto integer = [](std::uint32_t bits, int width, bool is_signed) -> Dyadic {
    std::uint64_t const modulus = std::uint64_t{1} << width;
    if (is_signed && bits >= modulus / 2) return {true, modulus - bits, 0};
    return {false, bits, 0};
  };
  Dyadic sum = integer(c, 32, true);
  for (int i = 0; i < k; ++i) sum = sum + integer(a[i], 8, a_signed) * integer(b[i], 8, b_signed);
  std::uint64_t const magnitude = sum.magnitude.to_u64();
  if (satfinite) {
    if (!sum.negative && magnitude > 0x7fffffff) return 0x7fffffff;
    if (sum.negative && magnitude > 0x80000000) return 0x80000000;
  }
  std::uint64_t const modulus = std::uint64_t{1} << 32;
  return static_cast<std::uint32_t>(sum.negative ? modulus - magnitude % modulus : magnitude);
}

}  // namespace deepwell::second

// Operands for tensor-core tests, from a seed: ordinary ones, and those at which an implementation would go wrong.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "unit/num/second_tensor_core.hpp"

namespace deepwell::second {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  std::uint32_t bits() { return static_cast<std::uint32_t>(engine_() >> 32); }
  /// From low to high, both possible.
  int in(int low, int high) {
    return low + static_cast<int>(bits() % static_cast<std::uint32_t>(high - low + 1));
  }
  bool one_in(int n) { return in(1, n) == 1; }

 private:
  std::mt19937_64 engine_;
};

enum class Kind {
  kAnyBits,     // every bit of every code
  kNearby,      // a few binades, C among the products
  kFarApart,    // all finite codes alike, C anywhere
  kTiny,        // subnormal numbers and zeros; where the formats can, results about f32's subnormal range
  kSubnormals,  // one or two products with subnormal factors, and a C some bits below them
  kZeros,       // zeros of both signs, alone and beside large factors
  kSpecials,    // now and then a NaN, an infinity, a zero, the largest and smallest values, scales 0 and 255
  kCancellation,  // products that cancel each other, but for a few
  kCancelsC,      // C is minus the sum of products, or a few units beside it
  kFarC,          // C from far below to far above the products
  kOverflow,      // results about the largest value
  kTies,          // one or two products that end at, or half a unit below, the last bit of C
  kEdge,          // one or two products about the last bit that alignment with C, a power of two, leaves
  kLowEdge,       // as kTiny with C = 0: one product above 2^-151, one below it
};
inline constexpr Kind kKinds[] = {Kind::kAnyBits,    Kind::kNearby, Kind::kFarApart, Kind::kTiny,
                                  Kind::kSubnormals, Kind::kZeros,  Kind::kSpecials, Kind::kCancellation,
                                  Kind::kCancelsC,   Kind::kFarC,   Kind::kOverflow, Kind::kTies,
                                  Kind::kEdge,       Kind::kLowEdge};
inline constexpr char const* kKindNames[] = {
    "any bits",     "nearby",    "far apart", "tiny",     "subnormals", "zeros", "specials",
    "cancellation", "cancels C", "far C",     "overflow", "ties",       "edge",  "low edge"};

/// Codes as mma takes them, each in the low bits of an element.
struct Tile {
  int k = 0;
  std::vector<std::uint32_t> a, b, c;           // [16][k], [8][k], [16][8]
  std::vector<std::uint32_t> scale_a, scale_b;  // [16][blocks], [8][blocks]
};

/// What the operands of an instruction look like; the generator needs no more of it.
struct Shape {
  Layout a, b, c;
  int k;
  int blocks = 0;  // of scales along k
  Layout scale = {};
};

class TileMaker {
 public:
  TileMaker(Shape const& shape, Kind kind, std::uint64_t seed) : shape_(shape), kind_(kind), random_(seed) {}

  Tile make() {
    tile_.k = shape_.k;
    choose_binades();
    // Scales first: the codes of a row stay apart from them.
    for (int i = 0; i < 16 * shape_.blocks; ++i)
      tile_.scale_a.push_back(scale(scale_center_a_, i % shape_.blocks % 2 != 0));
    for (int i = 0; i < 8 * shape_.blocks; ++i) tile_.scale_b.push_back(scale(scale_center_b_, false));
    for (int i = 0; i < 16 * shape_.k; ++i) tile_.a.push_back(element(shape_.a, center_a_, i, true));
    for (int i = 0; i < 8 * shape_.k; ++i) tile_.b.push_back(element(shape_.b, center_b_, i, false));
    if (kind_ == Kind::kCancellation) cancel();
    for (int i = 0; i < 16 * 8; ++i) tile_.c.push_back(addend());
    return tile_;
  }

 private:
  static int top_finite(Layout const& layout) {
    bool const is_special = layout.specials == Specials::kIeee || layout.fraction_bits == 0;
    return static_cast<int>(layout.top_field()) - is_special;
  }

  /// The exponents about which operands lie. Those of A and B, and of their scales, sum to what C is compared with.
  void choose_binades() {
    Layout const &a = shape_.a, &b = shape_.b;
    center_a_ = random_.in(0, top_finite(a)), center_b_ = random_.in(0, top_finite(b));
    if (kind_ == Kind::kSubnormals) choose_subnormals();
    if (kind_ == Kind::kLowEdge) center_a_ = top_finite(a), center_b_ = top_finite(b);
    int const total = center_a_ - a.bias + center_b_ - b.bias;
    int const scale_bias = shape_.scale.bias, scale_top = top_finite(shape_.scale);
    int want = total;
    bool const is_low = kind_ == Kind::kTiny || kind_ == Kind::kLowEdge;
    if (kind_ == Kind::kTiny) want = random_.in(-156, -120);
    if (kind_ == Kind::kLowEdge) want = random_.in(-150, -134);
    if (kind_ == Kind::kOverflow) want = shape_.c.bias - random_.in(0, 3);
    if (shape_.blocks != 0) {
      int const scales = is_low || kind_ == Kind::kOverflow
                             ? std::clamp(want - total, -2 * scale_bias, 2 * (scale_top - scale_bias))
                             : random_.in(-3, 3);
      int const low = std::max(0, scales + 2 * scale_bias - scale_top),
                high = std::min(scale_top, scales + 2 * scale_bias);
      scale_center_a_ = random_.in(low, high), scale_center_b_ = scales + 2 * scale_bias - scale_center_a_;
      product_exponent_ = total + scales;
    } else if (is_low || kind_ == Kind::kOverflow) {
      int const low = std::max(0, want + a.bias + b.bias - top_finite(b));
      int const high = std::min(top_finite(a), want + a.bias + b.bias);
      center_a_ = low <= high ? random_.in(low, high) : is_low ? 0 : top_finite(a);
      center_b_ = std::clamp(want + a.bias + b.bias - center_a_, 0, top_finite(b));
      product_exponent_ = center_a_ - a.bias + center_b_ - b.bias;
    } else {
      product_exponent_ = total;
    }
    live_[0] = random_.in(0, shape_.k - 1), live_[1] = random_.in(0, shape_.k - 1);
    if (kind_ == Kind::kLowEdge) {
      if (shape_.blocks > 1)
        live_[0] %= shape_.k / shape_.blocks, live_[1] = live_[0] + shape_.k / shape_.blocks;
      if (live_[0] == live_[1]) live_[1] = (live_[0] + 1) % shape_.k;
      int const drop = want - random_.in(-163, -152);
      drop_a_ = std::clamp(drop, 0, center_a_), drop_b_ = std::clamp(drop - drop_a_, 0, center_b_);
    }
    for (int i = 0; i < shape_.k; ++i) order_.push_back(i);
    // Half of the tiles with several scales along k cancel within each group of 16.
    bool const within_groups = shape_.blocks > 1 && random_.one_in(2);
    for (int i = shape_.k - 1; i > 0; --i)
      std::swap(order_[i], order_[random_.in(within_groups ? i - i % 16 : 0, i)]);
  }

  /// Field 0 stands at the exponent of field 1. Where both factors would give less than f32 holds, one is large.
  void choose_subnormals() {
    bool const is_wide = shape_.a.exponent_bits == 8;
    int const which = random_.in(0, is_wide ? 1 : 2);
    if (is_wide) center_a_ = center_b_ = random_.in(top_finite(shape_.a) / 2, top_finite(shape_.a));
    if (which != 1) center_a_ = 1, is_subnormal_[0] = true;
    if (which != 0) center_b_ = 1, is_subnormal_[1] = true;
  }

  /// A code that is finite, the bits that its format does not use set at random.
  std::uint32_t finite(Layout const& layout, int low, int high, bool power_of_two = false) {
    int const field = std::clamp(random_.in(low, high), 0, top_finite(layout));
    std::uint32_t fraction = power_of_two ? 0 : random_.bits() & layout.top_fraction();
    bool const is_top = field == static_cast<int>(layout.top_field()) && fraction == layout.top_fraction();
    if (is_top && layout.specials == Specials::kTopCodeIsNan) fraction -= 1;
    std::uint32_t const code = layout.code(random_.one_in(2), static_cast<std::uint32_t>(field), fraction);
    return code | unused(layout);
  }

  std::uint32_t zero(Layout const& layout) {
    std::uint32_t const code = layout.code(random_.one_in(2), 0, 0);
    return code | unused(layout);
  }

  std::uint32_t unused(Layout const& layout) {
    std::uint32_t const used = layout.code(true, layout.top_field(), layout.top_fraction());
    return random_.bits() & ~used & container_mask(layout);
  }

  static std::uint32_t container_mask(Layout const& layout) {
    int const top = layout.sign_bit() - !layout.is_signed;
    return top == 3 ? 0xf : top < 8 ? 0xff : top < 16 ? 0xffff : 0xffffffff;
  }

  std::uint32_t special(Layout const& layout) {
    std::uint32_t const fractions[] = {0, 1 & layout.top_fraction(), random_.bits() & layout.top_fraction(),
                                       layout.top_fraction()};
    std::uint32_t const field = random_.one_in(3) ? 0 : layout.top_field();
    std::uint32_t const fraction = fractions[random_.in(0, 3)];
    std::uint32_t const code = layout.code(random_.one_in(2), field, fraction);
    return code | unused(layout);
  }

  std::uint32_t any_bits(Layout const& layout) { return random_.bits() & container_mask(layout); }

  std::uint32_t element(Layout const& layout, int center, int i, bool is_a) {
    int const row = i / shape_.k, k = i % shape_.k;
    switch (kind_) {
      case Kind::kAnyBits: return any_bits(layout);
      case Kind::kFarApart: return finite(layout, 0, top_finite(layout));
      case Kind::kTiny:
        return random_.one_in(8) ? zero(layout) : finite(layout, std::max(center, 1) - 1, center + 1);
      case Kind::kZeros:
        // A quarter of A's rows is zero; in the others half of the products are zero times something large.
        if (is_a && row % 4 == 0) return zero(layout);
        if ((shape_.blocks > 1 ? k / 16 : order_[k]) % 2 == 0)
          return is_a ? zero(layout) : finite(layout, top_finite(layout), top_finite(layout));
        return random_.one_in(3) ? zero(layout) : finite(layout, 0, 1);
      case Kind::kSpecials:
        return random_.one_in(150) ? special(layout) : finite(layout, center - 2, center + 2);
      case Kind::kSubnormals:
        if (is_a && k != live_[0] && k != live_[1]) return zero(layout);
        return is_subnormal_[!is_a] ? finite(layout, 0, 0) : finite(layout, center, center);
      case Kind::kLowEdge: {
        if (is_a && k != live_[0] && k != live_[1]) return zero(layout);
        int const field = k == live_[0] ? center : center - (is_a ? drop_a_ : drop_b_) + random_.in(-2, 2);
        return finite(layout, field, field, field > 0);
      }
      case Kind::kTies:
      case Kind::kEdge:
        if (is_a && k != live_[0] && k != live_[1]) return zero(layout);
        return finite(layout, center - 1, center + 1, !random_.one_in(4));
      default: return finite(layout, center - 3, center + 3);
    }
  }

  std::uint32_t scale(int center, bool is_odd_block_of_a) {
    Layout const& layout = shape_.scale;
    switch (kind_) {
      case Kind::kAnyBits: return random_.one_in(4) ? 0xff : random_.bits() & 0xff;
      case Kind::kFarApart: return finite(layout, 0, top_finite(layout));
      case Kind::kSpecials:
        if (random_.one_in(40)) return special(layout);
        return finite(layout, center - 1, center + 1);
      case Kind::kZeros: return random_.one_in(3) ? zero(layout) : finite(layout, center - 10, center + 10);
      case Kind::kSubnormals:
        return layout.fraction_bits != 0 ? finite(layout, 0, 1) : finite(layout, center, center);
      case Kind::kLowEdge:
        if (is_odd_block_of_a) return finite(layout, center - 45, center - 5, true);
        return finite(layout, center, center, true);
      case Kind::kTies:
      case Kind::kEdge: return finite(layout, center, center, true);
      case Kind::kCancellation: return finite(layout, center, center);
      default: return finite(layout, center - 1, center + 1);
    }
  }

  /// Two elements of k at a time: the same in B, opposite in A. One row in two keeps a product that nothing cancels.
  void cancel() {
    std::uint32_t const sign_a = 1u << shape_.a.sign_bit();
    for (int i = 0; i + 1 < shape_.k; i += 2) {
      int const p = order_[i], q = order_[i + 1];
      for (int n = 0; n < 8; ++n) tile_.b[n * shape_.k + q] = tile_.b[n * shape_.k + p];
      for (int m = 0; m < 16; ++m) {
        if (m % 2 == 0 && i == 2 * (m / 2 % (shape_.k / 2))) continue;
        tile_.a[m * shape_.k + q] = tile_.a[m * shape_.k + p] ^ sign_a;
      }
    }
  }

  std::uint32_t addend() {
    Layout const& c = shape_.c;
    int const among_products = product_exponent_ + c.bias;
    switch (kind_) {
      case Kind::kAnyBits: return any_bits(c);
      case Kind::kFarApart: return finite(c, 0, top_finite(c));
      case Kind::kTiny: return live_[0] % 2 == 0 || random_.one_in(4) ? zero(c) : finite(c, 0, 2);
      case Kind::kZeros:
        if (random_.one_in(3)) return zero(c);
        return random_.one_in(2) ? finite(c, 0, 1) : finite(c, 0, std::max(0, among_products));
      case Kind::kSpecials:
        return random_.one_in(12) ? special(c) : finite(c, among_products - 4, among_products + 8);
      case Kind::kCancellation:
        return random_.one_in(4) ? zero(c) : finite(c, among_products - 30, among_products - 10);
      case Kind::kSubnormals: return finite(c, among_products - 20, among_products);
      case Kind::kFarC: return finite(c, among_products - 40, among_products + 40);
      case Kind::kOverflow:
        return random_.one_in(4) ? c.code(random_.one_in(2), top_finite(c), c.top_fraction())
                                 : finite(c, top_finite(c) - 3, top_finite(c));
      case Kind::kTies: {
        int const last_bit = random_.in(-3, 4) + c.fraction_bits;
        std::uint32_t const code = finite(c, among_products + last_bit, among_products + last_bit);
        // Fractions that end in a row of ones carry when they round.
        return random_.one_in(3) ? code | (c.top_fraction() >> random_.in(0, c.fraction_bits)) : code;
      }
      case Kind::kLowEdge: return zero(c);
      case Kind::kEdge: {
        int const kept = shape_.k == 64 ? 35 : 25, field = among_products + kept + random_.in(-3, 5);
        return finite(c, field, field, !random_.one_in(4));
      }
      default: return finite(c, among_products - 6, among_products + 10);
    }
  }

  Shape shape_;
  Kind kind_;
  Random random_;
  Tile tile_;
  int center_a_ = 0, center_b_ = 0, scale_center_a_ = 0, scale_center_b_ = 0;
  int product_exponent_ = 0;
  bool is_subnormal_[2] = {false, false};  // all of A, all of B
  int live_[2] = {0, 0};                   // places along k
  int drop_a_ = 0, drop_b_ = 0;            // from the first place's binade to the second's
  std::vector<int> order_;
};

}  // namespace deepwell::second

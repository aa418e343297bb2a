// Exact dyadic rationals on integers without a size limit that a test could meet: no float, no machine word takes part.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>

namespace deepwell::second {

/// A natural number of at most 32 * kLimbs bits; what would not fit throws std::length_error.
class Natural {
 public:
  Natural() = default;
  Natural(std::uint64_t value) {
    for (; value != 0; value >>= 32) push(static_cast<std::uint32_t>(value));
  }
  Natural(Natural const& other) { *this = other; }
  Natural& operator=(Natural const& other) {
    size_ = other.size_;
    for (int i = 0; i < size_; ++i) limbs_[i] = other.limbs_[i];
    return *this;
  }

  bool is_zero() const { return size_ == 0; }

  int num_bits() const {
    int bits = 0;
    for (std::uint32_t top = is_zero() ? 0 : limbs_[size_ - 1]; top != 0; top >>= 1) ++bits;
    return is_zero() ? 0 : 32 * (size_ - 1) + bits;
  }

  std::uint64_t to_u64() const {
    if (size_ > 2) throw std::length_error("more than 64 bits");
    return limb(0) | std::uint64_t{limb(1)} << 32;
  }

  friend int compare(Natural const& x, Natural const& y) {
    if (x.size_ != y.size_) return x.size_ < y.size_ ? -1 : 1;
    for (int i = x.size_ - 1; i >= 0; --i) {
      if (x.limbs_[i] != y.limbs_[i]) return x.limbs_[i] < y.limbs_[i] ? -1 : 1;
    }
    return 0;
  }

  friend Natural operator+(Natural const& x, Natural const& y) {
    Natural sum;
    std::uint64_t carry = 0;
    for (int i = 0; i < x.size_ || i < y.size_ || carry != 0; ++i) {
      carry += std::uint64_t{x.limb(i)} + y.limb(i);
      sum.push(static_cast<std::uint32_t>(carry));
      carry >>= 32;
    }
    return sum;
  }

  /// y must not exceed x.
  friend Natural operator-(Natural const& x, Natural const& y) {
    Natural difference;
    std::int64_t borrow = 0;
    for (int i = 0; i < x.size_; ++i) {
      std::int64_t const digit = std::int64_t{x.limb(i)} - y.limb(i) - borrow;
      borrow = digit < 0;
      difference.push(static_cast<std::uint32_t>(digit + (borrow << 32)));
    }
    if (borrow != 0 || y.size_ > x.size_) throw std::length_error("negative natural");
    difference.trim();
    return difference;
  }

  friend Natural operator*(Natural const& x, Natural const& y) {
    Natural product;
    for (int i = 0; i < x.size_ + y.size_; ++i) product.push(0);
    for (int i = 0; i < x.size_; ++i) {
      std::uint64_t carry = 0;
      for (int j = 0; j < y.size_ || carry != 0; ++j) {
        carry += std::uint64_t{x.limbs_[i]} * y.limb(j) + product.limbs_[i + j];
        product.limbs_[i + j] = static_cast<std::uint32_t>(carry);
        carry >>= 32;
      }
    }
    product.trim();
    return product;
  }

  Natural times_power_of_two(int power) const {
    Natural result;
    if (is_zero()) return result;
    for (int i = 0; i < power / 32; ++i) result.push(0);
    std::uint64_t carry = 0;
    for (int i = 0; i < size_ || carry != 0; ++i) {
      carry |= std::uint64_t{limb(i)} << (power % 32);
      result.push(static_cast<std::uint32_t>(carry));
      carry >>= 32;
    }
    result.trim();
    return result;
  }

  /// The quotient, rounded down.
  Natural over_power_of_two(int power) const {
    Natural result;
    for (int i = power / 32; i < size_; ++i) {
      std::uint64_t const two_limbs = limb(i) | std::uint64_t{limb(i + 1)} << 32;
      result.push(static_cast<std::uint32_t>(two_limbs >> (power % 32)));
    }
    result.trim();
    return result;
  }

 private:
  static constexpr int kLimbs = 48;

  std::uint32_t limb(int i) const { return i < size_ ? limbs_[i] : 0; }
  void push(std::uint32_t limb) {
    if (size_ == kLimbs) throw std::length_error("natural number too long");
    limbs_[size_++] = limb;
  }
  void trim() {
    while (size_ > 0 && limbs_[size_ - 1] == 0) --size_;
  }

  std::array<std::uint32_t, kLimbs> limbs_;  // least significant first; the last one in use is not 0
  int size_ = 0;
};

enum class Cut { kTowardZero, kDown, kNearestEven, kNearestAway };

/// (-1)^negative * magnitude * 2^exponent.
struct Dyadic {
  bool negative = false;
  Natural magnitude;
  int exponent = 0;

  bool is_zero() const { return magnitude.is_zero(); }

  /// The e with 2^e <= |value| < 2^(e+1); the value must not be 0.
  int floor_log2() const { return magnitude.num_bits() - 1 + exponent; }

  /// The multiple of 2^unit that `how` names, its exponent being `unit`.
  Dyadic cut(int unit, Cut how) const {
    if (unit <= exponent) return {negative, magnitude.times_power_of_two(exponent - unit), unit};
    Natural quotient = magnitude.over_power_of_two(unit - exponent);
    Natural const rest = magnitude - quotient.times_power_of_two(unit - exponent);
    bool up = false;
    if (how == Cut::kDown) up = negative && !rest.is_zero();
    if (how == Cut::kNearestEven || how == Cut::kNearestAway) {
      int const half = compare(rest + rest, Natural(1).times_power_of_two(unit - exponent));
      Natural const pairs = quotient.over_power_of_two(1);
      bool const tie_goes_up = how == Cut::kNearestAway || compare(pairs + pairs, quotient) != 0;
      up = half > 0 || (half == 0 && tie_goes_up);
    }
    if (up) quotient = quotient + 1;
    return {negative, quotient, unit};
  }

  friend Dyadic operator*(Dyadic const& x, Dyadic const& y) {
    return {x.negative != y.negative, x.magnitude * y.magnitude, x.exponent + y.exponent};
  }

  friend Dyadic operator+(Dyadic const& x, Dyadic const& y) {
    if (x.is_zero()) return y;
    if (y.is_zero()) return x;
    int const unit = x.exponent < y.exponent ? x.exponent : y.exponent;
    Natural const p = x.magnitude.times_power_of_two(x.exponent - unit);
    Natural const q = y.magnitude.times_power_of_two(y.exponent - unit);
    if (x.negative == y.negative) return {x.negative, p + q, unit};
    if (compare(p, q) >= 0) return {x.negative, p - q, unit};
    return {y.negative, q - p, unit};
  }
};

}  // namespace deepwell::second

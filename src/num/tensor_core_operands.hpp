// Operands of tensor_core_fused.cpp, decoded. An element is value * 2^base, exactly, with |value| < 2, and its depth is
// base - exponent.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "num/lanes.hpp"
#include "num/tensor_core.hpp"

namespace deepwell::num {

inline constexpr int kDeepest = 42;
inline constexpr std::uint8_t kZeroDepth = 85;  // a sum of two depths from here on is no product
static_assert(2 * kDeepest < kZeroDepth && 2 * kZeroDepth < 256);

/// A as it is, [16][kK], and B with its eight columns beside each other, [kK][8].
template <int kK>
struct Depths {
  alignas(64) std::uint8_t a[kMmaM * kK];
  alignas(64) std::uint8_t b[kK * kMmaN];
};
template <int kK>
struct Values {
  alignas(64) float a[kMmaM * kK];
  alignas(64) float b[kK * kMmaN];
};

/// The rows of an operand, filled up with zeros to kK elements each.
template <int kRows, int kK, class Code>
struct Filled {
  Code const* codes;
  alignas(64) Code copy[kRows * kK];

  DW_LANES_INLINE Filled(Code const* from, int k) : codes(from) {
    if (k == kK) return;
    std::memset(copy, 0, sizeof copy);
    for (int row = 0; row < kRows; ++row)
      std::memcpy(copy + row * kK, from + row * k, static_cast<std::size_t>(k) * sizeof(Code));
    codes = copy;
  }
};

DW_LANES_INLINE float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

/// A format of 8-bit containers. Its base is the exponent that a field of all ones has or would have.
struct NarrowFormat {
  std::uint8_t magnitude_mask;
  std::uint8_t top;  // the field of all ones
  std::uint8_t fraction_bits;
  bool normalised;             // subnormal numbers have the exponent of their leading bit
  std::uint8_t first_special;  // the least magnitude of infinity and NaN
  int base;
  std::array<float, 256> value;  // of infinity and NaN: zero
};

/// As fused_dot reads it, see tensor_core_definition.hpp.
NarrowFormat const& narrow_format(Format format, bool through_f16);

/// Says whether there is an infinity or a NaN. Their depths are those of numbers.
template <int kLanes>
DW_LANES_INLINE bool decode_depths(NarrowFormat const& format, std::uint8_t const* codes, int count,
                                   std::uint8_t* depths) {
  using Bytes = typename Lanes<kLanes>::Bytes;
  using Shorts = typename Lanes<kLanes>::Shorts;
  Bytes largest = {};
  for (int i = 0; i < count; i += static_cast<int>(sizeof(Bytes))) {
    Bytes code;
    load(code, codes + i);
    Bytes const magnitude = code & format.magnitude_mask;
    largest = magnitude > largest ? magnitude : largest;
    // A shift of two bytes at once: what one leaves in the other is masked.
    Bytes const field =
        reinterpret_cast<Bytes>(reinterpret_cast<Shorts>(magnitude) >> format.fraction_bits) & format.top;
    Bytes const subnormal = reinterpret_cast<Bytes>(field == 0);
    Bytes depth = format.top - field + subnormal;
    if (format.normalised) {  // three fraction bits
      depth -= subnormal + reinterpret_cast<Bytes>(magnitude < 4) + reinterpret_cast<Bytes>(magnitude < 2);
    }
    Bytes const zero = reinterpret_cast<Bytes>(magnitude == 0) & kZeroDepth;
    store(depths + i, depth > zero ? depth : zero);
  }
  std::uint64_t special[sizeof(Bytes) / 8];
  store(special, largest >= format.first_special);
  return std::any_of(std::begin(special), std::end(special), [](std::uint64_t lanes) { return lanes != 0; });
}

inline constexpr int kF16Base = 16;

/// f16, in the same way.
DW_LANES_INLINE bool decode_f16(std::uint16_t const* __restrict codes, int count, float* __restrict values,
                                std::uint8_t* __restrict depths) {
  constexpr int kTop = 0x1f, kFractionBits = 10;
  for (int i = 0; i < count; ++i) {
    std::int32_t const code = codes[i];
    std::int32_t const field = code >> kFractionBits & kTop;
    std::int32_t const subnormal = field == 0;
    std::int32_t const significand = (code & 0x3ff) | (0x400 - (subnormal << kFractionBits));
    float const value =
        static_cast<float>(significand) * power_of_two(field + subnormal - kTop - kFractionBits);
    values[i] = std::bit_cast<float>(std::bit_cast<std::int32_t>(value) | (code & 0x8000) << 16);
  }
  std::uint16_t special = 0;
  for (int i = 0; i < count; ++i) {
    std::uint16_t const magnitude = codes[i] & 0x7fff;
    special |= magnitude >= kTop << kFractionBits;
    std::uint16_t const field = magnitude >> kFractionBits;
    std::uint16_t const depth = static_cast<std::uint16_t>(kTop - field - (field == 0));
    depths[i] = static_cast<std::uint8_t>(magnitude == 0 ? kZeroDepth : depth);
  }
  return special != 0;
}

DW_LANES_INLINE std::uint32_t f32_pattern(std::uint16_t bf16) { return std::uint32_t{bf16} << 16; }
DW_LANES_INLINE std::uint32_t f32_pattern(std::uint32_t tf32) { return drop_tf32_tail(tf32); }

/// The range of the finite bf16 or tf32 numbers that are not zero, by exponent field.
struct FieldRange {
  int least, largest;
  bool special;  // an infinity or a NaN is there
  bool too_wide() const { return least < largest - kDeepest; }
  int base() const { return largest - 127; }
};

template <class Code>
DW_LANES_INLINE FieldRange field_range(Code const* codes, int count) {
  using Magnitude = std::make_signed_t<Code>;  // the vectoriser has a minimum and a maximum of these
  constexpr int kFieldPosition = sizeof(Code) == 2 ? 7 : 23;
  constexpr Magnitude kMask = std::numeric_limits<Magnitude>::max() - (sizeof(Code) == 2 ? 0 : 0x1fff);
  constexpr Magnitude kInfinity = static_cast<Magnitude>(0xff << kFieldPosition);
  Magnitude least = kInfinity, largest = 0;
  Magnitude special = 0;
  for (int i = 0; i < count; ++i) {
    Magnitude const magnitude = static_cast<Magnitude>(codes[i] & kMask);
    Magnitude const nonzero = magnitude == 0 ? kInfinity : magnitude;
    Magnitude const finite = magnitude >= kInfinity ? Magnitude{0} : magnitude;
    least = nonzero < least ? nonzero : least;
    largest = finite > largest ? finite : largest;
    special |= magnitude >= kInfinity;
  }
  // The largest is taken so high that subnormal numbers make the range too wide.
  return {least >> kFieldPosition, std::max(largest >> kFieldPosition, kDeepest + 2), special != 0};
}

/// bf16 and tf32 in a range that is not too wide; infinity and NaN count as zero.
template <class Code>
DW_LANES_INLINE void decode_f32_like(FieldRange const& range, Code const* __restrict codes, int count,
                                     float* __restrict values, std::uint8_t* __restrict depths) {
  std::uint32_t const rebias = static_cast<std::uint32_t>(127 - range.largest) << 23;
  for (int i = 0; i < count; ++i) {
    std::uint32_t const pattern = f32_pattern(codes[i]);
    int const depth = range.largest - static_cast<int>(pattern >> 23 & 0xff);
    bool const counts = depth >= 0 && depth <= kDeepest;
    values[i] = std::bit_cast<float>(counts ? pattern + rebias : 0u);
    depths[i] = static_cast<std::uint8_t>(counts ? depth : kZeroDepth);
  }
}

/// bf16 and tf32 in any range: numbers and exponents as they are. Infinity and NaN count as zero.
template <class Code>
DW_LANES_INLINE void decode_in_double(Code const* __restrict codes, int count, int zero_exponent,
                                      double* __restrict values, std::int16_t* __restrict exponents) {
  for (int i = 0; i < count; ++i) {
    std::uint32_t const pattern = f32_pattern(codes[i]);
    std::uint32_t const magnitude = pattern & 0x7fffffffu;
    int const field = static_cast<int>(magnitude >> 23);
    bool const counts = magnitude != 0 && field != 0xff;
    values[i] = static_cast<double>(std::bit_cast<float>(counts ? pattern : 0u));
    exponents[i] = static_cast<std::int16_t>(counts ? std::max(field, 1) - 127 : zero_exponent);
  }
}

/// Bytes k to k + 3 of a row that is there twice, eight times each.
template <int k>
DW_LANES_INLINE void eightfold(Lanes<8>::Bytes const& rows, Lanes<8>::Bytes& out) {
  constexpr int k0 = k, k1 = k + 1, k2 = k + 18, k3 = k + 19;
  out = __builtin_shufflevector(rows, rows, k0, k0, k0, k0, k0, k0, k0, k0, k1, k1, k1, k1, k1, k1, k1, k1,
                                k2, k2, k2, k2, k2, k2, k2, k2, k3, k3, k3, k3, k3, k3, k3, k3);
}

/// Calls take(bytes, k) with bytes k, k + 1, ... of `row` eight times each, for all kCount (8 or 16) of them.
template <int kLanes, int kCount, class Take>
DW_LANES_INLINE void for_eightfold(Bytes16 row, Take const& take) {
  if constexpr (kLanes == 8) {
    Lanes<8>::Bytes const rows =
        __builtin_shufflevector(row, row, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4,
                                5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    Lanes<8>::Bytes bytes;
    eightfold<0>(rows, bytes);
    take(bytes, 0);
    eightfold<4>(rows, bytes);
    take(bytes, 4);
    if constexpr (kCount == 16) {
      eightfold<8>(rows, bytes);
      take(bytes, 8);
      eightfold<12>(rows, bytes);
      take(bytes, 12);
    }
  } else {
    for (int k = 0; k < kCount; k += 8) {
      Shorts8 const twice =
          reinterpret_cast<Shorts8>(k == 0 ? interleave_low(row, row) : interleave_high(row, row));
      Words4 const low = reinterpret_cast<Words4>(interleave_low(twice, twice));
      Words4 const high = reinterpret_cast<Words4>(interleave_high(twice, twice));
      take(reinterpret_cast<Bytes16>(interleave_low(low, low)), k);
      take(reinterpret_cast<Bytes16>(interleave_high(low, low)), k + 2);
      take(reinterpret_cast<Bytes16>(interleave_low(high, high)), k + 4);
      take(reinterpret_cast<Bytes16>(interleave_high(high, high)), k + 6);
    }
  }
}

/// out[m][n] is the least sum of the depths of two factors.
template <int kLanes, int kK>
DW_LANES_INLINE void find_depths(Depths<kK> const& depths, std::int32_t* out) {
  using Bytes = typename Lanes<kLanes>::Bytes;
  constexpr int kPart = kK < 16 ? kK : 16;
  for (int m = 0; m < kMmaM; ++m) {
    Bytes least = Bytes{} + std::uint8_t{0xff};  // of some k in every eight bytes
    for (int first = 0; first < kK; first += kPart) {
      Bytes16 row = {};
      std::memcpy(&row, depths.a + m * kK + first, kPart);
      for_eightfold<kLanes, kPart>(
          row, [&](Bytes const& a, int k) __attribute__((always_inline)) {
            Bytes sum;
            load(sum, depths.b + (first + k) * kMmaN);
            sum += a;
            least = sum < least ? sum : least;
          });
    }
    Bytes16 low;
    if constexpr (kLanes == 8) {
      Bytes16 const high = __builtin_shufflevector(least, least, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
                                                   27, 28, 29, 30, 31);
      low = __builtin_shufflevector(least, least, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      low = high < low ? high : low;
    } else {
      low = least;
    }
    Bytes16 const odd =
        __builtin_shufflevector(low, low, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    Shorts8 const shorts = reinterpret_cast<Shorts8>(interleave_low(odd < low ? odd : low, Bytes16{}));
    store(out + m * kMmaN, interleave_low(shorts, Shorts8{}));
    store(out + m * kMmaN + 4, interleave_high(shorts, Shorts8{}));
  }
}

}  // namespace deepwell::num

// One-rounding arithmetic against 128-bit integers (f16, bf16) and against the host's own rounding (f32).
#include "num/arithmetic.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/error.hpp"

namespace deepwell::num {
namespace {

/// sign * significand * 2^exponent, exact.
struct Exact {
  __int128 significand = 0;
  int exponent = 0;
};

Exact exact_of(Format format, std::uint32_t code) {
  Unpacked const u = unpack(format, code);
  __int128 const s = u.significand;
  return {u.negative ? -s : s, u.exponent - info(format).fraction_bits};
}

Exact product(Exact x, Exact y) { return {x.significand * y.significand, x.exponent + y.exponent}; }

/// Nearest even of x + y by comparing with all the format can offer: tries both neighbours of a first guess.
std::uint32_t rounded_sum(Format format, Exact x, Exact y) {
  if (x.exponent < y.exponent) std::swap(x, y);
  int const gap = x.exponent - y.exponent;
  // Wide gaps only occur for bf16; beyond 80 bits the small one is a sticky bit.
  __int128 sum;
  int exponent;
  if (gap <= 80) {
    sum = (x.significand << gap) + y.significand;
    exponent = y.exponent;
  } else {
    int const sticky = y.significand > 0 ? 1 : y.significand < 0 ? -1 : 0;
    sum = (x.significand << 80) + sticky;
    exponent = x.exponent - 80;
    if (x.significand == 0) {
      sum = y.significand;
      exponent = y.exponent;
    }
  }
  if (sum == 0) return 0;
  bool const negative = sum < 0;
  unsigned __int128 magnitude = static_cast<unsigned __int128>(negative ? -sum : sum);
  FormatInfo const& f = info(format);
  int width = 0;
  for (unsigned __int128 rest = magnitude; rest != 0; rest >>= 1) ++width;
  int const top = exponent + width - 1;
  int const unit = std::max(top, f.min_exponent()) - f.fraction_bits;
  int shift = unit - exponent;
  std::uint64_t kept;
  if (shift <= 0) {
    kept = static_cast<std::uint64_t>(magnitude << -shift);
  } else if (shift > 126) {
    kept = 0;
  } else {
    kept = static_cast<std::uint64_t>(magnitude >> shift);
    unsigned __int128 const rest = magnitude - (static_cast<unsigned __int128>(kept) << shift);
    unsigned __int128 const half = static_cast<unsigned __int128>(1) << (shift - 1);
    if (rest > half || (rest == half && (kept & 1))) ++kept;
  }
  double const value = std::ldexp(static_cast<double>(kept), unit);
  std::uint32_t const sign = negative ? 1u << (f.exponent_bits + f.fraction_bits) : 0u;
  if (value > decode(format, f.max_code)) return sign | static_cast<std::uint32_t>(f.inf_code);
  return sign | encode(format, value);
}

bool is_finite(Format format, std::uint32_t code) {
  Unpacked const u = unpack(format, code);
  return !u.is_nan && !u.is_inf;
}

TEST(Arithmetic, HalfFormatsRoundOnce) {
  std::mt19937_64 random(11);
  for (Format format : {Format::kF16, Format::kBf16}) {
    std::uint32_t const minus_zero = 0x8000;
    int tested = 0;
    for (int i = 0; i < 400000; ++i) {
      std::uint64_t const word = random();
      std::uint32_t a = word & 0xffff, b = word >> 16 & 0xffff, c = word >> 32 & 0xffff;
      if (i % 3 == 0) c = ((b ^ 0x8000u) + (word >> 50 & 7) - 3) & 0xffff;  // near cancellation
      if (!is_finite(format, a) || !is_finite(format, b) || !is_finite(format, c)) continue;
      ++tested;
      Exact const x = exact_of(format, a), y = exact_of(format, b), z = exact_of(format, c);
      auto same = [&](std::uint32_t got, std::uint32_t want, char const* what) {
        if (got == minus_zero && want == 0) got = 0;  // signs of exact zeros are tested below
        ASSERT_EQ(got, want) << what << std::hex << " " << a << " " << b << " " << c;
      };
      same(add(format, b, c), rounded_sum(format, y, z), "add");
      same(mul(format, a, b), rounded_sum(format, product(x, y), {}), "mul");
      same(fma(format, a, b, c), rounded_sum(format, product(x, y), z), "fma");
    }
    EXPECT_GT(tested, 300000);
  }
}

TEST(Arithmetic, F32MatchesTheHost) {
  std::mt19937_64 random(12);
  for (int i = 0; i < 200000; ++i) {
    std::uint64_t const word = random(), more = random();
    std::uint32_t const a = static_cast<std::uint32_t>(word), b = static_cast<std::uint32_t>(word >> 32);
    std::uint32_t const c =
        i % 2 ? static_cast<std::uint32_t>(more) : (a ^ 0x80000000u) + static_cast<std::uint32_t>(more % 5);
    auto value = [](std::uint32_t code) { return std::bit_cast<float>(code); };
    auto want = [](float result) {
      return std::isnan(result) ? kCanonicalNan : std::bit_cast<std::uint32_t>(result);
    };
    ASSERT_EQ(add(Format::kF32, a, c), want(value(a) + value(c)));
    ASSERT_EQ(sub(Format::kF32, a, c), want(value(a) - value(c)));
    ASSERT_EQ(mul(Format::kF32, a, b), want(value(a) * value(b)));
    ASSERT_EQ(fma(Format::kF32, a, b, c), want(std::fma(value(a), value(b), value(c))));
  }
}

TEST(Arithmetic, DirectedRoundingsBracketTheExactResult) {
  std::mt19937_64 random(13);
  for (int i = 0; i < 100000; ++i) {
    std::uint32_t const a = 0x30000000u + random() % 0x20000000u, b = 0xb0000000u + random() % 0x20000000u;
    double const exact = double{std::bit_cast<float>(a)} * std::bit_cast<float>(b);  // 48 bits: exact
    auto at = [&](Rounding rounding) {
      return double{std::bit_cast<float>(mul(Format::kF32, a, b, {.rounding = rounding}))};
    };
    ASSERT_LE(at(Rounding::kDown), exact);
    ASSERT_GE(at(Rounding::kUp), exact);
    ASSERT_EQ(at(Rounding::kZero), at(Rounding::kUp));  // the product is negative
    double const step = at(Rounding::kUp) - at(Rounding::kDown);
    ASSERT_LE(step, std::fabs(exact) * 0x1p-22);
    ASSERT_EQ(step == 0, at(Rounding::kUp) == exact);
  }
}

TEST(Arithmetic, SpecialsZerosAndModifiers) {
  Format const f = Format::kF32;
  std::uint32_t const one = 0x3f800000, inf = 0x7f800000, minus_inf = 0xff800000, minus_zero = 0x80000000,
                      tiny = 1;
  EXPECT_EQ(add(f, inf, minus_inf), kCanonicalNan);
  EXPECT_EQ(mul(f, inf, 0), kCanonicalNan);
  EXPECT_EQ(fma(f, inf, one, minus_inf), kCanonicalNan);
  EXPECT_EQ(add(f, inf, one), inf);
  EXPECT_EQ(add(f, one, 0xbf800000u), 0u);
  EXPECT_EQ(add(f, one, 0xbf800000u, {.rounding = Rounding::kDown}), minus_zero);
  EXPECT_EQ(add(f, minus_zero, minus_zero), minus_zero);
  EXPECT_EQ(add(f, minus_zero, 0), 0u);
  EXPECT_EQ(mul(f, minus_zero, one), minus_zero);
  EXPECT_EQ(add(f, tiny, tiny), 2u);
  EXPECT_EQ(add(f, tiny, tiny, {.ftz = true}), 0u);
  EXPECT_EQ(mul(f, 0x00800000u, 0xbf000000u, {.ftz = true}), minus_zero);
  EXPECT_EQ(add(f, one, one, {.sat = true}), one);
  EXPECT_EQ(sub(f, 0, one, {.sat = true}), 0u);
  EXPECT_EQ(add(f, inf, minus_inf, {.sat = true}), 0u);
  EXPECT_EQ(fma(Format::kF16, 0x3c00, 0xbc00, 0, {.relu = true}), 0u);
  EXPECT_EQ(fma(Format::kBf16, 0x7fc0, 0x3f80, 0, {.relu = true}), kCanonicalNan16);
  EXPECT_EQ(mul(f, 0x7f7fffffu, 0x40000000u), inf);
  EXPECT_EQ(mul(f, 0x7f7fffffu, 0x40000000u, {.rounding = Rounding::kZero}), 0x7f7fffffu);
  EXPECT_THROW((void)add(Format::kE4m3, 0, 0), Error);
}

}  // namespace
}  // namespace deepwell::num

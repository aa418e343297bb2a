// MMAs that are no fused sums: bits, f64, and four products of f16. Expected values are small enough to be seen.
#include "num/tensor_core_other.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace deepwell::num {
namespace {

TEST(MmaBits, CountsOnesOfAndAndXor) {
  std::array<std::uint8_t, 16 * 16> a{};
  std::array<std::uint8_t, 8 * 16> b{};
  a[0] = 0b1011;
  b[0] = 0b0010;
  std::array<std::uint32_t, 128> c{}, d{};
  c[0] = 0xffffffff;
  mma_bits({.is_and = false, .k = 128, .a = a.data(), .b = b.data(), .c = c.data(), .d = d.data()});
  EXPECT_EQ(d[0], 1u);  // 2 more than the largest number, wrapped
  EXPECT_EQ(d[1], 3u);
  EXPECT_EQ(d[8], 1u);
  mma_bits({.is_and = true, .k = 128, .a = a.data(), .b = b.data(), .c = c.data(), .d = d.data()});
  EXPECT_EQ(d[0], 0u);
  EXPECT_EQ(d[1], 0u);
  EXPECT_THROW(mma_bits({.is_and = true, .k = 3, .a = a.data(), .b = b.data(), .c = c.data(), .d = d.data()}),
               Error);
}

/// One output of an 8 x 8 product with k 1.
double f64_step(Rounding rounding, double a, double b, double c) {
  std::array<double, 8> as{a}, bs{b};
  std::array<double, 64> cs{c}, d{};
  mma_f64({.rounding = rounding,
           .rows = 8,
           .k = 1,
           .a = as.data(),
           .b = bs.data(),
           .c = cs.data(),
           .d = d.data()});
  return d[0];
}

TEST(MmaF64, RoundsEachStepAsAsked) {
  double const tiny = 0x1p-80, next = std::nextafter(1.0, 2.0), before = std::nextafter(1.0, 0.0);
  EXPECT_EQ(f64_step(Rounding::kNearestEven, tiny, 1, 1), 1.0);
  EXPECT_EQ(f64_step(Rounding::kUp, tiny, 1, 1), next);
  EXPECT_EQ(f64_step(Rounding::kDown, tiny, 1, 1), 1.0);
  EXPECT_EQ(f64_step(Rounding::kDown, -tiny, 1, 1), before);
  EXPECT_EQ(f64_step(Rounding::kZero, -tiny, 1, 1), before);
  EXPECT_EQ(f64_step(Rounding::kZero, tiny, 1, -1), -before);
  EXPECT_THROW(f64_step(Rounding::kNearestAway, 1, 1, 1), Error);
}

TEST(MmaF64, IsAChainFromCWithKUpward) {
  std::array<double, 8 * 3> a{}, b{};
  a[0] = 0x1p53;
  a[1] = 1;
  a[2] = -0x1p53;
  b[0] = b[1] = b[2] = 1;
  std::array<double, 64> c{}, d{};
  mma_f64({.rounding = Rounding::kNearestEven,
           .rows = 8,
           .k = 3,
           .a = a.data(),
           .b = b.data(),
           .c = c.data(),
           .d = d.data()});
  EXPECT_EQ(d[0], 0.0);  // 2^53 + 1 rounds to 2^53 before the last product
}

TEST(MmaF64, NanIsThatOfBThenCThenA) {
  auto const nan = [](std::uint64_t payload) { return std::bit_cast<double>(0x7ff0000000000000u | payload); };
  auto const bits = [](double value) { return std::bit_cast<std::uint64_t>(value); };
  double const a = nan(1), b = nan(2), c = nan(3), infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(bits(f64_step(Rounding::kNearestEven, a, b, c)), 0x7ff8000000000002u);
  EXPECT_EQ(bits(f64_step(Rounding::kNearestEven, a, 1, c)), 0x7ff8000000000003u);
  EXPECT_EQ(bits(f64_step(Rounding::kNearestEven, a, 1, 1)), 0x7ff8000000000001u);
  EXPECT_EQ(bits(f64_step(Rounding::kNearestEven, infinity, 0, 1)), 0xfff8000000000000u);
}

TEST(Dot4, AddsInTheOrderOfCompiledCode) {
  std::uint16_t const one = 0x3c00, big = 0x7800, small = 0x0400;  // 1, 2^15, 2^-14
  std::array<std::uint16_t, 4> const a{big, small, one, 0}, b{big, small, one, 0};
  // 2^30 + 2^-28 is 2^30, plus 1 is 2^30 in FP32.
  std::uint32_t const f32 = dot4_f16(a, b, 0, Format::kF32, Format::kF32);
  EXPECT_EQ(std::bit_cast<float>(f32), 0x1p30f);
  // (C + (2^30 + 2^-28)) + 1: C takes 2^30 away first.
  std::array<std::uint16_t, 4> const x{one, 0, one, 0}, y{one, 0, one, 0};
  EXPECT_EQ(dot4_f16(x, y, 0xbc00, Format::kF16, Format::kF16), one);
  EXPECT_EQ(dot4_f16(x, y, 0x7e00, Format::kF16, Format::kF16), 0x7fffu);
  EXPECT_EQ(dot4_f16(x, y, 0x7fc00001, Format::kF32, Format::kF32), 0x7fffffffu);
}

}  // namespace
}  // namespace deepwell::num

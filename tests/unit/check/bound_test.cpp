// Error bounds: they admit what the tensor cores do, bit for bit, and grow and shrink as they must.
#include "check/bound.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "check/data.hpp"
#include "num/formats.hpp"
#include "num/tensor_core.hpp"

namespace deepwell::check {
namespace {

using ref::ScaleFormat;

Case small_case(std::int64_t k, Dtype a = Dtype::kE4m3, Dtype b = Dtype::kE4m3) {
  Case c;
  c.m = 16, c.n = 8, c.k = k, c.d = Dtype::kF32;
  c.a.dtype = a, c.b.dtype = b;
  c.a.gran_k = c.b.gran_k = 32;
  return c;
}

std::vector<double> bounds_of(CaseData const& data, Arithmetic const& arithmetic, ThreadPool& pool) {
  return bounds(data.a.view(), data.b.view(), data.what.batch, data.c_pointer(), data.exact, data.what.d,
                arithmetic, pool);
}

/// The container bytes of a row's 32 elements at k.
void containers(OperandData const& o, std::int64_t row, std::int64_t k, std::uint8_t* out) {
  auto const* bytes = reinterpret_cast<std::uint8_t const*>(o.data.data()) + row * o.pitch;
  for (int i = 0; i < 32; ++i) {
    out[i] = o.how.dtype == Dtype::kE4m3
                 ? bytes[k + i]
                 : static_cast<std::uint8_t>(num::packed_e2m1(bytes, static_cast<std::size_t>(k + i)) << 2);
  }
}

std::uint8_t scale_byte_at(OperandData const& o, std::int64_t row, std::int64_t k) {
  return static_cast<std::uint8_t>(std::ilogb(ref::scale_at(o.view().scales, 0, row, k)) + 127);
}

/// d as a chain of MMAs computes it, scales inside the MMA or (scales outside) on partial sums.
std::vector<float> emulate(CaseData const& data, num::TensorCore core, bool outside, std::int64_t split_k) {
  std::vector<float> d(16 * 8, 0.0f), total;
  auto const end_split = [&] {
    if (total.empty()) total.assign(d.size(), 0.0f);
    for (std::size_t i = 0; i < d.size(); ++i) total[i] += d[i];
    std::fill(d.begin(), d.end(), 0.0f);
  };
  auto const format = [](Dtype t) { return t == Dtype::kE4m3 ? num::Format::kE4m3 : num::Format::kE2m1; };
  for (std::int64_t k = 0; k < data.what.k; k += 32) {
    if (split_k > 0 && k > 0 && k % split_k == 0) end_split();
    std::uint8_t a[16 * 32], b[8 * 32], scale_a[16], scale_b[8];
    for (int i = 0; i < 16; ++i) containers(data.a, i, k, a + 32 * i);
    for (int j = 0; j < 8; ++j) containers(data.b, j, k, b + 32 * j);
    std::uint32_t c[16 * 8] = {};
    if (!outside) {
      std::memcpy(c, d.data(), sizeof(c));
      for (int i = 0; i < 16; ++i) scale_a[i] = scale_byte_at(data.a, i, k);
      for (int j = 0; j < 8; ++j) scale_b[j] = scale_byte_at(data.b, j, k);
    }
    num::mma(core, num::MmaTile<std::uint8_t>{.a_format = format(data.what.a.dtype),
                                              .b_format = format(data.what.b.dtype),
                                              .k = 32,
                                              .a = a,
                                              .b = b,
                                              .c = c,
                                              .d = c,
                                              .accumulator = num::Format::kF32,
                                              .scale_a = outside ? nullptr : scale_a,
                                              .scale_b = outside ? nullptr : scale_b});
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        float partial;
        std::memcpy(&partial, &c[8 * i + j], 4);
        float& sum = d[static_cast<std::size_t>(8 * i + j)];
        if (!outside) {
          sum = partial;
        } else {
          float const x = static_cast<float>(ref::scale_at(data.a.view().scales, 0, i, k));
          float const y = static_cast<float>(ref::scale_at(data.b.view().scales, 0, j, k));
          sum = std::fma(partial * x, y, sum);
        }
      }
    }
  }
  end_split();
  return total;
}

struct Chain {
  Dtype a, b;
  num::TensorCore core;
  bool outside;
  std::int64_t split_k = 0;
};

class BoundHolds : public testing::TestWithParam<Chain> {};

TEST_P(BoundHolds, ForChainsOfMmas) {
  Chain const chain = GetParam();
  ThreadPool pool(2);
  double closest = 0;
  for (std::int64_t k : {32, 416, 4096}) {
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      Case c = small_case(k, chain.a, chain.b);
      if (chain.outside) c.a.scale = c.b.scale = ScaleFormat::kF32;
      CaseData const data = make_data(c, seed, pool);
      Arithmetic arithmetic;
      arithmetic.unit =
          chain.core == num::TensorCore::kHopper ? Arithmetic::Unit::kHopper : Arithmetic::Unit::kBlockScaled;
      arithmetic.a_outside = arithmetic.b_outside = chain.outside;
      arithmetic.split_k = chain.split_k;
      std::vector<double> const limits = bounds_of(data, arithmetic, pool);
      std::vector<float> const d = emulate(data, chain.core, chain.outside, chain.split_k);
      for (std::size_t i = 0; i < d.size(); ++i) {
        double const error = std::fabs(static_cast<double>(d[i]) - data.exact[i]);
        ASSERT_LE(error, limits[i]) << "k " << k << " seed " << seed << " element " << i;
        closest = std::max(closest, error / limits[i]);
      }
    }
  }
  RecordProperty("closest_percent", static_cast<int>(closest * 100));
  // Products of two e2m1 numbers have so few bits that such sums are exact.
  bool const exact = chain.a == Dtype::kE2m1 && chain.b == Dtype::kE2m1;
  if (!exact) {
    EXPECT_GT(closest, 0.1) << "the bound is far from what the hardware does";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Chains, BoundHolds,
    testing::Values(Chain{Dtype::kE4m3, Dtype::kE4m3, num::TensorCore::kBlackwell, false},
                    Chain{Dtype::kE4m3, Dtype::kE4m3, num::TensorCore::kBlackwell, false, 256},
                    Chain{Dtype::kE4m3, Dtype::kE4m3, num::TensorCore::kBlackwell, true, 512},
                    Chain{Dtype::kE4m3, Dtype::kE4m3, num::TensorCore::kHopper, true, 128},
                    Chain{Dtype::kE4m3, Dtype::kE2m1, num::TensorCore::kBlackwell, false},
                    Chain{Dtype::kE2m1, Dtype::kE2m1, num::TensorCore::kBlackwell, false},
                    Chain{Dtype::kE4m3, Dtype::kE4m3, num::TensorCore::kBlackwell, true},
                    Chain{Dtype::kE4m3, Dtype::kE4m3, num::TensorCore::kHopper, true}));

TEST(BoundHolds, ForThePackedFp4Unit) {
  ThreadPool pool(2);
  Case const c = small_case(2048, Dtype::kE2m1, Dtype::kE2m1);
  CaseData const data = make_data(c, 1, pool);
  std::vector<double> const limits = bounds_of(data, {.unit = Arithmetic::Unit::kPackedFp4}, pool);
  std::uint32_t d[16 * 8] = {};
  for (std::int64_t k = 0; k < c.k; k += 64) {
    std::uint8_t a[16 * 32], b[8 * 32], scale_a[32], scale_b[16];
    for (int i = 0; i < 16; ++i) {
      std::memcpy(a + 32 * i, data.a.data.data() + i * data.a.pitch + k / 2, 32);
      for (int h = 0; h < 2; ++h) scale_a[2 * i + h] = scale_byte_at(data.a, i, k + 32 * h);
    }
    for (int j = 0; j < 8; ++j) {
      std::memcpy(b + 32 * j, data.b.data.data() + j * data.b.pitch + k / 2, 32);
      for (int h = 0; h < 2; ++h) scale_b[2 * j + h] = scale_byte_at(data.b, j, k + 32 * h);
    }
    num::mma_fp4({num::Format::kUe8m0, 2, a, b, scale_a, scale_b, d, d});
  }
  for (std::size_t i = 0; i < 128; ++i) {
    float value;
    std::memcpy(&value, &d[i], 4);
    ASSERT_LE(std::fabs(value - data.exact[i]), limits[i]) << i;
  }
}

TEST(Bound, OneExactProductCostsOneTruncation) {
  // A single step whose products all have the same exponent: 2^E is theirs, nothing but the conversion may lose.
  ThreadPool pool(1);
  Case c = small_case(32);
  CaseData data = make_data(c, 0, pool);
  std::fill(data.a.data.bytes.begin(), data.a.data.bytes.end(), std::byte{0x38});
  std::fill(data.b.data.bytes.begin(), data.b.data.bytes.end(), std::byte{0x38});
  std::fill(data.a.scale.bytes.begin(), data.a.scale.bytes.end(), std::byte{127});
  std::fill(data.b.scale.bytes.begin(), data.b.scale.bytes.end(), std::byte{127});
  refresh_exact(data, pool);
  ASSERT_EQ(data.exact[0], 32.0);
  double const limit = bounds_of(data, {}, pool)[0];
  EXPECT_GE(limit, 32 * 0x1p-23);
  EXPECT_LE(limit, 32 * 0x1p-23 + 2 * 0x1p-25);
}

TEST(Bound, GrowsWithWhatRounds) {
  ThreadPool pool(2);
  Case c = small_case(1024);
  CaseData data = make_data(c, 3, pool);
  std::vector<double> const inside = bounds_of(data, {}, pool);
  std::vector<double> const split = bounds_of(data, {.split_k = 256}, pool);
  std::vector<double> const outside = bounds_of(data, {.a_outside = true, .b_outside = true}, pool);
  data.what.d = Dtype::kBf16;
  std::vector<double> const bf16 = bounds_of(data, {}, pool);
  double split_total = 0, inside_total = 0;
  for (std::size_t i = 0; i < inside.size(); ++i) {
    split_total += split[i], inside_total += inside[i];
    EXPECT_GT(outside[i], inside[i]);
    EXPECT_GT(bf16[i], inside[i] + std::fabs(data.exact[i]) * 0x1p-9);
    EXPECT_LT(bf16[i], inside[i] + (std::fabs(data.exact[i]) + inside[i]) * 0x1.01p-8);
  }
  EXPECT_LT(split_total, inside_total) << "shorter chains truncate less";
}

TEST(Bound, GrowsWithK) {
  // The same sums over ever longer k.
  ThreadPool pool(2);
  double last = 0;
  for (std::int64_t k : {32, 256, 2048}) {
    CaseData const data = make_data(small_case(k), 7, pool);
    double total = 0;
    for (double limit : bounds_of(data, {}, pool)) total += limit;
    EXPECT_GT(total, last);
    last = total;
  }
}

TEST(Bound, IsSmallBesideOneScaleGroup) {
  // What a wrong scale of one group of 32 changes is far outside.
  ThreadPool pool(2);
  CaseData const data = make_data(small_case(4096), 11, pool);
  double limit = 0, typical = 0;
  std::vector<double> const limits = bounds_of(data, {.split_k = 512}, pool);
  for (std::size_t i = 0; i < limits.size(); ++i) {
    limit += limits[i];
    typical += std::fabs(data.exact[i]) / std::sqrt(4096.0 / 32.0);
  }
  EXPECT_LT(limit, 0.02 * typical);
}

TEST(Bound, ArithmeticFollowsTheTargetAndTheFormats) {
  Arch const& sm120 = arch_by_target("sm_120a");
  Arch const& sm90 = arch_by_target("sm_90a");
  auto const packed = ScaleFormat::kPacked, f32 = ScaleFormat::kF32;
  EXPECT_EQ(arithmetic_of(sm120, Dtype::kE4m3, packed, Dtype::kE2m1, packed, 0).unit,
            Arithmetic::Unit::kBlockScaled);
  EXPECT_EQ(arithmetic_of(sm120, Dtype::kE2m1, packed, Dtype::kE2m1, packed, 0).unit,
            Arithmetic::Unit::kPackedFp4);
  EXPECT_EQ(arithmetic_of(sm120, Dtype::kE2m1, f32, Dtype::kE2m1, packed, 0).unit,
            Arithmetic::Unit::kBlockScaled);
  EXPECT_TRUE(arithmetic_of(sm120, Dtype::kE2m1, f32, Dtype::kE2m1, packed, 0).a_outside);
  EXPECT_FALSE(arithmetic_of(sm120, Dtype::kE2m1, f32, Dtype::kE2m1, packed, 0).b_outside);
  EXPECT_EQ(arithmetic_of(sm90, Dtype::kE2m1, packed, Dtype::kE2m1, packed, 256).unit,
            Arithmetic::Unit::kHopper);
  EXPECT_EQ(arithmetic_of(sm90, Dtype::kE2m1, packed, Dtype::kE2m1, packed, 256).split_k, 256);
}

}  // namespace
}  // namespace deepwell::check

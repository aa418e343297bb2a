// Generated data: exactness, layouts, padding, determinism.
#include "check/data.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

namespace deepwell::check {
namespace {

using ref::ScaleFormat;

TEST(Data, BuiltInCasesHaveNamesOfTheirOwn) {
  for (bool quick : {true, false}) {
    std::set<std::string> names;
    for (Case const& c : builtin_cases(quick)) EXPECT_TRUE(names.insert(c.name()).second) << c.name();
    EXPECT_GT(names.size(), quick ? 40u : 200u);
  }
}

TEST(Data, BuiltInCasesCoverWhatTheyShould) {
  std::set<std::string> pairs, tails;
  std::set<std::int64_t> heads;
  for (Case const& c : builtin_cases(false)) {
    pairs.insert(std::string(name_of(c.a.dtype)) + name_of(c.a.scale) + std::to_string(c.a.gran_k) +
                 name_of(c.b.dtype) + name_of(c.b.scale) + std::to_string(c.b.gran_k));
    tails.insert(std::to_string(c.k % 128));
    if (c.op == Op::kEinsum) heads.insert(c.batch);
  }
  EXPECT_EQ(pairs.size(), 144u);  // 2 x 2 types, 3 x 3 formats, 2 x 2 granularities
  for (char const* tail : {"0", "32", "64", "96"}) EXPECT_EQ(tails.count(tail), 1u) << tail;
  EXPECT_EQ(heads, (std::set<std::int64_t>{1, 2, 4, 8}));
}

/// Sums in FP32, in the worst order for rounding, are the double sums: no order can round.
TEST(Data, ExactCasesAreExactInFloat) {
  ThreadPool pool(2);
  for (auto [format, powers] :
       {std::pair{ScaleFormat::kPacked, false}, {ScaleFormat::kF32, false}, {ScaleFormat::kF32, true}}) {
    for (Dtype b : {Dtype::kE4m3, Dtype::kE2m1}) {
      Case c;
      c.data = DataKind::kExact;
      c.m = 3, c.n = 5, c.k = 2048, c.c = CMode::kOther, c.d = Dtype::kF32;
      c.a.scale = c.b.scale = format, c.a.powers = c.b.powers = powers;
      c.a.gran_k = 128, c.b.gran_k = 32, c.b.dtype = b;
      CaseData const data = make_data(c, 1, pool);
      double const quantum = exact_quantum(c);
      std::vector<double> x(static_cast<std::size_t>(c.k)), y(x.size());
      int nonzero = 0;
      for (std::int64_t i = 0; i < c.m; ++i) {
        ref::dequantise_row(data.a.view(), 0, i, x.data());
        for (std::int64_t j = 0; j < c.n; ++j) {
          ref::dequantise_row(data.b.view(), 0, j, y.data());
          float positive_first = 0, in_order = 0;
          for (std::size_t k = 0; k < x.size(); ++k) {
            ASSERT_EQ(std::remainder(x[k] * y[k], quantum), 0.0);
            if (x[k] * y[k] > 0) positive_first += static_cast<float>(x[k] * y[k]);
            in_order += static_cast<float>(x[k] * y[k]);
          }
          for (std::size_t k = 0; k < x.size(); ++k) {
            if (x[k] * y[k] < 0) positive_first += static_cast<float>(x[k] * y[k]);
          }
          std::size_t const at = static_cast<std::size_t>(i * c.n + j);
          double const sum = data.exact[at] - data.c_values[at];
          EXPECT_EQ(positive_first, sum);
          EXPECT_EQ(in_order, sum);
          nonzero += sum != 0;
        }
      }
      EXPECT_GT(nonzero, 10);
    }
  }
}

TEST(Data, TheSameSeedGivesTheSameBytes) {
  ThreadPool one(1), two(2);
  Case c;
  c.m = 7, c.n = 130, c.k = 352, c.c = CMode::kSame;
  for (DataKind kind : {DataKind::kExact, DataKind::kRandom, DataKind::kHostile}) {
    c.data = kind;
    CaseData const x = make_data(c, 1, one), y = make_data(c, 1, two), z = make_data(c, 2, one);
    EXPECT_EQ(x.a.data.bytes, y.a.data.bytes);
    EXPECT_EQ(x.b.scale.bytes, y.b.scale.bytes);
    EXPECT_EQ(x.d.bytes, y.d.bytes);
    EXPECT_EQ(x.exact, y.exact);
    EXPECT_NE(x.b.data.bytes, z.b.data.bytes);
  }
}

TEST(Data, LayoutsChangeNoValue) {
  ThreadPool pool(2);
  Case c;
  c.op = Op::kEinsum, c.m = 3, c.n = 130, c.k = 416, c.batch = 2;
  c.a.scale = c.b.scale = ScaleFormat::kF32;
  c.b.gran_mn = 128;
  for (bool token_major : {true, false}) {
    for (Pitch pitch : {Pitch::kContiguous, Pitch::kPadded, Pitch::kOdd}) {
      for (ScaleLayout layout : {ScaleLayout::kRows, ScaleLayout::kColumns, ScaleLayout::kOddColumns}) {
        c.token_major = token_major;
        c.a.pitch = c.b.pitch = c.d_pitch = pitch;
        c.a.layout = c.b.layout = layout;
        CaseData const data = make_data(c, 1, pool);
        for (double value : data.exact) ASSERT_TRUE(std::isfinite(value)) << c.name();
        // What lies between the elements is NaN: a kernel that reads it shows.
        std::int64_t nan_bytes = 0;
        for (std::byte byte : data.a.data.bytes) nan_bytes += (std::to_integer<int>(byte) & 0x7f) == 0x7f;
        EXPECT_EQ(nan_bytes, static_cast<std::int64_t>(data.a.data.bytes.size()) - c.m * c.k * c.batch)
            << c.name();
      }
    }
  }
}

TEST(Data, PackedWordsHaveNaNBeyondK) {
  ThreadPool pool(1);
  Case c;
  c.m = 3, c.n = 8, c.k = 160;
  c.a.gran_k = 32;  // five groups in two words
  CaseData const data = make_data(c, 1, pool);
  ASSERT_EQ(data.a.scale_cols, 2);
  for (int byte = 1; byte < 4; ++byte)
    EXPECT_EQ(data.a.scale.data()[4 * data.a.scale_k_stride + byte], std::byte{0xff});
  EXPECT_NE(data.a.scale.data()[4 * data.a.scale_k_stride], std::byte{0xff});
  EXPECT_EQ(data.a.scale.data()[4 * 3], std::byte{0xff});  // the row after the last one
}

TEST(Data, HostileScalesReachBothEnds) {
  ThreadPool pool(1);
  Case c;
  c.data = DataKind::kHostile;
  c.m = 40, c.n = 40, c.k = 1024;
  c.a.scale = c.b.scale = ScaleFormat::kUe8m0;
  c.a.layout = c.b.layout = ScaleLayout::kRows;
  CaseData const data = make_data(c, 1, pool);
  double low = 1, high = 1, largest = 0;
  for (std::int64_t row = 0; row < 40; ++row) {
    for (std::int64_t k = 0; k < c.k; k += 128) {
      low = std::min(low, ref::scale_at(data.a.view().scales, 0, row, k));
      high = std::max(high, ref::scale_at(data.b.view().scales, 0, row, k));
    }
  }
  EXPECT_EQ(low, 0x1p-127);
  EXPECT_GE(high, 0x1p123);
  for (double value : data.exact) largest = std::max(largest, std::fabs(value));
  EXPECT_GT(largest, 1.0);
  EXPECT_LT(largest, 0x1p60);
  for (std::int64_t j = 0; j < c.n; ++j) EXPECT_EQ(data.exact[static_cast<std::size_t>(j)], 0.0);
}

TEST(Data, ElementsRoundOnce) {
  std::byte bytes[4];
  store_element(Dtype::kBf16, bytes, 1.0 + 0x1p-8);  // a tie goes to even
  EXPECT_EQ(load_element(Dtype::kBf16, bytes), 1.0);
  store_element(Dtype::kBf16, bytes, 1.0 + 0x1p-8 + 0x1p-40);
  EXPECT_EQ(load_element(Dtype::kBf16, bytes), 1.0 + 0x1p-7);
  store_element(Dtype::kF32, bytes, 1.0 + 0x1p-24);
  EXPECT_EQ(load_element(Dtype::kF32, bytes), 1.0);
}

}  // namespace
}  // namespace deepwell::check

// The judge of the hyper-connections' product, with the reference in the place of a device.
#include "check/hc_prenorm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

namespace deepwell::check {
namespace {

/// The exact answer of some data, rounded once.
HcPrenormOutput reference_output(HcPrenormData const& data) {
  ThreadPool pool(2);
  HcPrenormCase const& what = data.what;
  ref::HcPrenormResult const exact = ref::hc_prenorm(data.operands(), what.parts(), pool);
  HcPrenormOutput out{.d = data.d.bytes, .sqr_sum = data.sqr_sum.bytes, .seconds = 0};
  for (std::int64_t s = 0; s < what.parts(); ++s) {
    for (std::int64_t i = 0; i < what.m; ++i) {
      auto const row = static_cast<std::size_t>(s * what.m + i);
      std::byte* const d = out.d.data() + data.d.start + 4 * (s * data.d_split_stride + i * data.d_pitch);
      for (std::int64_t j = 0; j < what.n; ++j)
        store_element(Dtype::kF32, d + 4 * j,
                      exact.d[row * static_cast<std::size_t>(what.n) + static_cast<std::size_t>(j)]);
      store_element(Dtype::kF32,
                    out.sqr_sum.data() + data.sqr_sum.start +
                        4 * (s * data.sqr_sum_split_stride + i * data.sqr_sum_stride),
                    exact.sqr_sum[row]);
    }
  }
  return out;
}

HcPrenormCandidate chosen(HcPrenormCase const& c) {
  return choose_hc_prenorm({.m = c.m, .n = c.n, .k = c.k, .splits = c.parts()}, arch_by_target("sm_120a"))
      .at(0);
}

TEST(HcPrenormCheck, MutationsOfTheReferenceAreRejected) {
  ThreadPool pool(2);
  for (DataKind kind : {DataKind::kExact, DataKind::kRandom}) {
    for (Pitch pitch : {Pitch::kContiguous, Pitch::kPadded, Pitch::kOdd}) {
      for (std::int64_t splits : {0, 2}) {
        HcPrenormCase const c{.data = kind,
                              .m = 3,
                              .n = 24,
                              .k = 300,
                              .splits = splits,
                              .a = pitch,
                              .b = pitch,
                              .d = pitch,
                              .sqr_sum = pitch};
        std::vector<MutationOutcome> const outcomes =
            mutate_hc_prenorm(c, chosen(c), 0, reference_output, pool);
        std::set<std::string> names;
        for (MutationOutcome const& outcome : outcomes) {
          EXPECT_EQ(outcome.rejected, outcome.mutation != "none")
              << c.name() << ": " << outcome.mutation << outcome.reason;
          EXPECT_TRUE(names.insert(outcome.mutation).second);
        }
        EXPECT_EQ(names.count("splits of d exchanged"), splits == 2 ? 1u : 0u);
        EXPECT_EQ(names.count("b rounded instead of cut"), kind == DataKind::kExact ? 1u : 0u);
        EXPECT_EQ(names.count("d's pitch ignored"), pitch == Pitch::kContiguous ? 0u : 1u);
      }
    }
  }
}

TEST(HcPrenormCheck, WritesOutsideAreSeen) {
  ThreadPool pool(2);
  HcPrenormCase const c{
      .data = DataKind::kRandom, .m = 3, .n = 5, .k = 64, .d = Pitch::kPadded, .sqr_sum = Pitch::kOdd};
  HcPrenormData const data = make_hc_prenorm(c, 0, pool);
  ref::HcPrenormResult const bounds = hc_prenorm_bounds(data, chosen(c), pool);
  HcPrenormOutput const right = reference_output(data);
  ASSERT_TRUE(judge_hc_prenorm(data, bounds, right).pass);
  for (std::int64_t byte : {-1, 4 * 5, 4 * (2 * 24 + 5)}) {
    HcPrenormOutput wrong = right;
    wrong.d.at(static_cast<std::size_t>(data.d.start + byte)) ^= std::byte{1};
    EXPECT_FALSE(judge_hc_prenorm(data, bounds, wrong).pass) << byte;
  }
  for (std::int64_t byte : {-1, 4, 8}) {
    HcPrenormOutput wrong = right;
    wrong.sqr_sum.at(static_cast<std::size_t>(data.sqr_sum.start + byte)) ^= std::byte{1};
    EXPECT_FALSE(judge_hc_prenorm(data, bounds, wrong).pass) << byte;
  }
}

/// Exact data: any order of the sums in FP32 gives the exact sums; b has bits that must not count.
TEST(HcPrenormCheck, ExactDataAreExact) {
  ThreadPool pool(2);
  HcPrenormCase const c{.data = DataKind::kExact, .m = 2, .n = 3, .k = 28672};
  HcPrenormData const data = make_hc_prenorm(c, 0, pool);
  int with_tail = 0;
  for (std::int64_t j = 0; j < c.n; ++j) {
    for (std::int64_t i = 0; i < c.m; ++i) {
      double largest = 0;
      for (std::int64_t k = 0; k < c.k; ++k) {
        float b;
        std::memcpy(&b, data.b.data() + 4 * (j * data.b_pitch + k), 4);
        double const product =
            load_element(Dtype::kBf16, data.a.data() + 2 * (i * data.a_pitch + k)) * ref::cut_to_tf32(b);
        with_tail += ref::cut_to_tf32(b) != b;
        ASSERT_EQ(std::remainder(product, 0.125), 0.0);
        largest += std::fabs(product);
      }
      EXPECT_LT(largest, 0.125 * 0x1p24);
    }
  }
  EXPECT_GT(with_tail, c.k);
}

/// Bounds follow the arithmetic: far below a typical result, and above what a plain FP32 sum does.
TEST(HcPrenormCheck, BoundsAreNarrow) {
  ThreadPool pool(2);
  HcPrenormCase const c{.data = DataKind::kRandom, .m = 4, .n = 24, .k = 4096};
  HcPrenormData const data = make_hc_prenorm(c, 0, pool);
  HcPrenormCandidate how = chosen(c);
  how.pieces = 1;
  ref::HcPrenormResult const bounds = hc_prenorm_bounds(data, how, pool);
  double squares = 0, widest = 0;
  for (std::size_t i = 0; i < bounds.d.size(); ++i) {
    squares += data.exact.d[i] * data.exact.d[i];
    widest = std::max(widest, bounds.d[i]);
  }
  EXPECT_LT(widest, 1e-4 * std::sqrt(squares / static_cast<double>(bounds.d.size())));
  for (std::size_t i = 0; i < bounds.sqr_sum.size(); ++i) {
    EXPECT_LT(bounds.sqr_sum[i], 1e-4 * data.exact.sqr_sum[i]);
    EXPECT_GT(bounds.sqr_sum[i], 1e-7 * data.exact.sqr_sum[i]);
  }
}

TEST(HcPrenormCheck, CasesHaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (OpCase const& c : hc_prenorm_op_cases(false)) {
    EXPECT_TRUE(names.insert(c.name).second) << c.name;
    EXPECT_GT(c.floor_sectors, 0u);
    EXPECT_GT(c.useful_mma, 0u);
  }
  EXPECT_GT(names.size(), 40u);
}

}  // namespace
}  // namespace deepwell::check

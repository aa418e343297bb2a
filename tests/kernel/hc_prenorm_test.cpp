// The hyper-connections' product on every target: right answers from every kernel, on all layouts, and the same bits each time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "check/hc_prenorm.hpp"
#include "check/work.hpp"
#include "kernel/devices.hpp"

namespace deepwell::check {
namespace {

using Parameter = std::tuple<std::string, HcPrenormCase>;

std::string parameter_name(testing::TestParamInfo<Parameter> const& info) {
  auto const& [device, c] = info.param;
  return test_name(device.substr(4) + "_" + std::to_string(info.index) + "_" + c.name());
}

std::vector<HcPrenormCase> chosen_cases() {
  std::vector<HcPrenormCase> out;
  for (HcPrenormCase const& c : hc_prenorm_cases(false)) {
    if (c.m * c.k <= 1 << 20) out.push_back(c);
  }
  return out;
}

class HcPrenormKernel : public testing::TestWithParam<Parameter> {};

TEST_P(HcPrenormKernel, IsRight) {
  auto const& [device, c] = GetParam();
  Outcome const outcome = run_hc_prenorm_case(context_of(device), c, 0, test_pool());
  EXPECT_EQ(outcome.status, Status::kPass) << c.name() << "\n" << outcome.kernel << "\n" << outcome.reason;
}

INSTANTIATE_TEST_SUITE_P(All, HcPrenormKernel,
                         testing::Combine(testing::ValuesIn(std::begin(kKernelTestDevices),
                                                            std::end(kKernelTestDevices)),
                                          testing::ValuesIn(chosen_cases())),
                         parameter_name);

class HcPrenormEveryPlan : public testing::TestWithParam<std::string> {};

/// Whatever the choice says: each tile alone and with several pieces, ragged at every edge, by tensor maps and element by element.
TEST_P(HcPrenormEveryPlan, IsRight) {
  Context& context = context_of(GetParam());
  std::vector<HcPrenormPlan> const plans = all_hc_prenorm_plans(context.arch());
  ASSERT_EQ(plans.size(), 17u);
  for (HcPrenormPlan const& plan : plans) {
    for (int pieces : {1, 3}) {
      for (DataKind kind : {DataKind::kExact, DataKind::kRandom, DataKind::kHostile}) {
        bool const odd = pieces == 3;
        HcPrenormCandidate const how{.plan = plan, .pieces = pieces, .cost_us = 0};
        HcPrenormCase c{.data = kind,
                        .m = plan.tile_rows + 5,
                        .n = plan.tile_cols - (odd ? 1 : 0),
                        .k = 13 * kHcBlockK + (odd ? 37 : 8),
                        .splits = 2};
        if (odd && kind == DataKind::kExact) c.a = c.b = c.d = c.sqr_sum = Pitch::kOdd;
        Outcome const outcome = run_hc_prenorm_case(context, c, 1, test_pool(), {}, &how);
        EXPECT_EQ(outcome.status, Status::kPass) << c.name() << "\n"
                                                 << plan_name(plan) << " in " << pieces << "\n"
                                                 << outcome.reason;
      }
    }
  }
}

/// A part without blocks is zeros, not what was there: splits and pieces may outnumber blocks.
TEST_P(HcPrenormEveryPlan, EmptyPartsAreZeros) {
  Context& context = context_of(GetParam());
  for (HcPrenormPlan const& plan : hc_prenorm_plans(24, context.arch())) {
    for (int pieces : {1, 4}) {
      HcPrenormCandidate const how{.plan = plan, .pieces = pieces, .cost_us = 0};
      HcPrenormCase const c{.data = DataKind::kExact, .m = 3, .n = 24, .k = 100, .splits = 5};
      HcPrenormData const data = make_hc_prenorm(c, 2, test_pool());
      EXPECT_EQ(data.exact.sqr_sum.at(4 * 3), 0.0);
      Outcome const outcome = run_hc_prenorm_case(context, c, 2, test_pool(), {}, &how);
      EXPECT_EQ(outcome.status, Status::kPass) << plan_name(plan) << "\n" << outcome.reason;
    }
  }
}

/// Warps, CTAs and copies in another order, another number of SMs, another launch: the same bits.
TEST_P(HcPrenormEveryPlan, TheSameBitsWhateverTheSchedule) {
  Context& context = context_of(GetParam());
  Context other(GetParam() + ":7");
  for (HcPrenormPlan const& plan : hc_prenorm_plans(24, context.arch())) {
    HcPrenormCandidate const how{.plan = plan, .pieces = 5, .cost_us = 0};
    HcPrenormCase const c{.data = DataKind::kRandom, .m = 70, .n = 24, .k = 1500, .splits = 2};
    HcPrenormData const data = make_hc_prenorm(c, 3, test_pool());
    HcPrenormOutput const first = run_hc_prenorm(context, data, &how);
    for (std::uint64_t schedule : {0, 1, 2, 3}) {
      ASSERT_TRUE(context.backend().set_schedule(schedule));
      HcPrenormOutput const again = run_hc_prenorm(context, data, &how);
      EXPECT_EQ(again.d, first.d) << plan_name(plan) << ", schedule " << schedule;
      EXPECT_EQ(again.sqr_sum, first.sqr_sum) << plan_name(plan) << ", schedule " << schedule;
    }
    context.backend().set_schedule(0);
    HcPrenormOutput const elsewhere = run_hc_prenorm(other, data, &how);
    EXPECT_EQ(elsewhere.d, first.d) << plan_name(plan);
    EXPECT_EQ(elsewhere.sqr_sum, first.sqr_sum) << plan_name(plan);
  }
}

/// The way in that strides and addresses ask for changes no bits.
TEST_P(HcPrenormEveryPlan, TheSameBitsFromEveryLayout) {
  Context& context = context_of(GetParam());
  HcPrenormCase c{.data = DataKind::kRandom, .m = 21, .n = 24, .k = 1000, .splits = 2};
  HcPrenormData const plain = make_hc_prenorm(c, 4, test_pool());
  HcPrenormOutput const first = run_hc_prenorm(context, plain);
  c.a = c.b = Pitch::kOdd;
  HcPrenormData odd = make_hc_prenorm(c, 4, test_pool());
  for (std::int64_t i = 0; i < c.m; ++i)
    std::copy_n(plain.a.data() + 2 * i * plain.a_pitch, 2 * c.k, odd.a.data() + 2 * i * odd.a_pitch);
  for (std::int64_t j = 0; j < c.n; ++j)
    std::copy_n(plain.b.data() + 4 * j * plain.b_pitch, 4 * c.k, odd.b.data() + 4 * j * odd.b_pitch);
  HcPrenormOutput const second = run_hc_prenorm(context, odd);
  EXPECT_EQ(second.d, first.d);
  EXPECT_EQ(second.sqr_sum, first.sqr_sum);
}

TEST_P(HcPrenormEveryPlan, MutationsAreRejected) {
  Context& context = context_of(GetParam());
  for (DataKind kind : {DataKind::kExact, DataKind::kRandom}) {
    HcPrenormCase const c{
        .data = kind, .m = 20, .n = 24, .k = 600, .splits = 3, .d = Pitch::kPadded, .sqr_sum = Pitch::kOdd};
    HcPrenormCandidate const how =
        choose_hc_prenorm({.m = c.m, .n = c.n, .k = c.k, .splits = c.splits}, context.arch()).at(0);
    auto const produce = [&](HcPrenormData const& data) { return run_hc_prenorm(context, data); };
    std::vector<MutationOutcome> const outcomes = mutate_hc_prenorm(c, how, 5, produce, test_pool());
    EXPECT_GE(outcomes.size(), 12u);
    for (MutationOutcome const& outcome : outcomes)
      EXPECT_EQ(outcome.rejected, outcome.mutation != "none") << c.name() << ": " << outcome.mutation;
  }
}

/// Fragments, staged sums and elements that come one by one: no two lanes of an access meet in a bank.
TEST_P(HcPrenormEveryPlan, NoBankConflicts) {
  Context& context = context_of(GetParam());
  auto& backend = dynamic_cast<EmuBackend&>(context.backend());
  emu::Options const before = backend.options();
  emu::Options counting = before;
  counting.statistics = true;
  backend.set_options(counting);
  for (HcPrenormPlan const& plan : all_hc_prenorm_plans(context.arch())) {
    for (Pitch pitch : {Pitch::kContiguous, Pitch::kOdd}) {
      HcPrenormCandidate const how{.plan = plan, .pieces = 2, .cost_us = 0};
      HcPrenormCase const c{.data = DataKind::kRandom,
                            .m = plan.tile_rows,
                            .n = plan.tile_cols,
                            .k = 512,
                            .a = pitch,
                            .b = pitch};
      run_hc_prenorm(context, make_hc_prenorm(c, 0, test_pool()), &how);
      Efficiency const counted = efficiency_of(OpCase{}, backend.last_statistics());
      EXPECT_EQ(counted.shared_conflicts, 0u) << plan_name(plan);
      auto const mmas = static_cast<std::uint64_t>(plan.tile_rows / 16 * plan.tile_cols / 8 * 512 / 8);
      EXPECT_EQ(counted.mma, mmas) << plan_name(plan);
    }
  }
  backend.set_options(before);
}

INSTANTIATE_TEST_SUITE_P(All, HcPrenormEveryPlan,
                         testing::Values(std::string("emu:sm_120a"), std::string("emu:sm_121a"),
                                         std::string("emu:sm_90a")),
                         [](auto const& info) { return test_name(info.param.substr(4)); });

/// Element by element the reader of another launch's product: counters and workspace come back as they were.
TEST(HcPrenorm, RepeatedCallsShareCounters) {
  Context& context = context_of("emu:sm_120a");
  HcPrenormCase const c{.data = DataKind::kExact, .m = 4, .n = 24, .k = 2048};
  for (std::uint64_t seed : {1, 2, 3}) {
    Outcome const outcome = run_hc_prenorm_case(context, c, seed, test_pool());
    EXPECT_EQ(outcome.status, Status::kPass) << outcome.reason;
    EXPECT_NE(outcome.kernel.find("split"), std::string::npos) << outcome.kernel;
  }
}

/// What is not a number stays in its row, and no padding of a or b reaches a sum.
TEST(HcPrenorm, InfinitiesAndNaNStayInTheirRows) {
  Context& context = context_of("emu:sm_120a");
  HcPrenormCase const c{
      .data = DataKind::kRandom, .m = 18, .n = 5, .k = 200, .a = Pitch::kOdd, .b = Pitch::kPadded};
  HcPrenormData data = make_hc_prenorm(c, 6, test_pool());
  HcPrenormOutput const before = run_hc_prenorm(context, data);
  store_element(Dtype::kBf16, data.a.data() + 2 * (3 * data.a_pitch + 70), HUGE_VAL);
  store_element(Dtype::kBf16, data.a.data() + 2 * (17 * data.a_pitch + 199), std::nan(""));
  HcPrenormOutput const after = run_hc_prenorm(context, data);
  for (std::int64_t i = 0; i < c.m; ++i) {
    for (std::int64_t j = 0; j < c.n; ++j) {
      auto const at = static_cast<std::size_t>(data.d.start + 4 * (i * data.d_pitch + j));
      double const value = load_element(Dtype::kF32, after.d.data() + at);
      if (i == 3 || i == 17) {
        EXPECT_FALSE(std::isfinite(value)) << i << " " << j;
      } else {
        EXPECT_EQ(value, load_element(Dtype::kF32, before.d.data() + at)) << i << " " << j;
      }
    }
  }
}

TEST(HcPrenorm, EveryReaderArrivesGivesTheSameBits) {
  Context& context = context_of("emu:sm_120a");
  HcPrenormCase const c{.data = DataKind::kRandom, .m = 70, .n = 24, .k = 1000, .splits = 2};
  HcPrenormData const data = make_hc_prenorm(c, 7, test_pool());
  for (HcPrenormPlan plan : hc_prenorm_plans(24, context.arch())) {
    HcPrenormCandidate how{.plan = plan, .pieces = 2, .cost_us = 0};
    HcPrenormOutput const first = run_hc_prenorm(context, data, &how);
    how.plan.every_reader_arrives = true;
    HcPrenormOutput const second = run_hc_prenorm(context, data, &how);
    EXPECT_EQ(second.d, first.d) << plan_name(plan);
    EXPECT_EQ(second.sqr_sum, first.sqr_sum) << plan_name(plan);
  }
}

}  // namespace
}  // namespace deepwell::check

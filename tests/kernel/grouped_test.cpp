// Grouped products on every target: right rows with the right group's matrix, and nothing else written.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "check/grouped.hpp"
#include "deepwell/notes.h"
#include "kernel/devices.hpp"
#include "ops/gemm/grouped.hpp"

namespace deepwell::check {
namespace {

class Grouped : public testing::TestWithParam<std::string> {};

TEST_P(Grouped, RightOnEveryRoutingAndFormat) {
  Context& context = context_of(GetParam());
  std::vector<GroupedCase> const cases = grouped_cases(GetParam() != "emu:sm_120a");
  ASSERT_GE(cases.size(), 20u);
  for (GroupedCase const& c : cases) {
    Outcome const outcome = run_grouped_case(context, c, 0);
    EXPECT_EQ(outcome.status, Status::kPass) << c.name() << ": " << outcome.reason;
  }
}

TEST_P(Grouped, RightUnderOtherSchedules) {
  Context& context = context_of(GetParam());
  GroupedCase c;
  c.routing = Routing::kHostile;
  c.a.dtype = Dtype::kE4m3, c.a.scale = ref::ScaleFormat::kF32, c.a.layout = ScaleLayout::kRows;
  c.b.dtype = Dtype::kE2m1, c.b.gran_k = 32;
  c.n = 136;
  for (std::int64_t alignment : {16, 64, 128}) {
    c.alignment = alignment;
    Outcome const outcome = run_grouped_case(context, c, 1, {.first = 1, .count = 3});
    EXPECT_EQ(outcome.status, Status::kPass) << c.name() << ": " << outcome.reason;
  }
}

TEST_P(Grouped, WrongAnswersAreRejected) {
  Context& context = context_of(GetParam());
  int mutated = 0;
  for (OpCase const& c : grouped_op_cases(true)) {
    if (!c.mutate) continue;
    ++mutated;
    for (MutationOutcome const& outcome : c.mutate(context, 0)) {
      EXPECT_EQ(outcome.rejected, outcome.mutation != "none")
          << c.name << ": " << outcome.mutation << ": " << outcome.reason;
    }
  }
  EXPECT_GE(mutated, 4);
}

TEST_P(Grouped, BadIdsAreNotedOncePerRow) {
  Context context(GetParam());
  GroupedCase c;
  c.routing = Routing::kHostile;
  c.n = 200;  // several tiles of columns read the same ids
  std::uint32_t bad = 0;
  for (std::int32_t id : layout_of(c, 0)) bad += id < -1 || id >= c.groups;
  ASSERT_GT(bad, 0u);
  EXPECT_EQ(run_grouped_case(context, c, 0).status, Status::kPass);
  EXPECT_EQ(context.backend().read_note(static_cast<int>(Note::kBadGroupId)), bad);
  c.grouping = Grouping::kMasked;
  c.m = 20;
  std::uint32_t clipped = 0;
  for (std::int32_t rows : layout_of(c, 0)) clipped += rows < 0 || rows > c.m;
  ASSERT_GT(clipped, 0u);
  EXPECT_EQ(run_grouped_case(context, c, 0).status, Status::kPass);
  EXPECT_EQ(context.backend().read_note(static_cast<int>(Note::kBadGroupSize)), clipped);
}

INSTANTIATE_TEST_SUITE_P(Devices, Grouped, testing::ValuesIn(kKernelTestDevices),
                         [](auto const& info) { return test_name(info.param); });

}  // namespace
}  // namespace deepwell::check

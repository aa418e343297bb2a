// Schedules and repeats of a case, and the bits that they leave.
#include "check/run.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "ops/context.hpp"

namespace deepwell::check {
namespace {

/// An outcome that passes and leaves these bits.
Outcome passes(std::string const& bits) {
  Outcome out;
  out.status = Status::kPass;
  out.bits = bits;
  return out;
}

TEST(UnderSchedules, RunsACaseAsOftenAsAsked) {
  Context context("emu:sm_120a:1");
  int runs = 0;
  Outcome const out = under_schedules(context, {.first = 0, .count = 3, .repeats = 4}, [&] {
    ++runs;
    return passes("7");
  });
  EXPECT_EQ(runs, 12);
  EXPECT_EQ(out.status, Status::kPass);
}

TEST(UnderSchedules, OtherBitsThanTheFirstRunsFail) {
  Context context("emu:sm_120a:1");
  int runs = 0;
  Outcome const repeated =
      under_schedules(context, {.repeats = 20}, [&] { return passes(++runs < 5 ? "7" : "8"); });
  EXPECT_EQ(runs, 5);
  EXPECT_EQ(repeated.status, Status::kFail);
  EXPECT_TRUE(repeated.other_bits);
  EXPECT_EQ(repeated.reason, "run 5 of 20 left other bits than the first");

  runs = 0;
  Outcome const scheduled =
      under_schedules(context, {.first = 10, .count = 20}, [&] { return passes(++runs < 3 ? "7" : "8"); });
  EXPECT_EQ(scheduled.status, Status::kFail);
  EXPECT_EQ(scheduled.schedule, 12u);
  EXPECT_NE(scheduled.reason.find("schedule 12"), std::string::npos);
}

TEST(UnderSchedules, DevicesWithoutSchedulesTakeRepeatsAlone) {
  Context context("null:sm_120a");
  EXPECT_EQ(under_schedules(context, {.repeats = 2}, [] { return passes("1"); }).status, Status::kPass);
  EXPECT_THROW(under_schedules(context, {.count = 2}, [] { return passes("1"); }), Error);
}

}  // namespace
}  // namespace deepwell::check

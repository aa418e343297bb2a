// The indexer's logits on every target: right answers, the same bits each time, wrong answers rejected.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "check/mqa_logits.hpp"
#include "kernel/devices.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"

namespace deepwell::check {
namespace {

using Parameter = std::tuple<std::string, MqaCase>;

std::string parameter_name(testing::TestParamInfo<Parameter> const& info) {
  auto const& [device, what] = info.param;
  return test_name(device.substr(4) + "_" + std::to_string(info.index) + "_" + what.name());
}

class MqaKernel : public testing::TestWithParam<Parameter> {};

TEST_P(MqaKernel, IsRight) {
  auto const& [device, what] = GetParam();
  Outcome const outcome = run_mqa_case(context_of(device), what, 0);
  EXPECT_EQ(outcome.status, Status::kPass) << what.name() << "\n" << outcome.kernel << "\n" << outcome.reason;
}

INSTANTIATE_TEST_SUITE_P(All, MqaKernel,
                         testing::Combine(testing::Values(std::string("emu:sm_120a"),
                                                          std::string("emu:sm_121a"),
                                                          std::string("emu:sm_90a")),
                                          testing::ValuesIn(mqa_cases(false))),
                         parameter_name);

class MqaDevices : public testing::TestWithParam<std::string> {};

/// Warp interleaving, order of CTAs and the time of each copy's completion change with the seed; the bits do not.
TEST_P(MqaDevices, TheSameBitsWhateverTheSchedule) {
  Context& context = context_of(GetParam());
  for (MqaCase const& what : mqa_cases(true)) {
    std::vector<std::byte> const first = mqa_bits(context, what, 3);
    for (std::uint64_t seed : {1, 2}) {
      ASSERT_TRUE(context.backend().set_schedule(seed));
      EXPECT_EQ(mqa_bits(context, what, 3), first) << what.name() << " with seed " << seed;
    }
    context.backend().set_schedule(0);
  }
}

/// How many CTAs share the work changes nothing, nor does the part of a tile that a warp has.
TEST_P(MqaDevices, TheSameBitsWithAnyNumberOfSms) {
  for (MqaCase const& what : mqa_cases(true)) {
    std::vector<std::byte> const first = mqa_bits(context_of(GetParam()), what, 4);
    for (char const* sms : {":1", ":2", ":7"})
      EXPECT_EQ(mqa_bits(context_of(GetParam() + sms), what, 4), first) << what.name() << sms;
  }
}

TEST_P(MqaDevices, WrongLogitsAreRejected) {
  Context& context = context_of(GetParam());
  for (MqaCase const& what : mqa_cases(true)) {
    if (what.data == DataKind::kHostile) continue;
    for (MutationOutcome const& outcome : mutate_mqa_case(context, what, 0))
      EXPECT_EQ(outcome.rejected, outcome.mutation != "none") << what.name() << ": " << outcome.mutation;
  }
}

/// Programmatic dependent launch: the kernel reads nothing and writes nothing before the wait.
TEST_P(MqaDevices, IsRightBehindOtherWork) {
  Context context(GetParam());
  context.set_pdl(true);
  for (MqaCase const& what : mqa_cases(true))
    EXPECT_EQ(run_mqa_case(context, what, 5).status, Status::kPass) << what.name();
}

INSTANTIATE_TEST_SUITE_P(All, MqaDevices,
                         testing::Values(std::string("emu:sm_120a"), std::string("emu:sm_90a")),
                         [](auto const& info) { return test_name(info.param.substr(4)); });

/// SM 12.0 and 12.1 give the same bits.
TEST(MqaLogits, TheSameBitsOnEveryBoardOfAFamily) {
  for (MqaCase const& what : mqa_cases(true))
    EXPECT_EQ(mqa_bits(context_of("emu:sm_121a"), what, 6), mqa_bits(context_of("emu:sm_120a"), what, 6))
        << what.name();
}

/// The build for race checkers, in which each lane releases a stage by itself.
TEST(MqaLogits, EveryReaderArrives) {
  set_option(Option::kEveryReaderArrives, "1");
  Context context("emu:sm_120a");
  MqaCase const ragged = mqa_cases(true).front();
  EXPECT_EQ(run_mqa_case(context, ragged, 0).status, Status::kPass);
  set_option(Option::kEveryReaderArrives, "0");
  EXPECT_EQ(mqa_bits(context, ragged, 0), mqa_bits(context_of("emu:sm_120a"), ragged, 0));
}

/// Shares that the schedule names begin where lengths say, whatever the lengths are.
TEST_P(MqaDevices, ScheduleOfManyRequests) {
  Context& context = context_of(GetParam());
  Backend& backend = context.backend();
  constexpr std::int64_t kRequests = 1000, kRows = 3, kShares = 37;
  int const tile_keys = mqa_plan({.paged = true, .rows = kRows, .page = 64}, context.arch()).tile;
  std::vector<std::int32_t> lengths;
  std::vector<std::pair<std::int32_t, std::int32_t>> places;
  for (std::int32_t request = 0; request < kRequests; ++request) {
    std::int32_t longest = 0;
    for (std::int32_t t = 0; t < kRows; ++t) {
      lengths.push_back(request % 5 == 0 ? -t : (request * 7919 + t) % 1500);
      longest = std::max(longest, lengths.back());
    }
    for (std::int32_t tile = 0; tile * tile_keys < longest; ++tile) places.emplace_back(request, tile);
  }
  places.emplace_back(kRequests, 0);
  DeviceAddress const in = backend.allocate(lengths.size() * 4), out = backend.allocate((kShares + 1) * 8);
  backend.copy_to_device(in, std::as_bytes(std::span(lengths)), nullptr);
  MqaScheduleCall call;
  call.lengths = contiguous_view(in, Dtype::kI32, {kRequests, kRows});
  call.schedule = contiguous_view(out, Dtype::kI32, {kShares + 1, 2});
  paged_mqa_logits_schedule(context, call);
  std::vector<std::pair<std::int32_t, std::int32_t>> schedule(kShares + 1);
  backend.copy_to_host(std::as_writable_bytes(std::span(schedule)), out, nullptr);
  for (std::size_t share = 0; share <= kShares; ++share)
    EXPECT_EQ(schedule[share], places[(places.size() - 1) * share / kShares]) << share;
  backend.release(in);
  backend.release(out);
}

}  // namespace
}  // namespace deepwell::check

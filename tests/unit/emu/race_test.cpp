// The race checker without a machine: clocks, and every edge that orders or does not order two accesses.
#include "emu/race/checker.hpp"

#include <gtest/gtest.h>

namespace deepwell::emu::race {
namespace {

ClockRef clock_of(std::uint32_t team, std::uint32_t warp, std::uint32_t lanes, Epoch epoch) {
  auto out = std::make_shared<Clock>();
  out->team = team;
  out->set_lanes(warp, lanes, epoch);
  return out;
}

TEST(Clocks, JoinKeepsTheLatest) {
  ClockRef const a = clock_of(0, 0, 3, 5), b = clock_of(0, 1, 1, 7);
  ClockRef const both = joined(a, b, 0);
  EXPECT_EQ(both->lane(0, 0), 5u);
  EXPECT_EQ(both->lane(0, 2), 0u);
  EXPECT_EQ(both->lane(1, 0), 7u);
  EXPECT_TRUE(both->covers(*a));
  EXPECT_TRUE(both->covers(*b));
  EXPECT_FALSE(a->covers(*b));
}

TEST(Clocks, WhatIsCoveredIsShared) {
  ClockRef const old = clock_of(0, 0, 1, 5), later = clock_of(0, 0, 1, 6);
  EXPECT_EQ(joined(later, old, 0), later);
  EXPECT_EQ(joined(old, later, 0), later);
  EXPECT_EQ(joined(old, nullptr, 0), old);
  EXPECT_EQ(joined(nullptr, old, 0), old);
}

TEST(Clocks, OtherTeamsAreKeptApart) {
  ClockRef const mine = clock_of(0, 0, 1, 5), theirs = clock_of(1, 0, 1, 9);
  ClockRef const both = joined(mine, theirs, 0);
  EXPECT_EQ(both->lane(0, 0), 5u);
  ASSERT_NE(both->about(1), nullptr);
  EXPECT_EQ(both->about(1)->lane(0, 0), 9u);
  EXPECT_EQ(both->about(2), nullptr);
  // And back: what team 1 learns of itself by way of team 0 is its own.
  ClockRef const back = joined(clock_of(1, 1, 1, 2), both, 1);
  EXPECT_EQ(back->lane(0, 0), 9u);
  EXPECT_EQ(back->lane(1, 0), 2u);
  EXPECT_EQ(back->about(0)->lane(0, 0), 5u);
}

/// Two CTAs of two warps, as two teams of one launch, and one more team of a second launch.
class Races : public ::testing::Test {
 protected:
  Races() {
    for (int t = 0; t < 2; ++t) teams.push_back(checker.start_team(0, t, 1, 2, 64, 1024, {false, false}));
    teams.push_back(checker.start_team(1, 0, 1, 2, 64, 1024, {false, false}));
  }
  Actor actor(int team, std::uint32_t warp, std::uint32_t lanes = ~0u) {
    return {teams[static_cast<std::size_t>(team)].get(), warp, lanes, 0};
  }
  bool races(int team, std::uint32_t warp, int lane, Location const& where, std::uint16_t kind,
             std::uint64_t bytes = 4) {
    return checker.access(actor(team, warp, 1u << lane), lane, where, bytes, kind).has_value();
  }
  /// All threads of a CTA meet.
  void barrier(int team) {
    for (std::uint32_t w = 0; w < 2; ++w) checker.arrive(actor(team, w), 0);
    checker.complete(*teams[static_cast<std::size_t>(team)], 0);
    for (std::uint32_t w = 0; w < 2; ++w) checker.acquire(actor(team, w), 0, uses);
    ++uses;
  }

  static constexpr std::uint16_t kRelaxed = kStrong | static_cast<std::uint16_t>(Scope::kGpu) << kScopeShift;
  static constexpr std::uint16_t kCtaScope = kStrong | static_cast<std::uint16_t>(Scope::kCta) << kScopeShift;
  Location const shared{.shared = true, .rank = 0, .address = 64};
  Location const global{.shared = false, .rank = 0, .address = 0x7000};
  Location const flag{.shared = false, .rank = 0, .address = 0x8000};
  Checker checker;
  std::vector<std::unique_ptr<Team>> teams;
  std::uint64_t uses = 0;  // of barrier()
};

TEST_F(Races, UsesOfABarrierAreApart) {
  races(0, 0, 0, shared, kWrite);
  checker.arrive(actor(0, 0), 1);
  checker.complete(*teams[0], 1);
  checker.arrive(actor(0, 1), 1);
  checker.complete(*teams[0], 1);
  checker.acquire(actor(0, 1), 1, 1);
  EXPECT_TRUE(races(0, 1, 0, shared, kRead)) << "the write came in another use";
  checker.acquire(actor(0, 1), 1, 0);
  EXPECT_FALSE(races(0, 1, 0, shared, kRead));
}

TEST_F(Races, ProgramOrderOrdersALane) {
  EXPECT_FALSE(races(0, 0, 0, shared, kWrite));
  EXPECT_FALSE(races(0, 0, 0, shared, kRead));
  EXPECT_FALSE(races(0, 0, 0, shared, kWrite));
  EXPECT_TRUE(races(0, 0, 1, shared, kRead));
}

TEST_F(Races, ReadsDoNotRace) {
  EXPECT_FALSE(races(0, 0, 0, shared, kRead));
  EXPECT_FALSE(races(0, 1, 0, shared, kRead));
  EXPECT_TRUE(races(0, 1, 0, shared, kWrite));
}

TEST_F(Races, OtherBytesDoNotRace) {
  EXPECT_FALSE(races(0, 0, 0, {true, 0, 64}, kWrite, 1));
  EXPECT_FALSE(races(0, 1, 0, {true, 0, 65}, kWrite, 1));
  EXPECT_FALSE(races(0, 1, 1, {true, 0, 66}, kWrite, 30));
  EXPECT_TRUE(races(0, 0, 0, {true, 0, 95}, kRead, 1));
}

TEST_F(Races, WarpBarrierOrdersItsLanesAlone) {
  races(0, 0, 3, shared, kWrite);
  checker.warp_barrier(actor(0, 0));
  EXPECT_FALSE(races(0, 0, 0, shared, kRead));
  EXPECT_TRUE(races(0, 1, 0, shared, kRead));
}

TEST_F(Races, WarpBarrierOfSomeLanes) {
  races(0, 0, 3, shared, kWrite);
  checker.warp_barrier(actor(0, 0, 0x0f));
  EXPECT_FALSE(races(0, 0, 0, shared, kRead));
  EXPECT_TRUE(races(0, 0, 4, shared, kRead));
}

TEST_F(Races, BarrierOrdersWhatCameBeforeIt) {
  races(0, 0, 3, shared, kWrite);
  barrier(0);
  EXPECT_FALSE(races(0, 1, 5, shared, kWrite));
  EXPECT_TRUE(races(0, 0, 3, shared, kRead)) << "after the barrier nothing orders the second write";
}

TEST_F(Races, EveryReaderMustBeOrdered) {
  races(0, 0, 0, shared, kRead);
  races(0, 0, 1, shared, kRead);
  // Lane 0 releases what it did, not what lane 1 did.
  checker.arrive(actor(0, 0, 1), 1);
  checker.complete(*teams[0], 1);
  checker.acquire(actor(0, 1), 1, 0);
  EXPECT_TRUE(races(0, 1, 0, shared, kWrite));
}

TEST_F(Races, OneLaneReleasesForTheWarpAfterAWarpBarrier) {
  races(0, 0, 0, shared, kRead);
  races(0, 0, 1, shared, kRead);
  checker.warp_barrier(actor(0, 0));
  checker.arrive(actor(0, 0, 1), 1);
  checker.complete(*teams[0], 1);
  checker.acquire(actor(0, 1), 1, 0);
  EXPECT_FALSE(races(0, 1, 0, shared, kWrite));
}

TEST_F(Races, ReleaseAndAcquireOrderCtas) {
  races(0, 0, 0, global, kWrite);
  checker.strong(actor(0, 0, 1), 0, flag, {.writes = true, .release = true, .replaces = true});
  EXPECT_TRUE(races(1, 0, 0, global, kRead)) << "not acquired yet";
  checker.strong(actor(1, 0, 2), 1, flag, {.reads = true, .acquire = true});
  EXPECT_FALSE(races(1, 0, 1, global, kRead));
  EXPECT_TRUE(races(1, 0, 2, global, kRead)) << "another lane acquired";
}

TEST_F(Races, RelaxedAccessesOrderOnlyWithFences) {
  Checker::Strong const store{.writes = true, .replaces = true}, load{.reads = true};
  races(0, 0, 0, global, kWrite);
  checker.strong(actor(0, 0, 1), 0, flag, store);
  checker.strong(actor(1, 0, 1), 0, flag, load);
  checker.fence(actor(1, 0, 1), Scope::kGpu);
  EXPECT_TRUE(races(1, 0, 0, global, kRead)) << "no fence before the store";
  checker.fence(actor(0, 0, 1), Scope::kGpu);
  checker.strong(actor(0, 0, 1), 0, flag, store);
  checker.strong(actor(1, 0, 1), 0, flag, load);
  EXPECT_TRUE(races(1, 0, 0, global, kRead)) << "no fence after the load";
  checker.fence(actor(1, 0, 1), Scope::kGpu);
  EXPECT_FALSE(races(1, 0, 0, global, kRead));
}

TEST_F(Races, FencesOfACtaDoNotReachAnother) {
  races(0, 0, 0, global, kWrite);
  checker.fence(actor(0, 0, 1), Scope::kCta);
  checker.strong(actor(0, 0, 1), 0, flag, {.writes = true, .replaces = true});
  checker.strong(actor(1, 0, 1), 0, flag, {.reads = true, .acquire = true});
  EXPECT_TRUE(races(1, 0, 0, global, kRead));
  checker.strong(actor(0, 1, 1), 0, flag, {.reads = true, .acquire = true, .scope = Scope::kCta});
  EXPECT_FALSE(races(0, 1, 0, global, kRead));
}

TEST_F(Races, FencedWritesOfOthersArePublishedAfterABarrier) {
  races(0, 1, 7, global, kWrite);
  checker.fence(actor(0, 1), Scope::kGpu);
  barrier(0);
  checker.strong(actor(0, 0, 1), 0, flag, {.reads = true, .writes = true});
  checker.strong(actor(1, 0, 1), 0, flag, {.reads = true, .writes = true});
  checker.fence(actor(1, 0, 1), Scope::kGpu);
  EXPECT_FALSE(races(1, 0, 0, global, kRead));
}

TEST_F(Races, StrongAccessesInScopeDoNotRace) {
  EXPECT_FALSE(races(0, 0, 0, global, kRead | kWrite | kRelaxed));
  EXPECT_FALSE(races(1, 0, 0, global, kRead | kWrite | kRelaxed));
  EXPECT_TRUE(races(1, 0, 1, global, kRead));
}

TEST_F(Races, StrongAccessesOutOfScopeRace) {
  EXPECT_FALSE(races(0, 0, 0, global, kWrite | kCtaScope));
  EXPECT_FALSE(races(0, 1, 0, global, kRead | kCtaScope));
  EXPECT_TRUE(races(1, 0, 0, global, kRead | kRelaxed));
}

TEST_F(Races, NonCoherentReadsOfWhatTheLaunchWrote) {
  races(0, 0, 0, global, kWrite);
  EXPECT_TRUE(races(0, 0, 0, global, kRead | kNonCoherent));
  EXPECT_FALSE(races(0, 0, 0, global, kRead));
}

TEST_F(Races, CopyUnitNeedsAProxyFence) {
  races(0, 0, 0, shared, kWrite);
  std::uint32_t const copy = checker.start_operation(actor(0, 0, 1), true);
  EXPECT_TRUE(checker.operation_access(copy, actor(0, 0, 1), 0, shared, 4, kRead).has_value());
  checker.proxy_fence(actor(0, 0, 1));
  EXPECT_FALSE(checker.operation_access(copy, actor(0, 0, 1), 0, shared, 4, kRead).has_value());
}

TEST_F(Races, AProxyFenceOnEitherSideOfTheBarrier) {
  for (bool const before : {true, false}) {
    races(0, 0, 0, shared, kWrite);
    if (before) checker.proxy_fence(actor(0, 0));
    barrier(0);
    std::uint32_t const copy = checker.start_operation(actor(0, 1, 1), true);
    if (!before) {
      EXPECT_TRUE(checker.operation_access(copy, actor(0, 1, 1), 0, shared, 4, kRead).has_value());
      checker.proxy_fence(actor(0, 1));
    }
    EXPECT_FALSE(checker.operation_access(copy, actor(0, 1, 1), 0, shared, 4, kRead).has_value());
    checker.operation_waited(copy, actor(0, 1, 1), true);
    barrier(0);
  }
}

TEST_F(Races, CopiesAreInFlightUntilTheirPhaseIsWaitedFor) {
  Location const mbarrier{.shared = true, .rank = 0, .address = 0};
  checker.access(actor(0, 0, 1), 0, mbarrier, 8, kWrite | kMbarrierInit);
  checker.mbarrier_init(actor(0, 0, 1), mbarrier);
  checker.mbarrier_init_fence(actor(0, 0, 1));
  barrier(0);
  std::uint32_t const copy = checker.start_operation(actor(0, 0, 1), true);
  EXPECT_FALSE(checker.operation_access(copy, actor(0, 0, 1), 0, shared, 16, kWrite).has_value());
  EXPECT_FALSE(checker.operation_signals(copy, actor(0, 0, 1), 0, mbarrier).has_value());
  EXPECT_TRUE(races(0, 1, 0, shared, kRead));
  EXPECT_TRUE(races(0, 0, 0, shared, kRead)) << "not even the lane that asked for it may read";
  EXPECT_EQ(checker.unwaited_loads(*teams[0], 0).size(), 1u);
  checker.operation_done_in_phase(copy, *teams[0], mbarrier, ~0u);
  checker.mbarrier_phase_done(*teams[0], mbarrier);
  EXPECT_TRUE(races(0, 1, 0, shared, kRead)) << "done, but nobody has waited";
  checker.mbarrier_acquire(actor(0, 1), mbarrier, true);
  EXPECT_FALSE(races(0, 1, 0, shared, kRead));
  EXPECT_TRUE(checker.unwaited_loads(*teams[0], 0).empty());
}

TEST_F(Races, InitialisationOfAnMbarrierMustReachTheCopyUnit) {
  Location const mbarrier{.shared = true, .rank = 0, .address = 0};
  checker.access(actor(0, 0, 1), 0, mbarrier, 8, kWrite | kMbarrierInit);
  checker.mbarrier_init(actor(0, 0, 1), mbarrier);
  std::uint32_t const copy = checker.start_operation(actor(0, 0, 1), true);
  EXPECT_TRUE(checker.operation_signals(copy, actor(0, 0, 1), 0, mbarrier).has_value());
  checker.mbarrier_init_fence(actor(0, 0, 1));
  EXPECT_FALSE(checker.operation_signals(copy, actor(0, 0, 1), 0, mbarrier).has_value());
  EXPECT_TRUE(checker.operation_signals(copy, actor(0, 1, 1), 0, mbarrier).has_value()) << "no barrier";
}

TEST_F(Races, WaitingForReadsIsNotWaitingForWrites) {
  std::uint32_t const copy = checker.start_operation(actor(0, 0, 1), true);
  checker.operation_access(copy, actor(0, 0, 1), 0, shared, 16, kRead);
  checker.operation_access(copy, actor(0, 0, 1), 0, global, 16, kWrite);
  EXPECT_TRUE(races(0, 0, 0, shared, kWrite));
  checker.operation_waited(copy, actor(0, 0, 1), false);
  EXPECT_FALSE(races(0, 0, 0, shared, kWrite));
  EXPECT_TRUE(races(0, 0, 0, global, kRead));
  checker.operation_waited(copy, actor(0, 0, 1), true);
  EXPECT_FALSE(races(0, 0, 0, global, kRead));
  EXPECT_TRUE(races(0, 0, 1, global, kRead)) << "the other lane has not waited";
}

TEST_F(Races, LaunchesAreOrderedByWaitingForThem) {
  races(0, 0, 0, global, kWrite);
  EXPECT_TRUE(races(2, 0, 0, global, kRead));
  checker.wait_for_launches(actor(2, 0, 1), {true, false});
  EXPECT_FALSE(races(2, 0, 0, global, kRead));
  std::uint32_t const copy = checker.start_operation(actor(2, 0, 1), true);
  EXPECT_FALSE(checker.operation_access(copy, actor(2, 0, 1), 0, global, 4, kRead).has_value());
}

TEST_F(Races, RelaxedArrivalsPublishWhatAFenceCameAfter) {
  Location const mbarrier{.shared = true, .rank = 0, .address = 0};
  checker.mbarrier_init(actor(0, 0, 1), mbarrier);
  races(0, 0, 0, shared, kWrite);
  checker.mbarrier_arrive(actor(0, 0, 1), mbarrier, false);
  checker.mbarrier_phase_done(*teams[0], mbarrier);
  checker.mbarrier_acquire(actor(0, 1), mbarrier, true);
  EXPECT_TRUE(races(0, 1, 0, shared, kRead)) << "no fence before the relaxed arrival";
  checker.fence(actor(0, 0, 1), Scope::kCta);
  checker.mbarrier_arrive(actor(0, 0, 1), mbarrier, false);
  checker.mbarrier_phase_done(*teams[0], mbarrier);
  checker.mbarrier_acquire(actor(0, 1), mbarrier, false);
  EXPECT_TRUE(races(0, 1, 0, shared, kRead)) << "no fence after the relaxed wait";
  checker.fence(actor(0, 1), Scope::kCta);
  EXPECT_FALSE(races(0, 1, 0, shared, kRead));
}

TEST_F(Races, ProxyFencesTravelWithReleases) {
  for (bool const fenced : {false, true}) {
    Location const data{.shared = false, .rank = 0, .address = fenced ? 0x9000u : 0xa000u};
    races(0, 0, 0, data, kWrite);
    if (fenced) checker.proxy_fence(actor(0, 0, 1));
    checker.strong(actor(0, 0, 1), 0, flag, {.writes = true, .release = true, .replaces = true});
    checker.strong(actor(1, 0, 1), 0, flag, {.reads = true, .acquire = true});
    std::uint32_t const copy = checker.start_operation(actor(1, 0, 1), true);
    EXPECT_EQ(checker.operation_access(copy, actor(1, 0, 1), 0, data, 4, kRead).has_value(), !fenced);
  }
}

TEST_F(Races, StrongWritesDoNotHidePlainReads) {
  races(0, 0, 0, global, kRead);
  barrier(0);
  EXPECT_FALSE(races(0, 1, 0, global, kRead | kWrite | kRelaxed)) << "ordered after the read";
  EXPECT_TRUE(races(1, 0, 0, global, kRead | kWrite | kRelaxed)) << "not ordered after the read";
}

TEST_F(Races, AStrongWriteOfOneLaneDoesNotStandForAnother) {
  EXPECT_FALSE(races(0, 0, 0, global, kRead | kWrite | kRelaxed));
  EXPECT_FALSE(races(0, 0, 1, global, kRead | kWrite | kRelaxed));
  checker.arrive(actor(0, 0, 2), 1);
  checker.complete(*teams[0], 1);
  checker.acquire(actor(0, 1), 1, 0);
  EXPECT_TRUE(races(0, 1, 0, global, kRead)) << "lane 0 has not arrived";
}

TEST_F(Races, ManyExemptAccessesDoNotEvictAPlainOne) {
  Location const word{.shared = true, .rank = 0, .address = 64},
      neighbour{.shared = true, .rank = 0, .address = 72};
  races(0, 0, 0, neighbour, kWrite);
  for (int i = 0; i < 200; ++i) {
    EXPECT_FALSE(races(0, 1, i % 32, word, kRead | kWrite | kCtaScope));
    checker.fence(actor(0, 1), Scope::kCta);
  }
  EXPECT_TRUE(races(0, 1, 0, neighbour, kRead));
}

TEST_F(Races, OneInstructionMayStoreOneValueTwice) {
  auto const same = [](void const*, int, int) { return true; };
  auto const other = [](void const*, int, int) { return false; };
  Actor const first{teams[0].get(), 0, 3, 7, 1}, again{teams[0].get(), 0, 3, 7, 2};
  EXPECT_FALSE(checker.access(first, 0, shared, 4, kWrite, same).has_value());
  EXPECT_FALSE(checker.access(first, 1, shared, 4, kWrite, same).has_value());
  EXPECT_TRUE(checker.access(first, 2, shared, 4, kWrite, other).has_value());
  EXPECT_TRUE(checker.access(again, 2, shared, 4, kWrite, same).has_value()) << "another execution of it";
}

TEST_F(Races, FencesOfACtaDoNotReachItsCluster) {
  auto const team = checker.start_team(0, 9, 2, 1, 32, 1024, {false, false});
  Actor const a{team.get(), 0, 1, 0}, b{team.get(), 1, 1, 0};
  for (bool const wide : {false, true}) {
    checker.access(a, 0, global, 4, kWrite);
    checker.fence(a, wide ? Scope::kCluster : Scope::kCta);
    checker.strong(a, 0, flag, {.writes = true, .replaces = true, .scope = Scope::kCluster});
    checker.strong(b, 0, flag, {.reads = true, .acquire = true, .scope = Scope::kCluster});
    EXPECT_EQ(checker.access(b, 0, global, 4, kRead).has_value(), !wide);
  }
}

TEST_F(Races, ACtaEndsWithItsSharedMemory) {
  auto const team = checker.start_team(0, 9, 2, 1, 32, 1024, {false, false});
  Actor const a{team.get(), 0, 1, 0}, b{team.get(), 1, 1, 0};
  checker.access(b, 0, shared, 4, kRead);  // of CTA 0, by CTA 1
  EXPECT_TRUE(checker.end_of_cta(*team, 0).has_value());
  checker.arrive(b, kClusterBarrier);
  checker.complete(*team, kClusterBarrier);
  checker.acquire(a, kClusterBarrier, 0);
  EXPECT_FALSE(checker.end_of_cta(*team, 0).has_value());
}

TEST_F(Races, AReportSaysWhatIsMissing) {
  races(0, 0, 3, shared, kWrite);
  auto const conflict = checker.access(actor(0, 0, 1), 0, shared, 4, kRead);
  ASSERT_TRUE(conflict.has_value());
  EXPECT_EQ(conflict->team, 0u);
  EXPECT_EQ(conflict->warp, 0u);
  EXPECT_EQ(conflict->lane, 3);
  EXPECT_NE(conflict->why.find("bar.warp.sync"), std::string::npos) << conflict->why;
  EXPECT_FALSE(checker.published_by(*conflict).has_value());
  checker.fence(actor(0, 0, 1u << 3), Scope::kGpu);
  EXPECT_TRUE(checker.published_by(*conflict).has_value());
}

}  // namespace
}  // namespace deepwell::emu::race

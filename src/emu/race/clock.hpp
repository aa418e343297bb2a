// Vector clocks: what a thread, a barrier or a word in memory knows to have happened before.
//
// A team is what shares a clock's dense part: the CTAs of one cluster (one CTA without clusters). Every warp counts epochs; a new
// one begins after each event that publishes what the warp did (an arrival, a release, a fence). An access happened before a
// thread's next step when the thread's clock holds its lane's epoch, or a later one. An mbarrier counts completed phases
// likewise. Clocks of other teams are kept whole, and shared; launches that are complete are one bit each.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace deepwell::emu::race {

using Epoch = std::uint32_t;  // 0: never
inline constexpr int kWarpLanes = 32;

struct Clock;
using ClockRef = std::shared_ptr<Clock const>;  // null: nothing happened before

struct Clock {
  std::uint32_t team = 0;
  std::vector<Epoch> lanes;                  // [warp of the team][lane]
  std::vector<Epoch> phases;                 // by number of the team's mbarrier
  std::map<std::uint32_t, ClockRef> others;  // by team; what those know of further teams does not count
  std::vector<bool> launches;                // complete ones, by index

  Epoch lane(std::uint32_t warp, int lane) const {
    std::size_t const at = std::size_t{warp} * kWarpLanes + static_cast<std::size_t>(lane);
    return at < lanes.size() ? lanes[at] : 0;
  }
  Epoch phase(std::uint32_t mbarrier) const { return mbarrier < phases.size() ? phases[mbarrier] : 0; }
  bool knows_launch(std::uint32_t launch) const { return launch < launches.size() && launches[launch]; }
  /// The part about `of`, null when there is none.
  Clock const* about(std::uint32_t of) const {
    if (of == team) return this;
    auto const found = others.find(of);
    return found == others.end() ? nullptr : found->second.get();
  }

  void set_lanes(std::uint32_t warp, std::uint32_t mask, Epoch epoch);
  void set_phase(std::uint32_t mbarrier, Epoch phase);
  /// Adds what `from` knows. Both may belong to any team.
  void join(Clock const& from);
  /// Whether join(from) would change nothing.
  bool covers(Clock const& from) const;

 private:
  void join_dense(Clock const& from);
  bool covers_dense(Clock const& from) const;
};

/// `to` and `from` together, for a thread of `team`; shares one of them where that is enough. Null counts as empty.
ClockRef joined(ClockRef const& to, ClockRef const& from, std::uint32_t team);

}  // namespace deepwell::emu::race

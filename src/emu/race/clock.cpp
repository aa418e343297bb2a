// Vector clocks.
#include "emu/race/clock.hpp"

#include <algorithm>
#include <bit>

namespace deepwell::emu::race {
namespace {

void join_epochs(std::vector<Epoch>& to, std::vector<Epoch> const& from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}

bool covers_epochs(std::vector<Epoch> const& all, std::vector<Epoch> const& some) {
  std::size_t const common = std::min(all.size(), some.size());
  bool missing = false;
  for (std::size_t i = 0; i < common; ++i) missing |= some[i] > all[i];
  for (std::size_t i = common; i < some.size(); ++i) missing |= some[i] != 0;
  return !missing;
}

}  // namespace

void Clock::set_lanes(std::uint32_t warp, std::uint32_t mask, Epoch epoch) {
  std::size_t const first = std::size_t{warp} * kWarpLanes;
  if (lanes.size() < first + kWarpLanes) lanes.resize(first + kWarpLanes);
  for (; mask != 0; mask &= mask - 1) {
    Epoch& mine = lanes[first + static_cast<std::size_t>(std::countr_zero(mask))];
    mine = std::max(mine, epoch);
  }
}

void Clock::set_phase(std::uint32_t mbarrier, Epoch phase) {
  if (phases.size() <= mbarrier) phases.resize(mbarrier + 1);
  phases[mbarrier] = std::max(phases[mbarrier], phase);
}

void Clock::join_dense(Clock const& from) {
  join_epochs(lanes, from.lanes);
  join_epochs(phases, from.phases);
}

bool Clock::covers_dense(Clock const& from) const {
  return covers_epochs(lanes, from.lanes) && covers_epochs(phases, from.phases);
}

void Clock::join(Clock const& from) {
  auto const add = [&](std::uint32_t of, Clock const& part) {
    if (of == team) {
      join_dense(part);
      return;
    }
    ClockRef& known = others[of];
    if (known != nullptr && known->covers_dense(part)) return;
    auto copy = std::make_shared<Clock>();
    copy->team = of;
    copy->lanes = part.lanes;
    copy->phases = part.phases;
    if (known != nullptr) copy->join_dense(*known);
    known = std::move(copy);
  };
  add(from.team, from);
  for (auto const& [of, part] : from.others) {
    auto const mine = others.find(of);
    if (mine != others.end() && mine->second == part) continue;
    if (of != team && mine == others.end()) {
      others.emplace(of, part);
    } else if (of != team && part->covers_dense(*mine->second)) {
      mine->second = part;
    } else {
      add(of, *part);
    }
  }
  if (launches.size() < from.launches.size()) launches.resize(from.launches.size());
  for (std::size_t i = 0; i < from.launches.size(); ++i) {
    if (from.launches[i]) launches[i] = true;
  }
}

bool Clock::covers(Clock const& from) const {
  for (std::size_t i = 0; i < from.launches.size(); ++i) {
    if (from.launches[i] && !knows_launch(static_cast<std::uint32_t>(i))) return false;
  }
  auto const covered = [&](std::uint32_t of, Clock const& part) {
    Clock const* const mine = about(of);
    if (mine == &part) return true;
    return mine != nullptr ? mine->covers_dense(part) : Clock().covers_dense(part);
  };
  if (!covered(from.team, from)) return false;
  return std::all_of(from.others.begin(), from.others.end(),
                     [&](auto const& entry) { return covered(entry.first, *entry.second); });
}

ClockRef joined(ClockRef const& to, ClockRef const& from, std::uint32_t team) {
  if (from == nullptr || from == to) return to;
  if (to != nullptr && to->covers(*from)) return to;
  if (from->team == team && (to == nullptr || from->covers(*to))) return from;
  auto out = std::make_shared<Clock>();
  out->team = team;
  if (to != nullptr) *out = *to;
  out->join(*from);
  return out;
}

}  // namespace deepwell::emu::race

// The race checker's edges: what barriers, fences, releases and acquisitions carry from thread to thread.
#include <algorithm>
#include <bit>

#include "emu/race/checker.hpp"

namespace deepwell::emu::race {
namespace {

std::uint64_t object_key(Location const& where) { return std::uint64_t{where.rank} << 32 | where.address; }

}  // namespace

Knowledge Gathered::snapshot() const {
  Knowledge out;
  for (int p = 0; p < kParts; ++p) {
    if (any[p]) out.part[p] = std::make_shared<Clock>(part[p]);
  }
  return out;
}

Checker::Checker(std::size_t num_launches) { infos_.reserve(num_launches); }

std::unique_ptr<Team> Checker::start_team(std::uint32_t launch, std::uint64_t cluster, std::uint32_t ctas,
                                          std::uint32_t warps_per_cta, std::uint32_t threads_per_cta,
                                          std::uint64_t shared_bytes, std::vector<bool> const& root) {
  DW_CHECK(infos_.size() < kMaxTeams - 1, kUnsupported,
           "the race checker follows at most {} CTAs or clusters in one list of launches", kMaxTeams - 1);
  auto team = std::make_unique<Team>();
  team->id = static_cast<std::uint32_t>(infos_.size());
  team->launch = launch;
  team->cluster = cluster;
  team->warps_per_cta = warps_per_cta;
  infos_.push_back({.launch = launch, .warps_per_cta = warps_per_cta, .cluster = cluster});
  live_.push_back(team.get());
  team->warps.resize(std::size_t{ctas} * warps_per_cta);
  team->shared.resize(ctas);
  for (SharedShadow& shadow : team->shared) shadow.cells.resize((shared_bytes + kCellBytes - 1) / kCellBytes);
  ClockRef start;
  if (std::find(root.begin(), root.end(), true) != root.end()) {
    auto clock = std::make_shared<Clock>();
    clock->team = team->id;
    clock->launches = root;
    start = std::move(clock);
  }
  for (std::size_t w = 0; w < team->warps.size(); ++w) {
    std::uint32_t const first = static_cast<std::uint32_t>(w % warps_per_cta) * kWarpLanes;
    std::uint32_t const lanes = std::min<std::uint32_t>(kWarpLanes, threads_per_cta - first);
    Group group;
    group.lanes = lanes == kWarpLanes ? ~0u : (1u << lanes) - 1;
    group.now.part[kHappened] = group.now.part[kFenced] = group.now.part[kPublished] = start;
    team->warps[w].groups.push_back(std::move(group));
  }
  return team;
}

void Checker::end_team(Team const& team) { live_[team.id] = nullptr; }

/// Calls f for each group of the actor's lanes, cut so that it holds no others.
template <class F>
void Checker::for_groups(Actor const& actor, F const& f) {
  WarpClock& warp = actor.team->warps[actor.warp];
  std::size_t const count = warp.groups.size();
  for (std::size_t g = 0; g < count; ++g) {
    std::uint32_t const inside = warp.groups[g].lanes & actor.lanes;
    if (inside == 0) continue;
    if (inside != warp.groups[g].lanes) {
      Group rest = warp.groups[g];
      rest.lanes &= ~inside;
      warp.groups[g].lanes = inside;
      warp.groups.push_back(std::move(rest));
    }
    f(warp.groups[g]);
  }
}

void Checker::end_epoch(Actor const& actor) {
  WarpClock& warp = actor.team->warps[actor.warp];
  ++warp.epoch;
  warp.ended_by.push_back(actor.site);
}

void Checker::gather(Gathered& into, Actor const& actor) {
  WarpClock& warp = actor.team->warps[actor.warp];
  for (int p = 0; p < kParts; ++p) into.part[p].team = actor.team->id;
  for (Group const& group : warp.groups) {
    if ((group.lanes & actor.lanes) == 0) continue;
    for (int p = 0; p < kParts; ++p) {
      if (group.now.part[p] == nullptr) continue;
      into.part[p].join(*group.now.part[p]);
      into.any[p] = true;
    }
  }
  into.part[kHappened].set_lanes(actor.warp, actor.lanes, warp.epoch);
  into.any[kHappened] = true;
  for (std::uint32_t rest = actor.lanes; rest != 0; rest &= rest - 1) {
    auto const lane = static_cast<std::size_t>(std::countr_zero(rest));
    std::uint32_t const bit = rest & (0 - rest);
    if (warp.fenced_own[lane] != 0) {
      into.part[kFenced].set_lanes(actor.warp, bit, warp.fenced_own[lane]);
      into.any[kFenced] = true;
    }
    if (warp.published_own[lane] != 0) {
      into.part[kPublished].set_lanes(actor.warp, bit, warp.published_own[lane]);
      into.any[kPublished] = true;
    }
  }
}

void Checker::learn(Actor const& actor, Knowledge const& what) {
  for_groups(actor, [&](Group& group) { group.now.join(what, actor.team->id); });
}

void Checker::learn(Actor const& actor, Part part, ClockRef const& what) {
  for_groups(actor, [&](Group& group) {
    group.now.part[part] = joined(group.now.part[part], what, actor.team->id);
  });
}

/// One part of a group's knowledge, with the actor's own lanes up to `own` of each (null: up to now).
ClockRef Checker::with_own(Group const& group, Part part, Actor const& actor, Epoch const* own) const {
  WarpClock const& warp = actor.team->warps[actor.warp];
  auto out = std::make_shared<Clock>();
  if (group.now.part[part] != nullptr) *out = *group.now.part[part];
  out->team = actor.team->id;
  for (std::uint32_t rest = group.lanes & actor.lanes; rest != 0; rest &= rest - 1) {
    auto const lane = static_cast<std::size_t>(std::countr_zero(rest));
    Epoch const epoch = own != nullptr ? own[lane] : warp.epoch;
    if (epoch != 0) out->set_lanes(actor.warp, rest & (0 - rest), epoch);
  }
  return out;
}

void Checker::warp_barrier(Actor const& actor) {
  WarpClock& warp = actor.team->warps[actor.warp];
  Gathered all;
  gather(all, actor);
  Group together;
  together.lanes = actor.lanes;
  together.now = all.snapshot();
  for_groups(actor, [&](Group& group) {
    together.at_cta_fence = joined(together.at_cta_fence, group.at_cta_fence, actor.team->id);
    together.seen_narrow = joined(together.seen_narrow, group.seen_narrow, actor.team->id);
    group.lanes = 0;
  });
  std::erase_if(warp.groups, [](Group const& group) { return group.lanes == 0; });
  warp.groups.push_back(std::move(together));
  end_epoch(actor);
}

void Checker::arrive(Actor const& actor, std::uint32_t barrier) {
  gather(actor.team->barriers[barrier].arrivals, actor);
  end_epoch(actor);
}

void Checker::complete(Team& team, std::uint32_t barrier) {
  BarrierClock& clock = team.barriers[barrier];
  clock.done.push_back(clock.arrivals.snapshot());
  if (clock.done.size() > BarrierClock::kKept) clock.done.pop_front();
  clock.arrivals = {};
  ++clock.uses;
}

void Checker::acquire(Actor const& actor, std::uint32_t barrier, std::uint64_t use) {
  BarrierClock const& clock = actor.team->barriers[barrier];
  std::uint64_t const first = clock.uses - clock.done.size();
  if (use >= clock.uses) return;
  learn(actor, clock.done[use < first ? 0 : use - first]);
  // Lanes that know the same are one group again.
  WarpClock& warp = actor.team->warps[actor.warp];
  auto const same = [](Group const& a, Group const& b) {
    return std::equal(a.now.part, a.now.part + kParts, b.now.part) && a.at_cta_fence == b.at_cta_fence &&
           a.seen_narrow == b.seen_narrow;
  };
  for (std::size_t g = 0; g < warp.groups.size(); ++g) {
    for (std::size_t h = warp.groups.size() - 1; h > g; --h) {
      if (!same(warp.groups[g], warp.groups[h])) continue;
      warp.groups[g].lanes |= warp.groups[h].lanes;
      warp.groups.erase(warp.groups.begin() + static_cast<std::ptrdiff_t>(h));
    }
  }
}

void Checker::fence(Actor const& actor, Scope scope) {
  WarpClock& warp = actor.team->warps[actor.warp];
  bool const wide = scope >= Scope::kGpu;
  for_groups(actor, [&](Group& group) {
    group.now.part[kHappened] = joined(group.now.part[kHappened], group.seen_narrow, actor.team->id);
    if (wide) {
      group.now.part[kHappened] = joined(group.now.part[kHappened], group.now.part[kSeen], actor.team->id);
      group.now.part[kPublished] = group.now.part[kHappened];
    }
    group.at_cta_fence = group.now.part[kHappened];
    for (std::uint32_t rest = group.lanes; rest != 0; rest &= rest - 1) {
      auto const lane = static_cast<std::size_t>(std::countr_zero(rest));
      warp.cta_fence_own[lane] = warp.epoch;
      if (wide) warp.published_own[lane] = warp.epoch;
    }
  });
  end_epoch(actor);
}

void Checker::proxy_fence(Actor const& actor) {
  WarpClock& warp = actor.team->warps[actor.warp];
  for_groups(actor, [&](Group& group) {
    group.now.part[kFenced] = group.now.part[kHappened];
    for (std::uint32_t rest = group.lanes; rest != 0; rest &= rest - 1)
      warp.fenced_own[std::countr_zero(rest)] = warp.epoch;
  });
  end_epoch(actor);
}

void Checker::tensor_map_fence(Actor const& actor, std::uint64_t address) {
  for_groups(actor, [&](Group& group) {
    ClockRef& known = actor.team->tensor_maps[address];
    known = joined(known, with_own(group, kHappened, actor, nullptr), actor.team->id);
  });
  end_epoch(actor);
}

std::uint64_t Checker::word_key(Team const& team, Location const& where) const {
  if (!where.shared) return where.address;
  return 1ull << 63 | std::uint64_t{team.id} << 40 | std::uint64_t{where.rank} << 32 | where.address;
}

void Checker::strong(Actor const& actor, int lane, Location const& where, Strong const& how) {
  Actor const one{actor.team, actor.warp, 1u << lane, actor.site};
  std::uint64_t const key = word_key(*actor.team, where);
  // CTA and cluster scope are told apart by who asks: keys of the actor's cluster and CTA.
  std::uint64_t const cluster_key = std::uint64_t{actor.team->id} << 16 | 0xffff;
  std::uint64_t const cta_key = std::uint64_t{actor.team->id} << 16 | actor.warp / actor.team->warps_per_cta;
  std::uint32_t const team = actor.team->id;
  auto const found = words_.find(key);
  if (how.reads && found != words_.end()) {
    Word const& word = found->second;
    auto const narrow = [&](std::uint64_t of) {
      auto const at = word.narrow.find(of);
      return at == word.narrow.end() ? ClockRef() : at->second;
    };
    ClockRef near = narrow(cta_key), far;
    if (how.scope >= Scope::kCluster) near = joined(near, narrow(cluster_key), team);
    if (how.scope >= Scope::kGpu) far = word.wide;
    for_groups(one, [&](Group& group) {
      if (how.acquire) {
        ClockRef& happened = group.now.part[kHappened];
        happened = joined(joined(happened, near, team), far, team);
      } else {
        group.seen_narrow = joined(group.seen_narrow, near, team);
        group.now.part[kSeen] = joined(group.now.part[kSeen], far, team);
      }
    });
  }
  if (!how.writes) return;
  WarpClock& warp = actor.team->warps[actor.warp];
  ClockRef near, far;
  for_groups(one, [&](Group& group) {
    if (how.release) {
      near = far = with_own(group, kHappened, one, nullptr);
    } else {
      if (group.now.part[kPublished] != nullptr || warp.published_own[lane] != 0)
        far = with_own(group, kPublished, one, warp.published_own);
      if (warp.cta_fence_own[lane] != 0) {
        auto clock = std::make_shared<Clock>();
        if (group.at_cta_fence != nullptr) *clock = *group.at_cta_fence;
        clock->team = team;
        clock->set_lanes(actor.warp, one.lanes, warp.cta_fence_own[lane]);
        near = joined(clock, far, team);
      } else {
        near = far;
      }
    }
  });
  bool const publishes = near != nullptr || far != nullptr;
  if (!publishes && !(how.replaces && found != words_.end())) return;
  Word& word = words_[key];
  if (how.replaces) word = {};
  word.narrow[cta_key] = joined(word.narrow[cta_key], near, team);
  if (how.scope >= Scope::kCluster) word.narrow[cluster_key] = joined(word.narrow[cluster_key], near, team);
  if (how.scope >= Scope::kGpu) word.wide = joined(word.wide, far, team);
  if (how.release) end_epoch(one);
}

// ---- mbarriers ----

MbarrierClock* Checker::find_mbarrier(Team& team, Location const& where, std::uint32_t* number) {
  auto const found = team.mbarrier_at.find(object_key(where));
  if (found == team.mbarrier_at.end()) return nullptr;
  if (number != nullptr) *number = found->second;
  return &team.mbarriers[found->second];
}

void Checker::mbarrier_init(Actor const& actor, Location const& where) {
  Team& team = *actor.team;
  team.mbarrier_at[object_key(where)] = static_cast<std::uint32_t>(team.mbarriers.size());
  MbarrierClock clock;
  clock.init_warp = actor.warp;
  team.mbarriers.push_back(std::move(clock));
}

void Checker::mbarrier_init_fence(Actor const& actor) {
  for (MbarrierClock& mbarrier : actor.team->mbarriers) {
    if (mbarrier.init_warp == actor.warp) mbarrier.init_fenced = true;
  }
}

void Checker::mbarrier_arrive(Actor const& actor, Location const& where, bool release) {
  MbarrierClock* const mbarrier = find_mbarrier(*actor.team, where);
  if (mbarrier == nullptr || !release) return;
  gather(mbarrier->arrivals, actor);
  end_epoch(actor);
}

void Checker::mbarrier_phase_done(Team& team, Location const& where) {
  std::uint32_t number = 0;
  MbarrierClock* const mbarrier = find_mbarrier(team, where, &number);
  if (mbarrier == nullptr) return;
  ++mbarrier->phases;
  mbarrier->arrivals.part[kHappened].team = team.id;
  mbarrier->arrivals.part[kHappened].set_phase(number, mbarrier->phases);
  mbarrier->arrivals.any[kHappened] = true;
  mbarrier->done = mbarrier->arrivals.snapshot();
}

void Checker::mbarrier_acquire(Actor const& actor, Location const& where, bool acquire) {
  MbarrierClock* const mbarrier = find_mbarrier(*actor.team, where);
  if (mbarrier == nullptr || mbarrier->phases == 0) return;
  mbarrier->waited = std::max(mbarrier->waited, mbarrier->phases);
  if (acquire) learn(actor, mbarrier->done);
}

// ---- operations and launches ----

std::uint32_t Checker::start_operation(Actor const& actor, bool async_proxy) {
  Operation operation;
  operation.info = {
      .team = actor.team->id, .warp = actor.warp, .site = actor.site, .lane = std::countr_zero(actor.lanes)};
  operation.async_proxy = async_proxy;
  operations_.push_back(std::move(operation));
  return static_cast<std::uint32_t>(operations_.size() - 1);
}

void Checker::operation_done_in_phase(std::uint32_t number, Team& team, Location const& where,
                                      std::uint32_t lanes) {
  std::uint32_t mbarrier_number = 0;
  MbarrierClock const* const mbarrier = find_mbarrier(team, where, &mbarrier_number);
  if (mbarrier == nullptr) return;
  Stamp const stamp{.phase = true, .number = mbarrier_number, .lanes = lanes, .epoch = mbarrier->phases + 1};
  operations_[number].read_over.push_back(stamp);
  operations_[number].write_over.push_back(stamp);
}

void Checker::operation_waited(std::uint32_t number, Actor const& actor, bool altogether) {
  Stamp const stamp{.phase = false,
                    .number = actor.warp,
                    .lanes = actor.lanes,
                    .epoch = actor.team->warps[actor.warp].epoch};
  Operation& operation = operations_[number];
  operation.read_over.push_back(stamp);
  if (altogether) operation.write_over.push_back(stamp);
}

std::vector<std::uint32_t> Checker::unwaited_loads(Team const& team, std::uint32_t rank) const {
  std::vector<std::uint32_t> out;
  for (std::uint32_t const number : team.loads) {
    Operation const& operation = operations_[number];
    if (operation.rank != rank) continue;
    bool const waited =
        std::any_of(operation.write_over.begin(), operation.write_over.end(), [&](Stamp const& stamp) {
          return !stamp.phase || team.mbarriers[stamp.number].waited >= stamp.epoch;
        });
    if (!waited) out.push_back(number);
  }
  return out;
}

void Checker::wait_for_launches(Actor const& actor, std::vector<bool> const& complete) {
  auto clock = std::make_shared<Clock>();
  clock->team = actor.team->id;
  clock->launches = complete;
  Knowledge what;
  // The end of a grid makes all it did visible to every proxy and at every scope.
  what.part[kHappened] = what.part[kFenced] = what.part[kPublished] = clock;
  learn(actor, what);
}

Checker::OperationInfo Checker::operation_info(std::uint32_t operation) const {
  return operations_[operation].info;
}

}  // namespace deepwell::emu::race

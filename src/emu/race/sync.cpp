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

/// What is known, with the actor's own lanes up to `own` of each (null: up to now). Null when that is nothing.
ClockRef Checker::with_own(ClockRef const& known, Actor const& actor, Epoch const* own) const {
  WarpClock const& warp = actor.team->warps[actor.warp];
  std::shared_ptr<Clock> out;
  for (std::uint32_t rest = actor.lanes; rest != 0; rest &= rest - 1) {
    Epoch const epoch = own != nullptr ? own[std::countr_zero(rest)] : warp.epoch;
    if (epoch == 0) continue;
    if (out == nullptr) {
      out = known != nullptr ? std::make_shared<Clock>(*known) : std::make_shared<Clock>();
      out->team = actor.team->id;
    }
    out->set_lanes(actor.warp, rest & (0 - rest), epoch);
  }
  return out != nullptr ? ClockRef(out) : known;
}

void Checker::add(Released& to, Released const& from, std::uint32_t team) {
  to.happened = joined(to.happened, from.happened, team);
  to.fenced = joined(to.fenced, from.fenced, team);
}

/// What a relaxed arrival publishes: what a fence of the scope or a wider one came after.
void Checker::gather_fenced(Gathered& into, Actor const& actor, Scope scope) {
  WarpClock const& warp = actor.team->warps[actor.warp];
  auto const s = static_cast<std::size_t>(scope);
  for (Group const& group : warp.groups) {
    Actor const some{actor.team, actor.warp, group.lanes & actor.lanes, actor.site, actor.serial};
    if (some.lanes == 0) continue;
    ClockRef const known = with_own(group.at_fence[s], some, warp.at_fence_own[s]);
    if (known == nullptr) continue;
    into.part[kHappened].team = actor.team->id;
    into.part[kHappened].join(*known);
    into.any[kHappened] = true;
  }
}

void Checker::warp_barrier(Actor const& actor) {
  WarpClock& warp = actor.team->warps[actor.warp];
  Gathered all;
  gather(all, actor);
  Group together;
  together.lanes = actor.lanes;
  together.now = all.snapshot();
  for_groups(actor, [&](Group& group) {
    for (int s = 0; s < 2; ++s) {
      together.at_fence[s] = joined(together.at_fence[s], group.at_fence[s], actor.team->id);
      together.seen[s] = joined(together.seen[s], group.seen[s], actor.team->id);
    }
    group.lanes = 0;
  });
  std::erase_if(warp.groups, [](Group const& group) { return group.lanes == 0; });
  warp.groups.push_back(std::move(together));
  end_epoch(actor);
}

void Checker::arrive(Actor const& actor, std::uint32_t barrier, bool release) {
  Gathered& arrivals = actor.team->barriers[barrier].arrivals;
  if (release) {
    gather(arrivals, actor);
    end_epoch(actor);
  } else {
    gather_fenced(arrivals, actor, Scope::kCluster);
  }
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
    return std::equal(a.now.part, a.now.part + kParts, b.now.part) &&
           std::equal(a.at_fence, a.at_fence + 2, b.at_fence) && std::equal(a.seen, a.seen + 2, b.seen);
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
  std::uint32_t const team = actor.team->id;
  int const reaches = scope >= Scope::kCluster ? 2 : 1;
  bool const wide = scope >= Scope::kGpu;
  for_groups(actor, [&](Group& group) {
    ClockRef& happened = group.now.part[kHappened];
    for (int s = 0; s < reaches; ++s) happened = joined(happened, group.seen[s], team);
    if (wide) {
      happened = joined(happened, group.now.part[kSeen], team);
      group.now.part[kPublished] = happened;
    }
    for (int s = 0; s < reaches; ++s) group.at_fence[s] = happened;
    for (std::uint32_t rest = group.lanes; rest != 0; rest &= rest - 1) {
      auto const lane = static_cast<std::size_t>(std::countr_zero(rest));
      for (int s = 0; s < reaches; ++s) warp.at_fence_own[s][lane] = warp.epoch;
      if (wide) warp.published_own[lane] = warp.epoch;
    }
  });
  end_epoch(actor);
}

void Checker::proxy_fence(Actor const& actor) {
  WarpClock& warp = actor.team->warps[actor.warp];
  for_groups(actor, [&](Group& group) {
    ClockRef& fenced = group.now.part[kFenced];
    fenced = joined(fenced, group.now.part[kHappened], actor.team->id);
    for (std::uint32_t rest = group.lanes; rest != 0; rest &= rest - 1)
      warp.fenced_own[std::countr_zero(rest)] = warp.epoch;
  });
  end_epoch(actor);
}

void Checker::tensor_map_fence(Actor const& actor, std::uint64_t address) {
  for_groups(actor, [&](Group& group) {
    ClockRef& known = actor.team->tensor_maps[address];
    Actor const some{actor.team, actor.warp, group.lanes & actor.lanes, actor.site, actor.serial};
    known = joined(known, with_own(group.now.part[kHappened], some, nullptr), actor.team->id);
  });
  end_epoch(actor);
}

std::uint64_t Checker::word_key(Team const& team, Location const& where) const {
  if (!where.shared) return where.address;
  return 1ull << 63 | std::uint64_t{team.id} << 40 | std::uint64_t{where.rank} << 32 | where.address;
}

void Checker::strong(Actor const& actor, int lane, Location const& where, Strong const& how) {
  if (!how.reads && !how.writes) return;
  Actor const one{actor.team, actor.warp, 1u << lane, actor.site, actor.serial};
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
      return at == word.narrow.end() ? Released() : at->second;
    };
    Released const in_cta = narrow(cta_key);
    Released const in_cluster = how.scope >= Scope::kCluster ? narrow(cluster_key) : Released();
    Released const anywhere = how.scope >= Scope::kGpu ? word.wide : Released();
    for_groups(one, [&](Group& group) {
      ClockRef& fenced = group.now.part[kFenced];
      for (Released const* from : {&in_cta, &in_cluster, &anywhere})
        fenced = joined(fenced, from->fenced, team);
      if (how.acquire) {
        ClockRef& happened = group.now.part[kHappened];
        for (Released const* from : {&in_cta, &in_cluster, &anywhere})
          happened = joined(happened, from->happened, team);
      } else {
        group.seen[0] = joined(group.seen[0], in_cta.happened, team);
        group.seen[1] = joined(group.seen[1], in_cluster.happened, team);
        group.now.part[kSeen] = joined(group.now.part[kSeen], anywhere.happened, team);
      }
    });
  }
  if (!how.writes) return;
  WarpClock& warp = actor.team->warps[actor.warp];
  Released in_cta, in_cluster, anywhere;
  for_groups(one, [&](Group& group) {
    if (how.release) {
      in_cta.happened = in_cluster.happened = anywhere.happened =
          with_own(group.now.part[kHappened], one, nullptr);
    } else {
      in_cta.happened = with_own(group.at_fence[0], one, warp.at_fence_own[0]);
      in_cluster.happened = with_own(group.at_fence[1], one, warp.at_fence_own[1]);
      anywhere.happened = with_own(group.now.part[kPublished], one, warp.published_own);
      in_cluster.happened = joined(in_cluster.happened, anywhere.happened, team);
      in_cta.happened = joined(in_cta.happened, in_cluster.happened, team);
    }
    if (in_cta.happened != nullptr)
      in_cta.fenced = in_cluster.fenced = anywhere.fenced =
          with_own(group.now.part[kFenced], one, warp.fenced_own);
  });
  if (in_cta.happened == nullptr && !(how.replaces && found != words_.end())) return;
  Word& word = words_[key];
  if (how.replaces) word = {};
  add(word.narrow[cta_key], in_cta, team);
  if (how.scope >= Scope::kCluster) add(word.narrow[cluster_key], in_cluster, team);
  if (how.scope >= Scope::kGpu && anywhere.happened != nullptr) add(word.wide, anywhere, team);
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
  // It is a release at cluster scope: a relaxed arrival after it publishes the initialisations.
  fence(actor, Scope::kCluster);
}

void Checker::mbarrier_arrive(Actor const& actor, Location const& where, bool release) {
  MbarrierClock* const mbarrier = find_mbarrier(*actor.team, where);
  if (mbarrier == nullptr) return;
  if (release) {
    gather(mbarrier->arrivals, actor);
    end_epoch(actor);
  } else {
    bool const own = where.rank == actor.warp / actor.team->warps_per_cta;
    gather_fenced(mbarrier->arrivals, actor, own ? Scope::kCta : Scope::kCluster);
  }
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
  if (acquire) {
    learn(actor, mbarrier->done);
  } else {
    for_groups(actor, [&](Group& group) {
      group.seen[0] = joined(group.seen[0], mbarrier->done.part[kHappened], actor.team->id);
    });
  }
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

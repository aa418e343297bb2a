// What instructions do, as the race checker sees it, and its reports.
#include "emu/run/observe.hpp"

#include <bit>
#include <cstring>

#include "emu/instr/async.hpp"
#include "emu/mem/memory.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {
namespace {

using race::Actor;
using race::Location;
using race::Scope;

std::string_view describe_kind(std::uint16_t kind) {
  bool const reads = (kind & race::kRead) != 0, writes = (kind & race::kWrite) != 0;
  if ((kind & race::kMbarrierInit) != 0) return "initialisation of an mbarrier";
  if ((kind & race::kTensorMap) != 0) return "use of a tensor map";
  if (reads && writes) return "read and write";
  return writes ? "write" : "read";
}

std::string describe_location(Location const& where, Cta const& cta) {
  if (!where.shared) return cta.launch->global->describe(where.address);
  std::string out = fmt::format("shared address {:#x}", kSharedBase + where.address);
  if (where.rank != cta.rank) out += fmt::format(" of cluster rank {}", where.rank);
  return out;
}

/// "k, CTA (1,0,0), warp 2, lane 3, k.ptx:14 `...` (k.cu:20)" for a lane of any team of the run.
std::string describe_actor(Launch const& launch, std::uint32_t team, std::uint32_t warp, int lane,
                           std::uint32_t site) {
  race::Checker::TeamInfo const& info = launch.race->team_info(team);
  Launch const& of = *launch.launches->at(info.launch);
  std::uint32_t const rank = warp / info.warps_per_cta;
  auto const& shape = of.config.cluster;
  std::array<std::uint64_t, 3> const at = {info.cluster % of.cluster_grid[0],
                                           info.cluster / of.cluster_grid[0] % of.cluster_grid[1],
                                           info.cluster / of.cluster_grid[0] / of.cluster_grid[1]};
  std::array<std::uint32_t, 3> const inside = {rank % shape[0], rank / shape[0] % shape[1],
                                               rank / shape[0] / shape[1]};
  std::array<std::uint32_t, 3> id;
  for (std::size_t d = 0; d < 3; ++d) id[d] = static_cast<std::uint32_t>(at[d]) * shape[d] + inside[d];
  std::string out = describe_place(of, id, static_cast<int>(warp % info.warps_per_cta), lane,
                                   of.function->code[race::position_of(site)]);
  if (of.launches->size() > 1) out = fmt::format("launch {}, {}", info.launch, out);
  return out;
}

[[noreturn]] void report(Warp& warp, Instr const& instr, int lane, Location const& where, std::size_t bytes,
                         std::uint16_t kind, race::Conflict const& conflict) {
  Launch const& launch = *warp.launch;
  std::string text = fmt::format("race: {} of {} bytes at {}", describe_kind(kind), bytes,
                                 describe_location(where, *warp.cta));
  if (launch.launches->size() > 1) text = fmt::format("(launch {}) {}", launch.index, text);
  text +=
      fmt::format("\n  against {}{}\n    by {}",
                  (conflict.other.kind & race::kDelayed) != 0 ? "an asynchronous " : "an earlier ",
                  describe_kind(conflict.other.kind),
                  describe_actor(launch, conflict.team, conflict.warp, conflict.lane, conflict.other.site));
  text += fmt::format("\n  missing: {}", conflict.why);
  if (auto const next = launch.race->published_by(conflict)) {
    Instr const& event = launch.launches->at(launch.race->team_info(conflict.team).launch)
                             ->function->code[race::position_of(*next)];
    text += fmt::format("\n  what that warp did next to order its accesses: line {} `{}`", event.info->line,
                        event.info->text);
  } else if ((conflict.other.kind & race::kDelayed) == 0) {
    text += "\n  that warp has done nothing since to order its accesses";
  }
  fail(warp, instr, lane, text, Finding::kRace);
}

struct StoredValues {
  Warp const& warp;
  std::vector<Value> const& values;
};

bool same_value(void const* context, int lane, int other) {
  auto const& stored = *static_cast<StoredValues const*>(context);
  for (Value const& value : stored.values) {
    if (value.bits == 128) {
      if (std::memcmp(&stored.warp.s128(value)[lane], &stored.warp.s128(value)[other], 16) != 0) return false;
    } else if (stored.warp.lane_of(value, lane) != stored.warp.lane_of(value, other)) {
      return false;
    }
  }
  return true;
}

/// The CTA whose shared memory is used is still there. A rank that does not exist is reported by the instruction itself.
void require_alive(Warp& warp, Instr const& instr, int lane, std::uint32_t rank) {
  if (rank >= warp.cta->cluster->ctas.size()) return;
  Cta const& owner = *warp.cta->cluster->ctas[rank];
  if (&owner == warp.cta || owner.live_warps > 0) return;
  fail(warp, instr, lane,
       fmt::format("an access to shared memory of CTA ({},{},{}) of the cluster, which has ended",
                   owner.id[0], owner.id[1], owner.id[2]),
       Finding::kMemory);
}

bool counts(Space space) { return space == Space::kGlobal || space == Space::kShared; }

}  // namespace

race::Scope scope_named(Instr const& instr, race::Scope otherwise) {
  if (instr.has(".cta")) return Scope::kCta;
  if (instr.has(".cluster")) return Scope::kCluster;
  if (instr.has(".gpu") || instr.has(".gl")) return Scope::kGpu;
  if (instr.has(".sys")) return Scope::kSystem;
  return otherwise;
}

MemoryOrder memory_order(Instr const& instr, bool atomic) {
  MemoryOrder out;
  bool const system = instr.has(".volatile") || instr.has(".mmio");
  out.acquire = instr.has(".acquire") || instr.has(".acq_rel");
  out.release = instr.has(".release") || instr.has(".acq_rel");
  bool const strong = atomic || system || instr.has(".relaxed") || out.acquire || out.release;
  if (strong) {
    out.kind = race::kStrong;
    out.kind |= race::scope_bits(system ? Scope::kSystem : scope_named(instr, Scope::kGpu));
  }
  if (instr.has(".nc")) out.kind |= race::kNonCoherent;
  return out;
}

race::Actor actor_of(Warp const& warp, Instr const& instr, Mask lanes) {
  auto const position = static_cast<std::uint32_t>(&instr - warp.function->code.data());
  return {.team = warp.cta->cluster->team.get(),
          .warp = warp.cta->rank * static_cast<std::uint32_t>(warp.cta->warps.size()) +
                  static_cast<std::uint32_t>(warp.id),
          .lanes = lanes,
          .site = race::site_of(warp.launch->index, position),
          .serial = warp.launch->race->next_serial()};
}

race::Location location_of(Place const& place) {
  if (place.space == Space::kShared)
    return {.shared = true, .rank = place.owner->rank, .address = place.address};
  return {.shared = false, .rank = 0, .address = place.address};
}

race::Location shared_location(Cta const& cta, std::uint32_t address) {
  std::uint32_t const rank = address < kClusterStride ? cta.rank : address / kClusterStride - 1;
  return {.shared = true, .rank = rank, .address = address % kClusterStride - kSharedBase};
}

void observe_slow(Warp& warp, Instr const& instr, LaneAccesses const& accesses) {
  race::Checker& race = *warp.launch->race;
  Actor const actor = actor_of(warp, instr, accesses.mask);
  StoredValues const stored{warp, accesses.values != nullptr ? *accesses.values : instr.ops[0].elements};
  std::uint16_t const kind = accesses.kind | accesses.order.kind;
  bool const compares = accesses.values != nullptr && (kind & race::kStrong) == 0;
  for_lanes(accesses.mask, [&](int lane) {
    Place const& place = accesses.places[lane];
    if (!counts(place.space)) return;
    if (place.space == Space::kShared) require_alive(warp, instr, lane, place.owner->rank);
    Location const where = location_of(place);
    auto const conflict =
        race.access(actor, lane, where, accesses.bytes, kind, compares ? &same_value : nullptr, &stored,
                    (accesses.unchanged >> lane & 1) != 0);
    if (conflict) report(warp, instr, lane, where, accesses.bytes, kind, *conflict);
    if ((kind & race::kStrong) == 0) return;
    race.strong(actor, lane, where,
                {.reads = (kind & race::kRead) != 0 && accesses.result_is_used,
                 .writes = (kind & race::kWrite) != 0 && (accesses.wrote >> lane & 1) != 0,
                 .acquire = accesses.order.acquire,
                 .release = accesses.order.release,
                 .replaces = (kind & race::kRead) == 0,
                 .scope = race::scope_of(kind)});
  });
}

void observe_one(Warp& warp, Instr const& instr, int lane, Place const& place, std::size_t bytes,
                 std::uint16_t kind) {
  if (!observed(warp) || !counts(place.space)) return;
  Location const where = location_of(place);
  auto const conflict =
      warp.launch->race->access(actor_of(warp, instr, Mask{1} << lane), lane, where, bytes, kind);
  if (conflict) report(warp, instr, lane, where, bytes, kind, *conflict);
}

ObservedOperation::ObservedOperation(Warp& warp, Instr const& instr, Mask lanes, bool async_proxy) {
  counters_ = counters_of(warp);
  if (counters_ != nullptr) counters_->start_bulk(instr);
  if (!observed(warp)) return;
  warp_ = &warp;
  instr_ = &instr;
  number_ = warp.launch->race->start_operation(actor_of(warp, instr, lanes), async_proxy);
}

void ObservedOperation::global(int lane, std::uint64_t address, std::size_t bytes, std::uint16_t kind) const {
  if (counters_ != nullptr) counters_->bulk_global(address, bytes, kind);
  if (warp_ == nullptr || bytes == 0) return;
  Location const where{.shared = false, .rank = 0, .address = address};
  auto const conflict = warp_->launch->race->operation_access(
      number_, actor_of(*warp_, *instr_, Mask{1} << lane), lane, where, bytes, kind);
  if (conflict) report(*warp_, *instr_, lane, where, bytes, kind, *conflict);
}

void ObservedOperation::shared(int lane, Cta const& cta, std::uint32_t address, std::size_t bytes,
                               std::uint16_t kind) const {
  if (counters_ != nullptr) counters_->bulk_shared(bytes, kind);
  if (warp_ == nullptr || bytes == 0) return;
  Location const where = shared_location(cta, address);
  bool const exists = where.rank < cta.cluster->ctas.size() && where.address < cta.launch->shared_bytes &&
                      bytes <= cta.launch->shared_bytes - where.address;
  if (!exists) return;  // the copy itself reports it
  require_alive(*warp_, *instr_, lane, where.rank);
  auto const conflict = warp_->launch->race->operation_access(
      number_, actor_of(*warp_, *instr_, Mask{1} << lane), lane, where, bytes, kind);
  if (conflict) report(*warp_, *instr_, lane, where, bytes, kind, *conflict);
}

void ObservedOperation::place(int lane, Place const& place, std::size_t bytes, std::uint16_t kind) const {
  if (warp_ == nullptr || !counts(place.space)) return;
  Location const where = location_of(place);
  auto const conflict = warp_->launch->race->operation_access(
      number_, actor_of(*warp_, *instr_, Mask{1} << lane), lane, where, bytes, kind);
  if (conflict) report(*warp_, *instr_, lane, where, bytes, kind, *conflict);
}

void ObservedOperation::tensor_map(int lane, Place const& map) const {
  place(lane, map, 128, race::kRead | race::kTensorMap);
}

void ObservedOperation::signals(int lane, Cta const& cta, std::uint32_t mbarrier) const {
  if (warp_ == nullptr) return;
  Location const where = shared_location(cta, mbarrier);
  require_alive(*warp_, *instr_, lane, where.rank);
  auto const conflict = warp_->launch->race->operation_signals(
      number_, actor_of(*warp_, *instr_, Mask{1} << lane), lane, where);
  if (conflict) report(*warp_, *instr_, lane, where, 8, race::kRead | race::kWrite, *conflict);
}

void ObservedOperation::done_in_phase(Cta const& cta, std::uint32_t mbarrier, Mask lanes) const {
  if (warp_ == nullptr) return;
  warp_->launch->race->operation_done_in_phase(number_, *cta.cluster->team, shared_location(cta, mbarrier),
                                               lanes);
}

void ObservedOperation::waited(Warp& warp, Instr const& instr, Mask lanes, bool altogether) const {
  if (warp_ == nullptr) return;
  warp_->launch->race->operation_waited(number_, actor_of(warp, instr, lanes), altogether);
}

void observe_mbarrier_init(Warp& warp, Instr const& instr, int lane, std::uint32_t address) {
  if (!observed(warp)) return;
  Location const where = shared_location(*warp.cta, address);
  Actor const actor = actor_of(warp, instr, Mask{1} << lane);
  std::uint16_t const kind = race::kWrite | race::kMbarrierInit;
  if (auto const conflict = warp.launch->race->access(actor, lane, where, 8, kind))
    report(warp, instr, lane, where, 8, kind, *conflict);
  warp.launch->race->mbarrier_init(actor, where);
}

void observe_mbarrier_invalidate(Warp& warp, Instr const& instr, int lane, std::uint32_t address) {
  if (!observed(warp)) return;
  Location const where = shared_location(*warp.cta, address);
  if (auto const conflict =
          warp.launch->race->access(actor_of(warp, instr, Mask{1} << lane), lane, where, 8, race::kWrite))
    report(warp, instr, lane, where, 8, race::kWrite, *conflict);
}

void observe_mbarrier_use(Warp& warp, Instr const& instr, int lane, std::uint32_t address, bool writes) {
  if (!observed(warp)) return;
  Location const where = shared_location(*warp.cta, address);
  require_alive(warp, instr, lane, where.rank);
  std::uint16_t const kind = static_cast<std::uint16_t>(race::kRead | (writes ? race::kWrite : 0) |
                                                        race::kStrong | race::scope_bits(Scope::kCluster));
  if (auto const conflict =
          warp.launch->race->access(actor_of(warp, instr, Mask{1} << lane), lane, where, 8, kind))
    report(warp, instr, lane, where, 8, kind, *conflict);
}

void observe_mbarrier_arrive(Warp& warp, Instr const& instr, int lane, std::uint32_t address) {
  if (!observed(warp)) return;
  warp.launch->race->mbarrier_arrive(actor_of(warp, instr, Mask{1} << lane),
                                     shared_location(*warp.cta, address), !instr.has(".relaxed"));
}

void observe_mbarrier_waited(Warp& warp, Instr const& instr, Mask lanes, std::uint32_t address) {
  if (!observed(warp)) return;
  warp.launch->race->mbarrier_acquire(actor_of(warp, instr, lanes), shared_location(*warp.cta, address),
                                      !instr.has(".relaxed"));
}

void observe_end(Cta& cta) {
  Launch const& launch = *cta.launch;
  if (launch.race == nullptr || cta.cluster->ctas.size() == 1) return;
  auto const conflict = launch.race->end_of_cta(*cta.cluster->team, cta.rank);
  if (!conflict) return;
  throw Report(
      Finding::kRace,
      fmt::format(
          "{}: race: {} of shared memory of CTA ({},{},{}), which has ended\n  missing: {}",
          describe_actor(launch, conflict->team, conflict->warp, conflict->lane, conflict->other.site),
          describe_kind(conflict->other.kind), cta.id[0], cta.id[1], cta.id[2], conflict->why),
      std::string(launch.kernel));
}

void check_unwaited_loads(Cta& cta) {
  Launch const& launch = *cta.launch;
  if (launch.race == nullptr) return;
  race::Team const& team = *cta.cluster->team;
  for (std::uint32_t const number : launch.race->unwaited_loads(team, cta.rank)) {
    race::Checker::OperationInfo const info = launch.race->operation_info(number);
    throw Report(
        Finding::kCopy,
        fmt::format("{}: the CTA whose shared memory this copy writes ended, and no thread had waited "
                    "for the copy",
                    describe_actor(launch, info.team, info.warp, info.lane, info.site)),
        std::string(launch.kernel));
  }
}

}  // namespace deepwell::emu

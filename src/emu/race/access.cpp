// The race checker's accesses: which earlier ones to the same bytes are not ordered before a new one.
#include <algorithm>
#include <bit>

#include "emu/race/checker.hpp"

namespace deepwell::emu::race {
namespace {

/// Reads in a cell before those that are ordered before a new one are dropped.
constexpr std::size_t kPruneAbove = 4;
/// A cell forgets its oldest strong record beyond this many.
constexpr std::size_t kMostRecords = 64;

std::uint32_t warp_name(std::uint32_t team, std::uint32_t warp) { return 1 + (team * kMaxWarps | warp); }
std::uint32_t team_of(std::uint32_t who) { return (who - 1) / kMaxWarps; }
std::uint32_t warp_of(std::uint32_t who) { return (who - 1) % kMaxWarps; }
bool is_operation(Record const& record) { return (record.who & kOperationBit) != 0; }

/// Whether every lane's epoch in `clock` (its part about the team) reaches `epoch`.
bool reaches(Clock const* clock, std::uint32_t warp, std::uint32_t lanes, Epoch epoch) {
  if (lanes == 0) return true;
  if (clock == nullptr) return false;
  for (; lanes != 0; lanes &= lanes - 1) {
    if (clock->lane(warp, std::countr_zero(lanes)) < epoch) return false;
  }
  return true;
}

}  // namespace

/// Whether the view's lane knows that an operation's part is over. `fenced`: also that a proxy fence came after it.
bool Checker::over(Operation const& operation, std::vector<Stamp> const& stamps, Record const& record,
                   View const& view, Clock const* clock, bool fenced) const {
  std::uint32_t const team = operation.info.team;
  if (clock != nullptr && clock->knows_launch(infos_[team].launch)) return true;
  Clock const* const known = clock == nullptr ? nullptr : clock->about(team);
  for (Stamp const& stamp : stamps) {
    if ((stamp.lanes & record.lanes) != record.lanes) continue;
    if (stamp.phase) {
      if (known != nullptr && known->phase(stamp.number) >= stamp.epoch) return true;
      continue;
    }
    std::uint32_t others = record.lanes;
    if (team == view.actor.team->id && stamp.number == view.actor.warp) {
      bool const own = !fenced || (view.own_fences_count && view.warp.fenced_own[view.lane] >= stamp.epoch);
      if (own) others &= ~(1u << view.lane);
    }
    if (reaches(known, stamp.number, others, stamp.epoch)) return true;
  }
  return false;
}

/// Whether the record's access happened before the view's lane's next step; with `fenced`, also for the async proxy.
bool Checker::ordered(Record const& record, View const& view, bool fenced) const {
  Clock const* const clock = fenced ? view.proxy : view.group.now.part[kHappened].get();
  if (is_operation(record)) {
    Operation const& operation = operations_[record.who & ~kOperationBit];
    return over(operation, (record.kind & kWrite) != 0 ? operation.write_over : operation.read_over, record,
                view, clock, fenced);
  }
  std::uint32_t const team = team_of(record.who);
  std::uint32_t lanes = record.lanes;
  if (team == view.actor.team->id && warp_of(record.who) == view.actor.warp) {
    bool const own = !fenced || (view.own_fences_count && view.warp.fenced_own[view.lane] >= record.epoch);
    if (own) lanes &= ~(1u << view.lane);
    if (lanes == 0) return true;
  }
  if (clock != nullptr && clock->knows_launch(infos_[team].launch)) return true;
  if (clock != nullptr && reaches(clock->about(team), warp_of(record.who), lanes, record.epoch)) return true;
  // Strong loads after a relaxed one that saw the other's release come in program order on hardware: the pattern of a last
  // block that sums up volatile results without a fence of its own.
  Clock const* const seen = view.strong_read ? view.group.now.part[kSeen].get() : nullptr;
  return seen != nullptr && reaches(seen->about(team), warp_of(record.who), lanes, record.epoch);
}

/// Whose access it is; of an operation, who asked for it.
Checker::OperationInfo Checker::origin_of(Record const& record) const {
  if (is_operation(record)) return operations_[record.who & ~kOperationBit].info;
  return {.team = team_of(record.who), .warp = warp_of(record.who), .site = record.site};
}

/// Strong accesses whose scopes reach each other do not race.
bool Checker::exempt(Record const& record, std::uint16_t kind, View const& view) const {
  if ((record.kind & kind & kStrong) == 0) return false;
  auto const [team, warp, site, lane] = origin_of(record);
  Scope const scope = std::min(scope_of(record.kind), scope_of(kind));
  if (scope >= Scope::kGpu) return true;
  if (team != view.actor.team->id) return false;
  if (scope == Scope::kCluster) return true;
  std::uint32_t const each = view.actor.team->warps_per_cta;
  return warp / each == view.actor.warp / each;
}

/// A generic write is known to the async proxy only through a proxy fence; the other way round completion is enough, and a
/// read needs only to have happened.
bool Checker::needs_fence(Record const& record, std::uint16_t kind) const {
  return (kind & (kAsyncProxy | kTensorMap)) != 0 && (record.kind & kWrite) != 0 &&
         (record.kind & kAsyncProxy) == 0;
}

/// The edge whose absence makes a conflict.
std::string Checker::missing_edge(Record const& record, Record const& mine, View const& view) const {
  OperationInfo const other = origin_of(record);
  Team const& team = *view.actor.team;
  bool const other_launch = infos_[other.team].launch != team.launch;
  std::uint32_t const each = team.warps_per_cta;
  if (ordered(record, view, false)) {
    if (reads_changing_bytes(record, mine, view))
      return "ld.global.nc may only read bytes that nobody writes while the kernel runs";
    if ((mine.kind & kTensorMap) != 0)
      return "the tensor map was written before, but no fence.proxy.tensormap::generic.acquire lies between";
    return "the write is ordered before the copy, but no fence.proxy.async lies between them";
  }
  if (is_operation(record)) {
    return other_launch ? "the copy belongs to a launch that may still be running"
                        : "the copy may still be in flight: this lane does not know of a wait that covers it";
  }
  if (other_launch)
    return "the other launch may still be running: no griddepcontrol.wait, stream order or event lies "
           "between";
  if (other.team != team.id)
    return "nothing orders the two CTAs: a release at GPU scope and an acquisition of it must lie between";
  if (other.warp == view.actor.warp)
    return "nothing orders the two lanes: bar.warp.sync or a barrier is needed between them";
  if (other.warp / each != view.actor.warp / each)
    return "nothing orders the two CTAs of the cluster: barrier.cluster or an mbarrier is needed between "
           "them";
  return "no barrier, mbarrier phase, or release and acquire orders the one before the other";
}

Conflict Checker::conflict(Record const& record, Record const& mine, View const& view) const {
  OperationInfo const other = origin_of(record);
  Conflict out{.other = record, .team = other.team, .warp = other.warp, .lane = other.lane, .why = {}};
  if (record.lanes != 0) out.lane = std::countr_zero(record.lanes);
  if (!is_operation(record)) {
    // Of several lanes, one that is not ordered.
    Clock const* const happened = view.group.now.part[kHappened].get();
    Clock const* const known = happened == nullptr ? nullptr : happened->about(out.team);
    for (std::uint32_t rest = record.lanes; rest != 0; rest &= rest - 1) {
      int const lane = std::countr_zero(rest);
      bool const own = out.team == view.actor.team->id && out.warp == view.actor.warp && lane == view.lane;
      if (own || reaches(known, out.warp, 1u << lane, record.epoch)) continue;
      out.lane = lane;
      break;
    }
  }
  out.why = missing_edge(record, mine, view);
  return out;
}

/// ld.global.nc of bytes that the launch has written: the cache that it goes through may hold older ones, whatever the order.
bool Checker::reads_changing_bytes(Record const& record, Record const& mine, View const& view) const {
  return (mine.kind & kNonCoherent) != 0 && (record.kind & kWrite) != 0 &&
         infos_[origin_of(record).team].launch == view.actor.team->launch;
}

/// Whether an earlier access to some of the same bytes races with a new one.
bool Checker::races(Record const& record, Record const& mine, View const& view, SameValue same,
                    void const* context) const {
  bool const both_write = (record.kind & mine.kind & kWrite) != 0;
  if (((record.kind | mine.kind) & kWrite) == 0 || exempt(record, mine.kind, view)) return false;
  bool const known = !reads_changing_bytes(record, mine, view) && ordered(record, view, false) &&
                     (!needs_fence(record, mine.kind) || ordered(record, view, true));
  if (known) return false;
  // Lanes of one instruction may write the same value to one place.
  bool benign = both_write && same != nullptr && record.who == mine.who && record.serial == mine.serial;
  for (std::uint32_t rest = record.lanes; benign && rest != 0; rest &= rest - 1)
    benign = same(context, view.lane, std::countr_zero(rest));
  return !benign;
}

/// Whether a plain write stores, by the same line as the earlier plain write, what that one stored: warps that all come to one
/// result and all store it. They do not race with each other; each races with everybody else.
bool Checker::repeats(Record const& record, Record const& mine, View const& view) const {
  constexpr std::uint16_t kPlain = kRead | kWrite | kStrong | kAsyncProxy | kDelayed | kMbarrierInit;
  return view.unchanged && (record.kind & kPlain) == kWrite && (mine.kind & kPlain) == kWrite &&
         record.site == mine.site && record.bytes == mine.bytes;
}

/// Takes from an earlier access what need not be remembered beside a new one that does not race with it: whoever is ordered
/// after the new one is ordered after the earlier one too.
void Checker::retire(Record& record, Record const& mine, View const& view, bool crowded) const {
  bool const same_warp = record.who == mine.who && (mine.kind & kDelayed) == 0;
  bool const strong = (mine.kind & kStrong) != 0;
  if ((mine.kind & kWrite) != 0) {
    if (!strong) {
      record.bytes &= static_cast<std::uint16_t>(~mine.bytes);
    } else if ((record.kind & kStrong) != 0 && (record.bytes & ~mine.bytes) == 0) {
      // A strong write is exempt from order with other strong ones, so those that are not ordered stay. Plain accesses stay
      // too: every later strong one must be ordered after them by itself.
      if (same_warp) record.lanes &= ~mine.lanes;
      if (ordered(record, view, false)) record.bytes = 0;
    }
  } else if ((record.kind & kWrite) == 0 && (record.bytes & ~mine.bytes) == 0 && record.kind == mine.kind) {
    if (same_warp) {
      record.lanes &= ~mine.lanes;
    } else if (crowded && ordered(record, view, false)) {
      record.bytes = 0;
    }
  }
  if (record.bytes == 0 || (record.lanes == 0 && !is_operation(record))) record = {};
}

std::optional<Conflict> Checker::touch(Cell& cell, Records& records, Record const& mine, View const& view,
                                       SameValue same, void const* context) {
  std::vector<Record>* more = cell.more == 0 ? nullptr : &records.lists[cell.more - 1];
  std::size_t const count = more == nullptr ? 0 : more->size();
  bool merged = false;
  auto const look = [&](Record& record) -> std::optional<Conflict> {
    if (record.who == 0 || (record.bytes & mine.bytes) == 0) return std::nullopt;
    bool const race = races(record, mine, view, same, context);
    bool const repeated = race && repeats(record, mine, view);
    if (race && !repeated) return conflict(record, mine, view);
    bool const again = record.who == mine.who && record.epoch == mine.epoch && record.kind == mine.kind &&
                       record.bytes == mine.bytes && record.site == mine.site && (mine.kind & kDelayed) == 0;
    if (again) {
      record.lanes |= mine.lanes;
      record.serial = mine.serial;
      merged = true;
    } else if (!repeated) {  // a later access has to be ordered after both of two equal writes
      retire(record, mine, view, count >= kPruneAbove);
    }
    return std::nullopt;
  };
  if (auto found = look(cell.first)) return found;
  for (std::size_t i = 0; i < count; ++i) {
    if (auto found = look((*more)[i])) return found;
  }
  if (count > 0) std::erase_if(*more, [](Record const& record) { return record.who == 0; });
  if (merged) return std::nullopt;
  if (cell.first.who == 0) {
    cell.first = mine;
    return std::nullopt;
  }
  if (more == nullptr) {
    records.lists.emplace_back();
    cell.more = static_cast<std::uint32_t>(records.lists.size());
    more = &records.lists.back();
  }
  if (more->size() >= kMostRecords) {
    auto const strong = std::find_if(more->begin(), more->end(),
                                     [](Record const& record) { return (record.kind & kStrong) != 0; });
    more->erase(strong != more->end() ? strong : more->begin());
  }
  more->push_back(mine);
  return std::nullopt;
}

std::optional<Conflict> Checker::touch_range(Location const& where, std::uint64_t bytes, Record mine,
                                             View const& view, SameValue same, void const* context) {
  std::uint64_t at = where.address;
  std::uint64_t const end = at + bytes;
  while (at < end) {
    std::uint64_t const cell = at / kCellBytes;
    std::uint64_t const from = at % kCellBytes;
    std::uint64_t const to = std::min<std::uint64_t>(kCellBytes, end - cell * kCellBytes);
    mine.bytes = static_cast<std::uint16_t>((1u << to) - (1u << from));
    std::optional<Conflict> found;
    if (where.shared) {
      DW_CHECK(where.rank < view.actor.team->shared.size() &&
                   cell < view.actor.team->shared[where.rank].cells.size(),
               kInternal, "an access at {:#x} of rank {} that no shared memory holds", where.address,
               where.rank);
      SharedShadow& shadow = view.actor.team->shared[where.rank];
      found = touch(shadow.cells[cell], shadow.records, mine, view, same, context);
    } else {
      Cell* const page = global_.page(at);
      found =
          touch(page[at % GlobalShadow::kPageBytes / kCellBytes], global_.records, mine, view, same, context);
    }
    if (found) return found;
    at = (cell + 1) * kCellBytes;
  }
  return std::nullopt;
}

Checker::View Checker::view_of(Actor const& actor, int lane) const {
  WarpClock const& warp = actor.team->warps[actor.warp];
  for (Group const& group : warp.groups) {
    if ((group.lanes >> lane & 1) != 0) return {actor, lane, warp, group, group.now.part[kFenced].get()};
  }
  throw Error(ErrorCode::kInternal, "a lane without a clock");
}

std::optional<Conflict> Checker::access(Actor const& actor, int lane, Location const& where,
                                        std::uint64_t bytes, std::uint16_t kind, SameValue same,
                                        void const* context, bool unchanged) {
  View view = view_of(actor, lane);
  view.unchanged = unchanged;
  view.strong_read = (kind & (kStrong | kWrite)) == kStrong;
  Record const mine{.who = warp_name(actor.team->id, actor.warp),
                    .epoch = view.warp.epoch,
                    .lanes = 1u << lane,
                    .site = actor.site,
                    .serial = actor.serial,
                    .kind = kind};
  return touch_range(where, bytes, mine, view, same, context);
}

std::optional<Conflict> Checker::operation_access(std::uint32_t operation, Actor const& actor, int lane,
                                                  Location const& where, std::uint64_t bytes,
                                                  std::uint16_t kind) {
  View view = view_of(actor, lane);
  Operation& started = operations_[operation];
  ClockRef map_fence;
  if ((kind & kTensorMap) != 0) {
    auto const fenced = actor.team->tensor_maps.find(where.address);
    if (fenced != actor.team->tensor_maps.end()) map_fence = fenced->second;
    if (view.group.now.part[kFenced] != nullptr) {
      // Launches that are complete are known to every proxy.
      auto complete = std::make_shared<Clock>();
      complete->team = actor.team->id;
      complete->launches = view.group.now.part[kFenced]->launches;
      map_fence = joined(map_fence, complete, actor.team->id);
    }
    view.proxy = map_fence.get();
    view.own_fences_count = false;
  }
  if (where.shared && (kind & kWrite) != 0 && started.async_proxy) {
    started.rank = where.rank;
    if (actor.team->loads.empty() || actor.team->loads.back() != operation)
      actor.team->loads.push_back(operation);
  }
  std::uint16_t const proxy = started.async_proxy ? kAsyncProxy : 0;
  Record const mine{.who = operation | kOperationBit,
                    .epoch = view.warp.epoch,
                    .lanes = 1u << lane,
                    .site = actor.site,
                    .serial = actor.serial,
                    .kind = static_cast<std::uint16_t>(kind | kDelayed | proxy)};
  return touch_range(where, bytes, mine, view, nullptr, nullptr);
}

std::optional<Conflict> Checker::operation_signals(std::uint32_t operation, Actor const& actor, int lane,
                                                   Location const& where) {
  MbarrierClock const* const mbarrier = find_mbarrier(*actor.team, where);
  if (mbarrier == nullptr) return std::nullopt;
  // A copy unit reads and changes the object like a strong access of its own; the initialisation must be known to it.
  bool const async_proxy = operations_[operation].async_proxy;
  std::uint16_t const kind =
      static_cast<std::uint16_t>(kRead | kWrite | kStrong | scope_bits(Scope::kCluster));
  if (async_proxy && mbarrier->init_fenced) {
    // The fence of the initialisation stands for a proxy fence: the access needs only to be ordered.
    operations_[operation].async_proxy = false;
    auto found = operation_access(operation, actor, lane, where, 8, kind);
    operations_[operation].async_proxy = true;
    return found;
  }
  return operation_access(operation, actor, lane, where, 8, kind);
}

std::optional<Conflict> Checker::end_of_cta(Team& team, std::uint32_t rank) {
  std::uint32_t const first = rank * team.warps_per_cta;
  Group all;
  for (std::uint32_t w = first; w < first + team.warps_per_cta; ++w) {
    for (Group const& group : team.warps[w].groups) all.now.join(group.now, team.id);
  }
  Actor const actor{&team, first, 0, 0};
  View const view{actor, 0, team.warps[first], all, nullptr};
  SharedShadow const& shadow = team.shared[rank];
  std::optional<Conflict> found;
  auto const look = [&](Record const& record) {
    if (record.who == 0 || found) return;
    std::uint32_t const warp = origin_of(record).warp;
    // Of the CTA's own accesses, only what copies are still to read.
    bool const own_read = is_operation(record) && (record.kind & (kRead | kStrong)) == kRead;
    if ((warp / team.warps_per_cta == rank && !own_read) || ordered(record, view, false)) return;
    found = conflict(record, {}, view);
    found->why = "no thread of the CTA waited for this access before the last of them ended";
  };
  for (Cell const& cell : shadow.cells) {
    look(cell.first);
    if (cell.more == 0) continue;
    for (Record const& record : shadow.records.lists[cell.more - 1]) look(record);
  }
  return found;
}

std::optional<std::uint32_t> Checker::published_by(Conflict const& conflict) const {
  Team const* const team = live_[conflict.team];
  if (team == nullptr || is_operation(conflict.other)) return std::nullopt;
  WarpClock const& warp = team->warps[conflict.warp];
  if (conflict.other.epoch > warp.ended_by.size()) return std::nullopt;
  return warp.ended_by[conflict.other.epoch - 1];
}

void Checker::forget(std::uint64_t address, std::uint64_t bytes) {
  for (std::uint64_t at = address / kCellBytes * kCellBytes; at < address + bytes; at += kCellBytes)
    global_.page(at)[at % GlobalShadow::kPageBytes / kCellBytes] = {};
}

}  // namespace deepwell::emu::race

// The race checker: sees effects (accesses, releases, acquisitions, asynchronous operations), not instructions, and says when
// two accesses to the same bytes, one of them a write, are ordered by nothing. docs/checkers.md describes its rules. Belongs to
// one run of a list of launches, which uses one host thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "emu/race/clock.hpp"
#include "emu/race/shadow.hpp"

namespace deepwell::emu::race {

/// What a thread knows. Every part flows along every edge between threads.
enum Part {
  /// What happened before.
  kHappened,
  /// Of that, what a proxy fence has made known to the async proxy. Also what came along with a relaxed load and has not
  /// happened before yet: it counts only together with kHappened.
  kFenced,
  /// Of kHappened, what a fence of GPU scope or wider has made ready for a relaxed store or atomic to publish.
  kPublished,
  /// What relaxed loads saw published and the next fence acquires.
  kSeen,
  kParts,
};
struct Knowledge {
  ClockRef part[kParts];
  void join(Knowledge const& other, std::uint32_t team) {
    for (int p = 0; p < kParts; ++p) part[p] = joined(part[p], other.part[p], team);
  }
};

/// What arrives at a barrier, gathered.
struct Gathered {
  Clock part[kParts];
  bool any[kParts] = {};
  Knowledge snapshot() const;
};

/// Lanes of a warp that know the same.
struct Group {
  std::uint32_t lanes = 0;
  Knowledge now;
  // What happened before the last fence that reaches the CTA, or the cluster; and what relaxed loads saw released there, which
  // the next such fence acquires.
  ClockRef at_fence[2], seen[2];  // by Scope: kCta, kCluster
};

struct WarpClock {
  Epoch epoch = 1;
  std::vector<Group> groups;
  // Own accesses up to these epochs are known to the async proxy; are published by the next relaxed store at GPU scope; at those
  // of Group::at_fence.
  Epoch fenced_own[kWarpLanes] = {}, published_own[kWarpLanes] = {}, at_fence_own[2][kWarpLanes] = {};
  std::vector<std::uint32_t> ended_by;  // [epoch - 1]: the site of the event that ended it
};

struct MbarrierClock {
  Gathered arrivals;  // of all phases so far
  Knowledge done;     // of completed phases
  Epoch phases = 0;   // completed
  Epoch waited = 0;   // the latest that somebody waited for
  bool init_fenced = false;
  std::uint32_t init_warp = 0;
};

/// A named barrier or the cluster's: arrivals of the current use, and what those of earlier uses brought along.
struct BarrierClock {
  static constexpr std::size_t kKept = 64;
  Gathered arrivals;
  std::uint64_t uses = 0;      // completed
  std::deque<Knowledge> done;  // of the latest uses, the last one at the back
};

struct Team {
  std::uint32_t id = 0, launch = 0, warps_per_cta = 0;
  std::uint64_t cluster = 0;
  std::vector<WarpClock> warps;  // [CTA rank][warp]
  std::vector<SharedShadow> shared;
  std::vector<MbarrierClock> mbarriers;
  std::unordered_map<std::uint64_t, std::uint32_t> mbarrier_at;  // rank << 32 | offset
  std::map<std::uint32_t, BarrierClock> barriers;                // rank << 8 | number; kClusterBarrier
  std::vector<std::uint32_t> loads;                              // operations that write shared memory
  std::map<std::uint64_t, ClockRef> tensor_maps;                 // acquired by fence.proxy.tensormap
};
inline constexpr std::uint32_t kClusterBarrier = ~0u;

/// One lane, or several lanes of one warp, at one instruction.
struct Actor {
  Team* team = nullptr;
  std::uint32_t warp = 0;  // of the team
  std::uint32_t lanes = 0;
  std::uint32_t site = 0;
  std::uint32_t serial = 0;  // of this execution of the instruction
};

/// Shared memory of a CTA of the actor's team, or global memory.
struct Location {
  bool shared = false;
  std::uint32_t rank = 0;
  std::uint64_t address = 0;  // shared: offset in the CTA's memory
};

/// Two accesses that nothing orders; the later one is the caller's.
struct Conflict {
  Record other;
  std::uint32_t team = 0, warp = 0;  // whose the other is (of an operation: who asked for it)
  int lane = -1;
  std::string why;  // the missing edge
};

/// Answers whether two lanes of one instruction store the same value.
using SameValue = bool (*)(void const* context, int lane, int other);

class Checker {
 public:
  /// Tells executions of instructions apart.
  std::uint32_t next_serial() { return ++serial_; }

  /// `root`: launches that are complete when this team's launch starts.
  std::unique_ptr<Team> start_team(std::uint32_t launch, std::uint64_t cluster, std::uint32_t ctas,
                                   std::uint32_t warps_per_cta, std::uint32_t threads_per_cta,
                                   std::uint64_t shared_bytes, std::vector<bool> const& root);

  // ---- accesses; a conflict is for the caller to report ----

  /// By one lane. `same` is asked about lanes of the same instruction that write the same bytes. `unchanged`: a write of what
  /// the bytes had before.
  std::optional<Conflict> access(Actor const& actor, int lane, Location const& where, std::uint64_t bytes,
                                 std::uint16_t kind, SameValue same = nullptr, void const* context = nullptr,
                                 bool unchanged = false);

  // ---- publishing and acquiring ----

  void warp_barrier(Actor const& actor);
  /// A relaxed arrival publishes only what a fence that reaches the cluster came after.
  void arrive(Actor const& actor, std::uint32_t barrier, bool release = true);
  /// All arrivals of this use are there: what they know can be acquired.
  void complete(Team& team, std::uint32_t barrier);
  /// What arrived in use `use`, counted from 0, of those completed.
  void acquire(Actor const& actor, std::uint32_t barrier, std::uint64_t use);
  void fence(Actor const& actor, Scope scope);
  void proxy_fence(Actor const& actor);
  void tensor_map_fence(Actor const& actor, std::uint64_t address);
  /// A strong access to a word of memory.
  struct Strong {
    bool reads = false;     // and uses what it read
    bool writes = false;    // a compare that failed does not
    bool acquire = false;   // else what it reads is acquired by the next fence
    bool release = false;   // else it publishes what the last fence came after
    bool replaces = false;  // a store, not a read-modify-write: what was released there before is gone
    Scope scope = Scope::kGpu;
  };
  void strong(Actor const& actor, int lane, Location const& where, Strong const& how);

  // ---- mbarriers: `where` is the object ----

  void mbarrier_init(Actor const& actor, Location const& where);
  void mbarrier_init_fence(Actor const& actor);
  void mbarrier_arrive(Actor const& actor, Location const& where, bool release);
  void mbarrier_phase_done(Team& team, Location const& where);
  void mbarrier_acquire(Actor const& actor, Location const& where, bool acquire);

  // ---- operations that complete later: cp.async and bulk copies ----

  /// `lanes` of `actor` ask for it; every lane's bytes are given by operation_access.
  std::uint32_t start_operation(Actor const& actor, bool async_proxy);
  std::optional<Conflict> operation_access(std::uint32_t operation, Actor const& actor, int lane,
                                           Location const& where, std::uint64_t bytes, std::uint16_t kind);
  /// The operation signals on the mbarrier when it completes; a reason if a copy unit cannot know of its initialisation.
  std::optional<Conflict> operation_signals(std::uint32_t operation, Actor const& actor, int lane,
                                            Location const& mbarrier);
  /// It completed in the mbarrier's current phase.
  void operation_done_in_phase(std::uint32_t operation, Team& team, Location const& mbarrier,
                               std::uint32_t lanes);
  /// `lanes` of the actor have waited for it: until it had read its source, or altogether.
  void operation_waited(std::uint32_t operation, Actor const& actor, bool altogether);
  /// A CTA of a cluster ends, and its shared memory with it: an access by another CTA that none of its threads knows of.
  std::optional<Conflict> end_of_cta(Team& team, std::uint32_t rank);
  /// Operations that write this CTA's shared memory and that nobody waited for.
  std::vector<std::uint32_t> unwaited_loads(Team const& team, std::uint32_t rank) const;

  // ---- launches ----

  void wait_for_launches(Actor const& actor, std::vector<bool> const& complete);

  struct OperationInfo {
    std::uint32_t team = 0, warp = 0, site = 0;
    int lane = 0;
  };
  OperationInfo operation_info(std::uint32_t operation) const;
  struct TeamInfo {
    std::uint32_t launch = 0, warps_per_cta = 0;
    std::uint64_t cluster = 0;
  };
  TeamInfo const& team_info(std::uint32_t team) const { return infos_[team]; }
  /// The site of the event by which the other next published what it had done, if there was one.
  std::optional<std::uint32_t> published_by(Conflict const& conflict) const;
  void end_team(Team const& team);
  /// Global memory that nobody has used so far: the past of these bytes does not matter any more.
  void forget(std::uint64_t address, std::uint64_t bytes);

 private:
  struct Stamp {  // how one can know that an operation is over
    bool phase = false;
    std::uint32_t number = 0;  // mbarrier, or warp
    std::uint32_t lanes = 0;
    Epoch epoch = 0;
  };
  struct Operation {
    OperationInfo info;
    bool async_proxy = false;
    std::uint32_t rank = 0;  // of the CTA whose shared memory it writes
    std::vector<Stamp> read_over, write_over;
  };
  struct Released {
    ClockRef happened, fenced;
  };
  struct Word {  // what was released to a word of memory
    Released wide;
    std::map<std::uint64_t, Released> narrow;  // by team (cluster scope) and by team and CTA (CTA scope)
  };
  /// The lane at work, with what it knows.
  struct View {
    Actor const& actor;
    int lane;
    WarpClock const& warp;
    Group const& group;
    Clock const* proxy;            // what a fence has made known to the proxy that the access goes through
    bool own_fences_count = true;  // fenced_own holds for that proxy
    bool strong_read = false;
    bool unchanged = false;  // a write of what the bytes had before
  };

  void end_epoch(Actor const& actor);
  void gather(Gathered& into, Actor const& actor);
  void gather_fenced(Gathered& into, Actor const& actor, Scope scope);
  template <class F>
  void for_groups(Actor const& actor, F const& f);
  void learn(Actor const& actor, Knowledge const& what);
  ClockRef with_own(ClockRef const& known, Actor const& actor, Epoch const* own) const;
  static void add(Released& to, Released const& from, std::uint32_t team);
  bool over(Operation const& operation, std::vector<Stamp> const& stamps, Record const& record,
            View const& view, Clock const* clock, bool fenced) const;
  bool ordered(Record const& record, View const& view, bool fenced) const;
  bool exempt(Record const& record, std::uint16_t kind, View const& view) const;
  bool needs_fence(Record const& record, std::uint16_t kind) const;
  bool reads_changing_bytes(Record const& record, Record const& mine, View const& view) const;
  bool races(Record const& record, Record const& mine, View const& view, SameValue same,
             void const* context) const;
  bool repeats(Record const& record, Record const& mine, View const& view) const;
  void retire(Record& record, Record const& mine, View const& view, bool crowded) const;
  OperationInfo origin_of(Record const& record) const;
  std::string missing_edge(Record const& record, Record const& mine, View const& view) const;
  Conflict conflict(Record const& record, Record const& mine, View const& view) const;
  View view_of(Actor const& actor, int lane) const;
  std::optional<Conflict> touch(Cell& cell, Records& records, Record const& mine, View const& view,
                                SameValue same, void const* context);
  std::optional<Conflict> touch_range(Location const& where, std::uint64_t bytes, Record mine,
                                      View const& view, SameValue same, void const* context);
  MbarrierClock* find_mbarrier(Team& team, Location const& where, std::uint32_t* number = nullptr);
  std::uint64_t word_key(Team const& team, Location const& where) const;

  std::vector<TeamInfo> infos_;
  std::vector<Team const*> live_;  // by team; null when it has ended
  std::deque<Operation> operations_;
  GlobalShadow global_;
  std::uint32_t serial_ = 0;
  std::unordered_map<std::uint64_t, Word> words_;
};

}  // namespace deepwell::emu::race

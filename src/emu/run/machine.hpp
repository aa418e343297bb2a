// The state of a running grid as semantic functions see it: warp, CTA, cluster, launch. A cluster (one CTA when there are
// no clusters) is owned by one host thread at a time, so nothing below it needs locks; global memory is shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "emu/emu.hpp"
#include "emu/instr/instr.hpp"
#include "emu/run/lazy_array.hpp"
#include "emu/run/policy.hpp"
#include "emu/run/random.hpp"

namespace deepwell::emu {

struct Cta;
struct Cluster;
struct Launch;
class GridDependency;
class DeviceHeap;  // mem/heap.hpp
class Counters;
struct CallStack;   // run/calls.hpp
struct Function;    // decoded code, run/program.hpp
struct GlobalView;  // snapshot of the allocations, mem/memory.hpp
namespace race {
class Checker;
struct Team;
}  // namespace race

/// Owns one object of each type that a family keeps per warp, CTA or cluster; made on first use.
class StateSlots {
 public:
  template <class T, class... Args>
  T& get(Args&&... args) {
    void const* const key = tag<T>();
    for (auto const& entry : entries_) {
      if (entry->key == key) return static_cast<Holder<T>&>(*entry).value;
    }
    entries_.push_back(std::make_unique<Holder<T>>(std::forward<Args>(args)...));
    entries_.back()->key = key;
    return static_cast<Holder<T>&>(*entries_.back()).value;
  }
  template <class T>
  T* find() {
    for (auto const& entry : entries_) {
      if (entry->key == tag<T>()) return &static_cast<Holder<T>&>(*entry).value;
    }
    return nullptr;
  }

 private:
  struct Base {
    void const* key = nullptr;
    virtual ~Base() = default;
  };
  template <class T>
  struct Holder : Base {
    template <class... Args>
    explicit Holder(Args&&... args) : value(std::forward<Args>(args)...) {}
    T value;
  };
  template <class T>
  static void const* tag() {
    static char const unique = 0;
    return &unique;
  }
  std::vector<std::unique_ptr<Base>> entries_;
};

/// On what a blocked fragment waits; formatted (fmt, {0} {1} {2}) only when a deadlock is reported.
struct WaitReason {
  char const* format = "";
  std::uint64_t a = 0, b = 0, c = 0;
};

/// Some lanes of a warp at one program counter.
struct Fragment {
  enum class State : std::uint8_t { kReady, kWaiting, kBlocked, kSuspended };
  Mask lanes = 0;
  std::uint32_t pc = 0;
  State state = State::kReady;  // kWaiting: at a rendezvous
  bool timed_out = false;
  bool tried = false;          // in this time slice
  bool released = false;       // may pass its bar.warp.sync without the lanes that will not come
  std::uint32_t backward = 0;  // backward branches since it last gave way
  /// Zero when an instruction is first tried; what a function leaves here while it returns kBlocked or kSuspended is there
  /// at the next try, and cleared when the instruction is done. Two fragments with different tokens never merge.
  std::uint64_t token = 0;
  WaitReason reason;
};

/// Work that completes later. `run` is called with no lane active; it may throw Error.
struct Completion {
  std::uint64_t due = 0;       // in Cluster::clock
  std::uint64_t sequence = 0;  // order of posting
  std::function<void()> run;
  std::string what;  // for deadlock reports
};

/// Which 16-bit parts of poisoned registers are defined: compilers pack a defined half with an undefined one and take only
/// the first one out again.
class DefinedParts {
 public:
  using Parts = std::array<Mask, 8>;  // lanes, by part
  bool empty() const { return of_.empty(); }
  void set(std::uint32_t index, Mask lanes, Parts const& parts);
  /// The lanes' value is undefined as a whole, or what is known of it no longer holds.
  void forget(std::uint32_t index, Mask lanes);
  /// Lanes in which parts first..first + count - 1 are all defined.
  Mask defined(std::uint32_t index, int first, int count) const;
  void copy(std::uint32_t from, std::uint32_t to, Mask lanes);

 private:
  std::map<std::uint32_t, Parts> of_;  // by number of the register
};

struct Warp {
  Warp();
  ~Warp();
  Cta* cta = nullptr;
  Launch const* launch = nullptr;
  Function const* function = nullptr;
  int id = 0;         // warp number in the CTA
  Mask live = 0;      // lanes that exist and have not exited
  bool check = true;  // Options::check
  Mask carry = 0;     // condition code CC.CF
  std::vector<Fragment> fragments;
  int current = 0;       // index of the running fragment
  std::byte* base[2]{};  // register file, constant pool
  std::uint32_t* poison =
      nullptr;         // [register number]: lanes whose value was never defined (kept when check is set)
  DefinedParts parts;  // of registers that are poison
  std::vector<std::byte> storage;  // registers and poison
  StateSlots state;
  int last_allocation = 0;               // cache of the global lookup
  LazyArray<std::byte> local;            // [lane][local_stride]
  LazyArray<std::uint8_t> local_shadow;  // same size when checking, else empty
  std::size_t local_stride = 0;
  std::unique_ptr<CallStack> calls;  // null until the first call

  Fragment& fragment() { return fragments[static_cast<std::size_t>(current)]; }
  bool timed_out() { return fragment().timed_out; }
  std::uint64_t& token() { return fragment().token; }
  /// To be called before returning kBlocked or kSuspended. `format` must outlive the warp (a literal).
  void wait_for(char const* format, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0) {
    fragment().reason = {format, a, b, c};
  }

  // Sources: registers or constants, 32 lanes each. Predicates: one mask, `!` applied.
  std::uint32_t const* s32(Value const& value) const {
    return reinterpret_cast<std::uint32_t const*>(base[value.is_constant()] + value.offset);
  }
  std::uint64_t const* s64(Value const& value) const {
    return reinterpret_cast<std::uint64_t const*>(base[value.is_constant()] + value.offset);
  }
  Bits128 const* s128(Value const& value) const {
    return reinterpret_cast<Bits128 const*>(base[value.is_constant()] + value.offset);
  }
  Mask predicate(Value const& value) const {
    Mask const bits = *s32(value);
    return value.negated ? ~bits : bits;
  }
  /// One lane of a source of any width up to 64 bits, zero-extended.
  std::uint64_t lane_of(Value const& value, int lane) const {
    if (value.bits == 1) return (predicate(value) >> lane) & 1;
    return value.bits == 64 ? s64(value)[lane] : s32(value)[lane];
  }
  // Destinations. A sink gives a scratch array, so functions need not test for it.
  std::uint32_t* d32(Value const& value) { return reinterpret_cast<std::uint32_t*>(destination(value)); }
  std::uint64_t* d64(Value const& value) { return reinterpret_cast<std::uint64_t*>(destination(value)); }
  Bits128* d128(Value const& value) { return reinterpret_cast<Bits128*>(destination(value)); }
  /// Writes the lanes in `mask` of a predicate.
  void set_predicate(Value const& value, Mask mask, Mask bits) {
    std::uint32_t* const to = d32(value);
    *to = (*to & ~mask) | (bits & mask);
  }
  /// Writes one lane of a destination of any width up to 64 bits; upper bits are cut.
  void set_lane(Value const& value, int lane, std::uint64_t bits) {
    switch (value.bits) {
      case 1: set_predicate(value, Mask{1} << lane, bits != 0 ? kFullMask : 0); break;
      case 8: d32(value)[lane] = static_cast<std::uint8_t>(bits); break;
      case 16: d32(value)[lane] = static_cast<std::uint16_t>(bits); break;
      case 32: d32(value)[lane] = static_cast<std::uint32_t>(bits); break;
      default: d64(value)[lane] = bits; break;
    }
  }

  /// Lanes whose value is poison. Constants never are.
  Mask poison_of(Value const& value) const { return value.is_register() ? poison[value.index] : 0; }
  /// Sets the poison of the lanes in `mask` of a destination to `lanes`. Every function that writes a register calls it
  /// when `check` is set (or uses propagate).
  void set_poison(Value const& value, Mask mask, Mask lanes) {
    if (!value.is_register()) return;
    poison[value.index] = (poison[value.index] & ~mask) | (lanes & mask);
    if ((lanes & mask) != 0 && !parts.empty()) parts.forget(value.index, lanes & mask);
  }
  /// Throws a report when a lane in `mask` of `value` is poison. `what`: "the address", "operand a of mma".
  void require_defined(Instr const& instr, Value const& value, Mask mask, char const* what) {
    if (check && (poison_of(value) & mask) != 0) report_poison(instr, value, mask, what);
  }
  [[noreturn]] void report_poison(Instr const& instr, Value const& value, Mask mask, char const* what);

  /// Poison of all source values of `instr` (operands after the first, elements and address bases included) goes to the
  /// first operand. The plain rule for ALU instructions with one destination.
  void propagate(Instr const& instr, Mask mask) {
    if (check) propagate_slow(instr, mask);
  }
  void propagate_slow(Instr const& instr, Mask mask);

  std::byte* destination(Value const& value) {
    return value.is_register() ? base[0] + value.offset : reinterpret_cast<std::byte*>(sink_);
  }

  /// Thread coordinates of a lane in the CTA.
  std::array<std::uint32_t, 3> tid(int lane) const;

 private:
  alignas(64) Bits128 sink_[kLanes]{};
};

/// Throws a Report: kernel, CTA, warp, lane (-1: none in particular), PTX line and text, source line, then `message`.
[[noreturn]] void fail(Warp& warp, Instr const& instr, int lane, std::string const& message,
                       Finding finding = Finding::kProgram);

/// "kernel k, CTA (0,0,0), warp 1, lane 2 (thread (34,0,0)), k.ptx:12 `st...` (k.cu:7)"; lane -1: none in particular.
std::string describe_place(Launch const& launch, std::array<std::uint32_t, 3> const& cta, int warp_id,
                           int lane, Instr const& instr);
/// Coordinates in its CTA of a lane.
std::array<std::uint32_t, 3> thread_of(Launch const& launch, int warp_id, int lane);

/// What bar.red gathers in one use of a barrier.
struct BarrierReduction {
  bool all = true, any = false;
  std::uint32_t count = 0;
  std::uint32_t readers = 0;  // lanes that have not read it yet
};

/// A named barrier of a CTA.
struct NamedBarrier {
  std::uint32_t arrived = 0;   // threads
  std::uint32_t expected = 0;  // threads, 0 while unused; whole_cta: follows the live threads
  bool whole_cta = false;
  std::uint64_t generation = 1;
  BarrierReduction collected;  // of this generation
  std::map<std::uint64_t, BarrierReduction>
      reduction;  // of finished generations, until all lanes have read it
};

struct Cta {
  Launch const* launch = nullptr;
  Cluster* cluster = nullptr;
  std::array<std::uint32_t, 3> id{};  // ctaid
  std::uint32_t rank = 0;             // in the cluster
  std::uint64_t linear_id = 0;
  std::vector<std::unique_ptr<Warp>> warps;
  std::vector<std::byte> shared;            // addresses kSharedBase .. kSharedBase + size
  std::vector<std::uint8_t> shared_shadow;  // same size when checking, else empty
  std::uint32_t live_threads = 0;
  int live_warps = 0;
  bool dependents_may_start = false;  // griddepcontrol.launch_dependents was executed
  bool waited_for_grids = false;      // griddepcontrol.wait was
  std::array<NamedBarrier, 16> barriers;
  StateSlots state;

  /// Called when all threads have exited and nothing of the CTA is pending: families check here that nothing is left open.
  std::vector<std::function<void(Cta&)>> at_end;
};

/// CTAs that run together: one cluster, or one CTA. The unit of scheduling.
struct Cluster {
  Cluster();
  ~Cluster();
  Launch const* launch = nullptr;
  std::unique_ptr<race::Team> team;  // null without a race checker
  Counters* counters = nullptr;      // of the host thread that runs it; null without statistics
  int waits_for_grids = 0;           // fragments that griddepcontrol.wait holds back
  std::vector<std::unique_ptr<Cta>> ctas;
  Policy policy;
  Warp const* starved = nullptr;  // has few turns
  bool hurry = false;             // a copy is to complete before the next instruction
  std::uint64_t clock = 0;        // warp-instructions executed: the time base of completions
  Random random;                  // seeded by Options::seed and the cluster's number
  std::uint64_t progress = 0;     // counts what may let others move: completions, arrivals, finished barriers
  std::uint64_t polls = 0;  // counts what a program does while it waits: strong loads, failed tests, naps
  std::uint64_t steps = 0;  // warp-instructions executed
  std::uint64_t timeouts = 0, progress_at_timeout = 0;  // rounds of timed-out waits in a row
  StateSlots state;

  /// Queues work to complete after a seeded delay (about `typical` warp-instructions, from 0 up to some times that).
  /// Completions run between instructions; when no warp can move, the earliest one runs at once.
  void post(std::string what, std::function<void()> run, std::uint64_t typical = 64);
  /// Completions that are not done yet.
  std::size_t pending() const { return queue.size(); }

  struct Later {
    bool operator()(Completion const& a, Completion const& b) const {
      return a.due != b.due ? a.due > b.due : a.sequence > b.sequence;
    }
  };
  std::vector<Completion> queue;  // heap by Later
  std::uint64_t next_sequence = 0;
};

/// A launch's side of programmatic dependent launch.
class GridDependency {
 public:
  virtual ~GridDependency() = default;
  /// Launches that griddepcontrol.wait waits for are complete.
  virtual bool may_pass() const = 0;
  /// Those launches, with what was complete when this one started: what a thread that has waited knows.
  virtual std::vector<bool> complete() const = 0;
  /// Some thread of the launch has waited.
  virtual void passed() = 0;
  /// There is such a launch at all.
  virtual bool exists() const = 0;
};

/// The clusters of a launch that have not started.
class PendingClusters {
 public:
  virtual ~PendingClusters() = default;
  /// Takes the next one: it will not start. Its first CTA's coordinates, or nothing where all have started.
  virtual std::optional<std::array<std::uint32_t, 3>> take() = 0;
};

/// What all CTAs of one launch share; read-only while it runs, except through `memory`.
struct Launch {
  Module const* module = nullptr;
  Function const* function = nullptr;
  std::string_view kernel;
  LaunchConfig config;
  Options options;
  Profile profile;
  Target target;
  std::vector<std::byte> params;
  GlobalView const* global = nullptr;
  std::vector<std::byte> constants;  // constant pool, addresses of global variables filled in
  std::uint32_t shared_bytes = 0;    // static + dynamic
  std::uint32_t static_shared_bytes = 0;
  std::uint32_t block_threads = 0;
  std::array<std::uint32_t, 3> cluster_grid{1, 1, 1};  // clusters in the grid

  // The list that the launch belongs to; the checker is null in runs without checks.
  std::uint32_t index = 0;
  std::vector<Launch const*> const* launches = nullptr;
  race::Checker* race = nullptr;
  GridDependency* dependency = nullptr;
  std::shared_ptr<DeviceHeap> heap;            // null where the module does not use it
  mutable PendingClusters* pending = nullptr;  // set by what runs the launch
  mutable std::mutex output_mutex;             // Options::output is called by one thread at a time
};

/// Ends the barriers of whole CTAs that wait for nobody any more; to be called when threads have exited.
void finish_barriers(Cta& cta);

/// Calls f(lane) for the lanes of `mask`, from low to high; for (Mask m = mask; m; m &= m - 1) { int lane = std::countr_zero(m); ... }
template <class F>
inline void for_lanes(Mask mask, F&& f) {
  if (mask == kFullMask) {
    for (int lane = 0; lane < kLanes; ++lane) f(lane);
  } else {
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((mask >> lane) & 1) f(lane);
    }
  }
}

}  // namespace deepwell::emu

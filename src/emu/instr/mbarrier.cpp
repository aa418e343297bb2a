// Instruction family: mbarrier. The object's arithmetic is in mem/mbarrier.hpp; here are addresses, lanes and waiting.
#include <unordered_map>

#include "emu/instr/async.hpp"
#include "emu/run/observe.hpp"

namespace deepwell::emu {

namespace {

/// Objects that are alive in a cluster, by their host address, with the word that was last written: tells an object that
/// was initialised twice or overwritten by ordinary stores.
struct LiveMbarriers {
  std::unordered_map<std::byte const*, std::uint64_t> words;
};

Place place_of(Cta& cta, std::uint32_t address) {
  DW_REQUIRE(address % 8 == 0, kBarrier, "the mbarrier address {:#x} is not a multiple of 8", address);
  return resolve_shared(cta, address, 8, "mbarrier");
}

std::uint64_t read_word(Place const& place) { return load_bits(place, 8); }

Mbarrier read_object(LiveMbarriers& live, Place const& place, std::uint32_t address) {
  auto const found = live.words.find(place.data);
  DW_REQUIRE(found != live.words.end(), kBarrier, "the mbarrier at shared address {:#x} is not initialised",
             address);
  std::uint64_t const word = read_word(place);
  DW_REQUIRE(
      place.initialised(8) && word == found->second, kBarrier,
      "the mbarrier at shared address {:#x} was overwritten by other stores: it held {:#018x}, now {:#018x}",
      address, found->second, word);
  return Mbarrier::from_word(word);
}

void write_word(LiveMbarriers& live, Place const& place, std::uint64_t word) {
  store_bits(place, 8, word);
  place.mark(8, true);
  live.words[place.data] = word;
}

}  // namespace

Space shared_space_of(Instr const& instr) {
  bool const shared = instr.has(".shared") || instr.has(".shared::cta") || instr.has(".shared::cluster");
  return shared ? Space::kShared : Space::kGeneric;
}

std::uint32_t shared_address(Space space, std::uint64_t address, char const* what) {
  if (space == Space::kGeneric) {
    DW_REQUIRE(space_of(address) == Space::kShared, kMemory,
               "{} at generic address {:#x} is not in shared memory", what, address);
    address -= kSharedWindow;
  }
  DW_REQUIRE(address < (1ull << 32), kMemory, "{} at {:#x} is not in shared memory", what, address);
  return static_cast<std::uint32_t>(address);
}

void mbarrier_init(Cta& cta, std::uint32_t address, std::uint64_t count) {
  Place const place = place_of(cta, address);
  auto& live = cta.cluster->state.get<LiveMbarriers>();
  auto const found = live.words.find(place.data);
  DW_REQUIRE(
      found == live.words.end() || read_word(place) != found->second, kBarrier,
      "mbarrier.init at shared address {:#x}, where an mbarrier is alive; mbarrier.inval must come first",
      address);
  write_word(live, place, Mbarrier::init(count).word());
  ++cta.cluster->progress;
}

void mbarrier_invalidate(Cta& cta, std::uint32_t address) {
  Place const place = place_of(cta, address);
  auto& live = cta.cluster->state.get<LiveMbarriers>();
  read_object(live, place, address);
  store_bits(place, 8, 0);
  place.mark(8, false);
  live.words.erase(place.data);
}

Mbarrier mbarrier_read(Cta& cta, std::uint32_t address) {
  return read_object(cta.cluster->state.get<LiveMbarriers>(), place_of(cta, address), address);
}

void mbarrier_change(Cta& cta, std::uint32_t address, std::function<void(Mbarrier&)> const& change) {
  Place const place = place_of(cta, address);
  auto& live = cta.cluster->state.get<LiveMbarriers>();
  Mbarrier barrier = read_object(live, place, address);
  int const parity = barrier.parity();
  change(barrier);
  write_word(live, place, barrier.word());
  ++cta.cluster->progress;
  if (Counters* const counters = cta.cluster->counters; counters != nullptr && barrier.parity() != parity)
    ++counters->sync.mbarrier_phases;
  if (barrier.parity() != parity && cta.launch->race != nullptr)
    cta.launch->race->mbarrier_phase_done(*cta.cluster->team, shared_location(cta, address));
}

namespace {

// aux[0]: space of the object.
// aux[1]: index of the address operand.
Space space_in(Instr const& instr) { return static_cast<Space>(instr.aux[0]); }

void bind_space(Instr& instr, std::uint32_t address_operand) {
  instr.aux[0] = static_cast<std::uint32_t>(shared_space_of(instr));
  instr.aux[1] = address_operand;
}

/// Calls body(lane, shared address) for each lane, with errors reported.
template <class Body>
void for_objects(Warp& warp, Instr const& instr, Mask mask, Body const& body) {
  std::uint64_t at[kLanes];
  addresses_of(warp, instr, instr.ops[instr.aux[1]], mask, at);
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane,
             [&] { body(lane, shared_address(space_in(instr), at[lane], "the mbarrier")); });
  });
}

Outcome exec_init(Warp& warp, Instr const& instr, Mask mask) {
  warp.require_defined(instr, instr.v(1), mask, "the count");
  for_objects(warp, instr, mask, [&](int lane, std::uint32_t at) {
    mbarrier_init(*warp.cta, at, warp.lane_of(instr.v(1), lane));
    observe_mbarrier_init(warp, instr, lane, at);
  });
  return Outcome::kNext;
}

Outcome exec_inval(Warp& warp, Instr const& instr, Mask mask) {
  for_objects(warp, instr, mask, [&](int lane, std::uint32_t at) {
    mbarrier_invalidate(*warp.cta, at);
    observe_mbarrier_invalidate(warp, instr, lane, at);
  });
  return Outcome::kNext;
}

template <bool kExpect>
Outcome exec_tx(Warp& warp, Instr const& instr, Mask mask) {
  warp.require_defined(instr, instr.v(1), mask, "the byte count");
  for_objects(warp, instr, mask, [&](int lane, std::uint32_t at) {
    std::uint64_t const bytes = warp.lane_of(instr.v(1), lane);
    mbarrier_read(*warp.cta, at);  // the address is good before the checker looks
    observe_mbarrier_use(warp, instr, lane, at, true);
    mbarrier_change(*warp.cta, at, [&](Mbarrier& barrier) {
      kExpect ? barrier.expect_tx(bytes) : barrier.complete_tx(bytes);
    });
  });
  return Outcome::kNext;
}

enum class Arrival { kPlain, kExpectTx, kNoComplete };

// Operands: state (or `_`), address, then a count or a number of bytes.
template <Arrival kArrival, bool kDrop>
Outcome exec_arrive(Warp& warp, Instr const& instr, Mask mask) {
  bool const has_number = instr.ops.size() > 2;
  if (has_number)
    warp.require_defined(instr, instr.v(2), mask,
                         kArrival == Arrival::kExpectTx ? "the byte count" : "the count");
  for_objects(warp, instr, mask, [&](int lane, std::uint32_t at) {
    std::uint64_t const number = has_number ? warp.lane_of(instr.v(2), lane) : 1;
    std::uint64_t token = 0;
    mbarrier_read(*warp.cta, at);  // the address is good before the checker looks
    observe_mbarrier_use(warp, instr, lane, at, true);
    observe_mbarrier_arrive(warp, instr, lane, at);
    if (Counters* const counters = counters_of(warp)) ++counters->sync.mbarrier_arrivals;
    mbarrier_change(*warp.cta, at, [&](Mbarrier& barrier) {
      if constexpr (kArrival == Arrival::kExpectTx) barrier.expect_tx(number);
      token = barrier.token();
      std::uint64_t const count = kArrival == Arrival::kExpectTx ? 1 : number;
      if constexpr (kArrival == Arrival::kNoComplete) {
        kDrop ? barrier.arrive_drop_no_complete(count) : barrier.arrive_no_complete(count);
      } else {
        kDrop ? barrier.arrive_drop(count) : barrier.arrive(count);
      }
    });
    if (!instr.v(0).is_sink()) warp.set_lane(instr.v(0), lane, token);
  });
  if (warp.check) warp.set_poison(instr.v(0), mask, 0);
  return Outcome::kNext;
}

// Operands: predicate, address, state token or parity, time hint.
template <bool kTry, bool kParity>
Outcome exec_wait(Warp& warp, Instr const& instr, Mask mask) {
  warp.require_defined(instr, instr.v(2), mask, kParity ? "the parity" : "the state");
  Mask done = 0, pending = 0;
  std::uint32_t first_at = 0, done_at = 0;
  int first_parity = 0;
  for_objects(warp, instr, mask, [&](int lane, std::uint32_t at) {
    std::uint64_t const value = warp.lane_of(instr.v(2), lane);
    int parity = 0;
    if constexpr (kParity) {
      DW_REQUIRE(value <= 1, kBarrier, "the parity to wait for is {}; 0 or 1 is possible", value);
      parity = static_cast<int>(value);
    } else {
      DW_REQUIRE(Mbarrier::is_token(value), kBarrier,
                 "{:#018x} is not a state that an mbarrier arrival returned", value);
      parity = Mbarrier::token_parity(value);
    }
    if (mbarrier_read(*warp.cta, at).phase_done(parity)) {
      // Lanes that wait for the same object acquire together; the first one's access stands for theirs.
      if (pending != 0 && at != done_at) {
        observe_mbarrier_waited(warp, instr, pending, done_at);
        pending = 0;
      }
      if (pending == 0) observe_mbarrier_use(warp, instr, lane, at, false);
      done |= Mask{1} << lane;
      pending |= Mask{1} << lane;
      done_at = at;
    } else if (first_at == 0) {
      first_at = at;
      first_parity = parity;
    }
  });
  if (Counters* const counters = counters_of(warp))
    ++(done == mask ? counters->sync.mbarrier_waits : counters->sync.mbarrier_retries);
  if (kTry && done != mask) {
    std::uint64_t const word = mbarrier_read(*warp.cta, first_at).word();
    warp.wait_for("the phase of parity {1} of the mbarrier at shared address {0:#x} (object {2:#018x})",
                  first_at, static_cast<std::uint64_t>(first_parity), word);
    Cluster& cluster = *warp.cta->cluster;
    bool const gives_up = warp.timed_out() || (cluster.policy.early_timeouts && cluster.random.below(4) == 0);
    if (!gives_up) return Outcome::kSuspended;
  }
  if (pending != 0) observe_mbarrier_waited(warp, instr, pending, done_at);
  warp.set_predicate(instr.v(0), mask, done);
  if (warp.check) warp.set_poison(instr.v(0), mask, 0);
  return !kTry && done != mask ? Outcome::kYield : Outcome::kNext;
}

Outcome exec_pending_count(Warp& warp, Instr const& instr, Mask mask) {
  warp.require_defined(instr, instr.v(1), mask, "the state");
  for_lanes(mask, [&](int lane) {
    std::uint64_t const token = warp.lane_of(instr.v(1), lane);
    if (!Mbarrier::is_token(token)) {
      fail(warp, instr, lane,
           fmt::format("{:#018x} is not a state that an mbarrier arrival returned", token));
    }
    warp.set_lane(instr.v(0), lane, Mbarrier::token_pending(token));
  });
  if (warp.check) warp.set_poison(instr.v(0), mask, 0);
  return Outcome::kNext;
}

/// An order and a scope are written together or not at all.
void check_order(Instr const& instr) {
  bool const order = instr.has(".release") || instr.has(".acquire") || instr.has(".relaxed");
  bool const scope = instr.has(".cta") || instr.has(".cluster");
  if (order && !scope) throw unsupported(instr, "an order needs a scope, .cta or .cluster");
  if (scope && !order) throw unsupported(instr, "a scope needs an order");
}

Exec bind_init(Instr& instr, BindContext const&) {
  bind_space(instr, 0);
  return exec_init;
}
Exec bind_inval(Instr& instr, BindContext const&) {
  bind_space(instr, 0);
  return exec_inval;
}
Exec bind_tx(Instr& instr, BindContext const&) {
  check_order(instr);
  bind_space(instr, 0);
  return instr.has(".expect_tx") ? exec_tx<true> : exec_tx<false>;
}
template <Arrival kArrival, bool kDrop>
Exec bind_arrive(Instr& instr, BindContext const&) {
  check_order(instr);
  bind_space(instr, 1);
  if (instr.has(".shared::cluster") && !instr.v(0).is_sink()) {
    throw unsupported(instr, "an arrival on .shared::cluster returns no state: its destination is _");
  }
  return exec_arrive<kArrival, kDrop>;
}
template <bool kTry, bool kParity>
Exec bind_wait(Instr& instr, BindContext const&) {
  check_order(instr);
  bind_space(instr, 1);
  return exec_wait<kTry, kParity>;
}

constexpr std::string_view kInit = "9.7.13.15.9 mbarrier.init", kInval = "9.7.13.15.10 mbarrier.inval",
                           kExpect = "9.7.13.15.11 mbarrier.expect_tx",
                           kComplete = "9.7.13.15.12 mbarrier.complete_tx",
                           kArriveSection = "9.7.13.15.13 mbarrier.arrive",
                           kDropSection = "9.7.13.15.14 mbarrier.arrive_drop",
                           kWait = "9.7.13.15.16 mbarrier.test_wait/mbarrier.try_wait",
                           kPending = "9.7.13.15.17 mbarrier.pending_count";

// clang-format off
constexpr Row kRows[] = {
    {.pattern = "mbarrier .init [.shared|.shared::cta] .b64", .operands = "a, si32", .ptx = 70, .needs = Needs::kSm80, .section = kInit, .bind = bind_init},
    {.pattern = "mbarrier .inval [.shared|.shared::cta] .b64", .operands = "a", .ptx = 70, .needs = Needs::kSm80, .section = kInval, .bind = bind_inval},
    {.pattern = "mbarrier .expect_tx [.relaxed] [.cta|.cluster] [.shared|.shared::cta|.shared::cluster] .b64", .operands = "a, si32", .ptx = 80, .needs = Needs::kSm90, .section = kExpect, .bind = bind_tx},
    {.pattern = "mbarrier .complete_tx [.relaxed] [.cta|.cluster] [.shared|.shared::cta|.shared::cluster] .b64", .operands = "a, si32", .ptx = 80, .needs = Needs::kSm90, .section = kComplete, .bind = bind_tx},
    {.pattern = "mbarrier .arrive [.release|.relaxed] [.cta|.cluster] [.shared|.shared::cta|.shared::cluster] .b64", .operands = "di64, a, ?si32", .ptx = 70, .needs = Needs::kSm80, .section = kArriveSection, .bind = bind_arrive<Arrival::kPlain, false>},
    {.pattern = "mbarrier .arrive .expect_tx [.release|.relaxed] [.cta|.cluster] [.shared|.shared::cta|.shared::cluster] .b64", .operands = "di64, a, si32", .ptx = 80, .needs = Needs::kSm90, .section = kArriveSection, .bind = bind_arrive<Arrival::kExpectTx, false>},
    {.pattern = "mbarrier .arrive .noComplete [.release] [.cta] [.shared|.shared::cta] .b64", .operands = "di64, a, si32", .ptx = 70, .needs = Needs::kSm80, .section = kArriveSection, .bind = bind_arrive<Arrival::kNoComplete, false>},
    {.pattern = "mbarrier .arrive_drop [.release|.relaxed] [.cta|.cluster] [.shared|.shared::cta|.shared::cluster] .b64", .operands = "di64, a, ?si32", .ptx = 70, .needs = Needs::kSm80, .section = kDropSection, .bind = bind_arrive<Arrival::kPlain, true>},
    {.pattern = "mbarrier .arrive_drop .expect_tx [.release|.relaxed] [.cta|.cluster] [.shared|.shared::cta|.shared::cluster] .b64", .operands = "di64, a, si32", .ptx = 80, .needs = Needs::kSm90, .section = kDropSection, .bind = bind_arrive<Arrival::kExpectTx, true>},
    {.pattern = "mbarrier .arrive_drop .noComplete [.release] [.cta] [.shared|.shared::cta] .b64", .operands = "di64, a, si32", .ptx = 70, .needs = Needs::kSm80, .section = kDropSection, .bind = bind_arrive<Arrival::kNoComplete, true>},
    {.pattern = "mbarrier .test_wait [.acquire|.relaxed] [.cta|.cluster] [.shared|.shared::cta] .b64", .operands = "d1, a, si64", .ptx = 70, .needs = Needs::kSm80, .section = kWait, .bind = bind_wait<false, false>},
    {.pattern = "mbarrier .test_wait .parity [.acquire|.relaxed] [.cta|.cluster] [.shared|.shared::cta] .b64", .operands = "d1, a, si32", .ptx = 71, .needs = Needs::kSm80, .section = kWait, .bind = bind_wait<false, true>},
    {.pattern = "mbarrier .try_wait [.acquire|.relaxed] [.cta|.cluster] [.shared|.shared::cta] .b64", .operands = "d1, a, si64, ?si32", .ptx = 78, .needs = Needs::kSm90, .section = kWait, .bind = bind_wait<true, false>},
    {.pattern = "mbarrier .try_wait .parity [.acquire|.relaxed] [.cta|.cluster] [.shared|.shared::cta] .b64", .operands = "d1, a, si32, ?si32", .ptx = 78, .needs = Needs::kSm90, .section = kWait, .bind = bind_wait<true, true>},
    {.pattern = "mbarrier .pending_count .b64", .operands = "di32, si64", .ptx = 70, .needs = Needs::kSm80, .section = kPending, .exec = exec_pending_count},
};
// clang-format on

}  // namespace

std::span<Row const> mbarrier_rows() { return kRows; }

}  // namespace deepwell::emu

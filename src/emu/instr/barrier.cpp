// Instruction family: named barriers of a CTA (PTX ISA 9.7.13.1 barrier{.cta}, bar{.cta}).
#include <bit>

#include "emu/instr/lanes.hpp"
#include "emu/run/observe.hpp"

namespace deepwell::emu {
namespace {

enum class Action : u32 { kSync, kArrive, kRedAnd, kRedOr, kRedPopc };

/// Of the race checker: the barrier's number in its team.
u32 race_number(Cta const& cta, u32 id) { return cta.rank << 8 | id; }

void finish(Cta& cta, NamedBarrier& barrier) {
  if (Counters* const counters = cta.cluster->counters) ++counters->sync.barriers;
  if (cta.launch->race != nullptr) {
    auto const id = static_cast<u32>(&barrier - cta.barriers.data());
    cta.launch->race->complete(*cta.cluster->team, race_number(cta, id));
  }
  if (barrier.collected.readers != 0) barrier.reduction.emplace(barrier.generation, barrier.collected);
  barrier.collected = {};
  barrier.arrived = barrier.expected = 0;
  barrier.whole_cta = false;
  ++barrier.generation;
  ++cta.cluster->progress;
}

/// The result of the generation that the lanes arrived in. The barrier may have been used again since.
BarrierReduction read_reduction(NamedBarrier& barrier, u64 generation, Mask lanes) {
  auto const at = barrier.reduction.find(generation);
  BarrierReduction const result = at->second;
  at->second.readers -= static_cast<u32>(std::popcount(lanes));
  if (at->second.readers == 0) barrier.reduction.erase(at);
  return result;
}

/// The lanes' common value of an operand.
u32 uniform(Warp& w, Instr const& i, Value const& value, Mask mask, char const* what) {
  w.require_defined(i, value, mask, what);
  u32 const* const each = w.s32(value);
  u32 const first = each[std::countr_zero(mask)];
  for_lanes(mask, [&](int lane) {
    if (each[lane] != first)
      fail(w, i, lane, fmt::format("{} differs between lanes: {} and {}", what, first, each[lane]));
  });
  return first;
}

/// aux[0]: Action, aux[1]: .aligned, aux[2]: operand of the barrier, aux[3]: of the count or ~0, aux[4]: of the predicate.
Outcome barrier(Warp& w, Instr const& i, Mask mask) {
  auto const action = static_cast<Action>(i.aux[0]);
  bool const aligned = i.aux[1] != 0;
  u32 const id = uniform(w, i, i.v(static_cast<int>(i.aux[2])), mask, "the barrier number");
  if (id >= 16) fail(w, i, -1, fmt::format("barrier {}, 0 to 15 exist", id), Finding::kBarrier);
  Cta& cta = *w.cta;
  NamedBarrier& b = cta.barriers[id];
  u64& token = w.token();
  u64 arrived_in = b.generation;
  if (token != 0) {  // arrived before
    if (b.generation == token) return Outcome::kBlocked;
    arrived_in = token;
  } else {
    bool const counted = i.aux[3] != ~0u;
    u32 expected = cta.live_threads;
    if (counted) {
      expected = uniform(w, i, i.v(static_cast<int>(i.aux[3])), mask, "the thread count");
      if (expected == 0 || expected % kLanes != 0) {
        fail(w, i, -1,
             fmt::format("barrier {}: a count of {} threads, a multiple of 32 is needed", id, expected),
             Finding::kBarrier);
      }
    }
    if (b.expected == 0 && !b.whole_cta) {
      b.expected = counted ? expected : 0;
      b.whole_cta = !counted;
    } else if (counted ? (b.whole_cta || b.expected != expected) : !b.whole_cta) {
      fail(w, i, -1,
           fmt::format("barrier {}: {} threads expected here, {} by those that came before", id,
                       counted ? fmt::format("{}", expected) : "all",
                       b.whole_cta ? "all" : fmt::format("{}", b.expected)),
           Finding::kBarrier);
    }
    // With a count, warps arrive as a whole whatever their number of live lanes.
    b.arrived += counted && aligned ? static_cast<u32>(kLanes) : static_cast<u32>(std::popcount(mask));
    if (action >= Action::kRedAnd) {
      Value const& input = i.v(static_cast<int>(i.aux[4]));
      w.require_defined(i, input, mask, "the predicate of the reduction");
      Mask const bits = w.predicate(input) & mask;
      b.collected.all = b.collected.all && bits == mask;
      b.collected.any = b.collected.any || bits != 0;
      b.collected.count += static_cast<u32>(std::popcount(bits));
      b.collected.readers += static_cast<u32>(std::popcount(mask));
    }
    u64 const generation = b.generation;
    if (Counters* const counters = counters_of(w)) ++counters->sync.barrier_arrivals;
    if (observed(w)) w.launch->race->arrive(actor_of(w, i, mask), race_number(cta, id));
    if (!b.whole_cta && b.arrived > b.expected) {
      fail(w, i, -1,
           fmt::format("barrier {}: {} threads arrived, {} were expected", id, b.arrived, b.expected),
           Finding::kBarrier);
    }
    if (b.arrived >= (b.whole_cta ? cta.live_threads : b.expected)) finish(cta, b);
    if (action == Action::kArrive) return Outcome::kNext;
    if (b.generation == generation) {
      token = generation;
      w.wait_for("barrier {}: {} threads have arrived", id, b.arrived);
      return Outcome::kBlocked;
    }
  }
  if (observed(w)) w.launch->race->acquire(actor_of(w, i, mask), race_number(cta, id), arrived_in - 1);
  if (action >= Action::kRedAnd) {
    BarrierReduction const result = read_reduction(b, arrived_in, mask);
    if (action == Action::kRedPopc) {
      u32* const out = w.d32(i.v(0));
      for_lanes(mask, [&](int lane) { out[lane] = result.count; });
    } else {
      w.set_predicate(i.v(0), mask, (action == Action::kRedAnd ? result.all : result.any) ? kFullMask : 0);
    }
    if (w.check) w.set_poison(i.v(0), mask, 0);
  }
  return Outcome::kNext;
}

template <Action kAction>
Exec bind(Instr& i, BindContext const&) {
  int const first = kAction >= Action::kRedAnd ? 1 : 0;
  int const count = static_cast<int>(i.ops.size()) - first - (kAction >= Action::kRedAnd ? 1 : 0);
  bool const aligned = i.info->parts[0] == "bar" || i.has(".aligned");
  i.aux[0] = static_cast<u32>(kAction);
  i.aux[1] = aligned;
  i.aux[2] = static_cast<u32>(first);
  i.aux[3] = count == 2 ? static_cast<u32>(first + 1) : ~0u;
  i.aux[4] = static_cast<u32>(i.ops.size() - 1);
  i.rendezvous = aligned ? Rendezvous::kAligned : Rendezvous::kNone;
  return &barrier;
}

constexpr Row kRows[] = {
    {.pattern = "bar [.cta] .sync",
     .operands = "si32, ?si32",
     .section = "9.7.13 bar.sync",
     .bind = &bind<Action::kSync>},
    {.pattern = "bar [.cta] .arrive",
     .operands = "si32, si32",
     .section = "9.7.13 bar.arrive",
     .bind = &bind<Action::kArrive>},
    {.pattern = "bar [.cta] .red .and .pred",
     .operands = "d1, si32, s1",
     .section = "9.7.13 bar.red",
     .bind = &bind<Action::kRedAnd>},
    {.pattern = "bar [.cta] .red .and .pred",
     .operands = "d1, si32, si32, s1",
     .section = "9.7.13 bar.red",
     .bind = &bind<Action::kRedAnd>},
    {.pattern = "bar [.cta] .red .or .pred",
     .operands = "d1, si32, s1",
     .section = "9.7.13 bar.red",
     .bind = &bind<Action::kRedOr>},
    {.pattern = "bar [.cta] .red .or .pred",
     .operands = "d1, si32, si32, s1",
     .section = "9.7.13 bar.red",
     .bind = &bind<Action::kRedOr>},
    {.pattern = "bar [.cta] .red .popc .u32",
     .operands = "d32, si32, s1",
     .section = "9.7.13 bar.red",
     .bind = &bind<Action::kRedPopc>},
    {.pattern = "bar [.cta] .red .popc .u32",
     .operands = "d32, si32, si32, s1",
     .section = "9.7.13 bar.red",
     .bind = &bind<Action::kRedPopc>},
    {.pattern = "barrier [.cta] .sync [.aligned]",
     .operands = "si32, ?si32",
     .ptx = 60,
     .section = "9.7.13 barrier.sync",
     .bind = &bind<Action::kSync>},
    {.pattern = "barrier [.cta] .arrive [.aligned]",
     .operands = "si32, si32",
     .ptx = 60,
     .section = "9.7.13 barrier.arrive",
     .bind = &bind<Action::kArrive>},
    {.pattern = "barrier [.cta] .red .and [.aligned] .pred",
     .operands = "d1, si32, s1",
     .ptx = 60,
     .section = "9.7.13 barrier.red",
     .bind = &bind<Action::kRedAnd>},
    {.pattern = "barrier [.cta] .red .and [.aligned] .pred",
     .operands = "d1, si32, si32, s1",
     .ptx = 60,
     .section = "9.7.13 barrier.red",
     .bind = &bind<Action::kRedAnd>},
    {.pattern = "barrier [.cta] .red .or [.aligned] .pred",
     .operands = "d1, si32, s1",
     .ptx = 60,
     .section = "9.7.13 barrier.red",
     .bind = &bind<Action::kRedOr>},
    {.pattern = "barrier [.cta] .red .or [.aligned] .pred",
     .operands = "d1, si32, si32, s1",
     .ptx = 60,
     .section = "9.7.13 barrier.red",
     .bind = &bind<Action::kRedOr>},
    {.pattern = "barrier [.cta] .red .popc [.aligned] .u32",
     .operands = "d32, si32, s1",
     .ptx = 60,
     .section = "9.7.13 barrier.red",
     .bind = &bind<Action::kRedPopc>},
    {.pattern = "barrier [.cta] .red .popc [.aligned] .u32",
     .operands = "d32, si32, si32, s1",
     .ptx = 60,
     .section = "9.7.13 barrier.red",
     .bind = &bind<Action::kRedPopc>},
};

}  // namespace

void finish_barriers(Cta& cta) {
  for (NamedBarrier& barrier : cta.barriers) {
    if (barrier.whole_cta && barrier.arrived > 0 && barrier.arrived >= cta.live_threads) finish(cta, barrier);
  }
}

std::span<Row const> barrier_rows() { return kRows; }

}  // namespace deepwell::emu

// Instruction family: what lanes of a warp do together: shfl, vote, match, redux, activemask, elect, bar.warp.sync
// (PTX ISA 9.7.9 shfl, 9.7.13).
#include <bit>
#include <cmath>

#include "emu/instr/lanes.hpp"
#include "emu/run/observe.hpp"

namespace deepwell::emu {
namespace {

/// Calls f(group, lane of group...) for each set of lanes that named the same member mask.
template <class F>
void for_groups(Warp& w, Value const& members, Mask mask, F&& f) {
  u32 const* const each = w.s32(members);
  Mask rest = mask;
  while (rest != 0) {
    u32 const named = each[std::countr_zero(rest)];
    Mask group = 0;
    for_lanes(rest, [&](int lane) { group |= each[lane] == named ? Mask{1} << lane : 0; });
    rest &= ~group;
    f(group);
  }
}

enum class Shuffle : u32 { kUp, kDown, kBfly, kIdx };

/// shfl.sync d|p, a, b, c, membermask. c: clamp in bits 0-4, segment mask in bits 8-12.
Outcome shfl(Warp& w, Instr const& i, Mask mask) {
  auto const how = static_cast<Shuffle>(i.choice[0]);
  u32 const* const value = w.s32(i.v(1));
  u32 const* const by = w.s32(i.v(2));
  u32 const* const limits = w.s32(i.v(3));
  Mask source_poison = 0, inside = 0, results_poison = w.poison_of(i.v(2)) | w.poison_of(i.v(3));
  u32 out[kLanes];
  for_lanes(mask, [&](int lane) {
    i32 const b = static_cast<i32>(by[lane] & 31);
    i32 const clamp = static_cast<i32>(limits[lane] & 31);
    i32 const segment = static_cast<i32>((limits[lane] >> 8) & 31);
    i32 const highest = (lane & segment) | (clamp & ~segment);
    i32 const lowest = lane & segment;
    i32 from = 0;
    bool valid = false;
    switch (how) {
      case Shuffle::kUp:
        from = lane - b;
        valid = from >= highest;
        break;
      case Shuffle::kDown:
        from = lane + b;
        valid = from <= highest;
        break;
      case Shuffle::kBfly:
        from = lane ^ b;
        valid = from <= highest;
        break;
      case Shuffle::kIdx:
        from = lowest | (b & ~segment);
        valid = from <= highest;
        break;
    }
    if (!valid) from = lane;
    if (valid) inside |= Mask{1} << lane;
    out[lane] = value[from];
    // A lane that does not take part gives an undefined value.
    bool const takes_part = ((mask >> from) & 1) != 0;
    if (!takes_part || ((w.poison_of(i.v(1)) >> from) & 1) != 0) source_poison |= Mask{1} << lane;
  });
  u32* const to = w.d32(i.v(0));
  for_lanes(mask, [&](int lane) { to[lane] = out[lane]; });
  bool const pair = i.ops[0].kind == Operand::Kind::kPair;
  if (pair) w.set_predicate(i.ops[0].second, mask, inside);
  if (w.check) {
    w.set_poison(i.v(0), mask, source_poison | results_poison);
    if (pair) w.set_poison(i.ops[0].second, mask, results_poison);
  }
  return Outcome::kNext;
}

enum class Vote : u32 { kAll, kAny, kUni, kBallot };
Outcome vote(Warp& w, Instr const& i, Mask mask) {
  auto const how = static_cast<Vote>(i.choice[0]);
  Mask const bits = w.predicate(i.v(1));
  Mask const poisoned = w.poison_of(i.v(1));
  for_groups(w, i.v(2), mask, [&](Mask group) {
    Mask const yes = bits & group;
    if (how == Vote::kBallot) {
      u32* const out = w.d32(i.v(0));
      for_lanes(group, [&](int lane) { out[lane] = yes; });
    } else {
      bool const result = how == Vote::kAll   ? yes == group
                          : how == Vote::kAny ? yes != 0
                                              : yes == 0 || yes == group;
      w.set_predicate(i.v(0), group, result ? kFullMask : 0);
    }
    if (w.check) w.set_poison(i.v(0), group, (poisoned & group) != 0 ? group : 0);
  });
  return Outcome::kNext;
}

template <class T>
Outcome match(Warp& w, Instr const& i, Mask mask) {
  bool const all = i.choice[0] == 1;
  auto const* const value = source<T>(w, i.v(1));
  Mask const poisoned = w.poison_of(i.v(1));
  bool const pair = i.ops[0].kind == Operand::Kind::kPair;
  for_groups(w, i.v(2), mask, [&](Mask group) {
    u32 out[kLanes];
    bool same_everywhere = true;
    for_lanes(group, [&](int lane) {
      Mask same = 0;
      for_lanes(group, [&](int other) { same |= value[other] == value[lane] ? Mask{1} << other : 0; });
      same_everywhere = same_everywhere && same == group;
      out[lane] = same;
    });
    u32* const to = w.d32(i.v(0));
    for_lanes(group, [&](int lane) { to[lane] = !all ? out[lane] : same_everywhere ? group : 0; });
    if (pair) w.set_predicate(i.ops[0].second, group, same_everywhere ? kFullMask : 0);
    if (w.check) {
      Mask const lanes = (poisoned & group) != 0 ? group : 0;
      w.set_poison(i.v(0), group, lanes);
      if (pair) w.set_poison(i.ops[0].second, group, lanes);
    }
  });
  return Outcome::kNext;
}

template <class T, auto kFunction>
Outcome redux(Warp& w, Instr const& i, Mask mask) {
  u32 const* const value = w.s32(i.v(1));
  Mask const poisoned = w.poison_of(i.v(1));
  for_groups(w, i.v(2), mask, [&](Mask group) {
    T total = from_storage<T>(value[std::countr_zero(group)]);
    for_lanes(group & (group - 1), [&](int lane) { total = kFunction(total, from_storage<T>(value[lane])); });
    u32* const to = w.d32(i.v(0));
    for_lanes(group, [&](int lane) { to[lane] = to_storage<T>(total); });
    if (w.check) w.set_poison(i.v(0), group, (poisoned & group) != 0 ? group : 0);
  });
  return Outcome::kNext;
}

/// redux.f32 min/max: NaN loses unless .NaN. aux: larger, abs, nan.
Outcome redux_float(Warp& w, Instr const& i, Mask mask) {
  bool const larger = i.choice[0] == 1, absolute = i.choice[1] >= 0, keep_nan = i.choice[2] >= 0;
  u32 const* const value = w.s32(i.v(1));
  Mask const poisoned = w.poison_of(i.v(1));
  for_groups(w, i.v(2), mask, [&](Mask group) {
    float total = std::numeric_limits<float>::quiet_NaN();
    bool any_nan = false;
    for_lanes(group, [&](int lane) {
      float x = std::bit_cast<float>(value[lane]);
      if (absolute) x = std::fabs(x);
      any_nan |= std::isnan(x);
      if (std::isnan(total)) {
        total = x;
      } else if (!std::isnan(x)) {
        bool const first = larger ? total > x || (total == x && !std::signbit(total))
                                  : total < x || (total == x && std::signbit(total));
        total = first ? total : x;
      }
    });
    u32 const bits = std::isnan(total) || (keep_nan && any_nan) ? 0x7fffffffu : std::bit_cast<u32>(total);
    u32* const to = w.d32(i.v(0));
    for_lanes(group, [&](int lane) { to[lane] = bits; });
    if (w.check) w.set_poison(i.v(0), group, (poisoned & group) != 0 ? group : 0);
  });
  return Outcome::kNext;
}

Outcome activemask(Warp& w, Instr const& i, Mask mask) {
  u32* const to = w.d32(i.v(0));
  for_lanes(mask, [&](int lane) { to[lane] = mask; });
  if (w.check) w.set_poison(i.v(0), mask, 0);
  return Outcome::kNext;
}

/// The lowest lane of the mask is elected.
Outcome elect(Warp& w, Instr const& i, Mask mask) {
  for_groups(w, i.v(1), mask, [&](Mask group) {
    auto const leader = static_cast<u32>(std::countr_zero(group));
    u32* const to = w.d32(i.v(0));
    for_lanes(group, [&](int lane) { to[lane] = leader; });
    w.set_predicate(i.ops[0].second, group, Mask{1} << leader);
    if (w.check) {
      w.set_poison(i.v(0), group, 0);
      w.set_poison(i.ops[0].second, group, 0);
    }
  });
  return Outcome::kNext;
}

/// Lanes that are let through without the ones they name (run/execute.cpp) are ordered among themselves.
Outcome warp_barrier(Warp& w, Instr const& i, Mask mask) {
  if (observed(w)) {
    for_groups(w, i.v(0), mask, [&](Mask group) { w.launch->race->warp_barrier(actor_of(w, i, group)); });
  }
  return Outcome::kNext;
}

u32 add_wrap(u32 a, u32 b) { return a + b; }
u32 min_u32(u32 a, u32 b) { return a < b ? a : b; }
u32 max_u32(u32 a, u32 b) { return a > b ? a : b; }
i32 min_s32(i32 a, i32 b) { return a < b ? a : b; }
i32 max_s32(i32 a, i32 b) { return a > b ? a : b; }
u32 and_u32(u32 a, u32 b) { return a & b; }
u32 or_u32(u32 a, u32 b) { return a | b; }
u32 xor_u32(u32 a, u32 b) { return a ^ b; }

template <class T>
Exec bind_match(Instr& i, BindContext const&) {
  if (i.has(".any") && i.ops[0].kind == Operand::Kind::kPair)
    throw unsupported(i, "a predicate goes with .all");
  return &match<T>;
}

constexpr Row kRows[] = {
    {.pattern = "shfl .sync (.up|.down|.bfly|.idx) .b32",
     .operands = "d32|1, s32, s32, s32, si32",
     .ptx = 60,
     .section = "9.7.9 shfl.sync",
     .exec = &shfl,
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 4},
    {.pattern = "vote .sync (.all|.any|.uni) .pred",
     .operands = "d1, s1, si32",
     .ptx = 60,
     .section = "9.7.13 vote.sync",
     .exec = &vote,
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 2},
    {.pattern = "vote .sync .ballot .b32",
     .operands = "d32, s1, si32",
     .ptx = 60,
     .section = "9.7.13 vote.sync",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       i.choice[0] = static_cast<std::int8_t>(Vote::kBallot);
       return &vote;
     },
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 2},
    {.pattern = "match (.any|.all) .sync .b32",
     .operands = "di32|1, s32, si32",
     .ptx = 60,
     .section = "9.7.13 match.sync",
     .bind = &bind_match<u32>,
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 2},
    {.pattern = "match (.any|.all) .sync .b64",
     .operands = "di32|1, s64, si32",
     .ptx = 60,
     .section = "9.7.13 match.sync",
     .bind = &bind_match<u64>,
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 2},
    {.pattern = "redux .sync (.add|.min|.max) .u32",
     .operands = "di32, si32, si32",
     .ptx = 70,
     .section = "9.7.13 redux.sync",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       return i.choice[0] == 0   ? &redux<u32, add_wrap>
              : i.choice[0] == 1 ? &redux<u32, min_u32>
                                 : &redux<u32, max_u32>;
     },
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 2},
    {.pattern = "redux .sync (.add|.min|.max) .s32",
     .operands = "di32, si32, si32",
     .ptx = 70,
     .section = "9.7.13 redux.sync",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       return i.choice[0] == 0   ? &redux<u32, add_wrap>
              : i.choice[0] == 1 ? &redux<i32, min_s32>
                                 : &redux<i32, max_s32>;
     },
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 2},
    {.pattern = "redux .sync (.and|.or|.xor) .b32",
     .operands = "di32, si32, si32",
     .ptx = 70,
     .section = "9.7.13 redux.sync",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       return i.choice[0] == 0   ? &redux<u32, and_u32>
              : i.choice[0] == 1 ? &redux<u32, or_u32>
                                 : &redux<u32, xor_u32>;
     },
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 2},
    {.pattern = "redux .sync (.min|.max) [.abs] [.NaN] .f32",
     .operands = "d32, s32, s#32",
     .ptx = 86,
     .needs = Needs::kSm100Only,
     .section = "9.7.13 redux.sync",
     .exec = &redux_float,
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 2},
    {.pattern = "activemask .b32",
     .operands = "d32",
     .ptx = 62,
     .section = "9.7.13 activemask",
     .exec = &activemask},
    {.pattern = "elect .sync",
     .operands = "di32|1, si32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.13 elect.sync",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (i.ops[0].kind != Operand::Kind::kPair) throw unsupported(i, "the result is d|p");
       return &elect;
     },
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 1},
    {.pattern = "bar .warp .sync",
     .operands = "si32",
     .ptx = 60,
     .section = "9.7.13 bar.warp.sync",
     .exec = &warp_barrier,
     .rendezvous = Rendezvous::kMemberMask,
     .member_operand = 0},
};

}  // namespace

std::span<Row const> warp_rows() { return kRows; }

}  // namespace deepwell::emu

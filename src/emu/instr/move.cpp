// Instruction family: mov with packing and unpacking, cvta, isspacep, special registers (PTX ISA 9.7.9, 10).
#include <algorithm>

#include "emu/instr/lanes.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {
namespace {

Outcome mov32(Warp& w, Instr const& i, Mask m) {
  return alu<[](u32 a) -> u32 { return a; }>(w, i, m);
}
Outcome mov64(Warp& w, Instr const& i, Mask m) {
  Outcome const outcome = alu<[](u64 a) -> u64 { return a; }>(w, i, m);
  if (w.check && !w.parts.empty()) {
    Mask const lanes = w.poison_of(i.v(0)) & m;
    if (lanes != 0) w.parts.copy(i.v(1).index, i.v(0).index, lanes);
  }
  return outcome;
}
Outcome mov128(Warp& w, Instr const& i, Mask m) {
  Bits128 const* const from = w.s128(i.v(1));
  Bits128* const to = w.d128(i.v(0));
  for_lanes(m, [&](int lane) { to[lane] = from[lane]; });
  w.propagate(i, m);
  return Outcome::kNext;
}
Outcome mov_predicate(Warp& w, Instr const& i, Mask m) {
  w.set_predicate(i.v(0), m, w.predicate(i.v(1)));
  w.propagate(i, m);
  return Outcome::kNext;
}

/// Remembers which parts of a value are defined when others are not.
void remember_parts(Warp& w, Instr const& i, Mask m, int width) {
  std::vector<Value> const& from = i.ops[1].elements;
  Mask const lanes = w.poison_of(i.v(0)) & m;
  if (lanes == 0 || width % 16 != 0) return;
  DefinedParts::Parts parts{};
  Mask any = 0;
  int const each = width / 16;
  for (std::size_t k = 0; k < from.size(); ++k) {
    Mask const defined = ~w.poison_of(from[k]);
    any |= defined;
    std::fill_n(parts.begin() + static_cast<std::ptrdiff_t>(k) * each, each, defined);
  }
  if ((any & lanes) != 0) w.parts.set(i.v(0).index, lanes, parts);
}

/// {a, b, ...} -> d: the first element is the least significant.
Outcome pack(Warp& w, Instr const& i, Mask m) {
  std::vector<Value> const& parts = i.ops[1].elements;
  Value const& to = i.v(0);
  int const width = to.bits / static_cast<int>(parts.size());
  if (to.bits == 128) {
    Bits128* const out = w.d128(to);
    for_lanes(m, [&](int lane) {
      Bits128 value;
      for (std::size_t k = 0; k < parts.size(); ++k) {
        int const at = static_cast<int>(k) * width;
        u64 const bits = w.lane_of(parts[k], lane);
        (at < 64 ? value.lo : value.hi) |= bits << (at % 64);
      }
      out[lane] = value;
    });
  } else if (to.bits == 64 && parts.size() == 2) {
    u32 const* const low = w.s32(parts[0]);
    u32 const* const high = w.s32(parts[1]);
    u64* const out = w.d64(to);
    for_lanes(m, [&](int lane) { out[lane] = low[lane] | (u64{high[lane]} << 32); });
  } else if (to.bits == 32 && parts.size() == 2) {
    u32 const* const low = w.s32(parts[0]);
    u32 const* const high = w.s32(parts[1]);
    u32* const out = w.d32(to);
    for_lanes(m, [&](int lane) { out[lane] = (low[lane] & 0xffff) | (high[lane] << 16); });
  } else {
    for_lanes(m, [&](int lane) {
      u64 value = 0;
      for (std::size_t k = 0; k < parts.size(); ++k) {
        value |= (w.lane_of(parts[k], lane) & ((u64{1} << width) - 1)) << (static_cast<int>(k) * width);
      }
      w.set_lane(to, lane, value);
    });
  }
  w.propagate(i, m);
  if (w.check) remember_parts(w, i, m, width);
  return Outcome::kNext;
}

Outcome unpack(Warp& w, Instr const& i, Mask m) {
  std::vector<Value> const& parts = i.ops[0].elements;
  Value const& from = i.v(1);
  int const width = from.bits / static_cast<int>(parts.size());
  for_lanes(m, [&](int lane) {
    Bits128 value;
    if (from.bits == 128) {
      value = w.s128(from)[lane];
    } else {
      value.lo = w.lane_of(from, lane);
    }
    for (std::size_t k = 0; k < parts.size(); ++k) {
      if (parts[k].is_sink()) continue;
      int const at = static_cast<int>(k) * width;
      u64 const bits = (at < 64 ? value.lo : value.hi) >> (at % 64);
      w.set_lane(parts[k], lane, width == 64 ? bits : bits & ((u64{1} << width) - 1));
    }
  });
  w.propagate(i, m);
  if (w.check && !w.parts.empty() && width % 16 == 0) {
    Mask const poison = w.poison_of(from);
    for (std::size_t part = 0; part < parts.size(); ++part) {
      Mask const defined = w.parts.defined(from.index, static_cast<int>(part) * width / 16, width / 16);
      w.set_poison(parts[part], m, poison & ~defined);
    }
  }
  return Outcome::kNext;
}

Outcome read_clock(Warp& w, Instr const& i, Mask m) {
  u64 value = 0;
  u64 const clock = w.cta->cluster->clock * 4;  // a plausible count of cycles, the same in every run
  switch (static_cast<Special>(i.ops[1].special)) {
    case Special::kClock: value = static_cast<u32>(clock); break;
    case Special::kClockHi: value = clock >> 32; break;
    case Special::kClock64: value = clock; break;
    case Special::kGlobaltimer:
    case Special::kGlobaltimerLo:
    case Special::kGlobaltimerHi: {
      u64 const ns = clock / 2 + 1'000'000'000;
      value = static_cast<Special>(i.ops[1].special) == Special::kGlobaltimerHi   ? ns >> 32
              : static_cast<Special>(i.ops[1].special) == Special::kGlobaltimerLo ? static_cast<u32>(ns)
                                                                                  : ns;
      break;
    }
    default: fail(w, i, -1, "a special register that is not modelled");
  }
  for_lanes(m, [&](int lane) { w.set_lane(i.v(0), lane, value); });
  if (w.check) w.set_poison(i.v(0), m, 0);
  return Outcome::kNext;
}

Exec bind_mov(Instr& i, BindContext const&) {
  Operand const& to = i.ops[0];
  Operand const& from = i.ops[1];
  int const bits = i.choice[0] == 0 ? 1 : 0;
  if (from.special != 0) return &read_clock;
  if (to.kind == Operand::Kind::kVector && from.kind == Operand::Kind::kVector)
    throw unsupported(i, "both sides are vectors");
  auto const check_parts = [&](Operand const& vector, int whole) {
    int total = 0;
    for (Value const& part : vector.elements) {
      int const width = whole / static_cast<int>(vector.elements.size());
      if (!part.is_sink() && !part.is_constant() && part.bits != width) {
        throw unsupported(i, fmt::format("an element of {} bits where {} are needed", int{part.bits}, width));
      }
      total += width;
    }
    if (total != whole || vector.elements.size() < 2 || vector.elements.size() > 4)
      throw unsupported(i, "the elements do not make up the whole");
  };
  if (to.kind == Operand::Kind::kVector) {
    check_parts(to, from.value.bits);
    return &unpack;
  }
  if (from.kind == Operand::Kind::kVector) {
    check_parts(from, to.value.bits);
    return &pack;
  }
  if (bits == 1) return &mov_predicate;
  switch (to.value.bits) {
    case 64: return &mov64;
    case 128: return &mov128;
    default: return &mov32;
  }
}

u64 window_base(Instr const& i) {
  if (i.has(".shared") || i.has(".shared::cta") || i.has(".shared::cluster")) return kSharedWindow;
  if (i.has(".local")) return kLocalWindow;
  if (i.has(".param") || i.has(".param::entry")) return kParamWindow;
  return 0;
}

/// aux: the window's base. Shared addresses are 32 bits wide whatever the register.
Outcome to_generic(Warp& w, Instr const& i, Mask m) {
  u64 const base = u64{i.aux[0]} | (u64{i.aux[1]} << 32);
  u64 const* const from = w.s64(i.v(1));
  u64* const to = w.d64(i.v(0));
  for_lanes(m, [&](int lane) { to[lane] = from[lane] + base; });
  w.propagate(i, m);
  return Outcome::kNext;
}
Outcome from_generic(Warp& w, Instr const& i, Mask m) {
  u64 const base = u64{i.aux[0]} | (u64{i.aux[1]} << 32);
  u64 const* const from = w.s64(i.v(1));
  u64* const to = w.d64(i.v(0));
  for_lanes(m, [&](int lane) { to[lane] = from[lane] - base; });
  w.propagate(i, m);
  return Outcome::kNext;
}

template <bool kTo>
Exec bind_cvta(Instr& i, BindContext const&) {
  u64 const base = window_base(i);
  i.aux[0] = static_cast<u32>(base);
  i.aux[1] = static_cast<u32>(base >> 32);
  return kTo ? &from_generic : &to_generic;
}

Outcome isspacep(Warp& w, Instr const& i, Mask m) {
  u64 const base = u64{i.aux[0]} | (u64{i.aux[1]} << 32);
  Mask result = 0;
  for_lanes(m, [&](int lane) {
    Space const space = space_of(w.lane_of(i.v(1), lane));
    bool const is = base == kSharedWindow  ? space == Space::kShared
                    : base == kLocalWindow ? space == Space::kLocal
                    : base == kParamWindow ? space == Space::kParam
                                           : space == Space::kGlobal;
    if (is) result |= Mask{1} << lane;
  });
  w.set_predicate(i.v(0), m, result);
  w.propagate(i, m);
  return Outcome::kNext;
}

constexpr Row kRows[] = {
    {.pattern = "mov .pred", .operands = "d1, s1", .section = "9.7.9 mov", .exec = &mov_predicate},
    {.pattern = "mov (.b16|.u16|.s16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64|.b128)",
     .operands = "dT, sT",
     .section = "9.7.9 mov",
     .bind = [](Instr& i, BindContext const& c) -> Exec {
       i.choice[0] = 1;
       return bind_mov(i, c);
     }},
    {.pattern = "mov (.b16|.b32|.b64|.b128)",
     .operands = "x, x",
     .section = "9.7.9 mov (pack, unpack)",
     .bind = [](Instr& i, BindContext const& c) -> Exec {
       if (i.ops[0].kind != Operand::Kind::kVector && i.ops[1].kind != Operand::Kind::kVector) {
         throw unsupported(i, "the registers are not as wide as the type");
       }
       for (Operand const& operand : i.ops) {
         if (operand.kind != Operand::Kind::kVector && operand.kind != Operand::Kind::kValue)
           throw unsupported(i, "not a value");
       }
       i.choice[0] = 1;
       return bind_mov(i, c);
     }},
    {.pattern =
         "cvta (.const|.global|.local|.shared|.shared::cta|.shared::cluster|.param|.param::entry) .u64",
     .operands = "d64, s64",
     .section = "9.7.9 cvta",
     .bind = &bind_cvta<false>},
    {.pattern =
         "cvta .to (.const|.global|.local|.shared|.shared::cta|.shared::cluster|.param|.param::entry) .u64",
     .operands = "d64, s64",
     .section = "9.7.9 cvta",
     .bind = &bind_cvta<true>},
    {.pattern = "isspacep (.const|.global|.local|.shared|.shared::cta|.shared::cluster|.param|.param::entry)",
     .operands = "d1, si*",
     .section = "9.7.9 isspacep",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (i.has(".const")) throw unsupported(i, "constant memory is not told apart from global memory");
       if (i.v(1).bits != 32 && i.v(1).bits != 64) throw unsupported(i, "an address has 32 or 64 bits");
       u64 const base = window_base(i);
       i.aux[0] = static_cast<u32>(base);
       i.aux[1] = static_cast<u32>(base >> 32);
       return &isspacep;
     }},
};

}  // namespace

std::span<Row const> move_rows() { return kRows; }

}  // namespace deepwell::emu

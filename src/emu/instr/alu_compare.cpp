// Instruction family: comparison and selection (PTX ISA 9.7.6): setp, set, selp, slct.
#include <cmath>

#include "emu/instr/lanes.hpp"

namespace deepwell::emu {
namespace {

enum class Compare : u32 { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };

template <class T>
T flushed(T value) {
  if constexpr (std::is_same_v<T, float>) {
    u32 const bits = std::bit_cast<u32>(value);
    if ((bits & 0x7f800000u) == 0) return std::bit_cast<float>(bits & 0x80000000u);
  }
  return value;
}

template <class T, Compare kHow>
bool holds(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    bool const unordered = std::isnan(a) || std::isnan(b);
    switch (kHow) {
      case Compare::kEq: return a == b;
      case Compare::kNe: return !unordered && a != b;
      case Compare::kLt: return a < b;
      case Compare::kLe: return a <= b;
      case Compare::kGt: return a > b;
      case Compare::kGe: return a >= b;
      case Compare::kEqu: return unordered || a == b;
      case Compare::kNeu: return unordered || a != b;
      case Compare::kLtu: return unordered || a < b;
      case Compare::kLeu: return unordered || a <= b;
      case Compare::kGtu: return unordered || a > b;
      case Compare::kGeu: return unordered || a >= b;
      case Compare::kNum: return !unordered;
      case Compare::kNan: return unordered;
    }
  } else {
    switch (kHow) {
      case Compare::kEq: return a == b;
      case Compare::kNe: return a != b;
      case Compare::kLt: return a < b;
      case Compare::kLe: return a <= b;
      case Compare::kGt: return a > b;
      case Compare::kGe: return a >= b;
      default: break;
    }
  }
  return false;
}

/// The mask of lanes for which the comparison holds, all 32 computed.
template <class T, Compare kHow, bool kFlush>
Mask compared(Warp& w, Value const& a, Value const& b) {
  auto const* const x = source<T>(w, a);
  auto const* const y = source<T>(w, b);
  u32 flags[kLanes];
  DW_LANES_INDEPENDENT
  for (int lane = 0; lane < kLanes; ++lane) {
    T p = from_storage<T>(x[lane]), q = from_storage<T>(y[lane]);
    if constexpr (kFlush) {
      p = flushed(p);
      q = flushed(q);
    }
    flags[lane] = static_cast<u32>(holds<T, kHow>(p, q)) << lane;
  }
  Mask out = 0;
  for (u32 const flag : flags) out |= flag;
  return out;
}

using Comparison = Mask (*)(Warp&, Value const&, Value const&);

template <class T, bool kFlush>
constexpr Comparison kComparisons[] = {
    &compared<T, Compare::kEq, kFlush>,  &compared<T, Compare::kNe, kFlush>,
    &compared<T, Compare::kLt, kFlush>,  &compared<T, Compare::kLe, kFlush>,
    &compared<T, Compare::kGt, kFlush>,  &compared<T, Compare::kGe, kFlush>,
    &compared<T, Compare::kEqu, kFlush>, &compared<T, Compare::kNeu, kFlush>,
    &compared<T, Compare::kLtu, kFlush>, &compared<T, Compare::kLeu, kFlush>,
    &compared<T, Compare::kGtu, kFlush>, &compared<T, Compare::kGeu, kFlush>,
    &compared<T, Compare::kNum, kFlush>, &compared<T, Compare::kNan, kFlush>};

enum class Type : u32 { kU16, kS16, kU32, kS32, kU64, kS64, kF32, kF64, kF32Flush };

Comparison comparison(u32 type, u32 how) {
  switch (static_cast<Type>(type)) {
    case Type::kU16: return kComparisons<u16, false>[how];
    case Type::kS16: return kComparisons<i16, false>[how];
    case Type::kU32: return kComparisons<u32, false>[how];
    case Type::kS32: return kComparisons<i32, false>[how];
    case Type::kU64: return kComparisons<u64, false>[how];
    case Type::kS64: return kComparisons<i64, false>[how];
    case Type::kF32: return kComparisons<float, false>[how];
    case Type::kF64: return kComparisons<double, false>[how];
    case Type::kF32Flush: return kComparisons<float, true>[how];
  }
  return nullptr;
}

u32 type_of(Instr const& i, std::string_view type) {
  if (type == ".u16" || type == ".b16") return static_cast<u32>(Type::kU16);
  if (type == ".s16") return static_cast<u32>(Type::kS16);
  if (type == ".u32" || type == ".b32") return static_cast<u32>(Type::kU32);
  if (type == ".s32") return static_cast<u32>(Type::kS32);
  if (type == ".u64" || type == ".b64") return static_cast<u32>(Type::kU64);
  if (type == ".s64") return static_cast<u32>(Type::kS64);
  if (type == ".f64") return static_cast<u32>(Type::kF64);
  return static_cast<u32>(i.has(".ftz") ? Type::kF32Flush : Type::kF32);
}

#define DW_COMPARE "(.eq|.ne|.lt|.le|.gt|.ge|.lo|.ls|.hi|.hs|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)"
constexpr Compare kByName[] = {Compare::kEq,  Compare::kNe,  Compare::kLt,  Compare::kLe,  Compare::kGt,
                               Compare::kGe,  Compare::kLt,  Compare::kLe,  Compare::kGt,  Compare::kGe,
                               Compare::kEqu, Compare::kNeu, Compare::kLtu, Compare::kLeu, Compare::kGtu,
                               Compare::kGeu, Compare::kNum, Compare::kNan};

void check_compare(Instr const& i, std::string_view type) {
  int const c = i.choice[0];
  bool const is_float = type == ".f32" || type == ".f64";
  if (c >= 6 && c <= 9 && type[1] != 'u')
    throw unsupported(i, ".lo, .ls, .hi and .hs compare unsigned numbers");
  if (c >= 10 && !is_float) throw unsupported(i, "this comparison is for floating-point numbers");
  if (type[1] == 'b' && c > 1) throw unsupported(i, "bit types compare by .eq and .ne alone");
}

enum class Combine : u32 { kNone, kAnd, kOr, kXor };
Mask combined(Combine how, Mask value, Mask other) {
  switch (how) {
    case Combine::kAnd: return value & other;
    case Combine::kOr: return value | other;
    case Combine::kXor: return value ^ other;
    default: return value;
  }
}

/// Second predicate: the negated comparison, combined likewise. aux[0]: Type, aux[1]: Compare, aux[2]: Combine.
template <bool kPair, bool kCombine>
Outcome setp(Warp& w, Instr const& i, Mask mask) {
  Mask const result = comparison(i.aux[0], i.aux[1])(w, i.v(1), i.v(2));
  auto const how = static_cast<Combine>(i.aux[2]);
  Mask const other = kCombine ? w.predicate(i.v(3)) : 0;
  Mask lanes = w.poison_of(i.v(1)) | w.poison_of(i.v(2));
  if constexpr (kCombine) lanes |= w.poison_of(i.v(3));
  w.set_predicate(i.v(0), mask, kCombine ? combined(how, result, other) : result);
  if constexpr (kPair)
    w.set_predicate(i.ops[0].second, mask, kCombine ? combined(how, ~result, other) : ~result);
  if (w.check) {
    w.set_poison(i.v(0), mask, lanes);
    if constexpr (kPair) w.set_poison(i.ops[0].second, mask, lanes);
  }
  return Outcome::kNext;
}

Exec bind_setp(Instr& i, BindContext const&) {
  std::string const& type = i.info->parts.back();
  check_compare(i, type);
  if (i.has(".ftz") && type != ".f32") throw unsupported(i, ".ftz without an f32");
  i.aux[0] = type_of(i, type);
  i.aux[1] = static_cast<u32>(kByName[i.choice[0]]);
  i.aux[2] = static_cast<u32>(i.choice[1] + 1);
  bool const pair = i.ops[0].kind == Operand::Kind::kPair;
  bool const combine = i.choice[1] >= 0;
  if (combine != (i.ops.size() == 4)) throw unsupported(i, ".and, .or and .xor go with a predicate operand");
  if (pair) return combine ? &setp<true, true> : &setp<true, false>;
  return combine ? &setp<false, true> : &setp<false, false>;
}

/// aux as for setp; aux[3]: value where the comparison holds (all ones or 1.0 of its type).
Outcome set(Warp& w, Instr const& i, Mask mask) {
  Mask result = comparison(i.aux[0], i.aux[1])(w, i.v(1), i.v(2));
  if (i.ops.size() == 4) result = combined(static_cast<Combine>(i.aux[2]), result, w.predicate(i.v(3)));
  u32* const out = w.d32(i.v(0));
  for_lanes(mask, [&](int lane) { out[lane] = (result >> lane) & 1 ? i.aux[3] : 0; });
  w.propagate(i, mask);
  return Outcome::kNext;
}

Exec bind_set(Instr& i, BindContext const&) {
  std::string const& type = i.info->parts.back();
  check_compare(i, type);
  if (i.has(".ftz") && type != ".f32") throw unsupported(i, ".ftz without an f32");
  i.aux[0] = type_of(i, type);
  i.aux[1] = static_cast<u32>(kByName[i.choice[0]]);
  i.aux[2] = static_cast<u32>(i.choice[1] + 1);
  std::string const& target = i.info->parts[i.info->parts.size() - 2];
  i.aux[3] = target == ".f32" ? 0x3f800000u : target == ".f16" ? 0x3c00u : target == ".bf16" ? 0x3f80u : ~0u;
  if ((i.choice[1] >= 0) != (i.ops.size() == 4))
    throw unsupported(i, ".and, .or and .xor go with a predicate operand");
  return &set;
}

template <class T>
Outcome selp(Warp& w, Instr const& i, Mask mask) {
  auto const* const a = source<T>(w, i.v(1));
  auto const* const b = source<T>(w, i.v(2));
  auto* const out = destination<T>(w, i.v(0));
  Mask const which = w.predicate(i.v(3));
  for_lanes(mask, [&](int lane) { out[lane] = (which >> lane) & 1 ? a[lane] : b[lane]; });
  if (w.check) {
    // Only the chosen side counts.
    Mask const lanes = (which & w.poison_of(i.v(1))) | (~which & w.poison_of(i.v(2))) | w.poison_of(i.v(3));
    w.set_poison(i.v(0), mask, lanes);
  }
  return Outcome::kNext;
}

template <class T, class C, bool kFlush>
Outcome slct(Warp& w, Instr const& i, Mask mask) {
  return alu<[](T a, T b, C c) -> T { return (kFlush ? flushed(c) : c) >= 0 ? a : b; }>(w, i, mask);
}

constexpr Row kRows[] = {
    {.pattern = "setp " DW_COMPARE
                " [.and|.or|.xor] [.ftz] (.b16|.u16|.s16|.b32|.u32|.s32|.b64|.u64|.s64|.f32|.f64)",
     .operands = "d1|1, sT, sT, ?s1",
     .section = "9.7.6 setp",
     .bind = &bind_setp},
    {.pattern = "set " DW_COMPARE " [.and|.or|.xor] [.ftz] (.u32|.s32|.f32) "
                "(.b16|.u16|.s16|.b32|.u32|.s32|.b64|.u64|.s64|.f32|.f64)",
     .operands = "dU, sT, sT, ?s1",
     .section = "9.7.6 set",
     .bind = &bind_set},
    {.pattern = "set " DW_COMPARE
                " [.and|.or|.xor] [.ftz] .f16 (.b16|.u16|.s16|.b32|.u32|.s32|.b64|.u64|.s64|.f32|.f64)",
     .operands = "dU, sT, sT, ?s1",
     .section = "9.7.6 set",
     .bind = &bind_set},
    {.pattern =
         "set " DW_COMPARE " [.and|.or|.xor] .bf16 (.b16|.u16|.s16|.b32|.u32|.s32|.b64|.u64|.s64|.f32|.f64)",
     .operands = "dU, sT, sT, ?s1",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.6 set",
     .bind = &bind_set},
    {.pattern = "selp (.b16|.u16|.s16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64)",
     .operands = "dT, sT, sT, s1",
     .section = "9.7.6 selp",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       return i.v(0).bits == 64 ? &selp<u64> : &selp<u32>;
     }},
    {.pattern = "slct [.ftz] (.b16|.u16|.s16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64) (.s32|.f32)",
     .operands = "dU, sU, sU, sT",
     .section = "9.7.6 slct",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       bool const wide = i.v(0).bits == 64;
       bool const flushes = i.has(".ftz");
       if (i.info->parts.back() == ".s32") {
         if (flushes) throw unsupported(i, ".ftz without an f32");
         return wide ? &slct<u64, i32, false> : &slct<u32, i32, false>;
       }
       if (flushes) return wide ? &slct<u64, float, true> : &slct<u32, float, true>;
       return wide ? &slct<u64, float, false> : &slct<u32, float, false>;
     }},
};

}  // namespace

std::span<Row const> alu_compare_rows() { return kRows; }

}  // namespace deepwell::emu

// Instruction family: f16, bf16 and their packed pairs (PTX ISA 9.7.4; comparison 9.7.7).
#include <cmath>

#include "emu/instr/lanes.hpp"
#include "num/arithmetic.hpp"

namespace deepwell::emu {
namespace {

enum class Op : u32 { kAdd, kSub, kMul, kFma, kNeg, kAbs, kMin, kMax, kEx2, kTanh };

struct How {
  Op op;
  num::Format format;
  num::ArithmeticOptions options;
  bool nan, xorsign;
};

bool is_nan(num::Format format, u32 code) {
  u32 const top = format == num::Format::kF16 ? 0x7c00u : 0x7f80u;
  return (code & 0x7fff) > top;
}

u32 extreme(How const& how, u32 a, u32 b) {
  u32 const sign = (a ^ b) & 0x8000;
  if (how.xorsign) {
    a &= 0x7fff;
    b &= 0x7fff;
  }
  bool const nan_a = is_nan(how.format, a), nan_b = is_nan(how.format, b);
  if (nan_a && nan_b) return num::kCanonicalNan16;
  if (nan_a || nan_b) {
    if (how.nan) return num::kCanonicalNan16;
    u32 const other = nan_a ? b : a;
    return how.xorsign ? (other & 0x7fff) | sign : other;
  }
  // Ordered by sign and magnitude, so that -0 is below +0.
  auto const rank = [](u32 code) {
    return (code & 0x8000) != 0 ? -static_cast<i32>(code & 0x7fff) - 1 : static_cast<i32>(code);
  };
  bool const first = how.op == Op::kMin ? rank(a) <= rank(b) : rank(a) >= rank(b);
  u32 const chosen = first ? a : b;
  return how.xorsign ? (chosen & 0x7fff) | sign : chosen;
}

u32 element(How const& how, u32 a, u32 b, u32 c) {
  switch (how.op) {
    case Op::kAdd: return num::add(how.format, a, b, how.options);
    case Op::kSub: return num::sub(how.format, a, b, how.options);
    case Op::kMul: return num::mul(how.format, a, b, how.options);
    case Op::kFma: return num::fma(how.format, a, b, c, how.options);
    default: break;
  }
  if (how.options.ftz) {
    a = num::flush_subnormal(how.format, a);
    b = num::flush_subnormal(how.format, b);
  }
  switch (how.op) {
    case Op::kNeg: return std::isnan(num::decode(how.format, a)) ? 0x7fff : a ^ 0x8000;
    case Op::kAbs: return std::isnan(num::decode(how.format, a)) ? 0x7fff : a & 0x7fff;
    case Op::kMin:
    case Op::kMax: return extreme(how, a, b);
    case Op::kEx2:
    case Op::kTanh: {
      double const x = num::decode(how.format, a);
      u32 const out = num::encode(how.format, how.op == Op::kEx2 ? std::exp2(x) : std::tanh(x));
      return how.options.ftz ? num::flush_subnormal(how.format, out) : out;
    }
    default: return 0;
  }
}

/// aux: Op, format, packed, ftz, sat, relu, NaN, xorsign.
Outcome half(Warp& w, Instr const& i, Mask mask) {
  How const how{static_cast<Op>(i.aux[0]),
                static_cast<num::Format>(i.aux[1]),
                {.ftz = i.aux[3] != 0, .sat = i.aux[4] != 0, .relu = i.aux[5] != 0},
                i.aux[6] != 0,
                i.aux[7] != 0};
  bool const packed = i.aux[2] != 0;
  std::size_t const count = i.ops.size() - 1;
  u32 const* const a = w.s32(i.v(1));
  u32 const* const b = count > 1 ? w.s32(i.v(2)) : a;
  u32 const* const c = count > 2 ? w.s32(i.v(3)) : a;
  u32* const out = w.d32(i.v(0));
  for_lanes(mask, [&](int lane) {
    u32 const low = element(how, a[lane] & 0xffff, b[lane] & 0xffff, c[lane] & 0xffff);
    out[lane] = packed ? low | (element(how, a[lane] >> 16, b[lane] >> 16, c[lane] >> 16) << 16) : low;
  });
  w.propagate(i, mask);
  return Outcome::kNext;
}

num::Format format_of(Instr const& i) {
  return i.info->parts.back().substr(0, 5) == ".bf16" ? num::Format::kBf16 : num::Format::kF16;
}

template <Op kOp>
Exec bind(Instr& i, BindContext const&) {
  std::string const& type = i.info->parts.back();
  i.aux[0] = static_cast<u32>(kOp);
  i.aux[1] = static_cast<u32>(format_of(i));
  i.aux[2] = type == ".f16x2" || type == ".bf16x2";
  i.aux[3] = i.has(".ftz");
  i.aux[4] = i.has(".sat");
  i.aux[5] = i.has(".relu");
  i.aux[6] = i.has(".NaN");
  i.aux[7] = i.has(".xorsign");
  if (i.has(".abs") != i.has(".xorsign") && (kOp == Op::kMin || kOp == Op::kMax))
    throw unsupported(i, ".xorsign and .abs go together");
  return &half;
}

// ---- comparison ----------------------------------------------------------------------------------------------------

bool compared(int how, float a, float b) {
  bool const unordered = std::isnan(a) || std::isnan(b);
  switch (how) {
    case 0: return a == b;
    case 1: return !unordered && a != b;
    case 2: return a < b;
    case 3: return a <= b;
    case 4: return a > b;
    case 5: return a >= b;
    case 6: return unordered || a == b;
    case 7: return unordered || a != b;
    case 8: return unordered || a < b;
    case 9: return unordered || a <= b;
    case 10: return unordered || a > b;
    case 11: return unordered || a >= b;
    case 12: return !unordered;
    default: return unordered;
  }
}

struct Flags {
  Mask low = 0, high = 0;
};
Flags compare_lanes(Warp& w, Instr const& i, Mask mask) {
  auto const format = static_cast<num::Format>(i.aux[1]);
  u32 const* const a = w.s32(i.v(1));
  u32 const* const b = w.s32(i.v(2));
  bool const flush = i.aux[3] != 0;
  auto const value = [&](u32 code) {
    return num::decode_f32(format, flush ? num::flush_subnormal(format, code) : code);
  };
  Flags out;
  for_lanes(mask, [&](int lane) {
    if (compared(i.choice[0], value(a[lane] & 0xffff), value(b[lane] & 0xffff))) out.low |= Mask{1} << lane;
    if (compared(i.choice[0], value(a[lane] >> 16), value(b[lane] >> 16))) out.high |= Mask{1} << lane;
  });
  return out;
}

Mask combined(int how, Mask value, Mask other) {
  return how == 0 ? value & other : how == 1 ? value | other : how == 2 ? value ^ other : value;
}

/// The second predicate is the upper half's.
Outcome setp(Warp& w, Instr const& i, Mask mask) {
  Flags const flags = compare_lanes(w, i, mask);
  Mask const other = i.ops.size() == 4 ? w.predicate(i.v(3)) : 0;
  bool const pair = i.ops[0].kind == Operand::Kind::kPair;
  w.set_predicate(i.v(0), mask, combined(i.choice[1], flags.low, other));
  if (pair) w.set_predicate(i.ops[0].second, mask, combined(i.choice[1], flags.high, other));
  w.propagate(i, mask);
  return Outcome::kNext;
}

/// set: 1.0 or 0.0 in each half, or all ones.
Outcome set(Warp& w, Instr const& i, Mask mask) {
  Flags flags = compare_lanes(w, i, mask);
  if (i.ops.size() == 4) {
    Mask const other = w.predicate(i.v(3));
    flags = {combined(i.choice[1], flags.low, other), combined(i.choice[1], flags.high, other)};
  }
  u32 const one = i.aux[4];
  u32* const out = w.d32(i.v(0));
  for_lanes(mask, [&](int lane) {
    u32 const low = (flags.low >> lane) & 1 ? one : 0;
    out[lane] = i.aux[2] != 0 ? (low & 0xffff) | ((flags.high >> lane) & 1 ? one << 16 : 0) : low;
  });
  w.propagate(i, mask);
  return Outcome::kNext;
}

#define DW_COMPARE "(.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)"

Exec bind_compare(Instr& i, BindContext const&) {
  std::string const& type = i.info->parts.back();
  i.aux[1] = static_cast<u32>(format_of(i));
  i.aux[2] = type == ".f16x2" || type == ".bf16x2";
  i.aux[3] = i.has(".ftz");
  if ((i.choice[1] >= 0) != (i.ops.size() == 4))
    throw unsupported(i, ".and, .or and .xor go with a predicate operand");
  if (i.aux[2] == 0 && i.ops[0].kind == Operand::Kind::kPair)
    throw unsupported(i, "a second predicate is for a pair's upper half");
  return &setp;
}
Exec bind_set(Instr& i, BindContext const& context) {
  bind_compare(i, context);
  std::string const& target = i.info->parts[i.info->parts.size() - 2];
  bool const is_float = target[1] == 'f' || target[1] == 'b';
  bool const wide = i.aux[2] == 0 && (target == ".u32" || target == ".s32");
  i.aux[4] = wide ? ~0u : !is_float ? 0xffffu : target[1] == 'f' ? 0x3c00u : 0x3f80u;
  return &set;
}

constexpr Row kRows[] = {
    {.pattern = "add [.rn] [.ftz] [.sat] (.f16|.f16x2)",
     .operands = "dT, sT, sT",
     .section = "9.7.4 add",
     .bind = &bind<Op::kAdd>},
    {.pattern = "add [.rn] (.bf16|.bf16x2)",
     .operands = "dT, sT, sT",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.4 add",
     .bind = &bind<Op::kAdd>},
    {.pattern = "sub [.rn] [.ftz] [.sat] (.f16|.f16x2)",
     .operands = "dT, sT, sT",
     .section = "9.7.4 sub",
     .bind = &bind<Op::kSub>},
    {.pattern = "sub [.rn] (.bf16|.bf16x2)",
     .operands = "dT, sT, sT",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.4 sub",
     .bind = &bind<Op::kSub>},
    {.pattern = "mul [.rn] [.ftz] [.sat] (.f16|.f16x2)",
     .operands = "dT, sT, sT",
     .section = "9.7.4 mul",
     .bind = &bind<Op::kMul>},
    {.pattern = "mul [.rn] (.bf16|.bf16x2)",
     .operands = "dT, sT, sT",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.4 mul",
     .bind = &bind<Op::kMul>},
    {.pattern = "fma .rn [.ftz] [.sat] (.f16|.f16x2)",
     .operands = "dT, sT, sT, sT",
     .section = "9.7.4 fma",
     .bind = &bind<Op::kFma>},
    {.pattern = "fma .rn [.ftz] .relu (.f16|.f16x2)",
     .operands = "dT, sT, sT, sT",
     .ptx = 70,
     .section = "9.7.4 fma",
     .bind = &bind<Op::kFma>},
    {.pattern = "fma .rn [.relu] (.bf16|.bf16x2)",
     .operands = "dT, sT, sT, sT",
     .ptx = 70,
     .section = "9.7.4 fma",
     .bind = &bind<Op::kFma>},
    {.pattern = "neg [.ftz] (.f16|.f16x2)",
     .operands = "dT, sT",
     .ptx = 60,
     .section = "9.7.4 neg",
     .bind = &bind<Op::kNeg>},
    {.pattern = "neg (.bf16|.bf16x2)",
     .operands = "dT, sT",
     .ptx = 70,
     .section = "9.7.4 neg",
     .bind = &bind<Op::kNeg>},
    {.pattern = "abs [.ftz] (.f16|.f16x2)",
     .operands = "dT, sT",
     .ptx = 65,
     .section = "9.7.4 abs",
     .bind = &bind<Op::kAbs>},
    {.pattern = "abs (.bf16|.bf16x2)",
     .operands = "dT, sT",
     .ptx = 70,
     .section = "9.7.4 abs",
     .bind = &bind<Op::kAbs>},
    {.pattern = "min [.ftz] [.NaN] [.xorsign] [.abs] (.f16|.f16x2)",
     .operands = "dT, sT, sT",
     .ptx = 70,
     .section = "9.7.4 min",
     .bind = &bind<Op::kMin>},
    {.pattern = "min [.NaN] [.xorsign] [.abs] (.bf16|.bf16x2)",
     .operands = "dT, sT, sT",
     .ptx = 70,
     .section = "9.7.4 min",
     .bind = &bind<Op::kMin>},
    {.pattern = "max [.ftz] [.NaN] [.xorsign] [.abs] (.f16|.f16x2)",
     .operands = "dT, sT, sT",
     .ptx = 70,
     .section = "9.7.4 max",
     .bind = &bind<Op::kMax>},
    {.pattern = "max [.NaN] [.xorsign] [.abs] (.bf16|.bf16x2)",
     .operands = "dT, sT, sT",
     .ptx = 70,
     .section = "9.7.4 max",
     .bind = &bind<Op::kMax>},
    {.pattern = "ex2 .approx (.f16|.f16x2)",
     .operands = "dT, sT",
     .ptx = 70,
     .section = "9.7.4 ex2",
     .bind = &bind<Op::kEx2>,
     .note = "rounded to nearest; the manual allows 2^-9.9 relative"},
    {.pattern = "ex2 .approx .ftz (.bf16|.bf16x2)",
     .operands = "dT, sT",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.4 ex2",
     .bind = &bind<Op::kEx2>,
     .note = "rounded to nearest; the manual allows 2^-7 relative"},
    {.pattern = "tanh .approx (.f16|.f16x2)",
     .operands = "dT, sT",
     .ptx = 70,
     .section = "9.7.4 tanh",
     .bind = &bind<Op::kTanh>,
     .note = "rounded to nearest; the manual allows 2^-10.987 absolute"},
    {.pattern = "tanh .approx (.bf16|.bf16x2)",
     .operands = "dT, sT",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.4 tanh",
     .bind = &bind<Op::kTanh>,
     .note = "rounded to nearest; the manual allows 2^-8 absolute"},
    {.pattern = "setp " DW_COMPARE " [.and|.or|.xor] [.ftz] (.f16|.f16x2)",
     .operands = "d1|1, sT, sT, ?s1",
     .section = "9.7.7 setp",
     .bind = &bind_compare},
    {.pattern = "setp " DW_COMPARE " [.and|.or|.xor] (.bf16|.bf16x2)",
     .operands = "d1|1, sT, sT, ?s1",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.7 setp",
     .bind = &bind_compare},
    {.pattern = "set " DW_COMPARE " [.and|.or|.xor] [.ftz] (.f16|.u16|.s16|.u32|.s32) .f16",
     .operands = "dU, sT, sT, ?s1",
     .section = "9.7.7 set",
     .bind = &bind_set},
    {.pattern = "set " DW_COMPARE " [.and|.or|.xor] .bf16 .f16",
     .operands = "dU, sT, sT, ?s1",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.7 set",
     .bind = &bind_set},
    {.pattern = "set " DW_COMPARE " [.and|.or|.xor] [.ftz] (.f16x2|.u32|.s32) .f16x2",
     .operands = "dU, sT, sT, ?s1",
     .section = "9.7.7 set",
     .bind = &bind_set},
    {.pattern = "set " DW_COMPARE " [.and|.or|.xor] (.bf16|.u16|.s16|.u32|.s32) .bf16",
     .operands = "dU, sT, sT, ?s1",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.7 set",
     .bind = &bind_set},
    {.pattern = "set " DW_COMPARE " [.and|.or|.xor] (.bf16x2|.u32|.s32) .bf16x2",
     .operands = "dU, sT, sT, ?s1",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.7 set",
     .bind = &bind_set},
};

}  // namespace

std::span<Row const> alu_half_rows() { return kRows; }

}  // namespace deepwell::emu

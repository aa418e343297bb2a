// Instruction family: logic, shifts, bit fields, byte permutes (PTX ISA 9.7.8, 9.7.1, 9.7.9 prmt).
#include <bit>

#include "emu/instr/lanes.hpp"

namespace deepwell::emu {
namespace {

template <class T>
T reversed(T value) {
  T out = 0;
  for (unsigned k = 0; k < 8 * sizeof(T); ++k) out = static_cast<T>((out << 1) | ((value >> k) & 1));
  return out;
}

/// Position of the highest bit that differs from the sign (of a signed number), or that is set.
template <class T, bool kShiftAmount>
u32 found_bit(T value) {
  std::make_unsigned_t<T> bits = static_cast<std::make_unsigned_t<T>>(value);
  if constexpr (std::is_signed_v<T>) {
    if (value < 0) bits = ~bits;
  }
  constexpr u32 kBits = 8 * sizeof(T);
  if (bits == 0) return 0xffffffffu;
  u32 const zeros = static_cast<u32>(std::countl_zero(bits));
  return kShiftAmount ? zeros : kBits - 1 - zeros;
}

/// The 32-bit forms take position and length from the low 8 bits, the 64-bit ones from all 32, as measured on SM 9.0.
template <class T>
T extracted(T value, u32 position, u32 length) {
  constexpr u32 kBits = 8 * sizeof(T);
  u32 const used = kBits == 32 ? 0xff : 0xffffffffu;
  u64 const at = position & used, count = length & used;
  using U = std::make_unsigned_t<T>;
  U const bits = static_cast<U>(value);
  bool sign = false;
  if constexpr (std::is_signed_v<T>) {
    u64 const last = std::min<u64>(at + count - 1, kBits - 1);
    sign = count != 0 && ((bits >> last) & 1) != 0;
  }
  U out = at >= kBits ? U{0} : bits >> at;
  U const keep = count >= kBits ? ~U{0} : (U{1} << count) - 1;
  U const available = at >= kBits ? U{0} : ~U{0} >> at;
  out &= keep;
  if (sign) out |= ~(keep & available);
  return static_cast<T>(out);
}

template <class T>
T inserted(T field, T into, u32 position, u32 length) {
  constexpr u32 kBits = 8 * sizeof(T);
  u32 const used = kBits == 32 ? 0xff : 0xffffffffu;
  u32 const at = position & used, count = length & used;
  if (at >= kBits || count == 0) return into;
  T const keep = (count >= kBits ? ~T{0} : (T{1} << count) - 1) << at;
  return (into & ~keep) | ((field << at) & keep);
}

template <class T>
Outcome shift_left(Warp& w, Instr const& i, Mask m) {
  return alu<[](T a, u32 b) -> T {
    return b >= 8 * sizeof(T) ? T{0} : static_cast<T>(static_cast<Wrap<T>>(a) << b);
  }>(w, i, m);
}
template <class T>
Outcome shift_right(Warp& w, Instr const& i, Mask m) {
  return alu<[](T a, u32 b) -> T {
    return static_cast<T>(b >= 8 * sizeof(T) ? (std::is_signed_v<T> && a < 0 ? static_cast<T>(~T{0}) : T{0})
                                             : static_cast<T>(a >> b));
  }>(w, i, m);
}

u32 funnel(bool left, bool wrap, u32 low, u32 high, u32 amount) {
  u32 const n = wrap ? amount & 31 : std::min(amount, 32u);
  u64 const both = (u64{high} << 32) | low;
  return left ? static_cast<u32>((both << n) >> 32) : static_cast<u32>(both >> n);
}

u32 lookup3(u32 a, u32 b, u32 c, u32 table) {
  u32 out = 0;
  for (u32 k = 0; k < 8; ++k) {
    if (((table >> k) & 1) != 0)
      out |= ((k & 4) != 0 ? a : ~a) & ((k & 2) != 0 ? b : ~b) & ((k & 1) != 0 ? c : ~c);
  }
  return out;
}

u32 chosen_byte(u64 bytes, u32 selector) {
  u32 const byte = static_cast<u32>(bytes >> (8 * (selector & 7))) & 0xff;
  return (selector & 8) != 0 ? ((byte & 0x80) != 0 ? 0xff : 0) : byte;
}
u32 permuted(u32 a, u32 b, u32 selectors) {
  u64 const bytes = (u64{b} << 32) | a;
  u32 out = 0;
  for (u32 k = 0; k < 4; ++k) out |= chosen_byte(bytes, (selectors >> (4 * k)) & 15) << (8 * k);
  return out;
}
/// The special modes take selectors from the low two bits of c.
constexpr u16 kModes[6][4] = {
    {0x3210, 0x4321, 0x5432, 0x6543},  // f4e
    {0x5670, 0x6701, 0x7012, 0x0123},  // b4e
    {0x0000, 0x1111, 0x2222, 0x3333},  // rc8
    {0x3210, 0x3211, 0x3222, 0x3333},  // ecl
    {0x0000, 0x1110, 0x2210, 0x3210},  // ecr
    {0x1010, 0x3232, 0x1010, 0x3232},  // rc16
};
template <int kMode>
Outcome permute_mode(Warp& w, Instr const& i, Mask m) {
  return alu<[](u32 a, u32 b, u32 c) -> u32 { return permuted(a, b, kModes[kMode][c & 3]); }>(w, i, m);
}

/// `length` ones from bit `position` up.
u32 bit_mask(u32 position, u32 length) {
  u32 const ones = length >= 32 ? ~0u : (1u << length) - 1;
  return position >= 32 ? 0 : ones << position;
}

/// The position of the n-th set bit (n = |offset|), counting from base upwards (offset > 0) or downwards.
u32 nth_set(u32 mask, u32 base, i32 offset) {
  if (offset == std::numeric_limits<i32>::min()) return 0;  // measured on SM 9.0
  if (base > 31) return 0xffffffffu;
  if (offset == 0) return (mask >> base) & 1 ? base : 0xffffffffu;
  i32 const step = offset > 0 ? 1 : -1;
  i64 count = offset > 0 ? offset : -i64{offset};
  for (i32 at = static_cast<i32>(base); at >= 0 && at < 32; at += step) {
    if (((mask >> at) & 1) != 0 && --count == 0) return static_cast<u32>(at);
  }
  return 0xffffffffu;
}

template <u32 (*kFunction)(Mask, Mask)>
Outcome on_predicates(Warp& w, Instr const& i, Mask m) {
  Mask const a = w.predicate(i.v(1));
  Mask const b = i.ops.size() > 2 ? w.predicate(i.v(2)) : 0;
  w.set_predicate(i.v(0), m, kFunction(a, b));
  w.propagate(i, m);
  return Outcome::kNext;
}
Mask and_masks(Mask a, Mask b) { return a & b; }
Mask or_masks(Mask a, Mask b) { return a | b; }
Mask xor_masks(Mask a, Mask b) { return a ^ b; }
Mask not_mask(Mask a, Mask) { return ~a; }

#define DW_LOGIC(name, expression)                                                 \
  template <class T>                                                               \
  Outcome name(Warp& w, Instr const& i, Mask m) {                                  \
    return alu<[](T a, T b) -> T { return static_cast<T>(expression); }>(w, i, m); \
  }
DW_LOGIC(and_bits, a& b)
DW_LOGIC(or_bits, a | b)
DW_LOGIC(xor_bits, a ^ b)
template <class T>
Outcome not_bits(Warp& w, Instr const& i, Mask m) {
  return alu<[](T a) -> T { return static_cast<T>(~a); }>(w, i, m);
}
template <class T>
Outcome cnot(Warp& w, Instr const& i, Mask m) {
  return alu<[](T a) -> T { return a == 0 ? 1 : 0; }>(w, i, m);
}

#define DW_BY_WIDTH(form)                                                          \
  [](Instr& i, BindContext const&) -> Exec {                                       \
    std::string const& type = i.info->parts.back();                                \
    return type == ".b16" ? &form<u16> : type == ".b32" ? &form<u32> : &form<u64>; \
  }

template <bool kShiftAmount>
Exec bind_bfind(Instr& i, BindContext const&) {
  std::string const& type = i.info->parts.back();
  if (type == ".u32") return &alu<[](u32 a) -> u32 { return found_bit<u32, kShiftAmount>(a); }>;
  if (type == ".s32") return &alu<[](i32 a) -> u32 { return found_bit<i32, kShiftAmount>(a); }>;
  if (type == ".u64") return &alu<[](u64 a) -> u32 { return found_bit<u64, kShiftAmount>(a); }>;
  return &alu<[](i64 a) -> u32 { return found_bit<i64, kShiftAmount>(a); }>;
}

/// lop3 with a predicate: whether the result is not zero, combined with another.
Outcome lop3_predicate(Warp& w, Instr const& i, Mask m) {
  u32 const* const a = w.s32(i.v(1));
  u32 const* const b = w.s32(i.v(2));
  u32 const* const c = w.s32(i.v(3));
  u32 const* const t = w.s32(i.v(4));
  u32 results[kLanes];
  Mask nonzero = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    results[lane] = lookup3(a[lane], b[lane], c[lane], t[lane]);
    if (results[lane] != 0) nonzero |= Mask{1} << lane;
  }
  u32* const out = w.d32(i.v(0));
  for_lanes(m, [&](int lane) { out[lane] = results[lane]; });
  Mask const q = w.predicate(i.v(5));
  w.set_predicate(i.ops[0].second, m, i.has(".and") ? nonzero & q : nonzero | q);
  w.propagate(i, m);
  return Outcome::kNext;
}

constexpr Row kRows[] = {
    {.pattern = "and .pred",
     .operands = "d1, s1, s1",
     .section = "9.7.8 and",
     .exec = &on_predicates<and_masks>},
    {.pattern = "or .pred",
     .operands = "d1, s1, s1",
     .section = "9.7.8 or",
     .exec = &on_predicates<or_masks>},
    {.pattern = "xor .pred",
     .operands = "d1, s1, s1",
     .section = "9.7.8 xor",
     .exec = &on_predicates<xor_masks>},
    {.pattern = "not .pred", .operands = "d1, s1", .section = "9.7.8 not", .exec = &on_predicates<not_mask>},
    {.pattern = "and (.b16|.b32|.b64)",
     .operands = "dT, sT, sT",
     .section = "9.7.8 and",
     .bind = DW_BY_WIDTH(and_bits)},
    {.pattern = "or (.b16|.b32|.b64)",
     .operands = "dT, sT, sT",
     .section = "9.7.8 or",
     .bind = DW_BY_WIDTH(or_bits)},
    {.pattern = "xor (.b16|.b32|.b64)",
     .operands = "dT, sT, sT",
     .section = "9.7.8 xor",
     .bind = DW_BY_WIDTH(xor_bits)},
    {.pattern = "not (.b16|.b32|.b64)",
     .operands = "dT, sT",
     .section = "9.7.8 not",
     .bind = DW_BY_WIDTH(not_bits)},
    {.pattern = "cnot (.b16|.b32|.b64)",
     .operands = "dT, sT",
     .section = "9.7.8 cnot",
     .bind = DW_BY_WIDTH(cnot)},
    {.pattern = "shl (.b16|.b32|.b64)",
     .operands = "dT, sT, si32",
     .section = "9.7.8 shl",
     .bind = DW_BY_WIDTH(shift_left)},
    {.pattern = "shr (.b16|.u16|.s16|.b32|.u32|.s32|.b64|.u64|.s64)",
     .operands = "dT, sT, si32",
     .section = "9.7.8 shr",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, shift_right); }},
    {.pattern = "shf .l .wrap .b32",
     .operands = "d32, s32, s32, s#32",
     .section = "9.7.8 shf",
     .exec = &alu<[](u32 a, u32 b, u32 c) -> u32 { return funnel(true, true, a, b, c); }>},
    {.pattern = "shf .l .clamp .b32",
     .operands = "d32, s32, s32, s#32",
     .section = "9.7.8 shf",
     .exec = &alu<[](u32 a, u32 b, u32 c) -> u32 { return funnel(true, false, a, b, c); }>},
    {.pattern = "shf .r .wrap .b32",
     .operands = "d32, s32, s32, s#32",
     .section = "9.7.8 shf",
     .exec = &alu<[](u32 a, u32 b, u32 c) -> u32 { return funnel(false, true, a, b, c); }>},
    {.pattern = "shf .r .clamp .b32",
     .operands = "d32, s32, s32, s#32",
     .section = "9.7.8 shf",
     .exec = &alu<[](u32 a, u32 b, u32 c) -> u32 { return funnel(false, false, a, b, c); }>},
    {.pattern = "lop3 .b32",
     .operands = "d32, s32, s32, s32, s32",
     .section = "9.7.8 lop3",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (!i.ops[4].is_immediate) throw unsupported(i, "the table is a constant");
       return &alu<[](u32 a, u32 b, u32 c, u32 t) -> u32 { return lookup3(a, b, c, t); }>;
     }},
    {.pattern = "lop3 (.and|.or) .b32",
     .operands = "d32|!1, s32, s32, s32, s32, s1",
     .ptx = 82,
     .section = "9.7.8 lop3",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (!i.ops[4].is_immediate) throw unsupported(i, "the table is a constant");
       return &lop3_predicate;
     }},
    {.pattern = "prmt .b32",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.9 prmt",
     .exec = &alu<[](u32 a, u32 b, u32 c) -> u32 { return permuted(a, b, c); }>},
    {.pattern = "prmt .b32 (.f4e|.b4e|.rc8|.ecl|.ecr|.rc16)",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.9 prmt",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       static constexpr Exec kForms[] = {&permute_mode<0>, &permute_mode<1>, &permute_mode<2>,
                                         &permute_mode<3>, &permute_mode<4>, &permute_mode<5>};
       return kForms[i.choice[0]];
     }},
    {.pattern = "bfe .u32",
     .operands = "d32, s32, s##32, s##32",
     .section = "9.7.1 bfe",
     .exec = &alu<[](u32 a, u32 b, u32 c) -> u32 { return extracted<u32>(a, b, c); }>},
    {.pattern = "bfe .s32",
     .operands = "d32, s32, s##32, s##32",
     .section = "9.7.1 bfe",
     .exec = &alu<[](i32 a, u32 b, u32 c) -> i32 { return extracted<i32>(a, b, c); }>},
    {.pattern = "bfe .u64",
     .operands = "d64, s64, s##32, s##32",
     .section = "9.7.1 bfe",
     .exec = &alu<[](u64 a, u32 b, u32 c) -> u64 { return extracted<u64>(a, b, c); }>},
    {.pattern = "bfe .s64",
     .operands = "d64, s64, s##32, s##32",
     .section = "9.7.1 bfe",
     .exec = &alu<[](i64 a, u32 b, u32 c) -> i64 { return extracted<i64>(a, b, c); }>},
    {.pattern = "bfi .b32",
     .operands = "d32, s32, s32, s##32, s##32",
     .section = "9.7.1 bfi",
     .exec = &alu<[](u32 a, u32 b, u32 c, u32 d) -> u32 { return inserted<u32>(a, b, c, d); }>},
    {.pattern = "bfi .b64",
     .operands = "d64, s64, s64, s##32, s##32",
     .section = "9.7.1 bfi",
     .exec = &alu<[](u64 a, u64 b, u32 c, u32 d) -> u64 { return inserted<u64>(a, b, c, d); }>},
    {.pattern = "bmsk (.clamp|.wrap) .b32",
     .operands = "di32, s#32, s#32",
     .ptx = 76,
     .section = "9.7.1 bmsk",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (i.choice[0] == 1) return &alu<[](u32 a, u32 b) -> u32 { return bit_mask(a & 31, b & 31); }>;
       return &alu<[](u32 a, u32 b) -> u32 { return bit_mask(a, b); }>;
     }},
    {.pattern = "brev .b32",
     .operands = "d32, s32",
     .section = "9.7.1 brev",
     .exec = &alu<[](u32 a) -> u32 { return reversed(a); }>},
    {.pattern = "brev .b64",
     .operands = "d64, s64",
     .section = "9.7.1 brev",
     .exec = &alu<[](u64 a) -> u64 { return reversed(a); }>},
    {.pattern = "popc .b32",
     .operands = "di32, s32",
     .section = "9.7.1 popc",
     .exec = &alu<[](u32 a) -> u32 { return static_cast<u32>(std::popcount(a)); }>},
    {.pattern = "popc .b64",
     .operands = "di32, s64",
     .section = "9.7.1 popc",
     .exec = &alu<[](u64 a) -> u32 { return static_cast<u32>(std::popcount(a)); }>},
    {.pattern = "clz .b32",
     .operands = "di32, s32",
     .section = "9.7.1 clz",
     .exec = &alu<[](u32 a) -> u32 { return static_cast<u32>(std::countl_zero(a)); }>},
    {.pattern = "clz .b64",
     .operands = "di32, s64",
     .section = "9.7.1 clz",
     .exec = &alu<[](u64 a) -> u32 { return static_cast<u32>(std::countl_zero(a)); }>},
    {.pattern = "bfind (.u32|.s32|.u64|.s64)",
     .operands = "di32, sT",
     .section = "9.7.1 bfind",
     .bind = &bind_bfind<false>},
    {.pattern = "bfind .shiftamt (.u32|.s32|.u64|.s64)",
     .operands = "di32, sT",
     .section = "9.7.1 bfind",
     .bind = &bind_bfind<true>},
    {.pattern = "fns .b32",
     .operands = "d32, s32, s32, s32",
     .ptx = 60,
     .section = "9.7.1 fns",
     .exec = &alu<[](u32 a, u32 b, i32 c) -> u32 { return nth_set(a, b, c); }>},
    {.pattern = "szext (.wrap|.clamp) (.u32|.s32)",
     .operands = "d32, s32, si32",
     .ptx = 76,
     .section = "9.7.1 szext",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       bool const wrap = i.choice[0] == 0;
       if (i.choice[1] == 0) {
         if (wrap) return &alu<[](u32 a, u32 b) -> u32 { return extracted<u32>(a, 0, b & 31); }>;
         return &alu<[](u32 a, u32 b) -> u32 { return extracted<u32>(a, 0, std::min(b, 32u)); }>;
       }
       if (wrap) return &alu<[](i32 a, u32 b) -> i32 { return extracted<i32>(a, 0, b & 31); }>;
       return &alu<[](i32 a, u32 b) -> i32 { return extracted<i32>(a, 0, std::min(b, 32u)); }>;
     }},
};

}  // namespace

std::span<Row const> alu_bits_rows() { return kRows; }

}  // namespace deepwell::emu

// Instruction family: integer arithmetic (PTX ISA 9.7.1, extended precision 9.7.2).
#include "emu/instr/lanes.hpp"

namespace deepwell::emu {
namespace {

// clang-format off
#define DW_UNARY(name, expression) \
  template <class T> Outcome name(Warp& w, Instr const& i, Mask m) { \
    using W [[maybe_unused]] = Wrap<T>; return alu<[](T a) -> T { return static_cast<T>(expression); }>(w, i, m); }
#define DW_BINARY(name, expression) \
  template <class T> Outcome name(Warp& w, Instr const& i, Mask m) { \
    using W [[maybe_unused]] = Wrap<T>; return alu<[](T a, T b) -> T { return static_cast<T>(expression); }>(w, i, m); }
#define DW_TERNARY(name, expression) \
  template <class T> Outcome name(Warp& w, Instr const& i, Mask m) { \
    using W [[maybe_unused]] = Wrap<T>; return alu<[](T a, T b, T c) -> T { return static_cast<T>(expression); }>(w, i, m); }
// clang-format on

template <class T>
using Twice = std::conditional_t<std::is_signed_v<T>, std::conditional_t<(sizeof(T) == 2), i32, i64>,
                                 std::conditional_t<(sizeof(T) == 2), u32, u64>>;

template <class T>
T high(T a, T b) {
  if constexpr (sizeof(T) == 8) {
    if constexpr (std::is_signed_v<T>) {
      return static_cast<T>((static_cast<__int128>(a) * b) >> 64);
    } else {
      return static_cast<T>((static_cast<unsigned __int128>(a) * b) >> 64);
    }
  } else {
    return static_cast<T>((static_cast<Twice<T>>(a) * static_cast<Twice<T>>(b)) >> (8 * sizeof(T)));
  }
}

/// Division by zero gives all ones, the smallest number by -1 itself: the manual leaves both open, hardware does this.
template <class T>
T quotient(T a, T b) {
  if (b == 0) return static_cast<T>(~T{0});
  if constexpr (std::is_signed_v<T>) {
    if (b == T{-1}) return static_cast<T>(Wrap<T>{0} - static_cast<Wrap<T>>(a));
  }
  return static_cast<T>(a / b);
}
template <class T>
T remainder(T a, T b) {
  if (b == 0) return static_cast<T>(~T{0});
  if constexpr (std::is_signed_v<T>) {
    if (b == T{-1}) return 0;
  }
  return static_cast<T>(a % b);
}
template <class T>
T absolute(T a) {
  return a < 0 ? static_cast<T>(Wrap<T>{0} - static_cast<Wrap<T>>(a)) : a;
}
i32 saturated(i64 value) {
  return value > std::numeric_limits<i32>::max()   ? std::numeric_limits<i32>::max()
         : value < std::numeric_limits<i32>::min() ? std::numeric_limits<i32>::min()
                                                   : static_cast<i32>(value);
}

DW_BINARY(add, static_cast<W>(a) + static_cast<W>(b))
DW_BINARY(sub, static_cast<W>(a) - static_cast<W>(b))
DW_BINARY(mul_lo, static_cast<W>(a) * static_cast<W>(b))
DW_BINARY(mul_hi, high<T>(a, b))
DW_TERNARY(mad_lo, static_cast<W>(a) * static_cast<W>(b) + static_cast<W>(c))
DW_TERNARY(mad_hi, static_cast<W>(high<T>(a, b)) + static_cast<W>(c))
DW_BINARY(div, quotient<T>(a, b))
DW_BINARY(rem, remainder<T>(a, b))
DW_BINARY(min, a < b ? a : b)
DW_BINARY(max, a > b ? a : b)
DW_UNARY(neg, W{0} - static_cast<W>(a))
DW_UNARY(abs, absolute<T>(a))
DW_TERNARY(sad, static_cast<W>(c) +
                    (a < b ? static_cast<W>(b) - static_cast<W>(a) : static_cast<W>(a) - static_cast<W>(b)))

template <class T>
Outcome mul_wide(Warp& w, Instr const& i, Mask m) {
  return alu<[](T a, T b) -> Twice<T> { return static_cast<Twice<T>>(a) * static_cast<Twice<T>>(b); }>(w, i,
                                                                                                       m);
}
template <class T>
Outcome mad_wide(Warp& w, Instr const& i, Mask m) {
  return alu<[](T a, T b, Twice<T> c) -> Twice<T> {
    return static_cast<Twice<T>>(
        static_cast<Wrap<Twice<T>>>(static_cast<Twice<T>>(a) * static_cast<Twice<T>>(b)) +
        static_cast<Wrap<Twice<T>>>(c));
  }>(w, i, m);
}
Exec by_narrow_type(Instr const& i, Exec u16_form, Exec s16_form, Exec u32_form, Exec s32_form) {
  std::string const& type = i.info->parts.back();
  return type == ".u16" ? u16_form : type == ".s16" ? s16_form : type == ".u32" ? u32_form : s32_form;
}

// ---- halves: two 16-bit numbers in a register --------------------------------------------------------------------

template <class T, auto kFunction>
u32 pairwise(u32 a, u32 b) {
  u32 const low = static_cast<u16>(kFunction(static_cast<T>(a), static_cast<T>(b)));
  u32 const high_half = static_cast<u16>(kFunction(static_cast<T>(a >> 16), static_cast<T>(b >> 16)));
  return low | (high_half << 16);
}
template <class T>
T min_of(T a, T b) {
  return a < b ? a : b;
}
template <class T>
T max_of(T a, T b) {
  return a > b ? a : b;
}
template <class T>
T sum_of(T a, T b) {
  return static_cast<T>(static_cast<u32>(a) + static_cast<u32>(b));
}

// ---- extended precision ------------------------------------------------------------------------------------------

enum class Chain { kAdd, kSub, kMadLo, kMadHi };

/// add.cc, addc, sub.cc, subc, mad.cc, madc: one carry bit a lane. A subtraction is a + ~b + 1, so that it leaves and takes the
/// opposite of a borrow: measured on SM 9.0, and compilers mix the two in one chain (their division of 128 bits does).
template <class T, Chain kKind, bool kReads, bool kWrites>
Outcome chain(Warp& w, Instr const& i, Mask mask) {
  auto const* const a = source<T>(w, i.v(1));
  auto const* const b = source<T>(w, i.v(2));
  auto* const out = destination<T>(w, i.v(0));
  using Unsigned = std::make_unsigned_t<T>;
  Mask carry = w.carry;
  for_lanes(mask, [&](int lane) {
    Unsigned x = static_cast<Unsigned>(a[lane]), y = static_cast<Unsigned>(b[lane]);
    if constexpr (kKind == Chain::kMadLo || kKind == Chain::kMadHi) {
      auto const* const c = source<T>(w, i.v(3));
      x = kKind == Chain::kMadLo ? static_cast<Unsigned>(x * y)
                                 : static_cast<Unsigned>(high<T>(static_cast<T>(x), static_cast<T>(y)));
      y = static_cast<Unsigned>(c[lane]);
    }
    if constexpr (kKind == Chain::kSub) y = static_cast<Unsigned>(~y);
    Unsigned const in = kReads ? (w.carry >> lane) & 1 : kKind == Chain::kSub ? 1 : 0;
    Unsigned const first = x + y;
    Unsigned const second = first + in;
    bool const flag = first < x || second < first;
    x = second;
    out[lane] = x;
    carry = (carry & ~(Mask{1} << lane)) | (Mask{flag} << lane);
  });
  if constexpr (kWrites) w.carry = carry;
  w.propagate(i, mask);
  return Outcome::kNext;
}

template <Chain kKind, bool kReads>
Exec bind_chain(Instr& i, BindContext const&) {
  std::string const& type = i.info->parts.back();
  bool const wide = type == ".u64" || type == ".s64" || type == ".b64";
  bool const is_signed = type == ".s32" || type == ".s64";
  bool const writes = i.has(".cc");
  if (is_signed) {
    if (wide) return writes ? &chain<i64, kKind, kReads, true> : &chain<i64, kKind, kReads, false>;
    return writes ? &chain<i32, kKind, kReads, true> : &chain<i32, kKind, kReads, false>;
  }
  if (wide) return writes ? &chain<u64, kKind, kReads, true> : &chain<u64, kKind, kReads, false>;
  return writes ? &chain<u32, kKind, kReads, true> : &chain<u32, kKind, kReads, false>;
}

// ---- dot products ------------------------------------------------------------------------------------------------

template <bool kSignedA, bool kSignedB>
u32 dot4(u32 a, u32 b, u32 c) {
  for (int k = 0; k < 4; ++k) {
    u32 const x =
        kSignedA ? static_cast<u32>(static_cast<i32>(static_cast<i8>(a >> (8 * k)))) : (a >> (8 * k)) & 0xff;
    u32 const y =
        kSignedB ? static_cast<u32>(static_cast<i32>(static_cast<i8>(b >> (8 * k)))) : (b >> (8 * k)) & 0xff;
    c += x * y;
  }
  return c;
}
template <bool kSignedA, bool kSignedB, bool kHigh>
u32 dot2(u32 a, u32 b, u32 c) {
  for (int k = 0; k < 2; ++k) {
    u32 const byte = b >> (8 * (k + (kHigh ? 2 : 0)));
    u32 const x = kSignedA ? static_cast<u32>(static_cast<i32>(static_cast<i16>(a >> (16 * k))))
                           : (a >> (16 * k)) & 0xffff;
    u32 const y = kSignedB ? static_cast<u32>(static_cast<i32>(static_cast<i8>(byte))) : byte & 0xff;
    c += x * y;
  }
  return c;
}

u32 mul24_low(i64 a, i64 b) { return static_cast<u32>(a * b); }
u32 mul24_high(i64 a, i64 b) { return static_cast<u32>(a * b >> 16); }
i32 sign24(i32 a) { return static_cast<i32>(static_cast<u32>(a) << 8) >> 8; }

constexpr Row kRows[] = {
    {.pattern = "add (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.1 add",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, add); }},
    {.pattern = "add .sat .s32",
     .operands = "d32, s32, s32",
     .section = "9.7.1 add",
     .exec = &alu<[](i32 a, i32 b) -> i32 { return saturated(i64{a} + b); }>},
    {.pattern = "add (.u16x2|.s16x2)",
     .operands = "d32, s32, s32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.1 add",
     .exec = &alu<[](u32 a, u32 b) -> u32 { return pairwise<u16, sum_of<u16>>(a, b); }>},
    {.pattern = "sub (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.1 sub",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, sub); }},
    {.pattern = "sub .sat .s32",
     .operands = "d32, s32, s32",
     .section = "9.7.1 sub",
     .exec = &alu<[](i32 a, i32 b) -> i32 { return saturated(i64{a} - b); }>},
    {.pattern = "mul .lo (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.1 mul",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, mul_lo); }},
    {.pattern = "mul .hi (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.1 mul",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, mul_hi); }},
    {.pattern = "mul .wide (.u16|.s16|.u32|.s32)",
     .operands = "dW, sT, sT",
     .section = "9.7.1 mul",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       return by_narrow_type(i, &mul_wide<u16>, &mul_wide<i16>, &mul_wide<u32>, &mul_wide<i32>);
     }},
    {.pattern = "mad .lo (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT, sT",
     .section = "9.7.1 mad",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, mad_lo); }},
    {.pattern = "mad .hi (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT, sT",
     .section = "9.7.1 mad",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, mad_hi); }},
    {.pattern = "mad .hi .sat .s32",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.1 mad",
     .exec = &alu<[](i32 a, i32 b, i32 c) -> i32 { return saturated(i64{high<i32>(a, b)} + c); }>},
    {.pattern = "mad .wide (.u16|.s16|.u32|.s32)",
     .operands = "dW, sT, sT, sW",
     .section = "9.7.1 mad",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       return by_narrow_type(i, &mad_wide<u16>, &mad_wide<i16>, &mad_wide<u32>, &mad_wide<i32>);
     }},
    {.pattern = "mul24 .lo .u32",
     .operands = "d32, s32, s32",
     .section = "9.7.1 mul24",
     .exec = &alu<[](u32 a, u32 b) -> u32 { return mul24_low(a & 0xffffff, b & 0xffffff); }>},
    {.pattern = "mul24 .lo .s32",
     .operands = "d32, s32, s32",
     .section = "9.7.1 mul24",
     .exec = &alu<[](i32 a, i32 b) -> u32 { return mul24_low(sign24(a), sign24(b)); }>},
    {.pattern = "mul24 .hi .u32",
     .operands = "d32, s32, s32",
     .section = "9.7.1 mul24",
     .exec = &alu<[](u32 a, u32 b) -> u32 { return mul24_high(a & 0xffffff, b & 0xffffff); }>,
     .note = "the upper 32 of the product's 48 bits"},
    {.pattern = "mul24 .hi .s32",
     .operands = "d32, s32, s32",
     .section = "9.7.1 mul24",
     .exec = &alu<[](i32 a, i32 b) -> u32 { return mul24_high(sign24(a), sign24(b)); }>},
    {.pattern = "mad24 .hi .u32",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.1 mad24",
     .exec = &alu<[](u32 a, u32 b, u32 c) -> u32 { return mul24_high(a & 0xffffff, b & 0xffffff) + c; }>},
    {.pattern = "mad24 .hi .s32",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.1 mad24",
     .exec = &alu<[](i32 a, i32 b, u32 c) -> u32 { return mul24_high(sign24(a), sign24(b)) + c; }>},
    {.pattern = "mad24 .hi .sat .s32",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.1 mad24",
     .exec = &alu<[](i32 a, i32 b, i32 c) -> i32 {
       return saturated(i64{static_cast<i32>(mul24_high(sign24(a), sign24(b)))} + c);
     }>},
    {.pattern = "mad24 .lo .u32",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.1 mad24",
     .exec = &alu<[](u32 a, u32 b, u32 c) -> u32 { return mul24_low(a & 0xffffff, b & 0xffffff) + c; }>},
    {.pattern = "mad24 .lo .s32",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.1 mad24",
     .exec = &alu<[](i32 a, i32 b, u32 c) -> u32 { return mul24_low(sign24(a), sign24(b)) + c; }>},
    {.pattern = "sad (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT, sT",
     .section = "9.7.1 sad",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, sad); }},
    {.pattern = "div (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.1 div",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, div); },
     .note = "division by zero gives all ones"},
    {.pattern = "rem (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.1 rem",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, rem); },
     .note = "a remainder by zero has all bits set, as measured on SM 9.0"},
    {.pattern = "abs (.s16|.s32|.s64)",
     .operands = "dT, sT",
     .section = "9.7.1 abs",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       std::string const& type = i.info->parts.back();
       return type == ".s16" ? &abs<i16> : type == ".s32" ? &abs<i32> : &abs<i64>;
     }},
    {.pattern = "neg (.s16|.s32|.s64)",
     .operands = "dT, sT",
     .section = "9.7.1 neg",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       std::string const& type = i.info->parts.back();
       return type == ".s16" ? &neg<i16> : type == ".s32" ? &neg<i32> : &neg<i64>;
     }},
    {.pattern = "min (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.1 min",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, min); }},
    {.pattern = "max (.u16|.s16|.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.1 max",
     .bind = [](Instr& i, BindContext const&) -> Exec { return DW_BY_INTEGER(i, max); }},
    {.pattern = "min .relu .s32",
     .operands = "d32, s32, s32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.1 min",
     .exec = &alu<[](i32 a, i32 b) -> i32 { return max_of<i32>(min_of<i32>(a, b), 0); }>},
    {.pattern = "max .relu .s32",
     .operands = "d32, s32, s32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.1 max",
     .exec = &alu<[](i32 a, i32 b) -> i32 { return max_of<i32>(max_of<i32>(a, b), 0); }>},
    {.pattern = "min .u16x2",
     .operands = "d32, s32, s32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.1 min",
     .exec = &alu<[](u32 a, u32 b) -> u32 { return pairwise<u16, min_of<u16>>(a, b); }>},
    {.pattern = "min .s16x2",
     .operands = "d32, s32, s32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.1 min",
     .exec = &alu<[](u32 a, u32 b) -> u32 { return pairwise<i16, min_of<i16>>(a, b); }>},
    {.pattern = "max .u16x2",
     .operands = "d32, s32, s32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.1 max",
     .exec = &alu<[](u32 a, u32 b) -> u32 { return pairwise<u16, max_of<u16>>(a, b); }>},
    {.pattern = "max .s16x2",
     .operands = "d32, s32, s32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.1 max",
     .exec = &alu<[](u32 a, u32 b) -> u32 { return pairwise<i16, max_of<i16>>(a, b); }>},
    {.pattern = "min .relu .s16x2",
     .operands = "d32, s32, s32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.1 min",
     .exec = &alu<[](u32 a, u32 b) -> u32 {
       return pairwise<i16, max_of<i16>>(pairwise<i16, min_of<i16>>(a, b), 0);
     }>},
    {.pattern = "max .relu .s16x2",
     .operands = "d32, s32, s32",
     .ptx = 80,
     .needs = Needs::kSm90,
     .section = "9.7.1 max",
     .exec = &alu<[](u32 a, u32 b) -> u32 {
       return pairwise<i16, max_of<i16>>(pairwise<i16, max_of<i16>>(a, b), 0);
     }>},
    {.pattern = "add .cc (.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.2 add.cc",
     .bind = &bind_chain<Chain::kAdd, false>},
    {.pattern = "addc [.cc] (.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.2 addc",
     .bind = &bind_chain<Chain::kAdd, true>},
    {.pattern = "sub .cc (.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.2 sub.cc",
     .bind = &bind_chain<Chain::kSub, false>},
    {.pattern = "subc [.cc] (.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT",
     .section = "9.7.2 subc",
     .bind = &bind_chain<Chain::kSub, true>},
    {.pattern = "mad .lo .cc (.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT, sT",
     .section = "9.7.2 mad.cc",
     .bind = &bind_chain<Chain::kMadLo, false>},
    {.pattern = "mad .hi .cc (.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT, sT",
     .section = "9.7.2 mad.cc",
     .bind = &bind_chain<Chain::kMadHi, false>},
    {.pattern = "madc .lo [.cc] (.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT, sT",
     .section = "9.7.2 madc",
     .bind = &bind_chain<Chain::kMadLo, true>},
    {.pattern = "madc .hi [.cc] (.u32|.s32|.u64|.s64)",
     .operands = "dT, sT, sT, sT",
     .section = "9.7.2 madc",
     .bind = &bind_chain<Chain::kMadHi, true>},
    {.pattern = "dp4a (.u32|.s32) (.u32|.s32)",
     .operands = "di32, s32, s32, si32",
     .ptx = 50,
     .section = "9.7.1 dp4a",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       switch (2 * i.choice[0] + i.choice[1]) {
         case 0: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot4<false, false>(a, b, c); }>;
         case 1: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot4<false, true>(a, b, c); }>;
         case 2: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot4<true, false>(a, b, c); }>;
         default: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot4<true, true>(a, b, c); }>;
       }
     }},
    {.pattern = "dp2a (.lo|.hi) (.u32|.s32) (.u32|.s32)",
     .operands = "di32, s32, s32, si32",
     .ptx = 50,
     .section = "9.7.1 dp2a",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       switch (4 * i.choice[0] + 2 * i.choice[1] + i.choice[2]) {
         case 0: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot2<false, false, false>(a, b, c); }>;
         case 1: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot2<false, true, false>(a, b, c); }>;
         case 2: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot2<true, false, false>(a, b, c); }>;
         case 3: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot2<true, true, false>(a, b, c); }>;
         case 4: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot2<false, false, true>(a, b, c); }>;
         case 5: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot2<false, true, true>(a, b, c); }>;
         case 6: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot2<true, false, true>(a, b, c); }>;
         default: return &alu<[](u32 a, u32 b, u32 c) -> u32 { return dot2<true, true, true>(a, b, c); }>;
       }
     }},
};

}  // namespace

std::span<Row const> alu_integer_rows() { return kRows; }

}  // namespace deepwell::emu

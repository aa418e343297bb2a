// Instruction family: atom and red (PTX ISA 9.7.13 atom, red). Atomic across host threads in global memory.
#include <bit>
#include <cmath>
#include <mutex>

#include "emu/instr/lanes.hpp"
#include "emu/mem/memory.hpp"
#include "emu/run/observe.hpp"
#include "num/arithmetic.hpp"

namespace deepwell::emu {
namespace {

enum class Op : u32 { kAnd, kOr, kXor, kExch, kAdd, kInc, kDec, kMin, kMax, kCas };
enum class Kind : u32 { kBits, kUnsigned, kSigned, kF32, kF64, kF16, kBf16, kF16x2, kBf16x2 };

/// What one element's read-modify-write does.
struct Update {
  Op op;
  Kind kind;
  unsigned bytes;
  bool flush;  // f32 add flushes subnormals in global memory alone
};

u32 flushed(u32 bits) { return (bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits; }

u64 half_operation(Op op, num::Format format, u32 a, u32 b) {
  if (op == Op::kAdd) return num::add(format, a, b);
  float const x = num::decode_f32(format, a), y = num::decode_f32(format, b);
  if (std::isnan(x) || std::isnan(y)) return std::isnan(x) ? (std::isnan(y) ? num::kCanonicalNan16 : b) : a;
  if (x == y) return (op == Op::kMin) == std::signbit(x) ? a : b;
  return (op == Op::kMin) == (x < y) ? a : b;
}

u64 updated(Update const& how, u64 old, u64 value, u64 compare) {
  u64 const limit = how.bytes == 8 ? ~u64{0} : (u64{1} << (8 * how.bytes)) - 1;
  switch (how.kind) {
    case Kind::kF32: {
      auto a = static_cast<u32>(old), b = static_cast<u32>(value);
      if (how.flush) {
        a = flushed(a);
        b = flushed(b);
      }
      float const sum = std::bit_cast<float>(a) + std::bit_cast<float>(b);
      u32 const bits = sum == sum ? std::bit_cast<u32>(sum) : 0x7fffffffu;
      return how.flush ? flushed(bits) : bits;
    }
    case Kind::kF64: return std::bit_cast<u64>(std::bit_cast<double>(old) + std::bit_cast<double>(value));
    case Kind::kF16:
    case Kind::kBf16:
      return half_operation(how.op, how.kind == Kind::kF16 ? num::Format::kF16 : num::Format::kBf16,
                            static_cast<u32>(old) & 0xffff, static_cast<u32>(value) & 0xffff);
    case Kind::kF16x2:
    case Kind::kBf16x2: {
      num::Format const format = how.kind == Kind::kF16x2 ? num::Format::kF16 : num::Format::kBf16;
      u64 const low =
          half_operation(how.op, format, static_cast<u32>(old) & 0xffff, static_cast<u32>(value) & 0xffff);
      u64 const high = half_operation(how.op, format, static_cast<u32>(old >> 16) & 0xffff,
                                      static_cast<u32>(value >> 16) & 0xffff);
      return low | (high << 16);
    }
    default: break;
  }
  auto const as_signed = [&](u64 bits) {
    unsigned const shift = 64 - 8 * how.bytes;
    return static_cast<i64>(bits << shift) >> shift;
  };
  switch (how.op) {
    case Op::kAnd: return old & value;
    case Op::kOr: return old | value;
    case Op::kXor: return old ^ value;
    case Op::kExch: return value;
    case Op::kAdd: return (old + value) & limit;
    case Op::kInc: return old >= value ? 0 : old + 1;
    case Op::kDec: return old == 0 || old > value ? value : old - 1;
    case Op::kMin:
      return how.kind == Kind::kSigned ? (as_signed(old) < as_signed(value) ? old : value)
                                       : std::min(old, value);
    case Op::kMax:
      return how.kind == Kind::kSigned ? (as_signed(old) > as_signed(value) ? old : value)
                                       : std::max(old, value);
    case Op::kCas: return old == compare ? value : old;
  }
  return old;
}

template <class T>
u64 exchange_loop(std::byte* at, Update const& how, u64 value, u64 compare) {
  auto* const cell = reinterpret_cast<T*>(at);
  T old = __atomic_load_n(cell, __ATOMIC_ACQUIRE);
  for (;;) {
    T const wanted = static_cast<T>(updated(how, old, value, compare));
    if (__atomic_compare_exchange_n(cell, &old, wanted, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
      return old;
  }
}

/// One element's read-modify-write; returns the old bits.
u64 modify(Place const& place, Update const& how, u64 value, u64 compare) {
  if (place.space == Space::kGlobal) {
    switch (how.bytes) {
      case 2: return exchange_loop<u16>(place.data, how, value, compare);
      case 4: return exchange_loop<u32>(place.data, how, value, compare);
      default: return exchange_loop<u64>(place.data, how, value, compare);
    }
  }
  u64 const old = load_bits(place, how.bytes);
  store_bits(place, how.bytes, updated(how, old, value, compare));
  return old;
}

/// aux: Space, Op, Kind, bytes, elements, MemoryOrder.
template <bool kReturns>
Outcome atomic(Warp& w, Instr const& i, Mask mask) {
  auto const space = static_cast<Space>(i.aux[0]);
  Update how{static_cast<Op>(i.aux[1]), static_cast<Kind>(i.aux[2]), i.aux[3], false};
  std::size_t const count = i.aux[4];
  Operand const& address_operand = i.ops[kReturns ? 1 : 0];
  Operand const& value_operand = i.ops[kReturns ? 2 : 1];
  bool const is_cas = how.op == Op::kCas;
  Value const& compare_value = is_cas ? i.v(2) : i.v(kReturns ? 2 : 1);
  std::vector<Value> const& values = is_cas ? i.ops[3].elements : value_operand.elements;
  std::size_t const total = how.bytes * count;
  u64 address[kLanes];
  addresses_of(w, i, address_operand, mask, address);
  Mask poison[8] = {};
  bool changed = false;
  Mask wrote = 0;
  Place places[kLanes];
  for_lanes(mask, [&](int lane) {
    Place place = places[lane] = resolve(w, i, lane, space, address[lane], total, total, Access::kReadWrite);
    if (place.space == Space::kLocal || place.space == Space::kParam)
      fail(w, i, lane, "atomics are for global and shared memory");
    if (count > 1 && place.space != Space::kGlobal)
      fail(w, i, lane, "vector atomics are for global memory alone", Finding::kMemory);
    how.flush = how.kind == Kind::kF32 && place.space == Space::kGlobal;
    for (std::size_t k = 0; k < count; ++k) {
      Value const& value = is_cas ? i.v(3) : values[k];
      Mask input_poison = w.poison_of(value);
      if (is_cas) input_poison |= w.poison_of(compare_value);
      bool const bad_input = w.check && ((input_poison >> lane) & 1) != 0;
      if (bad_input && place.space == Space::kGlobal) {
        w.report_poison(i, ((w.poison_of(value) >> lane) & 1) != 0 ? value : compare_value, Mask{1} << lane,
                        "an operand of the atomic");
      }
      bool const was_defined = !w.check || place.initialised(how.bytes);
      u64 old = 0;
      if (how.bytes == 16) {
        Bits128 const fresh = w.s128(value)[lane];
        std::unique_lock lock(w.launch->global->wide_atomics, std::defer_lock);
        if (place.space == Space::kGlobal) lock.lock();
        Bits128 before;
        std::memcpy(&before, place.data, 16);
        Bits128 const expected = is_cas ? w.s128(compare_value)[lane] : before;
        if (before.lo == expected.lo && before.hi == expected.hi) {
          std::memcpy(place.data, &fresh, 16);
          changed = true;
          wrote |= Mask{1} << lane;
        }
        if (kReturns) w.d128(i.v(0))[lane] = before;
      } else {
        u64 const fresh = w.lane_of(value, lane);
        u64 const compare = is_cas ? w.lane_of(compare_value, lane) : 0;
        old = modify(place, how, fresh, compare);
        if (!is_cas || old == compare) wrote |= Mask{1} << lane;
        changed |= updated(how, old, fresh, compare) != old;
        if (kReturns) w.set_lane(i.ops[0].elements[k], lane, old);
      }
      if (w.check && !was_defined) poison[k] |= Mask{1} << lane;
      if (how.op == Op::kExch || bad_input) place.mark(how.bytes, !bad_input);
      place.data += how.bytes;
      if (place.shadow != nullptr) place.shadow += how.bytes;
    }
  });
  ++(changed ? w.cta->cluster->progress : w.cta->cluster->polls);
  observe(w, i,
          {.mask = mask,
           .places = places,
           .bytes = total,
           .kind = race::kRead | race::kWrite,
           .order = MemoryOrder::from_bits(i.aux[5]),
           .wrote = wrote,
           .result_is_used = kReturns});
  if (kReturns && w.check) {
    for (std::size_t k = 0; k < count; ++k) w.set_poison(i.ops[0].elements[k], mask, poison[k]);
  }
  return Outcome::kNext;
}

Space space_named(Instr const& i) {
  if (i.has(".global")) return Space::kGlobal;
  if (i.has(".shared") || i.has(".shared::cta") || i.has(".shared::cluster")) return Space::kShared;
  return Space::kGeneric;
}

template <bool kReturns>
Exec bind_atomic(Instr& i, BindContext const&) {
  static constexpr std::pair<std::string_view, Op> kOps[] = {
      {".and", Op::kAnd}, {".or", Op::kOr},   {".xor", Op::kXor}, {".exch", Op::kExch}, {".add", Op::kAdd},
      {".inc", Op::kInc}, {".dec", Op::kDec}, {".min", Op::kMin}, {".max", Op::kMax},   {".cas", Op::kCas}};
  static constexpr struct {
    std::string_view name;
    Kind kind;
    unsigned bytes;
  } kTypes[] = {{".b16", Kind::kBits, 2},    {".b32", Kind::kBits, 4},     {".b64", Kind::kBits, 8},
                {".b128", Kind::kBits, 16},  {".u32", Kind::kUnsigned, 4}, {".u64", Kind::kUnsigned, 8},
                {".s32", Kind::kSigned, 4},  {".s64", Kind::kSigned, 8},   {".f32", Kind::kF32, 4},
                {".f64", Kind::kF64, 8},     {".f16", Kind::kF16, 2},      {".bf16", Kind::kBf16, 2},
                {".f16x2", Kind::kF16x2, 4}, {".bf16x2", Kind::kBf16x2, 4}};
  i.aux[0] = static_cast<u32>(space_named(i));
  for (auto const& [name, op] : kOps) {
    if (i.has(name)) i.aux[1] = static_cast<u32>(op);
  }
  for (auto const& type : kTypes) {
    if (i.info->parts.back() == type.name) {
      i.aux[2] = static_cast<u32>(type.kind);
      i.aux[3] = type.bytes;
    }
  }
  i.aux[5] = memory_order(i, true).bits();
  i.aux[4] = i.has(".v2") ? 2 : i.has(".v4") ? 4 : i.has(".v8") ? 8 : 1;
  if (i.aux[4] > 1 && static_cast<Space>(i.aux[0]) == Space::kShared)
    throw unsupported(i, "vector atomics are for global memory alone");
  bool const hinted = i.has(".L2::cache_hint");
  if (hinted && (i.has(".cas") || static_cast<Space>(i.aux[0]) == Space::kShared))
    throw unsupported(i, "a cache hint goes with global memory, and not with .cas");
  if (hinted != (i.ops.size() == (kReturns ? 4u : 3u) + (i.has(".cas") ? 1u : 0u)))
    throw unsupported(i, ".L2::cache_hint goes with a policy operand");
  check_address(i, i.ops[kReturns ? 1 : 0], static_cast<Space>(i.aux[0]));
  if (!kReturns && (i.has(".acquire") || i.has(".acq_rel")))
    throw unsupported(i, "red acquires nothing: .relaxed or .release");
  if (i.aux[4] * i.aux[3] > 16) throw unsupported(i, "an atomic is at most 16 bytes wide");
  for (std::size_t k = 0; k < i.ops.size(); ++k) {
    if (i.ops[k].kind == Operand::Kind::kValue && i.ops[k].elements.empty())
      i.ops[k].elements.assign(1, i.ops[k].value);
  }
  return &atomic<kReturns>;
}

#define DW_ORDER                                                     \
  "[.relaxed|.acquire|.release|.acq_rel] [.cta|.cluster|.gpu|.sys] " \
  "[.global|.shared|.shared::cta|.shared::cluster] "
#define DW_RED_ORDER \
  "[.relaxed|.release] [.cta|.cluster|.gpu|.sys] [.global|.shared|.shared::cta|.shared::cluster] "
#define DW_HINT "[.L2::cache_hint] "

constexpr Row kRows[] = {
    {.pattern = "atom " DW_ORDER "(.and|.or|.xor) " DW_HINT "(.b32|.b64)",
     .operands = "dT, a, sT, ?si64",
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "atom " DW_ORDER ".exch " DW_HINT "(.b32|.b64)",
     .operands = "dT, a, sT, ?si64",
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "atom " DW_ORDER ".exch " DW_HINT ".b128",
     .operands = "d128, a, s128, ?si64",
     .ptx = 83,
     .needs = Needs::kSm90,
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "atom " DW_ORDER ".cas " DW_HINT "(.b16|.b32|.b64)",
     .operands = "dT, a, sT, sT, ?si64",
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "atom " DW_ORDER ".cas " DW_HINT ".b128",
     .operands = "d128, a, s128, s128, ?si64",
     .ptx = 83,
     .needs = Needs::kSm90,
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "atom " DW_ORDER ".add " DW_HINT "(.u32|.s32|.u64|.f32|.f64)",
     .operands = "dT, a, sT, ?si64",
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "atom " DW_ORDER "(.inc|.dec) " DW_HINT ".u32",
     .operands = "dT, a, sT, ?si64",
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "atom " DW_ORDER "(.min|.max) " DW_HINT "(.u32|.s32|.u64|.s64)",
     .operands = "dT, a, sT, ?si64",
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "atom " DW_ORDER ".add .noftz " DW_HINT "(.f16|.bf16|.f16x2|.bf16x2)",
     .operands = "dT, a, sT, ?si64",
     .ptx = 62,
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "atom " DW_ORDER ".add " DW_HINT "(.v2|.v4) .f32",
     .operands = "dvT, a, svT, ?si64",
     .ptx = 81,
     .needs = Needs::kSm90,
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern =
         "atom " DW_ORDER "(.add|.min|.max) .noftz " DW_HINT "(.v2|.v4|.v8) (.f16|.bf16|.f16x2|.bf16x2)",
     .operands = "dvT, a, svT, ?si64",
     .ptx = 81,
     .needs = Needs::kSm90,
     .section = "9.7.13 atom",
     .bind = &bind_atomic<true>},
    {.pattern = "red " DW_RED_ORDER "(.and|.or|.xor) " DW_HINT "(.b32|.b64)",
     .operands = "a, sT, ?si64",
     .section = "9.7.13 red",
     .bind = &bind_atomic<false>},
    {.pattern = "red " DW_RED_ORDER ".add " DW_HINT "(.u32|.s32|.u64|.f32|.f64)",
     .operands = "a, sT, ?si64",
     .section = "9.7.13 red",
     .bind = &bind_atomic<false>},
    {.pattern = "red " DW_RED_ORDER "(.inc|.dec) " DW_HINT ".u32",
     .operands = "a, sT, ?si64",
     .section = "9.7.13 red",
     .bind = &bind_atomic<false>},
    {.pattern = "red " DW_RED_ORDER "(.min|.max) " DW_HINT "(.u32|.s32|.u64|.s64)",
     .operands = "a, sT, ?si64",
     .section = "9.7.13 red",
     .bind = &bind_atomic<false>},
    {.pattern = "red " DW_RED_ORDER ".add .noftz " DW_HINT "(.f16|.bf16|.f16x2|.bf16x2)",
     .operands = "a, sT, ?si64",
     .ptx = 62,
     .section = "9.7.13 red",
     .bind = &bind_atomic<false>},
    {.pattern = "red " DW_RED_ORDER ".add " DW_HINT "(.v2|.v4) .f32",
     .operands = "a, svT, ?si64",
     .ptx = 81,
     .needs = Needs::kSm90,
     .section = "9.7.13 red",
     .bind = &bind_atomic<false>},
    {.pattern =
         "red " DW_RED_ORDER "(.add|.min|.max) .noftz " DW_HINT "(.v2|.v4|.v8) (.f16|.bf16|.f16x2|.bf16x2)",
     .operands = "a, svT, ?si64",
     .ptx = 81,
     .needs = Needs::kSm90,
     .section = "9.7.13 red",
     .bind = &bind_atomic<false>},
};

}  // namespace

std::span<Row const> atomic_rows() { return kRows; }

}  // namespace deepwell::emu

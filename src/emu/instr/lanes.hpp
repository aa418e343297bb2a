// Turns a scalar function into the semantics of an ALU instruction: a loop over the lanes that the compiler vectorises.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#include "emu/instr/instr.hpp"

// Before a loop over lanes: no lane reads what another writes, so that the loop may be vectorised.
#if defined(__clang__)
#define DW_LANES_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define DW_LANES_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace deepwell::emu {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

/// How a value of type T is held in a register lane.
template <class T>
using Storage = std::conditional_t<(sizeof(T) <= 4), u32, u64>;

template <class T>
inline T from_storage(Storage<T> bits) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::bit_cast<T>(bits);
  } else {
    return static_cast<T>(bits);
  }
}
template <class T>
inline Storage<T> to_storage(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::bit_cast<Storage<T>>(value);
  } else {
    return static_cast<Storage<T>>(static_cast<std::make_unsigned_t<T>>(value));
  }
}
template <class T>
inline Storage<T> const* source(Warp const& warp, Value const& value) {
  if constexpr (sizeof(T) <= 4) {
    return warp.s32(value);
  } else {
    return warp.s64(value);
  }
}
template <class T>
inline Storage<T>* destination(Warp& warp, Value const& value) {
  if constexpr (sizeof(T) <= 4) {
    return warp.d32(value);
  } else {
    return warp.d64(value);
  }
}

namespace detail {
template <class F>
struct Signature;
template <class R, class... A>
struct Signature<R (*)(A...)> {
  template <auto kFunction, std::size_t... kIndex>
  static void run(Warp& warp, Instr const& instr, Mask mask, std::index_sequence<kIndex...>) {
    auto* const out = destination<R>(warp, instr.ops[0].value);
    auto const sources = std::make_tuple(source<A>(warp, instr.ops[kIndex + 1].value)...);
    if (mask == kFullMask) {
      DW_LANES_INDEPENDENT
      for (int lane = 0; lane < kLanes; ++lane) {
        out[lane] = to_storage<R>(kFunction(from_storage<A>(std::get<kIndex>(sources)[lane])...));
      }
    } else {
      Storage<R> results[kLanes];
      DW_LANES_INDEPENDENT
      for (int lane = 0; lane < kLanes; ++lane) {
        results[lane] = to_storage<R>(kFunction(from_storage<A>(std::get<kIndex>(sources)[lane])...));
      }
      for (Mask rest = mask; rest != 0; rest &= rest - 1) {
        int const lane = std::countr_zero(rest);
        out[lane] = results[lane];
      }
    }
    if (warp.check) {
      Mask const lanes = (warp.poison_of(instr.ops[kIndex + 1].value) | ... | Mask{0});
      warp.set_poison(instr.ops[0].value, mask, lanes);
    }
  }
  static constexpr std::size_t kCount = sizeof...(A);
};
}  // namespace detail

/// Semantics of `d = f(a, b, ...)` for a captureless lambda; its parameter and result types are the operand types. The
/// function is also called for lanes outside the mask (its results there are dropped), so it must be defined everywhere.
template <auto kFunction>
Outcome alu(Warp& warp, Instr const& instr, Mask mask) {
  using S = detail::Signature<decltype(+kFunction)>;
  S::template run<kFunction>(warp, instr, mask, std::make_index_sequence<S::kCount>{});
  return Outcome::kNext;
}

/// The semantics for the last integer type of the opcode.
inline Exec by_integer_type(Instr const& instr, Exec u16_form, Exec s16_form, Exec u32_form, Exec s32_form,
                            Exec u64_form, Exec s64_form) {
  std::string const& type = instr.info->parts.back();
  if (type == ".u16" || type == ".b16") return u16_form;
  if (type == ".s16") return s16_form;
  if (type == ".u32" || type == ".b32") return u32_form;
  if (type == ".s32") return s32_form;
  if (type == ".u64" || type == ".b64") return u64_form;
  return s64_form;
}
#define DW_BY_INTEGER(instr, form) \
  by_integer_type((instr), &form<u16>, &form<i16>, &form<u32>, &form<i32>, &form<u64>, &form<i64>)

/// Unsigned type as wide as T, at least 32 bits: arithmetic in it wraps and never overflows.
template <class T>
using Wrap = std::conditional_t<(sizeof(T) <= 4), u32, u64>;

}  // namespace deepwell::emu

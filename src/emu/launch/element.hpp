// Element types of buffers in emulated memory, by name: their bits, their values, and what NumPy's file format calls them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "num/formats.hpp"

namespace deepwell::emu {

/// One row of the table. Types of 4 bits lie two in a byte, the even element in the low half; e3m2 and e2m3 take a byte each.
struct ElementType {
  enum class Kind : std::uint8_t { kUnsigned, kSigned, kFloat, kDouble };
  std::string_view name;  // "bf16"
  Kind kind = Kind::kUnsigned;
  int bits = 8;                            // that an element takes in memory: 4, 8, 16, 32 or 64
  num::Format format = num::Format::kF32;  // of kFloat
  std::string_view npy;                    // "<f2"; bits as an unsigned integer where NumPy has no such type

  bool is_float() const { return kind == Kind::kFloat || kind == Kind::kDouble; }
};

std::span<ElementType const> element_types();
/// By name, or by what NumPy and ml_dtypes call it ("float16", "float8_e4m3fn"); null when there is none.
ElementType const* find_element_type(std::string_view name);
/// "u8, s8, u16, ...": for messages.
std::string element_type_names();
/// The type with this NumPy descriptor ("<f4"), null when there is none.
ElementType const* element_type_of_npy(std::string_view descriptor);

/// Bytes of `count` elements; of 4-bit types `count` is even.
constexpr std::uint64_t bytes_of(ElementType const& type, std::uint64_t count) {
  return type.bits == 4 ? count / 2 : count * static_cast<std::uint64_t>(type.bits / 8);
}
constexpr std::uint64_t elements_of(ElementType const& type, std::uint64_t bytes) {
  return type.bits == 4 ? bytes * 2 : bytes / static_cast<std::uint64_t>(type.bits / 8);
}

/// An element's bits, little endian in memory.
std::uint64_t element_bits(ElementType const& type, std::span<std::byte const> bytes, std::uint64_t index);
void set_element_bits(ElementType const& type, std::span<std::byte> bytes, std::uint64_t index,
                      std::uint64_t bits);
/// An element's value; exact but for 64-bit integers beyond 2^53.
double element_value(ElementType const& type, std::uint64_t bits);
/// The bits of the value nearest to `value` (ties to even; ue8m0 upwards); beyond the largest finite one: that one. Infinities and
/// NaN stay where the type has them. Integers are rounded and clamped.
std::uint64_t element_from(ElementType const& type, double value);

}  // namespace deepwell::emu

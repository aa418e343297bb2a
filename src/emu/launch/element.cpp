// The table of element types, and elements to and from double.
#include "emu/launch/element.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace deepwell::emu {
namespace {

using Kind = ElementType::Kind;
using num::Format;

constexpr ElementType kTypes[] = {
    {"u8", Kind::kUnsigned, 8, Format::kF32, "|u1"},   {"s8", Kind::kSigned, 8, Format::kF32, "|i1"},
    {"u16", Kind::kUnsigned, 16, Format::kF32, "<u2"}, {"s16", Kind::kSigned, 16, Format::kF32, "<i2"},
    {"u32", Kind::kUnsigned, 32, Format::kF32, "<u4"}, {"s32", Kind::kSigned, 32, Format::kF32, "<i4"},
    {"u64", Kind::kUnsigned, 64, Format::kF32, "<u8"}, {"s64", Kind::kSigned, 64, Format::kF32, "<i8"},
    {"f16", Kind::kFloat, 16, Format::kF16, "<f2"},    {"f32", Kind::kFloat, 32, Format::kF32, "<f4"},
    {"f64", Kind::kDouble, 64, Format::kF32, "<f8"},   {"bf16", Kind::kFloat, 16, Format::kBf16, "<u2"},
    {"tf32", Kind::kFloat, 32, Format::kTf32, "<f4"},  {"e4m3", Kind::kFloat, 8, Format::kE4m3, "|u1"},
    {"e5m2", Kind::kFloat, 8, Format::kE5m2, "|u1"},   {"e3m2", Kind::kFloat, 8, Format::kE3m2, "|u1"},
    {"e2m3", Kind::kFloat, 8, Format::kE2m3, "|u1"},   {"e2m1", Kind::kFloat, 4, Format::kE2m1, "|u1"},
    {"ue8m0", Kind::kFloat, 8, Format::kUe8m0, "|u1"}, {"ue4m3", Kind::kFloat, 8, Format::kUe4m3, "|u1"},
    {"u4", Kind::kUnsigned, 4, Format::kF32, "|u1"},   {"s4", Kind::kSigned, 4, Format::kF32, "|u1"},
};

constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
    {"uint8", "u8"},           {"int8", "s8"},          {"uint16", "u16"},           {"int16", "s16"},
    {"uint32", "u32"},         {"int32", "s32"},        {"uint64", "u64"},           {"int64", "s64"},
    {"float16", "f16"},        {"float32", "f32"},      {"float64", "f64"},          {"bfloat16", "bf16"},
    {"float8_e4m3fn", "e4m3"}, {"float8_e5m2", "e5m2"}, {"float8_e8m0fnu", "ue8m0"}, {"bool", "u8"},
};

double signed_value(std::uint64_t bits, int width) {
  return static_cast<double>(static_cast<std::int64_t>(bits << (64 - width)) >> (64 - width));
}

std::uint64_t integer_from(ElementType const& type, double value) {
  if (std::isnan(value)) return 0;
  double const rounded = std::nearbyint(value);
  if (type.kind == Kind::kUnsigned) {
    double const limit = std::ldexp(1.0, type.bits);
    if (rounded <= 0) return 0;
    return rounded >= limit ? ~std::uint64_t{0} >> (64 - type.bits) : static_cast<std::uint64_t>(rounded);
  }
  double const limit = std::ldexp(1.0, type.bits - 1);
  std::uint64_t const largest = (std::uint64_t{1} << (type.bits - 1)) - 1;
  std::int64_t out = 0;
  if (rounded >= limit) {
    out = static_cast<std::int64_t>(largest);
  } else if (rounded < -limit) {
    out = -static_cast<std::int64_t>(largest) - 1;
  } else {
    out = static_cast<std::int64_t>(rounded);
  }
  return static_cast<std::uint64_t>(out) & (~std::uint64_t{0} >> (64 - type.bits));
}

}  // namespace

std::span<ElementType const> element_types() { return kTypes; }

ElementType const* find_element_type(std::string_view name) {
  for (auto const& [alias, own] : kAliases) {
    if (alias == name) name = own;
  }
  auto const found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](ElementType const& type) { return type.name == name; });
  return found == std::end(kTypes) ? nullptr : found;
}

std::string element_type_names() {
  std::string out;
  for (ElementType const& type : kTypes) out += (out.empty() ? "" : ", ") + std::string(type.name);
  return out;
}

ElementType const* element_type_of_npy(std::string_view descriptor) {
  if (descriptor == "|b1") return kTypes;
  auto const found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](ElementType const& type) { return type.npy == descriptor; });
  return found == std::end(kTypes) ? nullptr : found;
}

std::uint64_t element_bits(ElementType const& type, std::span<std::byte const> bytes, std::uint64_t index) {
  if (type.bits == 4) return (std::to_integer<std::uint64_t>(bytes[index / 2]) >> (index % 2 * 4)) & 0xf;
  std::size_t const width = static_cast<std::size_t>(type.bits) / 8;
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < width; ++i)
    bits |= std::to_integer<std::uint64_t>(bytes[index * width + i]) << (8 * i);
  return bits;
}

void set_element_bits(ElementType const& type, std::span<std::byte> bytes, std::uint64_t index,
                      std::uint64_t bits) {
  if (type.bits == 4) {
    int const shift = static_cast<int>(index % 2 * 4);
    std::byte const kept = bytes[index / 2] & static_cast<std::byte>(0xf0 >> shift);
    bytes[index / 2] = kept | static_cast<std::byte>((bits & 0xf) << shift);
    return;
  }
  std::size_t const width = static_cast<std::size_t>(type.bits) / 8;
  for (std::size_t i = 0; i < width; ++i) bytes[index * width + i] = static_cast<std::byte>(bits >> (8 * i));
}

double element_value(ElementType const& type, std::uint64_t bits) {
  switch (type.kind) {
    case Kind::kUnsigned: return static_cast<double>(bits);
    case Kind::kSigned: return signed_value(bits, type.bits);
    case Kind::kDouble: return std::bit_cast<double>(bits);
    case Kind::kFloat: break;
  }
  return num::decode(type.format, static_cast<std::uint32_t>(bits));
}

std::uint64_t element_from(ElementType const& type, double value) {
  switch (type.kind) {
    case Kind::kUnsigned:
    case Kind::kSigned: return integer_from(type, value);
    case Kind::kDouble: return std::bit_cast<std::uint64_t>(value);
    case Kind::kFloat: break;
  }
  if (type.format == Format::kF32) return std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if (type.format == Format::kUe8m0) return num::encode_ue8m0(static_cast<float>(value), num::Rounding::kUp);
  if (!num::info(type.format).is_signed) value = std::fmax(value, 0.0);
  bool const has_infinity = num::info(type.format).inf_code >= 0;
  if (std::isinf(value) && has_infinity) return num::encode(type.format, value);
  return num::encode(type.format, value, {.satfinite = true});
}

}  // namespace deepwell::emu

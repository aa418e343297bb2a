// The 8-bit formats as tensor_core_operands.hpp has them.
#include "num/tensor_core_operands.hpp"

#include <memory>

namespace deepwell::num {
namespace {

std::unique_ptr<NarrowFormat const> make(Format format, std::uint8_t magnitude_mask, int fraction_bits,
                                         std::uint8_t first_special, bool normalised = false) {
  auto out = std::make_unique<NarrowFormat>();
  out->magnitude_mask = magnitude_mask;
  out->top = static_cast<std::uint8_t>(magnitude_mask >> fraction_bits);
  out->fraction_bits = static_cast<std::uint8_t>(fraction_bits);
  out->normalised = normalised;
  out->first_special = first_special;
  out->base = out->top - info(format).bias;
  for (unsigned code = 0; code < 256; ++code) {
    std::uint32_t const bits = format == Format::kE2m1 ? code >> 2 : code;
    Unpacked const u = unpack(format, bits);
    out->value[code] = u.is_nan || u.is_inf ? 0 : decode_f32(format, bits) * power_of_two(-out->base);
  }
  return out;
}

}  // namespace

NarrowFormat const& narrow_format(Format format, bool through_f16) {
  constexpr std::uint8_t kNone = 0xff;
  static std::unique_ptr<NarrowFormat const> const formats[] = {
      make(Format::kE4m3, 0x7f, 3, 0x7f),       make(Format::kE5m2, 0x7f, 2, 0x7c),
      make(Format::kE3m2, 0x1f, 2, kNone),      make(Format::kE2m3, 0x1f, 3, kNone),
      make(Format::kE2m1, 0x1c, 3, kNone),  // in bits 5..2 it reads as e2m3
      make(Format::kE4m3, 0x7f, 3, 0x7f, true),
  };
  static_assert(static_cast<int>(Format::kE4m3) == 0 && static_cast<int>(Format::kE2m1) == 4);
  // e5m2 has the exponents of f16.
  bool const normalised = through_f16 && format == Format::kE4m3;
  return *formats[normalised ? 5 : static_cast<int>(format)];
}

}  // namespace deepwell::num

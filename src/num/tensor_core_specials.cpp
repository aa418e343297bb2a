// Infinity and NaN in tiles: see tensor_core_specials.hpp.
#include "num/tensor_core_specials.hpp"

#include "num/tensor_core_definition.hpp"

namespace deepwell::num {
namespace {

/// Codes without their sign are infinity or NaN from `first` on, NaN from `first_nan` on.
struct SpecialCodes {
  std::uint32_t magnitude_mask, first, first_nan;
};

SpecialCodes special_codes(Format format) {
  switch (format) {
    case Format::kE4m3: return {0x7f, 0x7f, 0x7f};
    case Format::kE5m2: return {0x7f, 0x7c, 0x7d};
    case Format::kF16: return {0x7fff, 0x7c00, 0x7c01};
    case Format::kBf16: return {0x7fff, 0x7f80, 0x7f81};
    case Format::kTf32:
      return {0x7fffe000, 0x7f800000, 0x7f802000};  // bits that tf32 loses do not make a NaN
    default: return {0, 1, 1};                      // none
  }
}

template <class Code>
void find(SpecialCodes const& special, Code const* codes, int rows, int k, std::uint32_t& nan,
          std::uint32_t& infinite) {
  for (int i = 0; i < rows * k; ++i) {
    std::uint32_t const magnitude = codes[i] & special.magnitude_mask;
    if (magnitude >= special.first) (magnitude >= special.first_nan ? nan : infinite) |= 1u << i / k;
  }
}

void find_scales(std::uint8_t const* scales, int rows, std::uint32_t& nan) {
  for (int row = 0; row < rows; ++row) nan |= static_cast<std::uint32_t>(scales[row] == 0xff) << row;
}

}  // namespace

template <class Code>
SpecialParts find_specials(MmaTile<Code> const& tile) {
  SpecialParts out;
  find(special_codes(tile.a_format), tile.a, kMmaM, tile.k, out.nan_a, out.infinite_a);
  find(special_codes(tile.b_format), tile.b, kMmaN, tile.k, out.nan_b, out.infinite_b);
  if (tile.scale_a) {
    find_scales(tile.scale_a, kMmaM, out.nan_a);
    find_scales(tile.scale_b, kMmaN, out.nan_b);
  }
  return out;
}

template <class Code>
std::uint32_t special_output(MmaTile<Code> const& tile, SpecialParts const& specials, bool through_f16, int m,
                             int n) {
  std::uint32_t const c = tile.c[m * kMmaN + n];
  Specials known;
  known.add(unpack(tile.accumulator, c));
  known.nan |= specials.nan(m, n);
  if (specials.infinite(m, n) && !known.nan) return fused_dot(tile, through_f16, m, n, c);
  return known.result(tile.accumulator);
}

template SpecialParts find_specials(MmaTile<std::uint8_t> const&);
template SpecialParts find_specials(MmaTile<std::uint16_t> const&);
template SpecialParts find_specials(MmaTile<std::uint32_t> const&);
template std::uint32_t special_output(MmaTile<std::uint8_t> const&, SpecialParts const&, bool, int, int);
template std::uint32_t special_output(MmaTile<std::uint16_t> const&, SpecialParts const&, bool, int, int);
template std::uint32_t special_output(MmaTile<std::uint32_t> const&, SpecialParts const&, bool, int, int);

}  // namespace deepwell::num

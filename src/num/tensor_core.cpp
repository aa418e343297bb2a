// Tensor-core dot products: see tensor_core.hpp.
//
// tensor_core_definition.cpp has the definition of an output, tensor_core_fused.cpp and tensor_core_fp4.cpp compute tiles fast.
//
// Choices (all but the last compared on an H100, where no result of f16, bf16, tf32, e4m3, e5m2 and s8 MMAs differed, in
// 1.1 million that included specials, zeros, subnormals and overflow; SM 12.x is taken to do the same):
// - A product with a zero factor, and a C of zero, take no part in the largest exponent.
// - The largest exponent counts as -133 where it is smaller, so that bits below 2^-158 are never kept.
// - A sum of 2^128 or more gives infinity of its sign; one between the largest f32 and that is cut to the largest f32.
// - f16 accumulators: the same sum, rounded to nearest even. FP8 on Hopper keeps both halves and adds C in f16.
// - A sum of zero, and one that truncates or rounds to zero, is +0.
// - NaN: an operand, scale or C that is NaN, infinity times zero, infinities of both signs. The result is 0x7fffffff. tf32 loses
//   its low bits first, so that a NaN with nothing else is an infinity.
// - The k64 FP4 unit has no smallest alignment, and a group of zero takes no part in the largest exponent.
#include "num/tensor_core.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "num/arithmetic.hpp"
#include "num/tensor_core_fp4.hpp"
#include "num/tensor_core_fused.hpp"

namespace deepwell::num {
namespace {

template <class Code>
void check_tile(MmaTile<Code> const& tile, int max_k) {
  if (tile.k <= 0 || tile.k > max_k) {
    throw bad_argument("k", fmt::format("{}", tile.k), fmt::format("1 to {}", max_k));
  }
  if (tile.accumulator != Format::kF32 && tile.accumulator != Format::kF16) {
    throw bad_argument("accumulator", std::string(info(tile.accumulator).name), "f32 or f16");
  }
  bool const scaled = tile.scale_a || tile.scale_b;
  if (scaled && (sizeof(Code) != 1 || !tile.scale_a || !tile.scale_b || tile.accumulator != Format::kF32)) {
    throw bad_argument("scale_a, scale_b", "present",
                       "both or none, with 8-bit operands and an f32 accumulator");
  }
}

/// FP8 on Hopper: operands widened to f16; the elements with k mod 4 in {0, 1} first, on zero, then those with k mod 4
/// in {2, 3}, then C in a separate FP32 addition.
void mma_hopper_fp8(MmaTile<std::uint8_t> const& tile) {
  if (tile.scale_a) throw bad_argument("scale_a", "present", "none: SM 9.0 has no block-scaled MMA");
  for (Format format : {tile.a_format, tile.b_format}) {
    if (format != Format::kE4m3 && format != Format::kE5m2) {
      throw bad_argument("format", std::string(info(format).name), "e4m3 or e5m2 on SM 9.0");
    }
  }
  if (tile.k % 4 != 0) throw bad_argument("k", fmt::format("{}", tile.k), "a multiple of 4");
  std::uint32_t sums[kMmaM * kMmaN] = {};
  std::uint16_t a[2][kMmaM * 8], b[2][kMmaN * 8];  // pairs of elements, by step
  auto const split = [](std::uint8_t const* codes, int count, std::uint16_t* even, std::uint16_t* odd) {
    std::uint16_t pairs[kMmaM * 16];
    std::memcpy(pairs, codes, static_cast<std::size_t>(count));
    for (int i = 0; i < count / 4; ++i) {
      even[i] = pairs[2 * i];
      odd[i] = pairs[2 * i + 1];
    }
  };
  split(tile.a, kMmaM * tile.k, a[0], a[1]);
  split(tile.b, kMmaN * tile.k, b[0], b[1]);
  for (int step = 0; step < 2; ++step) {
    MmaTile<std::uint8_t> half = tile;
    half.k = tile.k / 2;
    half.a = reinterpret_cast<std::uint8_t const*>(a[step]);
    half.b = reinterpret_cast<std::uint8_t const*>(b[step]);
    half.c = half.d = sums;
    fused_step(half, true);
  }
  if (tile.accumulator == Format::kF16) {
    for (int i = 0; i < kMmaM * kMmaN; ++i) tile.d[i] = add(Format::kF16, sums[i], tile.c[i] & 0xffff);
    return;
  }
  for (int i = 0; i < kMmaM * kMmaN; ++i) {
    float const sum = std::bit_cast<float>(sums[i]) + std::bit_cast<float>(tile.c[i]);
    sums[i] = std::isnan(sum) ? kCanonicalNan : std::bit_cast<std::uint32_t>(sum);
  }
  std::memcpy(tile.d, sums, sizeof sums);
}

}  // namespace

void mma(TensorCore core, MmaTile<std::uint8_t> const& tile) {
  check_tile(tile, 32);
  if (core == TensorCore::kHopper) return mma_hopper_fp8(tile);
  for (Format format : {tile.a_format, tile.b_format}) {
    if (format > Format::kE2m1) {
      throw bad_argument("format", std::string(info(format).name),
                         "e4m3, e5m2, e3m2, e2m3 or e2m1 in 8-bit containers");
    }
  }
  fused_step(tile);
}

void mma(TensorCore, MmaTile<std::uint16_t> const& tile) {
  if (tile.a_format != tile.b_format || (tile.a_format != Format::kBf16 && tile.a_format != Format::kF16)) {
    throw bad_argument("a_format, b_format",
                       fmt::format("{}, {}", info(tile.a_format).name, info(tile.b_format).name),
                       "both bf16 or both f16");
  }
  check_tile(tile, 16);
  fused_step(tile);
}

void mma(TensorCore, MmaTile<std::uint32_t> const& tile) {
  if (tile.a_format != Format::kTf32 || tile.b_format != Format::kTf32) {
    throw bad_argument("a_format, b_format",
                       fmt::format("{}, {}", info(tile.a_format).name, info(tile.b_format).name), "tf32");
  }
  check_tile(tile, 8);
  fused_step(tile);
}

void mma_fp4(MmaFp4Tile const& tile) {
  if (tile.blocks != 2 && tile.blocks != 4)
    throw bad_argument("blocks", fmt::format("{}", tile.blocks), "2 or 4");
  if (tile.scale_format != Format::kUe8m0 && tile.scale_format != Format::kUe4m3) {
    throw bad_argument("scale_format", std::string(info(tile.scale_format).name), "ue8m0 or ue4m3");
  }
  fp4_tile(tile);
}

void mma_int(MmaIntTile const& tile) {
  if (tile.k <= 0 || tile.k > 128) throw bad_argument("k", fmt::format("{}", tile.k), "1 to 128");
  auto element = [](bool is_signed, std::uint8_t byte) {
    return is_signed ? static_cast<std::int32_t>(static_cast<std::int8_t>(byte)) : std::int32_t{byte};
  };
  for (int m = 0; m < kMmaM; ++m) {
    for (int n = 0; n < kMmaN; ++n) {
      std::int64_t sum = static_cast<std::int32_t>(tile.c[m * kMmaN + n]);
      for (int i = 0; i < tile.k; ++i) {
        sum +=
            element(tile.a_signed, tile.a[m * tile.k + i]) * element(tile.b_signed, tile.b[n * tile.k + i]);
      }
      if (tile.satfinite) {
        sum = std::clamp<std::int64_t>(sum, std::numeric_limits<std::int32_t>::min(),
                                       std::numeric_limits<std::int32_t>::max());
      }
      tile.d[m * kMmaN + n] = static_cast<std::uint32_t>(sum);
    }
  }
}

}  // namespace deepwell::num

// Tensor-core dot products: see tensor_core.hpp.
//
// How the loops compute it: a product of two operands is exact in `Real` (float for 8-bit operands and f16, double otherwise), so
// "align to the largest exponent and truncate toward zero F bits below it" is one multiplication by 2^(F - exponent), also
// exact, and a truncating conversion to int32. Exponents are kept beside the values because products are not renormalised.
//
// Choices (all but the last compared on an H100, where no result of f16, bf16, tf32, e4m3, e5m2 and s8 MMAs differed, in
// 1.1 million that included specials, zeros, subnormals and overflow; SM 12.x is taken to do the same):
// - A product with a zero factor, and a C of zero, take no part in the largest exponent.
// - The largest exponent counts as -133 where it is smaller, so that bits below 2^-158 are never kept.
// - A sum beyond the largest f32 gives infinity of its sign.
// - f16 accumulators: the same sum, rounded to nearest even. FP8 on Hopper keeps both halves and adds C in f16.
// - A sum of zero, and one that truncates or rounds to zero, is +0.
// - NaN: an operand, scale or C that is NaN, infinity times zero, infinities of both signs. The result is 0x7fffffff.
// - The k64 FP4 unit has no smallest alignment, and a group of zero takes no part in the largest exponent.
#include "num/tensor_core.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "base/error.hpp"
#include "num/arithmetic.hpp"

// These loops are most of the emulator's time; unrolled and vectorised they run half as long again faster.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

namespace deepwell::num {
namespace {

constexpr int kFractionBits = 25;         // of k32 and narrower MMAs
constexpr int kSmallestAlignment = -133;  // ... which never lie below 2^-158
constexpr int kFp4FractionBits = 35;      // of the k64 MMA
constexpr int kFp4GroupK = 16;            // products summed exactly before scaling
constexpr int kZeroExponent = -4096;      // below every exponent, also when added to another one

/// 2^exponent; exponent within the normal range of double.
double power_of_two(int exponent) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

std::uint32_t canonical_nan(Format accumulator) {
  return accumulator == Format::kF16 ? kCanonicalNan16 : kCanonicalNan;
}

/// sum * 2^lsb_exponent as a code. f32 truncates toward zero, f16 rounds to nearest even.
std::uint32_t pack_sum(std::int64_t sum, int lsb_exponent, Format accumulator) {
  if (sum == 0) return 0;
  bool const negative = sum < 0;
  std::uint64_t const magnitude =
      negative ? 0 - static_cast<std::uint64_t>(sum) : static_cast<std::uint64_t>(sum);
  if (accumulator == Format::kF16) {
    std::uint32_t const code =
        encode(Format::kF16, static_cast<double>(magnitude) * power_of_two(lsb_exponent));
    return negative && code != 0 ? code | 0x8000u : code;
  }
  std::uint32_t const sign = negative ? 0x80000000u : 0u;
  int const width = std::bit_width(magnitude);
  int const exponent = lsb_exponent + width - 1;
  if (exponent > 127) return sign | 0x7f800000u;
  int const unit = std::max(exponent, -126) - 23;  // exponent of the result's last place
  int const shift = unit - lsb_exponent;
  if (shift > 63) return 0;
  std::uint32_t const significand =
      static_cast<std::uint32_t>(shift >= 0 ? magnitude >> shift : magnitude << -shift);
  if (significand == 0) return 0;
  if (exponent < -126) return sign | significand;
  return sign | ((static_cast<std::uint32_t>(exponent + 126) << 23) + significand);
}

/// C, or a scale factor, as a number with its own exponent.
struct Addend {
  double value = 0;
  int exponent = kZeroExponent;
};

Addend addend(Format format, std::uint32_t code) {
  Unpacked const u = unpack(format, code);
  return {.value = decode(format, code), .exponent = u.is_zero() ? kZeroExponent : u.exponent};
}

Addend addend_f32(std::uint32_t code) {
  std::uint32_t const field = code >> 23 & 0xff;
  if ((code & 0x7fffffffu) == 0) return {};
  return {.value = std::bit_cast<float>(code), .exponent = field == 0 ? -126 : static_cast<int>(field) - 127};
}

template <class Real, int kCodes>
struct Decoded {
  std::array<Real, kCodes> value;
  std::array<std::int16_t, kCodes> exponent;
  std::array<bool, kCodes> special;  // NaN or infinity
};

/// `shift`: position of the format's low bit in its container.
template <class Real, int kCodes>
std::unique_ptr<Decoded<Real, kCodes>> make_decoded(Format format, int shift) {
  auto table = std::make_unique<Decoded<Real, kCodes>>();
  for (int code = 0; code < kCodes; ++code) {
    Unpacked const u = unpack(format, static_cast<std::uint32_t>(code) >> shift);
    table->value[code] = static_cast<Real>(decode(format, static_cast<std::uint32_t>(code) >> shift));
    table->exponent[code] = static_cast<std::int16_t>(u.is_zero() ? kZeroExponent : u.exponent);
    table->special[code] = u.is_nan || u.is_inf;
  }
  return table;
}

template <class Real, int kMaxK>
struct Operand {
  alignas(32) Real value[kMmaM][kMaxK];
  alignas(32) std::int16_t exponent[kMmaM][kMaxK];
  bool special[kMmaM];
};

Decoded<float, 256> const& decoded8(Format format) {
  static auto const e4m3 = make_decoded<float, 256>(Format::kE4m3, 0);
  static auto const e5m2 = make_decoded<float, 256>(Format::kE5m2, 0);
  static auto const e3m2 = make_decoded<float, 256>(Format::kE3m2, 0);
  static auto const e2m3 = make_decoded<float, 256>(Format::kE2m3, 0);
  static auto const e2m1 = make_decoded<float, 256>(Format::kE2m1, 2);
  switch (format) {
    case Format::kE4m3: return *e4m3;
    case Format::kE5m2: return *e5m2;
    case Format::kE3m2: return *e3m2;
    case Format::kE2m3: return *e2m3;
    case Format::kE2m1: return *e2m1;
    default:
      throw bad_argument("format", std::string(info(format).name),
                         "e4m3, e5m2, e3m2, e2m3 or e2m1 in 8-bit containers");
  }
}

/// One row of f16, bf16 or tf32 codes. Says whether there was an infinity or a NaN among them.
template <class Real, class Code>
bool load_wide_row(Format format, int k, Code const* codes, Real* values, std::int16_t* exponents) {
  bool const f16 = format == Format::kF16;
  int const field_position = f16 ? 10 : format == Format::kBf16 ? 7 : 23;
  int const all_ones = f16 ? 0x1f : 0xff;
  int const bias = all_ones >> 1;
  std::uint32_t const magnitude_mask = f16 || format == Format::kBf16 ? 0x7fffu : 0x7fffe000u;
  int special = 0;
  for (int i = 0; i < k; ++i) {
    std::uint32_t const code = codes[i];
    std::uint32_t const magnitude = code & magnitude_mask;
    int const field = static_cast<int>(magnitude >> field_position);
    special |= field == all_ones;
    exponents[i] = static_cast<std::int16_t>(magnitude == 0 ? kZeroExponent : std::max(field, 1) - bias);
    if (f16) {  // the fields moved to their place in f32, the exponent's bias corrected by a multiplication
      std::uint32_t const bits = (code & 0x8000u) << 16 | magnitude << 13;
      values[i] = std::bit_cast<float>(bits) * 0x1p112f;
    } else {
      std::uint32_t const bits = format == Format::kBf16 ? code << 16 : drop_tf32_tail(code);
      values[i] = static_cast<Real>(std::bit_cast<float>(bits));
    }
  }
  if (special == 0) return false;
  for (int i = 0; i < k; ++i) {
    std::uint32_t const code = codes[i];
    if (f16) values[i] = f16_to_float(static_cast<std::uint16_t>(code));
    // A tf32 NaN whose payload lies in the dropped bits is one still.
    if (format == Format::kTf32 && (code & 0x7fffffffu) > 0x7f800000u)
      values[i] = std::numeric_limits<Real>::quiet_NaN();
  }
  return true;
}

template <class Real, int kMaxK, class Code>
void load(Operand<Real, kMaxK>& out, Format format, int rows, int k, Code const* codes) {
  for (int row = 0; row < rows; ++row) {
    out.special[row] = false;
    if constexpr (sizeof(Code) == 1) {
      Decoded<float, 256> const& table = decoded8(format);
      bool special = false;
      for (int i = 0; i < k; ++i) {
        int const code = codes[row * k + i];
        out.value[row][i] = table.value[code];
        out.exponent[row][i] = table.exponent[code];
        special |= table.special[code];
      }
      out.special[row] = special;
    } else {
      out.special[row] = load_wide_row(format, k, codes + row * k, out.value[row], out.exponent[row]);
    }
    for (int i = k; i < kMaxK; ++i) {
      out.value[row][i] = 0;
      out.exponent[row][i] = kZeroExponent;
    }
  }
}

// GCC and Clang vectors: lowered to what the target has, on every target.
using Shorts = std::int16_t __attribute__((vector_size(16)));
using Floats = float __attribute__((vector_size(16)));
using Ints = std::int32_t __attribute__((vector_size(16)));

template <class Vector, class Element>
Vector load_vector(Element const* from) {
  Vector out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

/// The largest a[i] + b[i].
template <int kMaxK>
int largest_exponent(std::int16_t const* a, std::int16_t const* b) {
  static_assert(kMaxK % 8 == 0);
  Shorts largest = load_vector<Shorts>(a) + load_vector<Shorts>(b);
  for (int i = 8; i < kMaxK; i += 8) {
    Shorts const sum = load_vector<Shorts>(a + i) + load_vector<Shorts>(b + i);
    largest = sum > largest ? sum : largest;
  }
  std::int16_t lanes[8];
  std::memcpy(lanes, &largest, sizeof lanes);
  for (int half = 4; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = std::max(lanes[i], lanes[i + half]);
  }
  return lanes[0];
}

/// Sum of trunc(a[i] * b[i] * scale). Each term is below 2^27.01 in magnitude, so eight of them fit in an int32 lane.
template <int kMaxK>
std::int64_t truncated_sum(float const* a, float const* b, float scale) {
  static_assert(kMaxK % 4 == 0 && kMaxK <= 32);
  Floats const scales = {scale, scale, scale, scale};
  Ints sum = {};
  for (int i = 0; i < kMaxK; i += 4) {
    sum += __builtin_convertvector(load_vector<Floats>(a + i) * load_vector<Floats>(b + i) * scales, Ints);
  }
  return (std::int64_t{sum[0]} + sum[1]) + (std::int64_t{sum[2]} + sum[3]);
}

template <int kMaxK>
std::int64_t truncated_sum(double const* a, double const* b, double scale) {
  std::int32_t lanes[4] = {};
  for (int i = 0; i < kMaxK; i += 4) {
    for (int lane = 0; lane < 4; ++lane)
      lanes[lane] += static_cast<std::int32_t>(a[i + lane] * b[i + lane] * scale);
  }
  return (std::int64_t{lanes[0]} + lanes[1]) + (std::int64_t{lanes[2]} + lanes[3]);
}

template <class Real>
std::uint32_t special_result(Real const* a, Real const* b, int k, double c, Format accumulator) {
  double sum = c;
  for (int i = 0; i < k; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  if (std::isnan(sum)) return canonical_nan(accumulator);
  return encode(accumulator, sum);
}

/// One step of the fused model: d = a b + c for the whole tile.
template <class Real, int kMaxK>
void fused_step(Operand<Real, kMaxK> const& a, Operand<Real, kMaxK> const& b,
                MmaTile<std::uint8_t> const* scales, Format accumulator, std::uint32_t const* c,
                std::uint32_t* d) {
  // A float scale this small has the same effect as any smaller one: 8-bit and f16 products are at most 2^32.
  constexpr int kMinScale = sizeof(Real) == 4 ? -64 : -1000;
  for (int m = 0; m < kMmaM; ++m) {
    for (int n = 0; n < kMmaN; ++n) {
      std::uint32_t const c_code = c[m * kMmaN + n];
      std::uint32_t& out = d[m * kMmaN + n];
      Addend const addend_c =
          accumulator == Format::kF32 ? addend_f32(c_code) : addend(accumulator, c_code & 0xffffu);
      int scale_exponent = 0;
      if (scales) {
        if (scales->scale_a[m] == 0xff || scales->scale_b[n] == 0xff) {
          out = kCanonicalNan;
          continue;
        }
        scale_exponent = scales->scale_a[m] + scales->scale_b[n] - 254;
      }
      if (a.special[m] || b.special[n] || !std::isfinite(addend_c.value)) {
        out = special_result(a.value[m], b.value[n], kMaxK, addend_c.value, accumulator);
        continue;
      }
      int const product_exponent = largest_exponent<kMaxK>(a.exponent[m], b.exponent[n]);
      bool const all_zero = product_exponent <= kZeroExponent / 2;
      int largest = addend_c.exponent;
      if (!all_zero) largest = std::max(largest, product_exponent + scale_exponent);
      if (largest == kZeroExponent) {
        out = 0;
        continue;
      }
      int const lsb_exponent = std::max(largest, kSmallestAlignment) - kFractionBits;
      std::int64_t sum = 0;
      if (!all_zero) {
        int const scale = std::max(scale_exponent - lsb_exponent, kMinScale);
        sum = truncated_sum<kMaxK>(a.value[m], b.value[n], static_cast<Real>(power_of_two(scale)));
      }
      if (addend_c.value != 0) sum += static_cast<std::int64_t>(addend_c.value * power_of_two(-lsb_exponent));
      out = pack_sum(sum, lsb_exponent, accumulator);
    }
  }
}

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

template <class Real, int kMaxK, class Code>
void mma_wide(MmaTile<Code> const& tile) {
  check_tile(tile, kMaxK);
  Operand<Real, kMaxK> a, b;
  load(a, tile.a_format, kMmaM, tile.k, tile.a);
  load(b, tile.b_format, kMmaN, tile.k, tile.b);
  fused_step(a, b, nullptr, tile.accumulator, tile.c, tile.d);
}

/// The f16 code of every e4m3 or e5m2 code; exact. FP8 subnormals of e4m3 become normal numbers.
std::array<std::uint16_t, 256> const& f16_codes(Format format) {
  auto make = [](Format from) {
    std::array<std::uint16_t, 256> table{};
    for (int code = 0; code < 256; ++code) {
      table[code] =
          static_cast<std::uint16_t>(encode(Format::kF16, decode(from, static_cast<std::uint32_t>(code))));
    }
    return table;
  };
  static std::array<std::uint16_t, 256> const e4m3 = make(Format::kE4m3), e5m2 = make(Format::kE5m2);
  return format == Format::kE4m3 ? e4m3 : e5m2;
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
  std::array<std::uint16_t, kMmaM * 16> a;
  std::array<std::uint16_t, kMmaN * 16> b;
  int const half_k = tile.k / 2;
  for (int step = 0; step < 2; ++step) {
    auto widen = [&](Format format, std::uint8_t const* from, std::uint16_t* to, int rows) {
      std::array<std::uint16_t, 256> const& table = f16_codes(format);
      for (int row = 0; row < rows; ++row) {
        for (int i = 0; i < half_k; ++i)
          to[row * half_k + i] = table[from[row * tile.k + i / 2 * 4 + i % 2 + 2 * step]];
      }
    };
    widen(tile.a_format, tile.a, a.data(), kMmaM);
    widen(tile.b_format, tile.b, b.data(), kMmaN);
    mma_wide<float, 16>(MmaTile<std::uint16_t>{.a_format = Format::kF16,
                                               .b_format = Format::kF16,
                                               .k = half_k,
                                               .a = a.data(),
                                               .b = b.data(),
                                               .c = sums,
                                               .d = sums,
                                               .accumulator = tile.accumulator});
  }
  for (int i = 0; i < kMmaM * kMmaN; ++i) {
    if (tile.accumulator == Format::kF16) {
      tile.d[i] = add(Format::kF16, sums[i], tile.c[i] & 0xffff);
    } else {
      float const sum = std::bit_cast<float>(sums[i]) + std::bit_cast<float>(tile.c[i]);
      tile.d[i] = std::isnan(sum) ? kCanonicalNan : std::bit_cast<std::uint32_t>(sum);
    }
  }
}

}  // namespace

void mma(TensorCore core, MmaTile<std::uint8_t> const& tile) {
  check_tile(tile, 32);
  if (core == TensorCore::kHopper) return mma_hopper_fp8(tile);
  Operand<float, 32> a, b;
  load(a, tile.a_format, kMmaM, tile.k, tile.a);
  load(b, tile.b_format, kMmaN, tile.k, tile.b);
  fused_step(a, b, tile.scale_a ? &tile : nullptr, tile.accumulator, tile.c, tile.d);
}

void mma(TensorCore, MmaTile<std::uint16_t> const& tile) {
  if (tile.a_format != tile.b_format || (tile.a_format != Format::kBf16 && tile.a_format != Format::kF16)) {
    throw bad_argument("a_format, b_format",
                       fmt::format("{}, {}", info(tile.a_format).name, info(tile.b_format).name),
                       "both bf16 or both f16");
  }
  // f16 products have 22 bits and exponents from -48 to 32: float holds them, and half of the work is saved.
  return tile.a_format == Format::kF16 ? mma_wide<float, 16>(tile) : mma_wide<double, 16>(tile);
}

void mma(TensorCore, MmaTile<std::uint32_t> const& tile) {
  if (tile.a_format != Format::kTf32 || tile.b_format != Format::kTf32) {
    throw bad_argument("a_format, b_format",
                       fmt::format("{}, {}", info(tile.a_format).name, info(tile.b_format).name), "tf32");
  }
  mma_wide<double, 8>(tile);
}

void mma_fp4(MmaFp4Tile const& tile) {
  if (tile.blocks != 2 && tile.blocks != 4)
    throw bad_argument("blocks", fmt::format("{}", tile.blocks), "2 or 4");
  if (tile.scale_format != Format::kUe8m0 && tile.scale_format != Format::kUe4m3) {
    throw bad_argument("scale_format", std::string(info(tile.scale_format).name), "ue8m0 or ue4m3");
  }
  constexpr int kK = 64, kGroups = kK / kFp4GroupK;
  // e2m1 in halves: 0, 1, 2, 3, 4, 6, 8, 12
  static constexpr std::int16_t kHalves[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  alignas(32) std::int16_t a[kMmaM][kK], b[kMmaN][kK];
  auto widen = [](std::uint8_t const* packed, std::int16_t* out, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      out[2 * i] = kHalves[packed[i] & 0xf];
      out[2 * i + 1] = kHalves[packed[i] >> 4];
    }
  };
  widen(tile.a, &a[0][0], kMmaM * kK / 2);
  widen(tile.b, &b[0][0], kMmaN * kK / 2);

  int const scale_fraction_bits = info(tile.scale_format).fraction_bits;
  int const product_fraction_bits =
      2 + 2 * scale_fraction_bits;  // two factors in halves, two scale significands
  Unpacked scales_a[kMmaM][4], scales_b[kMmaN][4];
  for (int m = 0; m < kMmaM; ++m) {
    for (int i = 0; i < tile.blocks; ++i)
      scales_a[m][i] = unpack(tile.scale_format, tile.scale_a[m * tile.blocks + i]);
  }
  for (int n = 0; n < kMmaN; ++n) {
    for (int i = 0; i < tile.blocks; ++i)
      scales_b[n][i] = unpack(tile.scale_format, tile.scale_b[n * tile.blocks + i]);
  }
  for (int m = 0; m < kMmaM; ++m) {
    for (int n = 0; n < kMmaN; ++n) {
      std::uint32_t& out = tile.d[m * kMmaN + n];
      std::uint32_t const c_code = tile.c[m * kMmaN + n];
      Addend const c = addend_f32(c_code);
      bool nan = std::isnan(c.value);
      std::int64_t groups[kGroups];
      int exponents[kGroups];
      int largest = c.exponent;
      for (int g = 0; g < kGroups; ++g) {
        int const block = g * tile.blocks / kGroups;
        Unpacked const& scale_a = scales_a[m][block];
        Unpacked const& scale_b = scales_b[n][block];
        nan |= scale_a.is_nan || scale_b.is_nan;
        // A product is at most 144, a group's sum 2304: 16 bits are enough.
        std::int16_t const* const row = a[m] + g * kFp4GroupK;
        std::int16_t const* const column = b[n] + g * kFp4GroupK;
        Shorts const sums = load_vector<Shorts>(row) * load_vector<Shorts>(column) +
                            load_vector<Shorts>(row + 8) * load_vector<Shorts>(column + 8);
        std::int32_t sum = 0;
        for (int i = 0; i < 8; ++i) sum += sums[i];
        groups[g] = std::int64_t{sum} * scale_a.significand * scale_b.significand;
        exponents[g] = scale_a.exponent + scale_b.exponent;
        if (groups[g] != 0) largest = std::max(largest, exponents[g]);
      }
      if (nan) {
        out = kCanonicalNan;
        continue;
      }
      if (std::isinf(c.value)) {
        out = c_code;
        continue;
      }
      if (largest == kZeroExponent) {
        out = 0;
        continue;
      }
      int const lsb_exponent = largest - kFp4FractionBits;
      // Truncation toward zero of value * 2^-lsb_exponent; all factors are exact in double (below 2^53).
      std::int64_t sum = 0;
      if (c.value != 0) sum += static_cast<std::int64_t>(c.value * power_of_two(-lsb_exponent));
      for (int g = 0; g < kGroups; ++g) {
        if (groups[g] == 0) continue;
        int const shift = exponents[g] - product_fraction_bits - lsb_exponent;
        sum +=
            static_cast<std::int64_t>(static_cast<double>(groups[g]) * power_of_two(std::max(shift, -1000)));
      }
      out = pack_sum(sum, lsb_exponent, Format::kF32);
    }
  }
}

void mma_int(MmaIntTile const& tile) {
  if (tile.k <= 0 || tile.k > 32) throw bad_argument("k", fmt::format("{}", tile.k), "1 to 32");
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

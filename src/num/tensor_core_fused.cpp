// The fused operation for a whole tile: see tensor_core_fused.hpp.
//
// Why the bits are those of the definition. With operands as tensor_core_operands.hpp decodes them,
// - the largest exponent of an output's products is the sum of both bases less the least sum of two depths;
// - the product of two values is exact in float (at most 22 bits, from 2^-108 to 4), so is its multiplication by a power of
//   two, and conversion to int32 truncates toward zero as the definition does;
// - an aligned product is below 2^27 in magnitude, so that sixteen of them fit an int32;
// - the sum of these sums and C is exact in double, and clearing the low 29 bits truncates it to the 24 bits of f32.
// bf16 and tf32 whose exponents lie further apart than depths reach are multiplied in double, where the same holds. Outputs
// with an infinity or a NaN, and results outside the normal numbers, are finished one by one.
#include "num/tensor_core_fused.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "num/lanes.hpp"
#include "num/processor.hpp"
#include "num/tensor_core_operands.hpp"
#include "num/tensor_core_specials.hpp"

namespace deepwell::num {
namespace {

constexpr int kOutputs = kMmaM * kMmaN;
constexpr int kLaneProducts = 16;  // that an int32 can sum

/// Of an f32 or f16 code.
struct AccumulatorFields {
  int fraction_bits, bias, sign_position;
};
constexpr AccumulatorFields kF32Fields{23, 127, 31}, kF16Fields{10, 15, 15};

/// Exponents of the scale factors.
struct Scales {
  alignas(64) std::int32_t a[kMmaM] = {};
  alignas(64) std::int32_t b[kMmaN] = {};
};

/// What the steps of the computation hand on, for every output.
struct Work {
  alignas(64) std::int32_t depth[kOutputs];         // the least sum of the depths of two factors
  alignas(64) std::int32_t lsb_exponent[kOutputs];  // of the aligned addends
  alignas(64) std::int32_t shift[kOutputs];         // 2^shift brings products into units of 2^lsb_exponent
  alignas(64) std::int32_t c[kOutputs];             // C in these units
  alignas(64) std::int32_t sums[2][kOutputs];       // the products in these units
  alignas(64) std::int32_t unfinished[kMmaN];  // some lane not zero: an output is special or out of range
};

/// From depths and C, how to align. A depth of `zero_depth` or more says that there is no product. A shift below `min_shift`
/// makes every product less than one, as that one does.
template <int kLanes, AccumulatorFields kFields>
DW_LANES_INLINE void align(int base, Scales const& scales, int zero_depth, int min_shift,
                           std::uint32_t const* c, Work& work) {
  using Ints = typename Lanes<kLanes>::Ints;
  using Floats = typename Lanes<kLanes>::Floats;
  constexpr int kKept = kFusedAlignment.fraction_bits;
  constexpr int kTopField = kFields.bias * 2 + 1;
  constexpr int kMagnitudeMask = kTopField << kFields.fraction_bits | ((1 << kFields.fraction_bits) - 1);
  constexpr int kMinCShift = -30;  // a significand is less than 2^24
  Ints special = {};
  for (int m = 0; m < kMmaM; ++m) {
    for (int n = 0; n < kMmaN; n += kLanes) {
      int const i = m * kMmaN + n;
      Ints code, depth, product_base;
      load(code, c + i);
      load(depth, work.depth + i);
      load(product_base, scales.b + n);
      product_base += base + scales.a[m];

      Ints const magnitude = code & kMagnitudeMask;
      Ints const field = magnitude >> kFields.fraction_bits;
      Ints const exponent_field = field - (field == 0);  // 1 for subnormal numbers
      Ints const significand = magnitude - ((exponent_field - 1) << kFields.fraction_bits);

      // The last place: kKept places below the largest exponent.
      Ints const no_product = depth >= zero_depth;
      Ints const of_c = exponent_field - (kFields.bias + kKept) + ((magnitude == 0) & kNoExponent);
      Ints const of_products = product_base - kKept - depth + (no_product & kNoExponent);
      Ints lsb_exponent = of_c > of_products ? of_c : of_products;
      constexpr int kLeast = kFusedAlignment.smallest - kKept;
      lsb_exponent = lsb_exponent > kLeast ? lsb_exponent : kLeast;

      Ints shift = product_base - lsb_exponent;
      shift = (shift > min_shift ? shift : min_shift) & ~no_product;
      Ints c_shift = of_c - lsb_exponent;
      c_shift = (c_shift > kMinCShift ? c_shift : kMinCShift) + (kKept - kFields.fraction_bits);
      Ints const c_scale = (c_shift + 127) << 23;
      Ints const aligned = __builtin_convertvector(
          __builtin_convertvector(significand, Floats) * reinterpret_cast<Floats>(c_scale), Ints);
      Ints const sign = code << (31 - kFields.sign_position) >> 31;

      store(work.lsb_exponent + i, lsb_exponent);
      store(work.shift + i, shift);
      store(work.c + i, (aligned ^ sign) - sign);
      special |= field == kTopField;
    }
  }
  store(work.unfinished, special);
}

/// `a(m, k)` is a value of A, `b` are those of B.
template <int kK, class A>
DW_LANES_INLINE void sum_products(A const& a, float const* b, Work& work) {
  using Ints = Lanes<kMmaN>::Ints;
  using Floats = Lanes<kMmaN>::Floats;
  for (int m = 0; m < kMmaM; ++m) {
    Ints shift;
    load(shift, work.shift + m * kMmaN);
    Floats const scale = reinterpret_cast<Floats>((shift + 127) << 23);
    for (int part = 0; part * kLaneProducts < kK; ++part) {
      Ints sum = {};
      for (int k = part * kLaneProducts; k < std::min((part + 1) * kLaneProducts, kK); ++k) {
        Floats column;
        load(column, b + k * kMmaN);
        sum += __builtin_convertvector(column * a(m, k) * scale, Ints);
      }
      store(work.sums[part] + m * kMmaN, sum);
    }
  }
}

/// The sum of all addends, in units of 2^lsb_exponent.
template <int kLanes, int kParts>
DW_LANES_INLINE void total(Work const& work, int i, typename Lanes<kLanes>::Doubles& out) {
  typename Lanes<kLanes>::Ints addend;
  load(addend, work.c + i);
  out = __builtin_convertvector(addend, typename Lanes<kLanes>::Doubles);
  for (int part = 0; part < kParts; ++part) {
    load(addend, work.sums[part] + i);
    out += __builtin_convertvector(addend, typename Lanes<kLanes>::Doubles);
  }
}

/// The f32 code of x truncated, for integers and zero.
template <int kLanes>
DW_LANES_INLINE void truncate(typename Lanes<kLanes>::Doubles const& x, typename Lanes<kLanes>::Ints& code) {
  typename Lanes<kLanes>::Longs const kept =
      reinterpret_cast<typename Lanes<kLanes>::Longs>(x) & ~0x1fffffffll;
  typename Lanes<kLanes>::Floats const exact = __builtin_convertvector(
      reinterpret_cast<typename Lanes<kLanes>::Doubles>(kept), typename Lanes<kLanes>::Floats);
  code = reinterpret_cast<typename Lanes<kLanes>::Ints>(exact);
}

/// Results in f32 that are zero or normal; others are left.
template <int kLanes, int kParts>
DW_LANES_INLINE void pack_f32(Work& work, std::uint32_t* d) {
  using Ints = typename Lanes<kLanes>::Ints;
  using Words = typename Lanes<kLanes>::Words;
  Ints unfinished;
  load(unfinished, work.unfinished);
  for (int i = 0; i < kOutputs; i += kLanes) {
    typename Lanes<kLanes>::Doubles sum;
    total<kLanes, kParts>(work, i, sum);
    Ints bits, lsb_exponent;
    truncate<kLanes>(sum, bits);
    load(lsb_exponent, work.lsb_exponent + i);
    Ints const field = (bits >> 23 & 0xff) + lsb_exponent;
    Ints const nonzero = bits != 0;
    store(d + i, reinterpret_cast<Words>(nonzero) &
                     (reinterpret_cast<Words>(bits) + reinterpret_cast<Words>(lsb_exponent << 23)));
    unfinished |= nonzero & ((field < 1) | (field > 254));
  }
  store(work.unfinished, unfinished);
}

/// All results in f16, rounded to nearest even.
template <int kLanes, int kParts>
DW_LANES_INLINE void pack_f16(Work const& work, std::uint32_t* d) {
  using Ints = typename Lanes<kLanes>::Ints;
  using Longs = typename Lanes<kLanes>::Longs;
  using Floats = typename Lanes<kLanes>::Floats;
  using Doubles = typename Lanes<kLanes>::Doubles;
  for (int i = 0; i < kOutputs; i += kLanes) {
    Doubles sum;
    total<kLanes, kParts>(work, i, sum);
    Ints bits, lsb_exponent;
    truncate<kLanes>(sum, bits);
    load(lsb_exponent, work.lsb_exponent + i);
    // 1.5 * 2^52 places of the result, added and subtracted, round to such places.
    Ints place = (bits >> 23 & 0xff) - 127 + lsb_exponent;
    place = (place > -14 ? place : -14) - 10;
    Longs const magic_bits = ((__builtin_convertvector(place, Longs) + (1023 + 52)) << 52) + (1ll << 51);
    Longs const scale_bits = (__builtin_convertvector(lsb_exponent, Longs) + 1023) << 52;
    Doubles const magic = reinterpret_cast<Doubles>(magic_bits);
    Doubles const rounded = sum * reinterpret_cast<Doubles>(scale_bits) + magic - magic;
    Floats const value = __builtin_convertvector(rounded, Floats);
    Ints const code = reinterpret_cast<Ints>(value), magnitude = code & 0x7fffffff;
    Ints const is_subnormal = magnitude < (127 - 14) << 23;
    Floats const least_units = reinterpret_cast<Floats>(magnitude & is_subnormal) * 0x1p24f;
    Ints const subnormal = __builtin_convertvector(least_units, Ints);
    Ints normal = (magnitude - ((127 - 15) << 23)) >> 13;
    normal = (normal < 0x7c00 ? normal : 0x7c00) & ~is_subnormal;
    Ints const result = normal | subnormal;
    store(d + i, result | ((code >> 16 & 0x8000) & (result != 0)));
  }
}

/// All outputs without vectors, for tiles with an infinity, a NaN or a result in f32 outside the normal numbers.
template <int kParts, class Code>
void finish_one_by_one(MmaTile<Code> const& tile, bool through_f16, Work const& work, std::uint32_t* d) {
  SpecialParts const specials = find_specials(tile);
  for (int i = 0; i < kOutputs; ++i) {
    int const m = i / kMmaN, n = i % kMmaN;
    Unpacked const c = unpack(tile.accumulator, tile.c[i]);
    if (c.is_nan || c.is_inf || specials.nan(m, n) || specials.infinite(m, n)) {
      d[i] = special_output(tile, specials, through_f16, m, n);
    } else {
      std::int64_t sum = work.c[i];
      for (int part = 0; part < kParts; ++part) sum += work.sums[part][i];
      d[i] = pack_sum(sum, work.lsb_exponent[i], tile.accumulator);
    }
  }
}

template <int kLanes, int kParts, class Code>
DW_LANES_INLINE void finish(MmaTile<Code> const& tile, bool through_f16, bool special, Work& work) {
  alignas(64) std::uint32_t d[kOutputs];  // tile.d may be tile.c, which may be needed still
  if (tile.accumulator == Format::kF32) {
    pack_f32<kLanes, kParts>(work, d);
  } else {
    pack_f16<kLanes, kParts>(work, d);
  }
  std::int32_t unfinished = special;
  for (int lane = 0; lane < kLanes; ++lane) unfinished |= work.unfinished[lane];
  if (unfinished != 0) finish_one_by_one<kParts>(tile, through_f16, work, d);
  for (int i = 0; i < kOutputs; i += kLanes) {
    typename Lanes<kLanes>::Ints codes;
    load(codes, d + i);
    store(tile.d + i, codes);
  }
}

/// The same for a tile. Says whether a scale factor is NaN.
template <int kLanes, class Code>
DW_LANES_INLINE bool align(MmaTile<Code> const& tile, int base, int zero_depth, int min_shift, Work& work) {
  Scales scales;
  bool nan = false;
  if (tile.scale_a) {
    nan = std::memchr(tile.scale_a, 0xff, kMmaM) || std::memchr(tile.scale_b, 0xff, kMmaN);
    for (int m = 0; m < kMmaM; ++m) scales.a[m] = tile.scale_a[m] - 127;
    for (int n = 0; n < kMmaN; ++n) scales.b[n] = tile.scale_b[n] - 127;
  }
  if (tile.accumulator == Format::kF32) {
    align<kLanes, kF32Fields>(base, scales, zero_depth, min_shift, tile.c, work);
  } else {
    align<kLanes, kF16Fields>(base, scales, zero_depth, min_shift, tile.c, work);
  }
  return nan;
}

constexpr int kFloatMinShift = -30;  // a product of values is below 4

template <int kK>
constexpr int kParts = (kK + kLaneProducts - 1) / kLaneProducts;

template <int kLanes, int kK>
DW_LANES_INLINE void narrow_step(MmaTile<std::uint8_t> const& tile, bool through_f16) {
  Filled<kMmaM, kK, std::uint8_t> const a(tile.a, tile.k);
  Filled<kMmaN, kK, std::uint8_t> const b(tile.b, tile.k);
  NarrowFormat const& a_format = narrow_format(tile.a_format, through_f16);
  NarrowFormat const& b_format = narrow_format(tile.b_format, through_f16);
  Depths<kK> depths;
  alignas(64) std::uint8_t columns[kK * kMmaN];
  alignas(64) float b_values[kK * kMmaN];
  transpose_8_rows(b.codes, kK, columns);
  bool const special_a = decode_depths<kLanes>(a_format, a.codes, kMmaM * kK, depths.a);
  bool const special_b = decode_depths<kLanes>(b_format, columns, kK * kMmaN, depths.b);
  look_up(b_format.value.data(), columns, kK * kMmaN, b_values);
  Work work;
  find_depths<kLanes>(depths, work.depth);
  bool const special_scale =
      align<kLanes>(tile, a_format.base + b_format.base, kZeroDepth, kFloatMinShift, work);
  // Values of A are looked up where they are used, which is once.
  float const* const a_values = a_format.value.data();
  sum_products<kK>(
      [&](int m, int k) __attribute__((always_inline)) { return a_values[a.codes[m * kK + k]]; }, b_values,
      work);
  finish<kLanes, kParts<kK>>(tile, through_f16, special_a || special_b || special_scale, work);
}

template <int kLanes, int kK, class Code>
DW_LANES_INLINE void step_in_float(MmaTile<Code> const& tile, int base, Depths<kK> const& depths,
                                   Values<kK> const& values, bool special) {
  Work work;
  find_depths<kLanes>(depths, work.depth);
  align<kLanes>(tile, base, kZeroDepth, kFloatMinShift, work);
  sum_products<kK>(
      [&](int m, int k) __attribute__((always_inline)) { return values.a[m * kK + k]; }, values.b, work);
  finish<kLanes, kParts<kK>>(tile, false, special, work);
}

/// bf16 and tf32 with any exponents: the base is zero, the values are the numbers, and depths are exponents negated.
template <int kLanes, int kK, class Code>
DW_LANES_INLINE void step_in_double(MmaTile<Code> const& tile, Code const* a, Code const* columns,
                                    bool special) {
  using Ints = Lanes<kMmaN>::Ints;
  using Longs = Lanes<kMmaN>::Longs;
  using Doubles = Lanes<kMmaN>::Doubles;
  typedef std::int16_t Shorts __attribute__((vector_size(16)));
  constexpr int kZeroExponent = -10000;
  alignas(64) double a_values[kMmaM * kK], b_values[kMmaN * kK];
  alignas(64) std::int16_t a_exponents[kMmaM * kK], b_exponents[kMmaN * kK];
  decode_in_double(a, kMmaM * kK, kZeroExponent, a_values, a_exponents);
  decode_in_double(columns, kMmaN * kK, kZeroExponent, b_values, b_exponents);
  Work work;
  for (int m = 0; m < kMmaM; ++m) {
    Shorts largest = Shorts{} + static_cast<std::int16_t>(2 * kZeroExponent);
    for (int k = 0; k < kK; ++k) {
      Shorts exponent;
      load(exponent, b_exponents + k * kMmaN);
      exponent += a_exponents[m * kK + k];
      largest = largest > exponent ? largest : exponent;
    }
    for (int n = 0; n < kMmaN; ++n) work.depth[m * kMmaN + n] = -largest[n];
  }
  align<kLanes>(tile, 0, -kZeroExponent / 2, -1000, work);
  for (int m = 0; m < kMmaM; ++m) {
    Ints shift;
    load(shift, work.shift + m * kMmaN);
    Longs const scale_bits = (__builtin_convertvector(shift, Longs) + 1023) << 52;
    Doubles const scale = reinterpret_cast<Doubles>(scale_bits);
    Ints sum = {};
    for (int k = 0; k < kK; ++k) {
      Doubles column;
      load(column, b_values + k * kMmaN);
      sum += __builtin_convertvector(column * a_values[m * kK + k] * scale, Ints);
    }
    store(work.sums[0] + m * kMmaN, sum);
  }
  finish<kLanes, 1>(tile, false, special, work);
}

template <int kLanes, int kK, class Code>
DW_LANES_INLINE void wide_step(MmaTile<Code> const& tile) {
  Filled<kMmaM, kK, Code> const a(tile.a, tile.k);
  Filled<kMmaN, kK, Code> const b(tile.b, tile.k);
  alignas(64) Code columns[kK * kMmaN];
  transpose_8_rows(b.codes, kK, columns);
  Depths<kK> depths;
  Values<kK> values;
  if constexpr (sizeof(Code) == 2) {
    if (tile.a_format == Format::kF16) {
      bool const special_a = decode_f16(a.codes, kMmaM * kK, values.a, depths.a);
      bool const special_b = decode_f16(columns, kK * kMmaN, values.b, depths.b);
      return step_in_float<kLanes>(tile, 2 * kF16Base, depths, values, special_a || special_b);
    }
  }
  FieldRange const a_range = field_range(a.codes, kMmaM * kK), b_range = field_range(columns, kK * kMmaN);
  bool const special = a_range.special || b_range.special;
  if (a_range.too_wide() || b_range.too_wide())
    return step_in_double<kLanes, kK>(tile, a.codes, columns, special);
  decode_f32_like(a_range, a.codes, kMmaM * kK, values.a, depths.a);
  decode_f32_like(b_range, columns, kK * kMmaN, values.b, depths.b);
  step_in_float<kLanes>(tile, a_range.base() + b_range.base(), depths, values, special);
}

template <int kLanes>
DW_LANES_INLINE void step(MmaTile<std::uint8_t> const& tile, bool through_f16) {
  if (tile.k > 16) {
    narrow_step<kLanes, 32>(tile, through_f16);
  } else {
    narrow_step<kLanes, 16>(tile, through_f16);
  }
}

template <int kLanes>
DW_LANES_INLINE void step(MmaTile<std::uint16_t> const& tile, bool) {
  wide_step<kLanes, 16>(tile);
}

template <int kLanes>
DW_LANES_INLINE void step(MmaTile<std::uint32_t> const& tile, bool) {
  wide_step<kLanes, 8>(tile);
}

#if defined(__x86_64__)
#define DW_AVX2 __attribute__((target("avx2")))
DW_AVX2 void step_avx2(MmaTile<std::uint8_t> const& tile, bool through_f16) { step<8>(tile, through_f16); }
DW_AVX2 void step_avx2(MmaTile<std::uint16_t> const& tile, bool through_f16) { step<8>(tile, through_f16); }
DW_AVX2 void step_avx2(MmaTile<std::uint32_t> const& tile, bool through_f16) { step<8>(tile, through_f16); }
#undef DW_AVX2
#endif

}  // namespace

void fused_step_baseline(MmaTile<std::uint8_t> const& tile, bool through_f16) { step<4>(tile, through_f16); }
void fused_step_baseline(MmaTile<std::uint16_t> const& tile, bool through_f16) { step<4>(tile, through_f16); }
void fused_step_baseline(MmaTile<std::uint32_t> const& tile, bool through_f16) { step<4>(tile, through_f16); }

template <class Code>
void fused_step(MmaTile<Code> const& tile, bool through_f16) {
#if defined(__x86_64__)
  if (has_avx2()) return step_avx2(tile, through_f16);
#endif
  fused_step_baseline(tile, through_f16);
}

template void fused_step(MmaTile<std::uint8_t> const&, bool);
template void fused_step(MmaTile<std::uint16_t> const&, bool);
template void fused_step(MmaTile<std::uint32_t> const&, bool);

}  // namespace deepwell::num

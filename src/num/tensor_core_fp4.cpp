// m16n8k64 on packed e2m1 for a whole tile: see tensor_core_fp4.hpp.
//
// Why the bits are those of the definition. The sum of a group is a small integer. Where neither a group nor C has a bit below
// the last place that alignment keeps, nothing is truncated before the sum: it is a sum of multiples of
// 2^(largest exponent - 35) below 2^(largest exponent + 14), exact in double, and clearing the low 29 bits truncates it to the
// 24 bits of f32. Other outputs, infinities, NaN and results outside the normal numbers are left to the definition.
#include "num/tensor_core_fp4.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "num/lanes.hpp"
#include "num/processor.hpp"

namespace deepwell::num {
namespace {

constexpr int kOutputs = kMmaM * kMmaN;
constexpr int kRowBytes = 32;
constexpr int kGroupBytes = kRowBytes / kFp4Groups;

constexpr int kNever = -1000;  // exponents below it are those of zero

/// The two numbers of a byte in units of 0.5, as 16-bit integers, the low nibble's in the low half.
std::array<std::int32_t, 256> make_pairs() {
  auto const units = [](unsigned code) {
    return static_cast<std::uint16_t>(static_cast<std::int16_t>(2 * decode_f32(Format::kE2m1, code)));
  };
  std::array<std::int32_t, 256> out;
  for (unsigned byte = 0; byte < 256; ++byte) {
    out[byte] = static_cast<std::int32_t>(units(byte & 0xf) | std::uint32_t{units(byte >> 4)} << 16);
  }
  return out;
}

struct ScaleTable {
  std::array<double, 256> value;  // NaN makes its outputs NaN, which leaves them undecided
  std::array<std::int32_t, 256> exponent;
};

ScaleTable make_scales(Format format) {
  ScaleTable out;
  for (unsigned code = 0; code < 256; ++code) {
    Unpacked const u = unpack(format, code);
    out.value[code] = decode(format, code);
    out.exponent[code] = u.is_zero() ? kNoExponent : u.exponent;
  }
  return out;
}

/// By group, for one operand.
template <int kRows>
struct Scales {
  alignas(64) double value[kFp4Groups][kRows];
  alignas(64) std::int32_t exponent[kFp4Groups][kRows];

  DW_LANES_INLINE Scales(ScaleTable const& table, int blocks, std::uint8_t const* codes) {
    for (int group = 0; group < kFp4Groups; ++group) {
      for (int row = 0; row < kRows; ++row) {
        std::uint8_t const code = codes[row * blocks + group * blocks / kFp4Groups];
        value[group][row] = table.value[code];
        exponent[group][row] = table.exponent[code];
      }
    }
  }
};

/// groups[g][m][n] in units of 0.25.
template <int kLanes>
DW_LANES_INLINE void sum_groups(MmaFp4Tile const& tile, std::int32_t (*groups)[kOutputs]) {
  // Columns of pairs. A product is at most 144, the sum of eight of them 1152: 16 bits are enough.
  using Ints = typename Lanes<kLanes>::Ints;
  using Shorts = typename Lanes<kLanes>::Shorts;
  static std::array<std::int32_t, 256> const pair_table = make_pairs();
  std::int32_t const* const pairs = pair_table.data();
  alignas(64) std::uint8_t columns[kRowBytes * kMmaN];
  alignas(64) std::int32_t b[kRowBytes * kMmaN];
  transpose_8_rows(tile.b, kRowBytes, columns);
  look_up(pairs, columns, kRowBytes * kMmaN, b);
  for (int m = 0; m < kMmaM; ++m) {
    for (int group = 0; group < kFp4Groups; ++group) {
      for (int n = 0; n < kMmaN; n += kLanes) {
        Shorts sum = {};
        for (int i = 0; i < kGroupBytes; ++i) {
          int const byte = group * kGroupBytes + i;
          Ints const row = Ints{} + pairs[tile.a[m * kRowBytes + byte]];
          Shorts column;
          load(column, b + byte * kMmaN + n);
          sum += reinterpret_cast<Shorts>(row) * column;
        }
        Ints const both = reinterpret_cast<Ints>(sum);
        store(groups[group] + m * kMmaN + n, (both << 16 >> 16) + (both >> 16));
      }
    }
  }
}

/// Results that are zero or normal, from sums without truncation; the others are marked in `undecided`.
template <int kLanes>
DW_LANES_INLINE void combine(MmaFp4Tile const& tile, Scales<kMmaM> const& scales_a,
                             Scales<kMmaN> const& scales_b, std::int32_t const (*groups)[kOutputs],
                             std::uint32_t* d, std::int32_t* undecided) {
  using Ints = typename Lanes<kLanes>::Ints;
  using Longs = typename Lanes<kLanes>::Longs;
  using Floats = typename Lanes<kLanes>::Floats;
  using Doubles = typename Lanes<kLanes>::Doubles;
  // How far a group's exponent and C's may be below the largest one before bits are cut.
  int const group_depth = kFp4Alignment.fraction_bits -
                          2 * (info(Format::kE2m1).fraction_bits + info(tile.scale_format).fraction_bits);
  constexpr int kCDepth = kFp4Alignment.fraction_bits - 23;
  constexpr int kNoLimit = -5 * kNoExponent;  // above every exponent, also when added to that of a zero
  for (int i = 0; i < kOutputs; i += kLanes) {
    int const m = i / kMmaN, n = i % kMmaN;
    Ints code;
    load(code, tile.c + i);
    Ints const magnitude = code & 0x7fffffff;
    Ints const field = magnitude >> 23;
    Ints largest = field - (field == 0) - 127 + ((magnitude == 0) & kNoExponent);
    Ints limit = largest + kCDepth + ((magnitude == 0) & kNoLimit);
    Doubles sum = __builtin_convertvector(reinterpret_cast<Floats>(code), Doubles);
    for (int group = 0; group < kFp4Groups; ++group) {
      Ints units, exponent;
      load(units, groups[group] + i);
      load(exponent, scales_b.exponent[group] + n);
      exponent += scales_a.exponent[group][m] + ((units == 0) & kNoExponent);
      Ints const group_limit = exponent + group_depth + ((exponent < kNever) & kNoLimit);
      largest = largest > exponent ? largest : exponent;
      limit = limit < group_limit ? limit : group_limit;
      Doubles scale;
      load(scale, scales_b.value[group] + n);
      sum += scale * (0.25 * scales_a.value[group][m]) * __builtin_convertvector(units, Doubles);
    }
    sum = reinterpret_cast<Doubles>(reinterpret_cast<Longs>(sum) & ~0x1fffffffll);
    Floats const truncated = __builtin_convertvector(sum, Floats);
    Ints const bits = reinterpret_cast<Ints>(truncated);
    Ints const result_field = bits >> 23 & 0xff;
    Ints const something = largest > kNever;
    // A field of 1 too: below the normal numbers, the conversion to float has rounded, perhaps up to the least of them.
    Ints const small = (result_field < 2) & something;
    store(d + i, bits & something);
    store(undecided + i, (largest > limit) | (result_field == 0xff) | small);
  }
}

template <int kLanes>
DW_LANES_INLINE void tile_of(MmaFp4Tile const& tile) {
  static ScaleTable const ue8m0 = make_scales(Format::kUe8m0), ue4m3 = make_scales(Format::kUe4m3);
  ScaleTable const& table = tile.scale_format == Format::kUe8m0 ? ue8m0 : ue4m3;
  Scales<kMmaM> const scales_a(table, tile.blocks, tile.scale_a);
  Scales<kMmaN> const scales_b(table, tile.blocks, tile.scale_b);
  alignas(64) std::int32_t groups[kFp4Groups][kOutputs], undecided[kOutputs];
  alignas(64) std::uint32_t d[kOutputs];  // tile.d may be tile.c
  sum_groups<kLanes>(tile, groups);
  combine<kLanes>(tile, scales_a, scales_b, groups, d, undecided);
  std::int32_t any = 0;
  for (int i = 0; i < kOutputs; ++i) any |= undecided[i];
  if (any != 0) {
    for (int i = 0; i < kOutputs; ++i) {
      if (undecided[i] != 0)
        d[i] = fp4_sum(tile, i / kMmaN, i % kMmaN, {groups[0][i], groups[1][i], groups[2][i], groups[3][i]});
    }
  }
  std::memcpy(tile.d, d, sizeof d);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) void fp4_tile_avx2(MmaFp4Tile const& tile) { tile_of<8>(tile); }
#endif

}  // namespace

void fp4_tile_baseline(MmaFp4Tile const& tile) { tile_of<4>(tile); }

void fp4_tile(MmaFp4Tile const& tile) {
#if defined(__x86_64__)
  if (has_avx2()) return fp4_tile_avx2(tile);
#endif
  fp4_tile_baseline(tile);
}

}  // namespace deepwell::num

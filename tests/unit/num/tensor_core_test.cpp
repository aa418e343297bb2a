// Tensor-core arithmetic against a slow twin in 128-bit integers, over random and hostile operands, and against hand-made
// sums that tell the model from its neighbours (one bit more or less, renormalised products, rounding to nearest).
#include "num/tensor_core.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "base/error.hpp"

namespace deepwell::num {
namespace {

constexpr std::uint32_t kNan = 0x7fffffff, kInf = 0x7f800000;

/// One operand read by arithmetic on its bits, without num/formats.
struct Number {
  bool nan = false, inf = false, negative = false;
  std::uint64_t significand = 0;
  int exponent = 0;  // of the significand's hidden bit
  int fraction_bits = 0;
};

Number read(int exponent_bits, int fraction_bits, std::uint32_t code, bool ieee, bool e4m3) {
  Number n;
  n.fraction_bits = fraction_bits;
  n.negative = code >> (exponent_bits + fraction_bits) & 1;
  std::uint32_t const fraction = code % (1u << fraction_bits),
                      field = (code >> fraction_bits) % (1u << exponent_bits);
  std::uint32_t const top = (1u << exponent_bits) - 1;
  if (ieee && field == top) {
    n.nan = fraction != 0;
    n.inf = fraction == 0;
  }
  if (e4m3 && field == top && fraction == 7) n.nan = true;
  int const bias = (1 << (exponent_bits - 1)) - 1;
  n.exponent = field == 0 ? 1 - bias : static_cast<int>(field) - bias;
  n.significand = fraction + (field == 0 ? 0 : 1u << fraction_bits);
  return n;
}

Number read(Format format, std::uint32_t code) {
  switch (format) {
    case Format::kE4m3: return read(4, 3, code, false, true);
    case Format::kE5m2: return read(5, 2, code, true, false);
    case Format::kE3m2: return read(3, 2, code & 0x3f, false, false);
    case Format::kE2m3: return read(2, 3, code & 0x3f, false, false);
    case Format::kE2m1: return read(2, 1, code >> 2 & 0xf, false, false);  // container
    case Format::kBf16: return read(8, 7, code, true, false);
    case Format::kF16: return read(5, 10, code, true, false);
    case Format::kTf32: return read(8, 10, code >> 13, true, false);
    default: return read(8, 23, code, true, false);
  }
}

/// value = (negative ? -1 : 1) * significand * 2^lsb; `exponent` takes part in the search for the largest.
struct Term {
  bool negative;
  std::uint64_t significand;
  int lsb, exponent;
};

constexpr int kNoFloor = -100000;

std::uint32_t sum_of(std::vector<Term> const& terms, int fraction_bits, int smallest_alignment,
                     Format accumulator) {
  int largest = kNoFloor;
  for (Term const& t : terms) {
    if (t.significand != 0) largest = std::max(largest, t.exponent);
  }
  if (largest == kNoFloor) return 0;
  largest = std::max(largest, smallest_alignment);
  __int128 sum = 0;
  for (Term const& t : terms) {
    if (t.significand == 0) continue;
    int const shift = t.lsb - (largest - fraction_bits);
    __int128 magnitude = t.significand;
    if (shift >= 0) {
      magnitude <<= shift;
    } else {
      magnitude = -shift > 100 ? 0 : magnitude >> -shift;
    }
    sum += t.negative ? -magnitude : magnitude;
  }
  bool const negative = sum < 0;
  unsigned __int128 magnitude = static_cast<unsigned __int128>(negative ? -sum : sum);
  bool const half = accumulator == Format::kF16;
  int const result_bits = half ? 10 : 23, min_exponent = half ? -14 : -126, max_exponent = half ? 15 : 127;
  int lsb = largest - fraction_bits;
  int width = 0;
  for (auto rest = magnitude; rest != 0; rest >>= 1) ++width;
  if (width == 0) return 0;
  int exponent = lsb + width - 1;
  int const unit = std::max(exponent, min_exponent) - result_bits;
  std::uint64_t kept;
  if (unit <= lsb) {
    kept = static_cast<std::uint64_t>(magnitude << (lsb - unit));
  } else if (unit - lsb > 120) {
    kept = 0;
  } else {
    kept = static_cast<std::uint64_t>(magnitude >> (unit - lsb));
    unsigned __int128 const rest = magnitude - (static_cast<unsigned __int128>(kept) << (unit - lsb));
    unsigned __int128 const middle = static_cast<unsigned __int128>(1) << (unit - lsb - 1);
    if (half && (rest > middle || (rest == middle && kept % 2 == 1))) ++kept;
  }
  if (kept == 0) return 0;
  int const field = std::max(exponent, min_exponent) - min_exponent;  // of a normal number, less one
  std::uint64_t const code = (static_cast<std::uint64_t>(field) << result_bits) + kept;
  std::uint64_t const infinity = static_cast<std::uint64_t>(max_exponent - min_exponent + 2) << result_bits;
  std::uint32_t const sign = negative ? (half ? 0x8000u : 0x80000000u) : 0u;
  return sign | static_cast<std::uint32_t>(std::min(code, infinity));
}

/// NaN and infinity before anything else; true when they decide.
struct Specials {
  bool nan = false, plus = false, minus = false;
  void product(Number const& x, Number const& y) {
    nan |= x.nan || y.nan;
    if (x.nan || y.nan || !(x.inf || y.inf)) return;
    bool const zero = (!x.inf && x.significand == 0) || (!y.inf && y.significand == 0);
    nan |= zero;
    (x.negative != y.negative ? minus : plus) |= !zero;
  }
  void addend(Number const& c) {
    nan |= c.nan;
    if (c.inf) (c.negative ? minus : plus) = true;
  }
  bool decide(Format accumulator, std::uint32_t& out) const {
    bool const half = accumulator == Format::kF16;
    if (nan || (plus && minus)) {
      out = half ? 0x7fffu : kNan;
    } else if (plus || minus) {
      out = (half ? 0x7c00u : kInf) | (minus ? (half ? 0x8000u : 0x80000000u) : 0u);
    } else {
      return false;
    }
    return true;
  }
};

template <class Code>
std::uint32_t twin(MmaTile<Code> const& tile, int m, int n) {
  Specials specials;
  std::vector<Term> terms;
  int scale_exponent = 0;
  if (tile.scale_a) {
    specials.nan |= tile.scale_a[m] == 255 || tile.scale_b[n] == 255;
    scale_exponent = tile.scale_a[m] - 127 + tile.scale_b[n] - 127;
  }
  for (int i = 0; i < tile.k; ++i) {
    Number const x = read(tile.a_format, tile.a[m * tile.k + i]),
                 y = read(tile.b_format, tile.b[n * tile.k + i]);
    specials.product(x, y);
    int const exponent = x.exponent + y.exponent + scale_exponent;
    terms.push_back({x.negative != y.negative, x.significand * y.significand,
                     exponent - x.fraction_bits - y.fraction_bits, exponent});
  }
  std::uint32_t const code = tile.c[m * kMmaN + n];
  Number const c = read(tile.accumulator, tile.accumulator == Format::kF16 ? code & 0xffff : code);
  specials.addend(c);
  terms.push_back({c.negative, c.significand, c.exponent - c.fraction_bits, c.exponent});
  std::uint32_t out;
  if (specials.decide(tile.accumulator, out)) return out;
  return sum_of(terms, 25, -133, tile.accumulator);
}

std::uint32_t twin_fp4(MmaFp4Tile const& tile, int m, int n) {
  std::vector<Term> terms;
  Specials specials;
  bool const ue4m3 = tile.scale_format == Format::kUe4m3;
  for (int g = 0; g < 4; ++g) {
    int const block = tile.blocks == 4 ? g : g / 2;
    auto scale = [&](std::uint8_t code) {
      Number s;
      if (ue4m3) return read(4, 3, code & 0x7f, false, true);
      s.nan = code == 255;
      s.significand = 1;
      s.exponent = code - 127;
      return s;
    };
    Number const x = scale(tile.scale_a[m * tile.blocks + block]),
                 y = scale(tile.scale_b[n * tile.blocks + block]);
    specials.nan |= x.nan || y.nan;
    long long sum = 0;  // in quarters
    for (int i = 16 * g; i < 16 * g + 16; ++i) {
      auto halves = [](std::uint8_t const* bytes, int element) {
        static constexpr int kTable[8] = {0, 1, 2, 3, 4, 6, 8, 12};
        int const nibble = bytes[element / 2] >> (element % 2 ? 4 : 0) & 15;
        return nibble & 8 ? -kTable[nibble & 7] : kTable[nibble & 7];
      };
      sum += halves(tile.a + 32 * m, i) * halves(tile.b + 32 * n, i);
    }
    int const exponent = x.exponent + y.exponent;
    std::uint64_t const magnitude =
        static_cast<std::uint64_t>(std::llabs(sum)) * x.significand * y.significand;
    terms.push_back({sum < 0, magnitude, exponent - 2 - x.fraction_bits - y.fraction_bits, exponent});
  }
  Number const c = read(Format::kF32, tile.c[m * kMmaN + n]);
  specials.addend(c);
  terms.push_back({c.negative, c.significand, c.exponent - c.fraction_bits, c.exponent});
  std::uint32_t out;
  if (specials.decide(Format::kF32, out)) return out;
  return sum_of(terms, 35, kNoFloor, Format::kF32);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(engine_() % n); }
  std::uint64_t word() { return engine_(); }

  /// Hostile operands: by mode anything at all, a narrow band, wide with zeros, tiny, huge, mostly zero, rarely special.
  std::uint32_t element(int exponent_bits, int fraction_bits, int mode) {
    std::uint32_t const top = (1u << exponent_bits) - 1, bias = top >> 1;
    std::uint32_t const sign = below(2) << (exponent_bits + fraction_bits);
    std::uint32_t field = below(top);
    switch (mode) {
      case 0: field = below(top + 1); break;
      case 1: field = bias - 1 + below(3); break;
      case 2:
        if (below(3) == 0) return sign;
        break;
      case 3: field = below(top / 4 + 1); break;
      case 4: field = top - 1 - below(top / 8 + 1); break;
      case 5:
        if (below(4) != 0) return sign;
        break;
      default: field = below(16) == 0 ? top : bias - 1 + below(3); break;
    }
    return sign | field << fraction_bits | (below(8) == 0 ? 0 : below(1u << fraction_bits));
  }

 private:
  std::mt19937_64 engine_;
};
constexpr int kModes = 7;

struct Shape {
  int exponent_bits, fraction_bits, shift;
};
Shape shape_of(Format format) {
  return {info(format).exponent_bits, format == Format::kTf32 ? 23 : info(format).fraction_bits,
          format == Format::kE2m1 ? 2 : 0};
}

template <class Code>
void compare_with_twin(Format a_format, Format b_format, int k, Format accumulator, bool scaled, int rounds) {
  Random random(static_cast<std::uint64_t>(a_format) * 1000 + static_cast<std::uint64_t>(b_format) * 100 +
                static_cast<std::uint64_t>(k));
  std::vector<Code> a(static_cast<std::size_t>(kMmaM * k)), b(static_cast<std::size_t>(kMmaN * k));
  std::array<std::uint32_t, kMmaM * kMmaN> c, d;
  std::array<std::uint8_t, kMmaM> scale_a;
  std::array<std::uint8_t, kMmaN> scale_b;
  for (int round = 0; round < rounds; ++round) {
    int const mode = round % kModes, c_mode = round / kModes % kModes;
    auto fill = [&](std::vector<Code>& out, Format format) {
      Shape const s = shape_of(format);
      for (Code& code : out)
        code = static_cast<Code>(random.element(s.exponent_bits, s.fraction_bits, mode) << s.shift);
    };
    fill(a, a_format);
    fill(b, b_format);
    auto near_one = [&] {
      std::uint32_t const sign = random.below(2) << 31, exponent = (100 + random.below(60)) << 23;
      return sign | exponent | random.below(1 << 23);
    };
    for (std::uint32_t& code : c) {
      code = accumulator == Format::kF16 ? random.element(5, 10, c_mode)
             : random.below(2)           ? random.element(8, 23, c_mode)
                                         : near_one();
    }
    auto scale = [&] {
      return static_cast<std::uint8_t>(round % 3 == 0   ? random.word()
                                       : round % 3 == 1 ? 120 + random.below(16)
                                                        : (random.below(40) == 0 ? 255
                                                           : random.below(2)     ? random.below(8)
                                                                                 : 247 + random.below(8)));
    };
    for (auto& code : scale_a) code = scale();
    for (auto& code : scale_b) code = scale();
    MmaTile<Code> tile{.a_format = a_format,
                       .b_format = b_format,
                       .k = k,
                       .a = a.data(),
                       .b = b.data(),
                       .c = c.data(),
                       .d = d.data(),
                       .accumulator = accumulator,
                       .scale_a = scaled ? scale_a.data() : nullptr,
                       .scale_b = scaled ? scale_b.data() : nullptr};
    mma(TensorCore::kBlackwell, tile);
    for (int i = 0; i < kMmaM * kMmaN; ++i) {
      ASSERT_EQ(d[static_cast<std::size_t>(i)], twin(tile, i / kMmaN, i % kMmaN))
          << info(a_format).name << " x " << info(b_format).name << " k" << k << " round " << round
          << " element " << i << std::hex << " c " << c[static_cast<std::size_t>(i)];
    }
  }
}

constexpr Format k8Bit[] = {Format::kE4m3, Format::kE5m2, Format::kE3m2, Format::kE2m3, Format::kE2m1};

TEST(TensorCore, BlockScaledMatchesTheTwin) {
  for (Format a : k8Bit) {
    for (Format b : k8Bit) compare_with_twin<std::uint8_t>(a, b, 32, Format::kF32, true, 60);
  }
}

TEST(TensorCore, UnscaledEightBitMatchesTheTwin) {
  for (Format a : k8Bit) {
    for (Format b : k8Bit) {
      compare_with_twin<std::uint8_t>(a, b, 32, Format::kF32, false, 30);
      compare_with_twin<std::uint8_t>(a, b, 32, Format::kF16, false, 30);
    }
  }
  compare_with_twin<std::uint8_t>(Format::kE4m3, Format::kE5m2, 16, Format::kF32, false, 60);
}

TEST(TensorCore, WideFormatsMatchTheTwin) {
  for (int k : {8, 16}) {
    compare_with_twin<std::uint16_t>(Format::kF16, Format::kF16, k, Format::kF32, false, 200);
    compare_with_twin<std::uint16_t>(Format::kF16, Format::kF16, k, Format::kF16, false, 200);
    compare_with_twin<std::uint16_t>(Format::kBf16, Format::kBf16, k, Format::kF32, false, 200);
  }
  for (int k : {4, 8})
    compare_with_twin<std::uint32_t>(Format::kTf32, Format::kTf32, k, Format::kF32, false, 200);
}

TEST(TensorCore, Fp4MatchesTheTwin) {
  Random random(5);
  std::array<std::uint8_t, kMmaM * 32> a;
  std::array<std::uint8_t, kMmaN * 32> b;
  std::array<std::uint8_t, kMmaM * 4> scale_a;
  std::array<std::uint8_t, kMmaN * 4> scale_b;
  std::array<std::uint32_t, kMmaM * kMmaN> c, d;
  struct Kind {
    Format format;
    int blocks;
  };
  for (Kind kind : {Kind{Format::kUe8m0, 2}, Kind{Format::kUe4m3, 4}, Kind{Format::kUe8m0, 4}}) {
    for (int round = 0; round < 150; ++round) {
      for (auto& byte : a)
        byte = static_cast<std::uint8_t>(round % 5 == 4 && random.below(2) ? 0 : random.word());
      for (auto& byte : b) byte = static_cast<std::uint8_t>(random.word());
      auto scale = [&] {
        if (round % 3 == 0) return static_cast<std::uint8_t>(random.word());
        return static_cast<std::uint8_t>(kind.format == Format::kUe8m0 ? 100 + random.below(40)
                                                                       : random.below(0x7f));
      };
      for (auto& code : scale_a) code = scale();
      for (auto& code : scale_b) code = scale();
      for (auto& code : c) code = random.below(8) == 0 ? 0 : random.element(8, 23, round % kModes);
      MmaFp4Tile const tile{.scale_format = kind.format,
                            .blocks = kind.blocks,
                            .a = a.data(),
                            .b = b.data(),
                            .scale_a = scale_a.data(),
                            .scale_b = scale_b.data(),
                            .c = c.data(),
                            .d = d.data()};
      mma_fp4(tile);
      for (int i = 0; i < kMmaM * kMmaN; ++i) {
        ASSERT_EQ(d[static_cast<std::size_t>(i)], twin_fp4(tile, i / kMmaN, i % kMmaN))
            << "round " << round << " element " << i;
      }
    }
  }
}

/// The sum of element (0, 0) when A's row 0 and B's column 0 hold `a` and `b`, all else zero.
std::uint32_t dot_e4m3(std::vector<std::uint8_t> const& a, std::vector<std::uint8_t> const& b,
                       std::uint32_t c, TensorCore core = TensorCore::kBlackwell, std::uint8_t scale_a = 127,
                       std::uint8_t scale_b = 127) {
  std::array<std::uint8_t, kMmaM * 32> tile_a{};
  std::array<std::uint8_t, kMmaN * 32> tile_b{};
  std::array<std::uint32_t, kMmaM * kMmaN> sums{};
  std::array<std::uint8_t, kMmaM> scales_a;
  scales_a.fill(scale_a);
  std::array<std::uint8_t, kMmaN> scales_b;
  scales_b.fill(scale_b);
  std::copy(a.begin(), a.end(), tile_a.begin());
  std::copy(b.begin(), b.end(), tile_b.begin());
  sums[0] = c;
  bool const scaled = core == TensorCore::kBlackwell;
  mma(core, {.a_format = Format::kE4m3,
             .b_format = Format::kE4m3,
             .k = 32,
             .a = tile_a.data(),
             .b = tile_b.data(),
             .c = sums.data(),
             .d = sums.data(),
             .scale_a = scaled ? scales_a.data() : nullptr,
             .scale_b = scaled ? scales_b.data() : nullptr});
  return sums[0];
}

std::uint32_t f32(float value) { return std::bit_cast<std::uint32_t>(value); }
constexpr std::uint8_t kOne = 0x38, kMinusOne = 0xb8, kTwo = 0x40, kMax = 0x7e /* 448 */,
                       kMinSubnormal = 0x01 /* 2^-9 */;

TEST(TensorCore, TellsTheModelFromItsNeighbours) {
  // Exact where everything fits.
  EXPECT_EQ(dot_e4m3({kOne, kTwo}, {kOne, kTwo}, f32(0.5f)), f32(5.5f));
  EXPECT_EQ(dot_e4m3({kOne, kMinusOne}, {kOne, kOne}, 0), 0u);
  // 25 fraction bits below the largest exponent: -2^-25 beside 1 is seen ...
  EXPECT_EQ(dot_e4m3({kOne, kOne, kOne}, {kOne, 0, 0}, f32(-0x1p-25f)), f32(0x1.fffffep-1f));
  // ... and 2^-26 is dropped before the sum.
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, f32(-0x1p-26f)), f32(1.0f));
  // Truncation, not rounding: 1 + 2^-24 + 2^-25 is 1 (nearest would give 1 + 2^-23).
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, f32(0x1.8p-24f)), f32(1.0f));
  // Toward zero for negative sums too.
  EXPECT_EQ(dot_e4m3({kMinusOne}, {kOne}, f32(-0x1.8p-24f)), f32(-1.0f));
  // Products are not renormalised: 1.875 x 1.875 = 3.515625 stands at exponent 0, so 2^-25 still counts:
  // 3.515625 - 2^-25 truncates down by one unit.
  std::uint8_t const k1_875 = 0x3f;
  EXPECT_EQ(dot_e4m3({k1_875}, {k1_875}, f32(-0x1p-25f)), std::bit_cast<std::uint32_t>(3.515625f) - 1);
  // A zero times a large number takes no part in the largest exponent (448 x 0 would stand at 2^2).
  EXPECT_EQ(dot_e4m3({kOne, kMax}, {kOne, 0}, f32(-0x1p-25f)), f32(0x1.fffffep-1f));
  // Subnormals have the format's smallest exponent.
  EXPECT_EQ(dot_e4m3({kMinSubnormal}, {kOne}, 0), f32(0x1p-9f));
}

TEST(TensorCore, ScalesSpanTheirWholeRange) {
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, 0, TensorCore::kBlackwell, 0, 127), f32(0x1p-127f));
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, 0, TensorCore::kBlackwell, 0, 254), f32(1.0f));
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, 0, TensorCore::kBlackwell, 0, 0), 0u);
  EXPECT_EQ(dot_e4m3({kMinusOne}, {kOne}, 0, TensorCore::kBlackwell, 0, 0), 0u);
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, f32(3.0f), TensorCore::kBlackwell, 0, 0), f32(3.0f));
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, 0, TensorCore::kBlackwell, 254, 254), kInf);
  EXPECT_EQ(dot_e4m3({kMinusOne}, {kOne}, f32(1.0f), TensorCore::kBlackwell, 254, 254), kInf | 0x80000000u);
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, 0, TensorCore::kBlackwell, 255, 127), kNan);
  EXPECT_EQ(dot_e4m3({}, {}, 0, TensorCore::kBlackwell, 127, 255), kNan);
  EXPECT_EQ(dot_e4m3({kTwo}, {kOne}, 0, TensorCore::kBlackwell, 254, 127), kInf);
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, 0, TensorCore::kBlackwell, 254, 127), f32(0x1p127f));
}

TEST(TensorCore, SpecialValues) {
  EXPECT_EQ(dot_e4m3({0x7f}, {kOne}, 0), kNan);
  EXPECT_EQ(dot_e4m3({0xff}, {0}, 0), kNan);
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, 0xffc12345), kNan);
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, kInf), kInf);
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, 0xff800000), 0xff800000u);
  EXPECT_EQ(dot_e4m3({0}, {0}, 0x80000000), 0u);
}

TEST(TensorCore, HopperFp8IsTwoStepsAndAnAddition) {
  // C comes last, rounded to nearest: 1 + 2^-24 + 2^-25 is 1 + 2^-23.
  EXPECT_EQ(dot_e4m3({kOne}, {kOne}, f32(0x1.8p-24f), TensorCore::kHopper), f32(0x1.000002p0f));
  // 448 x 448 is the first step's; the second step cuts away 2^-18 beside it.
  std::uint32_t const big = f32(448.0f * 448.0f);
  EXPECT_EQ(dot_e4m3({kMax, 0, kMinSubnormal}, {kMax, 0, kMinSubnormal}, 0, TensorCore::kHopper), big);
  // -2^-8 beside 2^17.6: aligned to exponent 16 (448 x 448 is 1.75 x 1.75 at 2^16) with 25 fraction bits, 2^-9 is the unit.
  EXPECT_EQ(dot_e4m3({kMax, 0, 0x81}, {kMax, 0, kTwo}, 0, TensorCore::kHopper), big - 1);
  EXPECT_EQ(dot_e4m3({kMinSubnormal}, {kMinSubnormal}, 0, TensorCore::kHopper), f32(0x1p-18f));
  EXPECT_EQ(dot_e4m3({0x7f}, {0}, 0, TensorCore::kHopper), kNan);
}

TEST(TensorCore, IntegersWrapOrSaturate) {
  Random random(9);
  std::array<std::uint8_t, kMmaM * 32> a;
  std::array<std::uint8_t, kMmaN * 32> b;
  std::array<std::uint32_t, kMmaM * kMmaN> c, d;
  for (auto& byte : a) byte = static_cast<std::uint8_t>(random.word());
  for (auto& byte : b) byte = static_cast<std::uint8_t>(random.word());
  for (auto& code : c) code = random.below(2) ? 0x7ffffff0u : 0x80000010u;
  for (bool a_signed : {false, true}) {
    for (bool b_signed : {false, true}) {
      for (bool saturate : {false, true}) {
        mma_int({.a_signed = a_signed,
                 .b_signed = b_signed,
                 .satfinite = saturate,
                 .k = 32,
                 .a = a.data(),
                 .b = b.data(),
                 .c = c.data(),
                 .d = d.data()});
        for (int i = 0; i < kMmaM * kMmaN; ++i) {
          long long sum = static_cast<std::int32_t>(c[static_cast<std::size_t>(i)]);
          for (int k = 0; k < 32; ++k) {
            int x = a[static_cast<std::size_t>(i / kMmaN * 32 + k)],
                y = b[static_cast<std::size_t>(i % kMmaN * 32 + k)];
            if (a_signed && x > 127) x -= 256;
            if (b_signed && y > 127) y -= 256;
            sum += x * y;
          }
          if (saturate) sum = sum > 2147483647LL ? 2147483647LL : sum < -2147483648LL ? -2147483648LL : sum;
          ASSERT_EQ(d[static_cast<std::size_t>(i)], static_cast<std::uint32_t>(sum));
        }
      }
    }
  }
}

TEST(TensorCore, NamesWhatIsWrong) {
  std::array<std::uint8_t, kMmaM * 32> a{};
  std::array<std::uint16_t, kMmaM * 16> h{};
  std::array<std::uint32_t, kMmaM * kMmaN> c{};
  MmaTile<std::uint8_t> const good{.a_format = Format::kE4m3,
                                   .b_format = Format::kE4m3,
                                   .k = 32,
                                   .a = a.data(),
                                   .b = a.data(),
                                   .c = c.data(),
                                   .d = c.data()};
  EXPECT_NO_THROW(mma(TensorCore::kBlackwell, good));
  auto expect = [](char const* argument, auto&& call) {
    try {
      call();
      FAIL() << argument;
    } catch (Error const& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
      EXPECT_EQ(error.argument(), argument);
    }
  };
  auto changed = [&](auto&& change) {
    MmaTile<std::uint8_t> tile = good;
    change(tile);
    return tile;
  };
  expect("k", [&] { mma(TensorCore::kBlackwell, changed([](auto& t) { t.k = 33; })); });
  expect("format",
         [&] { mma(TensorCore::kBlackwell, changed([](auto& t) { t.a_format = Format::kBf16; })); });
  expect("format", [&] { mma(TensorCore::kHopper, changed([](auto& t) { t.b_format = Format::kE2m1; })); });
  expect("accumulator",
         [&] { mma(TensorCore::kBlackwell, changed([](auto& t) { t.accumulator = Format::kBf16; })); });
  expect("scale_a, scale_b",
         [&] { mma(TensorCore::kBlackwell, changed([&](auto& t) { t.scale_a = a.data(); })); });
  expect("scale_a",
         [&] { mma(TensorCore::kHopper, changed([&](auto& t) { t.scale_a = t.scale_b = a.data(); })); });
  expect("a_format, b_format", [&] {
    mma(TensorCore::kBlackwell, MmaTile<std::uint16_t>{.a_format = Format::kF16,
                                                       .b_format = Format::kBf16,
                                                       .k = 16,
                                                       .a = h.data(),
                                                       .b = h.data(),
                                                       .c = c.data(),
                                                       .d = c.data()});
  });
}

}  // namespace
}  // namespace deepwell::num

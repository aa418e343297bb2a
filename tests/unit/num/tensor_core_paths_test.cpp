// The fast loops of the tensor cores, as compiled for this processor and for the oldest one, against the definition.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "num/tensor_core_fp4.hpp"
#include "num/tensor_core_fused.hpp"

namespace deepwell::num {
namespace {

using Outputs = std::array<std::uint32_t, kMmaM * kMmaN>;

class Random {
 public:
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(engine_() % n); }
  std::uint32_t word() { return static_cast<std::uint32_t>(engine_()); }
  /// By mode: any code, about one, far apart, tiny, huge or subnormal.
  std::uint32_t code(int exponent_bits, int fraction_bits, int mode) {
    std::uint32_t const top = (1u << exponent_bits) - 1, bias = top >> 1;
    std::uint32_t const fields[] = {
        below(top + 1), bias - 1 + below(3), below(2) ? below(3) : top - 1 - below(2),
        below(3),       top - 1 - below(2),  0};
    return below(2) << (exponent_bits + fraction_bits) | fields[mode] << fraction_bits |
           below(1u << fraction_bits);
  }

 private:
  std::mt19937_64 engine_{20};
};

template <class Code>
void compare(Format format, int fraction_bits, int shift, int k, Format accumulator, bool scaled) {
  Random random;
  int const exponent_bits = info(format).exponent_bits;
  for (int round = 0; round < 120; ++round) {
    std::vector<Code> a(static_cast<std::size_t>(kMmaM * k)), b(static_cast<std::size_t>(kMmaN * k));
    for (auto* operand : {&a, &b}) {
      for (Code& code : *operand)
        code = static_cast<Code>(random.code(exponent_bits, fraction_bits, round % 6) << shift);
    }
    Outputs c, fast, baseline;
    for (std::uint32_t& code : c) {
      code = random.below(8) == 0          ? 0
             : accumulator == Format::kF16 ? random.code(5, 10, round / 6 % 6)
                                           : random.code(8, 23, round / 6 % 6);
    }
    std::array<std::uint8_t, kMmaM + kMmaN> scales;
    for (std::uint8_t& scale : scales)
      scale = static_cast<std::uint8_t>(round % 2 ? 120 + random.below(16) : random.word());
    MmaTile<Code> tile{.a_format = format,
                       .b_format = format,
                       .k = k,
                       .a = a.data(),
                       .b = b.data(),
                       .c = c.data(),
                       .d = fast.data(),
                       .accumulator = accumulator,
                       .scale_a = scaled ? scales.data() : nullptr,
                       .scale_b = scaled ? scales.data() + kMmaM : nullptr};
    fused_step(tile);
    tile.d = baseline.data();
    fused_step_baseline(tile);
    for (int i = 0; i < kMmaM * kMmaN; ++i) {
      auto const at = static_cast<std::size_t>(i);
      std::uint32_t const want = fused_dot(tile, false, i / kMmaN, i % kMmaN, c[at]);
      ASSERT_EQ(fast[at], want) << info(format).name << " k" << k << " round " << round << " output " << i;
      ASSERT_EQ(baseline[at], want) << info(format).name << " k" << k << " round " << round << " output "
                                    << i;
    }
  }
}

TEST(TensorCorePaths, FusedStepsGiveTheBitsOfTheDefinition) {
  for (Format format : {Format::kE4m3, Format::kE5m2, Format::kE3m2, Format::kE2m3, Format::kE2m1}) {
    int const fraction_bits = info(format).fraction_bits, shift = format == Format::kE2m1 ? 2 : 0;
    compare<std::uint8_t>(format, fraction_bits, shift, 32, Format::kF32, true);
    compare<std::uint8_t>(format, fraction_bits, shift, 16, Format::kF32, false);
    compare<std::uint8_t>(format, fraction_bits, shift, 32, Format::kF16, false);
  }
  compare<std::uint16_t>(Format::kF16, 10, 0, 16, Format::kF32, false);
  compare<std::uint16_t>(Format::kF16, 10, 0, 8, Format::kF16, false);
  compare<std::uint16_t>(Format::kBf16, 7, 0, 16, Format::kF32, false);
  compare<std::uint32_t>(Format::kTf32, 23, 0, 8, Format::kF32, false);
  compare<std::uint32_t>(Format::kTf32, 23, 0, 4, Format::kF32, false);
}

TEST(TensorCorePaths, Fp4TilesGiveTheBitsOfTheDefinition) {
  Random random;
  for (int round = 0; round < 300; ++round) {
    bool const ue8m0 = round % 2 == 0;
    std::array<std::uint8_t, kMmaM * 32> a;
    std::array<std::uint8_t, kMmaN * 32> b;
    std::array<std::uint8_t, kMmaM * 4> scale_a;
    std::array<std::uint8_t, kMmaN * 4> scale_b;
    // Every fourth round one small group beside a power of two: the last bit that alignment keeps.
    bool const sparse = round % 4 == 3 || round % 8 == 2;
    std::uint8_t const small = static_cast<std::uint8_t>(ue8m0 ? 46 + random.below(90) : 1);
    for (auto& byte : a) byte = static_cast<std::uint8_t>(sparse ? 0 : random.word());
    for (auto& byte : b) byte = static_cast<std::uint8_t>(sparse ? 0x11 : random.word());
    for (auto& code : scale_a) code = static_cast<std::uint8_t>(sparse ? small : random.word());
    for (auto& code : scale_b) code = static_cast<std::uint8_t>(sparse ? small : random.word());
    for (std::size_t m = 0; sparse && m < kMmaM; ++m)
      a[m * 32 + random.below(32)] = random.below(2) ? 0x01 : 0x90;
    Outputs c, fast, baseline;
    for (std::uint32_t& code : c) {
      int const exponent =
          (ue8m0 ? 2 * (small - 127) + 33 : -12 + 27) + static_cast<int>(random.below(4)) - 1;
      code = sparse ? random.below(2) << 31 | static_cast<std::uint32_t>(std::max(exponent + 127, 1)) << 23
                    : random.code(8, 23, round / 4 % 6);
    }
    MmaFp4Tile tile{.scale_format = ue8m0 ? Format::kUe8m0 : Format::kUe4m3,
                    .blocks = round % 3 == 0 ? 2 : 4,
                    .a = a.data(),
                    .b = b.data(),
                    .scale_a = scale_a.data(),
                    .scale_b = scale_b.data(),
                    .c = c.data(),
                    .d = fast.data()};
    fp4_tile(tile);
    tile.d = baseline.data();
    fp4_tile_baseline(tile);
    for (int i = 0; i < kMmaM * kMmaN; ++i) {
      auto const at = static_cast<std::size_t>(i);
      std::uint32_t const want = fp4_dot(tile, i / kMmaN, i % kMmaN);
      ASSERT_EQ(fast[at], want) << "round " << round << " output " << i;
      ASSERT_EQ(baseline[at], want) << "round " << round << " output " << i;
    }
  }
}

TEST(TensorCorePaths, Fp4JustBelowTheNormalNumbersIsTruncated) {
  // 2^-126 less 2^-150: a conversion that rounds would give 2^-126 again.
  std::array<std::uint8_t, kMmaM * 32> a{};
  std::array<std::uint8_t, kMmaN * 32> b{};
  std::array<std::uint8_t, kMmaM * 2> scale_a;
  std::array<std::uint8_t, kMmaN * 2> scale_b;
  for (std::size_t m = 0; m < kMmaM; ++m) a[m * 32] = m % 2 == 0 ? 0x09 : 0x01;  // -0.5, 0.5
  for (std::size_t n = 0; n < kMmaN; ++n) b[n * 32] = 0x01;
  scale_a.fill(53);
  scale_b.fill(53);  // 0.25 * 2^-148
  Outputs c, d;
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = i / kMmaN % 2 == 0 ? 0x00800000u : 0x80800000u;
  MmaFp4Tile const tile{Format::kUe8m0, 2,        a.data(), b.data(), scale_a.data(),
                        scale_b.data(), c.data(), d.data()};
  for (auto* run : {&fp4_tile, &fp4_tile_baseline}) {
    run(tile);
    for (std::size_t i = 0; i < d.size(); ++i) {
      std::uint32_t const want = i / kMmaN % 2 == 0 ? 0x007fffffu : 0x807fffffu;
      ASSERT_EQ(d[i], want) << i;
      ASSERT_EQ(fp4_dot(tile, static_cast<int>(i) / kMmaN, static_cast<int>(i) % kMmaN), want) << i;
    }
  }
}

}  // namespace
}  // namespace deepwell::num

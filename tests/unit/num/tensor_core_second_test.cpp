// num's tensor-core arithmetic against a second implementation of the same documents, on exact rationals: bit for bit.
#include "num/tensor_core.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "unit/num/hostile_tiles.hpp"
#include "unit/num/second_tensor_core.hpp"

namespace deepwell::second {
namespace {

using num::TensorCore;
using enum num::Format;

struct Form {
  TensorCore core;
  Format a, b;
  int k;
  Format accumulator = kF32;
  int blocks = 0;  // of scales along k
  Format scale = kUe8m0;

  bool is_fp4() const { return k == 64; }
  bool is_hopper_fp8() const { return core == TensorCore::kHopper && (a == kE4m3 || a == kE5m2); }
};

std::string name_of(Format format) { return std::string(num::info(format).name); }

std::string name_of(Form const& form) {
  std::string name = form.core == TensorCore::kHopper ? "hopper" : "blackwell";
  name += " m16n8k" + std::to_string(form.k) + " " + name_of(form.accumulator) + "." + name_of(form.a) + "." +
          name_of(form.b);
  if (form.blocks != 0) name += " scales " + std::to_string(form.blocks) + " x " + name_of(form.scale);
  return name;
}

Shape shape_of(Form const& form) {
  Layout const a = form.is_fp4() ? kPackedE2m1 : layout_of(form.a);
  Layout const b = form.is_fp4() ? kPackedE2m1 : layout_of(form.b);
  return {a, b, layout_of(form.accumulator), form.k, form.blocks, layout_of(form.scale)};
}

template <class Code>
std::vector<Code> as(std::vector<std::uint32_t> const& codes) {
  return {codes.begin(), codes.end()};
}

std::vector<std::uint8_t> as_nibbles(std::vector<std::uint32_t> const& codes) {
  std::vector<std::uint8_t> bytes(codes.size() / 2);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    bytes[i / 2] = static_cast<std::uint8_t>(bytes[i / 2] | codes[i] << (i % 2 * 4));
  }
  return bytes;
}

using Codes = std::vector<std::uint32_t>;

template <class Code>
Codes first_opinion(Form const& form, Tile const& tile) {
  std::vector<Code> const a = as<Code>(tile.a), b = as<Code>(tile.b);
  std::vector<std::uint8_t> const scale_a = as<std::uint8_t>(tile.scale_a),
                                  scale_b = as<std::uint8_t>(tile.scale_b);
  Codes d(16 * 8);
  bool const has_scales = form.blocks != 0;
  num::mma(form.core, num::MmaTile<Code>{form.a, form.b, form.k, a.data(), b.data(), tile.c.data(), d.data(),
                                         form.accumulator, has_scales ? scale_a.data() : nullptr,
                                         has_scales ? scale_b.data() : nullptr});
  return d;
}

/// What num says.
Codes first_opinion(Form const& form, Tile const& tile) {
  if (form.is_fp4()) {
    std::vector<std::uint8_t> const a = as_nibbles(tile.a), b = as_nibbles(tile.b);
    std::vector<std::uint8_t> const scale_a = as<std::uint8_t>(tile.scale_a),
                                    scale_b = as<std::uint8_t>(tile.scale_b);
    Codes d(16 * 8);
    num::mma_fp4({form.scale, form.blocks, a.data(), b.data(), scale_a.data(), scale_b.data(), tile.c.data(),
                  d.data()});
    return d;
  }
  if (form.a == kTf32) return first_opinion<std::uint32_t>(form, tile);
  if (form.a == kBf16 || form.a == kF16) return first_opinion<std::uint16_t>(form, tile);
  return first_opinion<std::uint8_t>(form, tile);
}

Numbers numbers_of(Layout const& layout, Codes const& codes) {
  Numbers numbers;
  numbers.reserve(codes.size());
  for (std::uint32_t const code : codes) numbers.push_back(number_of(layout, code));
  return numbers;
}

Numbers tf32_operands(Rules const& rules, Codes const& codes) {
  Numbers numbers;
  numbers.reserve(codes.size());
  for (std::uint32_t const code : codes) numbers.push_back(tf32_operand(rules, code));
  return numbers;
}

/// What the second implementation says.
Codes second_opinion(Rules const& rules, Form const& form, Tile const& tile) {
  Shape const shape = shape_of(form);
  bool const is_tf32 = form.a == kTf32;
  Numbers const a = is_tf32 ? tf32_operands(rules, tile.a) : numbers_of(shape.a, tile.a);
  Numbers const b = is_tf32 ? tf32_operands(rules, tile.b) : numbers_of(shape.b, tile.b);
  Numbers const scale_a = numbers_of(shape.scale, tile.scale_a),
                scale_b = numbers_of(shape.scale, tile.scale_b);
  Codes d;
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      Number const *row = &a[m * form.k], *column = &b[n * form.k];
      Number const* row_scale = form.blocks == 0 ? nullptr : &scale_a[m * form.blocks];
      Number const* column_scale = form.blocks == 0 ? nullptr : &scale_b[n * form.blocks];
      std::uint32_t const c = tile.c[m * 8 + n];
      if (form.is_fp4()) {
        d.push_back(dot_fp4(rules, row, column, row_scale, column_scale, form.blocks, c));
      } else if (form.is_hopper_fp8()) {
        d.push_back(dot_hopper_fp8(rules, shape.c, row, column, form.k, c));
      } else {
        d.push_back(dot(rules, shape.c, row, column, form.k, c, row_scale, column_scale));
      }
    }
  }
  return d;
}

Tile make_tile(Form const& form, Kind kind, std::uint64_t seed) {
  Tile tile = TileMaker(shape_of(form), kind, seed).make();
  if (kind == Kind::kCancelsC) {
    Layout const c = layout_of(form.accumulator);
    std::fill(tile.c.begin(), tile.c.end(), 0);
    tile.c = second_opinion({}, form, tile);
    Random random(seed);
    for (std::uint32_t& code : tile.c) {
      code ^= 1u << c.sign_bit();
      if (random.one_in(2)) code ^= random.bits() & 3;
    }
  }
  return tile;
}

std::string hex(std::uint32_t code, int digits) {
  char text[16];
  std::snprintf(text, sizeof text, "%0*x", digits, code);
  return text;
}

std::string hex(std::uint32_t const* codes, int count, int digits) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i == 0 ? "" : " ") + hex(codes[i], digits);
  return text;
}

/// One element with all that it was made of, to be put into a test of its own.
std::string report(Form const& form, Kind kind, std::uint64_t seed, Tile const& tile, int i,
                   std::uint32_t num, std::uint32_t second) {
  int const m = i / 8, n = i % 8, top = shape_of(form).a.sign_bit();
  int const digits = top == 3 ? 1 : top < 8 ? 2 : top < 16 ? 4 : 8;
  std::string text =
      name_of(form) + ", kind \"" + kKindNames[static_cast<int>(kind)] + "\", seed " + std::to_string(seed);
  text += ", row " + std::to_string(m) + ", column " + std::to_string(n);
  text += "\n  a " + hex(&tile.a[m * tile.k], tile.k, digits) + "\n  b " +
          hex(&tile.b[n * tile.k], tile.k, digits);
  if (form.blocks != 0) {
    text += "\n  scales of a " + hex(&tile.scale_a[m * form.blocks], form.blocks, 2);
    text += ", of b " + hex(&tile.scale_b[n * form.blocks], form.blocks, 2);
  }
  return text + "\n  c " + hex(tile.c[i], 8) + "\n  num " + hex(num, 8) + ", second " + hex(second, 8);
}

/// How many results of each sort the tests have seen.
struct Seen {
  std::map<std::string, long> results;
  long comparisons = 0;

  void count(Layout const& layout, std::uint32_t code) {
    Number const number = number_of(layout, code);
    ++comparisons;
    ++results[number.kind == Number::kNan                   ? "NaN"
              : number.kind == Number::kInfinity            ? "infinity"
              : number.is_zero()                            ? "zero"
              : number.value.floor_log2() < 1 - layout.bias ? "subnormal"
                                                            : "normal"];
  }
};

std::uint64_t seed_of(Kind kind, int tile) { return 1000 * static_cast<std::uint64_t>(kind) + tile + 1; }

/// Compares `tiles` tiles of every kind; the first mismatch of a form ends it.
void compare(std::vector<Form> const& forms, int tiles, Seen& seen) {
  for (Form const& form : forms) {
    bool same = true;
    for (Kind kind : kKinds) {
      for (int t = 0; t < tiles && same; ++t) {
        std::uint64_t const seed = seed_of(kind, t);
        Tile const tile = make_tile(form, kind, seed);
        Codes const num = first_opinion(form, tile), second = second_opinion({}, form, tile);
        for (int i = 0; i < 16 * 8 && same; ++i) {
          seen.count(layout_of(form.accumulator), second[i]);
          same = num[i] == second[i];
          if (!same) ADD_FAILURE() << report(form, kind, seed, tile, i, num[i], second[i]);
        }
      }
    }
  }
}

constexpr TensorCore kHopper = TensorCore::kHopper, kBlackwell = TensorCore::kBlackwell;

/// Every sort of result must occur, or the comparison has not seen what it is for.
void compare_all_sorts(std::vector<Form> const& forms, int tiles) {
  Seen seen;
  compare(forms, tiles, seen);
  std::string const family = std::to_string(forms.size()) + " like " + name_of(forms[0]) + ": ";
  testing::Test::RecordProperty(family + "comparisons", std::to_string(seen.comparisons));
  for (char const* sort : {"NaN", "infinity", "zero", "subnormal", "normal"}) {
    testing::Test::RecordProperty(family + sort, std::to_string(seen.results[sort]));
    EXPECT_GT(seen.results[sort], seen.comparisons / 1000) << family << sort;
  }
}

std::vector<Form> byte_pairs(std::vector<Format> const& formats, Form const& like) {
  std::vector<Form> forms;
  for (Format a : formats) {
    for (Format b : formats) {
      forms.push_back(like);
      forms.back().a = a, forms.back().b = b;
    }
  }
  return forms;
}

std::vector<Format> const kContainers = {kE4m3, kE5m2, kE3m2, kE2m3, kE2m1};

TEST(TensorCoreSecond, Containers) {
  compare_all_sorts(byte_pairs(kContainers, {kBlackwell, kE4m3, kE4m3, 32}), 16);
  compare_all_sorts(byte_pairs({kE4m3, kE5m2}, {kBlackwell, kE4m3, kE4m3, 16}), 16);
}

TEST(TensorCoreSecond, ScaledContainers) {
  compare_all_sorts(byte_pairs(kContainers, {kBlackwell, kE4m3, kE4m3, 32, kF32, 1}), 24);
}

TEST(TensorCoreSecond, Fp8OnHopper) {
  for (int k : {16, 32}) compare_all_sorts(byte_pairs({kE4m3, kE5m2}, {kHopper, kE4m3, kE4m3, k}), 24);
}

TEST(TensorCoreSecond, Wide) {
  for (TensorCore core : {kHopper, kBlackwell}) {
    for (Format format : {kBf16, kF16}) {
      for (int k : {8, 16}) compare_all_sorts({{core, format, format, k}}, 40);
    }
    for (int k : {4, 8}) compare_all_sorts({{core, kTf32, kTf32, k}}, 40);
  }
}

TEST(TensorCoreSecond, F16Accumulators) {
  compare_all_sorts(byte_pairs(kContainers, {kBlackwell, kE4m3, kE4m3, 32, kF16}), 12);
  compare_all_sorts(byte_pairs({kE4m3, kE5m2}, {kBlackwell, kE4m3, kE4m3, 16, kF16}), 12);
  for (int k : {16, 32}) compare_all_sorts(byte_pairs({kE4m3, kE5m2}, {kHopper, kE4m3, kE4m3, k, kF16}), 24);
  for (TensorCore core : {kHopper, kBlackwell}) {
    for (int k : {8, 16}) compare_all_sorts({{core, kF16, kF16, k, kF16}}, 40);
  }
}

TEST(TensorCoreSecond, PackedE2m1) {
  for (Format scale : {kUe8m0, kUe4m3}) {
    for (int blocks : {2, 4}) compare_all_sorts({{kBlackwell, kE2m1, kE2m1, 64, kF32, blocks, scale}}, 40);
  }
}

struct WrongMachine {
  char const* what;
  Form form;
  Rules rules;
};

std::vector<WrongMachine> wrong_machines() {
  Form const fp8 = {kBlackwell, kE4m3, kE4m3, 32}, scaled = {kBlackwell, kE4m3, kE2m1, 32, kF32, 1};
  Form const scaled_e4m3 = {kBlackwell, kE4m3, kE4m3, 32, kF32, 1};
  Form const hopper_fp8 = {kHopper, kE4m3, kE5m2, 32}, hopper_fp8_f16 = {kHopper, kE4m3, kE5m2, 32, kF16};
  Form const bf16 = {kBlackwell, kBf16, kBf16, 16}, tf32 = {kHopper, kTf32, kTf32, 8};
  Form const f16 = {kBlackwell, kF16, kF16, 16, kF16}, small_f16 = {kBlackwell, kE3m2, kE2m3, 32, kF16};
  Form const mxfp4 = {kBlackwell, kE2m1, kE2m1, 64, kF32, 2, kUe8m0};
  Form const nvfp4 = {kBlackwell, kE2m1, kE2m1, 64, kF32, 4, kUe4m3};
  return {
      {"24 fraction bits", fp8, {.fraction_bits = 24}},
      {"24 fraction bits", scaled, {.fraction_bits = 24}},
      {"24 fraction bits", bf16, {.fraction_bits = 24}},
      {"24 fraction bits", hopper_fp8, {.fraction_bits = 24}},
      {"26 fraction bits", fp8, {.fraction_bits = 26}},
      {"26 fraction bits", tf32, {.fraction_bits = 26}},
      {"26 fraction bits", f16, {.fraction_bits = 26}},
      {"34 fraction bits", mxfp4, {.fp4_fraction_bits = 34}},
      {"36 fraction bits", mxfp4, {.fp4_fraction_bits = 36}},
      {"34 fraction bits", nvfp4, {.fp4_fraction_bits = 34}},
      {"36 fraction bits", nvfp4, {.fp4_fraction_bits = 36}},
      {"groups of 32", mxfp4, {.fp4_group = 32}},
      {"groups of 32", nvfp4, {.fp4_group = 32}},
      {"groups of 8", mxfp4, {.fp4_group = 8}},
      {"groups of 8", nvfp4, {.fp4_group = 8}},
      {"no groups", mxfp4, {.fp4_group = 1}},
      {"addends rounded down", fp8, {.term_cut = Cut::kDown}},
      {"addends rounded down", nvfp4, {.term_cut = Cut::kDown}},
      {"addends rounded to nearest", scaled, {.term_cut = Cut::kNearestEven}},
      {"addends rounded to nearest", tf32, {.term_cut = Cut::kNearestEven}},
      {"sum rounded to nearest", fp8, {.f32_cut = Cut::kNearestEven}},
      {"sum rounded to nearest", mxfp4, {.f32_cut = Cut::kNearestEven}},
      {"sum rounded down", bf16, {.f32_cut = Cut::kDown}},
      {"f16 truncated", f16, {.f16_cut = Cut::kTowardZero}},
      {"f16 ties away from zero", f16, {.f16_cut = Cut::kNearestAway}},
      {"f16 ties away from zero", small_f16, {.f16_cut = Cut::kNearestAway}},
      {"C's addition truncated", hopper_fp8, {.hopper_add_cut = Cut::kTowardZero}},
      {"C's addition with ties away from zero", hopper_fp8, {.hopper_add_cut = Cut::kNearestAway}},
      {"C's addition with ties away from zero", hopper_fp8_f16, {.hopper_add_cut = Cut::kNearestAway}},
      {"steps over halves", hopper_fp8, {.hopper_fp8 = HopperFp8::kHalves}},
      {"one step", hopper_fp8, {.hopper_fp8 = HopperFp8::kOneStep}},
      {"one step with C", hopper_fp8, {.hopper_fp8 = HopperFp8::kNative}},
      {"one step with C", hopper_fp8_f16, {.hopper_fp8 = HopperFp8::kNative}},
      {"subnormal factors normalised", fp8, {.stands = Stands::kAtLeadingOfFactors}},
      {"subnormal factors normalised", scaled, {.stands = Stands::kAtLeadingOfFactors}},
      {"subnormal scales normalised", nvfp4, {.stands = Stands::kAtLeadingOfFactors}},
      {"products normalised", fp8, {.stands = Stands::kAtLeadingOfProduct}},
      {"products normalised", bf16, {.stands = Stands::kAtLeadingOfProduct}},
      {"groups normalised", mxfp4, {.stands = Stands::kAtLeadingOfProduct}},
      {"zeros align", scaled, {.zeros_align = true}},
      {"zeros align", bf16, {.zeros_align = true}},
      {"zeros align", mxfp4, {.zeros_align = true}},
      {"tf32 with all bits", tf32, {.keeps_tf32_tail = true}},
      {"NaN of tf32's lost bits kept", tf32, {.keeps_tf32_nans = true}},
      {"alignment without a least exponent", bf16, {.least_alignment = -10000}},
      {"alignment without a least exponent", tf32, {.least_alignment = -10000}},
      {"alignment at no less than -134", scaled_e4m3, {.least_alignment = -134}},
      {"alignment at no less than -134", tf32, {.least_alignment = -134}},
      {"alignment at no less than -132", bf16, {.least_alignment = -132}},
      {"alignment at no less than -132", scaled_e4m3, {.least_alignment = -132}},
      {"alignment at no less than -126", bf16, {.least_alignment = -126}},
      {"alignment at no less than -133", mxfp4, {.fp4_least_alignment = -133}},
      {"no NaN and infinity", bf16, {.ignores_specials = true}},
      {"no NaN in scales", mxfp4, {.ignores_specials = true}},
      {"C added last", fp8, {.adds_c_last = true}},
      {"C added last", scaled, {.adds_c_last = true}},
  };
}

TEST(TensorCoreSecond, NoticesWrongMachines) {
  for (WrongMachine const& machine : wrong_machines()) {
    int differences = 0;
    for (Kind kind : kKinds) {
      for (int t = 0; t < 8; ++t) {
        Tile const tile = make_tile(machine.form, kind, seed_of(kind, t));
        Codes const num = first_opinion(machine.form, tile);
        Codes const wrong = second_opinion(machine.rules, machine.form, tile);
        EXPECT_EQ(num, second_opinion({}, machine.form, tile))
            << name_of(machine.form) << ", kind " << kKindNames[static_cast<int>(kind)] << ", seed "
            << seed_of(kind, t);
        for (int i = 0; i < 16 * 8; ++i) differences += num[i] != wrong[i];
      }
    }
    RecordProperty(std::string(machine.what) + " " + name_of(machine.form), differences);
    EXPECT_GT(differences, 0) << machine.what << ": " << name_of(machine.form);
  }
}

struct IntForm {
  bool a_signed, b_signed, satfinite;
  int k;
};

struct IntTile {
  std::vector<std::uint8_t> a, b;
  Codes c;
};

IntTile make_int_tile(int k, std::uint64_t seed) {
  Random random(seed);
  std::uint8_t const corners[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0xff};
  // All alike in A and in B: the largest sums; else a mixture.
  bool const alike = random.one_in(3);
  std::uint8_t const a = corners[random.in(0, 5)], b = corners[random.in(0, 5)];
  auto byte = [&](std::uint8_t same) {
    if (alike) return same;
    return random.one_in(3) ? corners[random.in(0, 5)] : static_cast<std::uint8_t>(random.bits());
  };
  IntTile tile;
  for (int i = 0; i < 16 * k; ++i) tile.a.push_back(byte(a));
  for (int i = 0; i < 8 * k; ++i) tile.b.push_back(byte(b));
  for (int i = 0; i < 16 * 8; ++i) {
    // Near zero, near both ends, anywhere.
    std::uint32_t const bases[] = {0, 0x7fffffff, 0x80000000, random.bits()};
    std::uint32_t const base = bases[random.in(0, 3)];
    tile.c.push_back(base + static_cast<std::uint32_t>(random.in(-300000, 300000)));
  }
  return tile;
}

Codes first_opinion(IntForm const& form, IntTile const& tile) {
  Codes d(16 * 8);
  num::mma_int({form.a_signed, form.b_signed, form.satfinite, form.k, tile.a.data(), tile.b.data(),
                tile.c.data(), d.data()});
  return d;
}

Codes second_opinion(IntForm const& form, IntTile const& tile) {
  Codes d;
  for (int i = 0; i < 16 * 8; ++i) {
    d.push_back(dot_int(&tile.a[i / 8 * form.k], form.a_signed, &tile.b[i % 8 * form.k], form.b_signed,
                        form.k, tile.c[i], form.satfinite));
  }
  return d;
}

TEST(TensorCoreSecond, Integers) {
  long comparisons = 0;
  for (int bits = 0; bits < 16; ++bits) {
    IntForm const form = {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0 ? 32 : 16};
    IntForm const other_a = {!form.a_signed, form.b_signed, form.satfinite, form.k};
    IntForm const other_b = {form.a_signed, !form.b_signed, form.satfinite, form.k};
    IntForm const other_end = {form.a_signed, form.b_signed, !form.satfinite, form.k};
    int others_differ[3] = {0, 0, 0};
    bool same = true;
    for (std::uint64_t seed = 1; seed <= 100 && same; ++seed) {
      IntTile const tile = make_int_tile(form.k, seed);
      Codes const num = first_opinion(form, tile), second = second_opinion(form, tile);
      for (int i = 0; i < 16 * 8 && same; ++i) {
        ++comparisons;
        same = num[i] == second[i];
        if (same) continue;
        Codes const a(&tile.a[i / 8 * form.k], &tile.a[i / 8 * form.k] + form.k);
        Codes const b(&tile.b[i % 8 * form.k], &tile.b[i % 8 * form.k] + form.k);
        ADD_FAILURE() << (form.a_signed ? "s8." : "u8.") << (form.b_signed ? "s8" : "u8") << ", satfinite "
                      << form.satfinite << ", k " << form.k << ", seed " << seed << ", row " << i / 8
                      << ", column " << i % 8 << "\n  a " << hex(a.data(), form.k, 2) << "\n  b "
                      << hex(b.data(), form.k, 2) << "\n  c " << hex(tile.c[i], 8) << "\n  num "
                      << hex(num[i], 8) << ", second " << hex(second[i], 8);
      }
      others_differ[0] += num != second_opinion(other_a, tile);
      others_differ[1] += num != second_opinion(other_b, tile);
      others_differ[2] += num != second_opinion(other_end, tile);
    }
    for (int i = 0; i < 3; ++i) EXPECT_GT(others_differ[i], 0) << "wrong form " << i << " of form " << bits;
  }
  RecordProperty("comparisons", std::to_string(comparisons));
}

}  // namespace
}  // namespace deepwell::second

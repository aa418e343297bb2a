// The number formats against ml_dtypes, numpy and CUDA's host headers (tests/golden/*num_tables*), exhaustively for the
// small ones, and their own rules where no other implementation has them.
#include "num/formats.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace deepwell::num {
namespace {

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }
float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

constexpr Format kAllFormats[] = {Format::kE4m3, Format::kE5m2,  Format::kE3m2,  Format::kE2m3,
                                  Format::kE2m1, Format::kUe8m0, Format::kUe4m3, Format::kBf16,
                                  Format::kF16,  Format::kTf32,  Format::kF32};

Format format_named(std::string const& name) {
  for (Format format : kAllFormats) {
    if (info(format).name == name) return format;
  }
  throw std::runtime_error("no format " + name);
}

std::vector<std::vector<std::string>> lines_of(std::string const& file) {
  std::ifstream in(std::string(DW_SOURCE_DIR) + "/tests/golden/" + file);
  EXPECT_TRUE(in.good()) << file;
  std::vector<std::vector<std::string>> out;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    out.emplace_back();
    for (std::string word; words >> word;) out.back().push_back(word);
  }
  return out;
}

struct Pair {
  std::uint32_t input, code;
};
Pair pair_of(std::string const& word) {
  std::size_t const colon = word.find(':');
  return {static_cast<std::uint32_t>(std::stoul(word.substr(0, colon), nullptr, 16)),
          static_cast<std::uint32_t>(std::stoul(word.substr(colon + 1), nullptr, 16))};
}

std::uint32_t decoded_bits(Format format, std::uint32_t code) {
  float const value = decode_f32(format, code);
  return std::isnan(value) ? kCanonicalNan : bits_of(value);
}

class Fnv {
 public:
  template <class T>
  void add(T value) {
    unsigned char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    for (unsigned char byte : bytes) hash_ = (hash_ ^ byte) * 0x100000001b3ull;
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325ull;
};

/// The list of inputs that make_num_tables.py defines.
std::vector<float> all_midpoints(Format format) {
  std::vector<double> values;
  for (std::uint32_t code = 0; code < 0x10000; ++code) {
    double const value = decode(format, code);
    if (std::isfinite(value)) values.push_back(std::fabs(value));
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  std::vector<float> out;
  float const infinity = std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    float const middle = static_cast<float>((values[i] + values[i + 1]) / 2);
    for (float value : {static_cast<float>(values[i]), std::nextafter(middle, -infinity), middle,
                        std::nextafter(middle, infinity)}) {
      out.push_back(value);
    }
  }
  out.push_back(static_cast<float>(values.back()));
  std::size_t const count = out.size();
  for (std::size_t i = 0; i < count; ++i) out.push_back(-out[i]);
  return out;
}

TEST(Formats, MatchMlDtypesAndNumpy) {
  std::map<std::string, int> seen;
  for (auto const& line : lines_of("num_tables.txt")) {
    std::string const& kind = line[0];
    Format const format = format_named(line[1]);
    ++seen[kind];
    if (kind == "decode") {
      for (std::size_t i = 2; i < line.size(); ++i) {
        std::uint32_t const code = static_cast<std::uint32_t>(i - 2);
        EXPECT_EQ(decoded_bits(format, code), std::stoul(line[i], nullptr, 16))
            << line[1] << " code " << code;
      }
      EXPECT_EQ(line.size() - 2, std::size_t{1} << info(format).code_bits) << line[1];
    } else if (kind == "encode") {
      bool const no_specials = info(format).nan_code < 0;
      for (std::size_t i = 2; i < line.size(); ++i) {
        Pair const want = pair_of(line[i]);
        EXPECT_EQ(encode(format, float_of(want.input), {.satfinite = no_specials}), want.code)
            << line[1] << " of " << line[i];
      }
      EXPECT_GE(line.size(), 60u);
    } else if (kind == "hash_decode") {
      Fnv hash;
      for (std::uint32_t code = 0; code < 0x10000; ++code) hash.add(decoded_bits(format, code));
      EXPECT_EQ(hash.value(), std::stoull(line[2], nullptr, 16)) << line[1];
    } else if (kind == "hash_encode") {
      Fnv hash;
      for (float input : all_midpoints(format)) hash.add(static_cast<std::uint16_t>(encode(format, input)));
      EXPECT_EQ(hash.value(), std::stoull(line[2], nullptr, 16)) << line[1];
    } else {
      FAIL() << kind;
    }
  }
  EXPECT_EQ(seen["decode"], 6);
  EXPECT_EQ(seen["encode"], 5);
  EXPECT_EQ(seen["hash_decode"], 2);
  EXPECT_EQ(seen["hash_encode"], 2);
}

TEST(Formats, MatchCudaHostConversions) {
  std::map<std::string, Rounding> const roundings = {{"rn", Rounding::kNearestEven},
                                                     {"rz", Rounding::kZero},
                                                     {"rp", Rounding::kUp},
                                                     {"rm", Rounding::kDown}};
  auto const lines = lines_of("num_tables_cuda.txt");
  EXPECT_EQ(lines.size(), 19u);
  for (auto const& line : lines) {
    std::istringstream parts(line[0]);
    std::string part;
    std::getline(parts, part, '.');
    Format const format = format_named(part);
    EncodeOptions options;
    while (std::getline(parts, part, '.')) {
      if (part == "satfinite") {
        options.satfinite = true;
      } else {
        options.rounding = roundings.at(part);
      }
    }
    for (std::size_t i = 1; i < line.size(); ++i) {
      Pair const want = pair_of(line[i]);
      float const input = float_of(want.input);
      std::uint32_t const code = format == Format::kUe8m0
                                     ? encode_ue8m0(input, options.rounding, options.satfinite)
                                     : encode(format, input, options);
      EXPECT_EQ(code, want.code) << line[0] << " of " << line[i];
    }
  }
}

TEST(Formats, EveryCodeSurvivesDecodeAndEncode) {
  for (Format format : kAllFormats) {
    if (format == Format::kUe8m0) continue;
    FormatInfo const& f = info(format);
    std::uint64_t const count = std::min<std::uint64_t>(std::uint64_t{1} << f.code_bits, 0x10000);
    std::uint32_t const stride = f.code_bits == 32 ? 0x10000u : 1u;  // 32-bit formats: every upper half
    for (std::uint64_t i = 0; i < count; ++i) {
      std::uint32_t const code = static_cast<std::uint32_t>(i) * stride;
      double const value = decode(format, code);
      bool const no_specials = f.nan_code < 0;
      for (Rounding rounding : {Rounding::kNearestEven, Rounding::kNearestAway, Rounding::kZero,
                                Rounding::kUp, Rounding::kDown}) {
        std::uint32_t const back = encode(format, value, {.rounding = rounding, .satfinite = no_specials});
        if (std::isnan(value)) {
          EXPECT_EQ(back, f.nan_code);
        } else {
          std::uint32_t const want = format == Format::kUe4m3 ? code & 0x7f : code;
          EXPECT_EQ(back, want) << f.name;
        }
      }
      Unpacked const u = unpack(format, code);
      if (!u.is_nan && !u.is_inf) {
        EXPECT_EQ(std::fabs(value),
                  std::ldexp(static_cast<double>(u.significand), u.exponent - f.fraction_bits))
            << f.name;
        EXPECT_EQ(u.negative, std::signbit(value)) << f.name;
        EXPECT_EQ(u.is_zero(), value == 0) << f.name;
      }
    }
  }
}

/// All roundings between two neighbouring codes, at both quarter points and the midpoint, for both signs.
TEST(Formats, EveryRoundingOfEveryGap) {
  for (Format format : {Format::kE4m3, Format::kE5m2, Format::kE3m2, Format::kE2m3, Format::kE2m1,
                        Format::kBf16, Format::kF16}) {
    FormatInfo const& f = info(format);
    std::uint32_t const sign = 1u << (f.exponent_bits + f.fraction_bits);
    for (std::uint32_t code = 0; code < f.max_code; ++code) {
      double const low = decode(format, code), high = decode(format, code + 1);
      for (int quarter = 1; quarter <= 3; ++quarter) {
        double const value = low + (high - low) * quarter / 4;
        for (bool negative : {false, true}) {
          auto got = [&](Rounding rounding) {
            return encode(format, negative ? -value : value, {.rounding = rounding, .satfinite = true}) &
                   ~sign;
          };
          std::uint32_t const even = code % 2 == 0 ? code : code + 1;
          ASSERT_EQ(got(Rounding::kNearestEven), quarter == 1   ? code
                                                 : quarter == 3 ? code + 1
                                                                : even)
              << f.name << code;
          ASSERT_EQ(got(Rounding::kNearestAway), quarter == 1 ? code : code + 1) << f.name << code;
          ASSERT_EQ(got(Rounding::kZero), code) << f.name << code;
          ASSERT_EQ(got(Rounding::kUp), negative ? code : code + 1) << f.name << code;
          ASSERT_EQ(got(Rounding::kDown), negative ? code + 1 : code) << f.name << code;
        }
      }
    }
  }
}

TEST(Formats, OverflowReluAndNan) {
  double const infinity = std::numeric_limits<double>::infinity(),
               nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(decode(Format::kE4m3, 0x7e), 448.0);
  EXPECT_EQ(encode(Format::kE4m3, 464.0, {}), 0x7eu);  // a tie between 448 and what would be 480: to even
  EXPECT_EQ(encode(Format::kE4m3, 464.1, {}), 0x7fu);
  EXPECT_EQ(encode(Format::kE4m3, 1e9, {.rounding = Rounding::kZero}), 0x7eu);
  EXPECT_EQ(encode(Format::kE4m3, -infinity, {.satfinite = true}), 0xfeu);
  EXPECT_EQ(encode(Format::kF16, 65520.0), 0x7c00u);
  EXPECT_EQ(encode(Format::kF16, 65519.9), 0x7bffu);
  EXPECT_EQ(encode(Format::kF16, -1e9, {.rounding = Rounding::kUp}), 0xfbffu);
  EXPECT_EQ(encode(Format::kF16, -1e9, {.rounding = Rounding::kDown}), 0xfc00u);
  EXPECT_EQ(encode(Format::kF16, infinity, {.rounding = Rounding::kZero}), 0x7c00u);
  EXPECT_EQ(encode(Format::kBf16, -0.0, {.relu = true}), 0u);
  EXPECT_EQ(encode(Format::kBf16, -3.0, {.relu = true}), 0u);
  EXPECT_EQ(encode(Format::kBf16, nan, {.relu = true}), 0x7fffu);
  EXPECT_EQ(encode(Format::kE2m1, nan, {.satfinite = true}), 0x7u);
  EXPECT_EQ(encode(Format::kE2m1, -100.0, {.satfinite = true}), 0xfu);
  EXPECT_EQ(encode(Format::kTf32, nan), 0x7fffe000u);
  EXPECT_EQ(encode(Format::kTf32, float_of(0x3f801000), {.rounding = Rounding::kNearestAway}), 0x3f802000u);
  EXPECT_EQ(encode(Format::kTf32, float_of(0x3f801000)), 0x3f800000u);
  EXPECT_EQ(encode(Format::kF32, 1e-300), 0u);
  EXPECT_EQ(encode(Format::kF32, 5e-324, {.rounding = Rounding::kUp}), 1u);
  for (double value : {nan, 6.1, infinity}) {
    try {
      (void)encode(Format::kE2m1, value == 6.1 ? 7.5 : value);
      FAIL() << value;
    } catch (Error const& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
      EXPECT_EQ(error.argument(), "value");
    }
  }
  EXPECT_THROW((void)encode(Format::kUe8m0, 1.0), Error);
  EXPECT_THROW((void)encode_ue8m0(1.0f, Rounding::kNearestEven), Error);
}

TEST(Formats, Ue8m0) {
  for (int code = 0; code < 255; ++code) {
    float const value = ue8m0_to_float(static_cast<std::uint8_t>(code));
    EXPECT_EQ(static_cast<double>(value), std::ldexp(1.0, code - 127));
    EXPECT_EQ(decode(Format::kUe8m0, static_cast<std::uint32_t>(code)), value);
    EXPECT_TRUE(is_power_of_two(value));
    EXPECT_EQ(exact_ue8m0(value), std::uint8_t(code));
    for (Rounding rounding : {Rounding::kUp, Rounding::kZero}) EXPECT_EQ(encode_ue8m0(value, rounding), code);
    EXPECT_EQ(encode_ue8m0(std::nextafter(value, 3e38f), Rounding::kZero), code);
    EXPECT_EQ(encode_ue8m0(std::nextafter(value, 3e38f), Rounding::kUp), std::min(code + 1, 254));
    EXPECT_EQ(exact_ue8m0(std::nextafter(value, 3e38f)), std::nullopt);
    EXPECT_FALSE(is_power_of_two(std::nextafter(std::nextafter(value, 3e38f), 3e38f)));
  }
  EXPECT_TRUE(std::isnan(ue8m0_to_float(255)));
  EXPECT_EQ(encode_ue8m0(0.0f, Rounding::kUp), 0);
  EXPECT_EQ(exact_ue8m0(0.0f), std::nullopt);
  EXPECT_EQ(exact_ue8m0(-1.0f), std::nullopt);
  EXPECT_EQ(exact_ue8m0(float_of(0x00200000)), std::nullopt);  // 2^-128: a power of two, below the format
  EXPECT_TRUE(is_power_of_two(float_of(1)));
  for (std::uint32_t bits : {0u, 0x80000000u, 3u, 0xbf800000u, 0x3fc00000u, 0x7f800000u, 0x7fc00000u}) {
    EXPECT_FALSE(is_power_of_two(float_of(bits))) << std::hex << bits;
  }
}

TEST(Formats, ShortcutsAreTheSameBits) {
  for (std::uint32_t code = 0; code < 0x10000; ++code) {
    std::uint16_t const half = static_cast<std::uint16_t>(code);
    float const f16 = f16_to_float(half), bf16 = bf16_to_float(half);
    double const want16 = decode(Format::kF16, code), want_bf16 = decode(Format::kBf16, code);
    EXPECT_TRUE(std::isnan(want16) ? bits_of(f16) == kCanonicalNan
                                   : bits_of(f16) == bits_of(static_cast<float>(want16)));
    EXPECT_TRUE(std::isnan(want_bf16) ? bits_of(bf16) == code << 16
                                      : bits_of(bf16) == bits_of(static_cast<float>(want_bf16)));
    for (std::uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu, 0x1000u, 0x0fffu}) {
      float const value = float_of(code << 16 | low);
      EXPECT_EQ(float_to_bf16(value), encode(Format::kBf16, value));
      EXPECT_EQ(float_to_f16(value), encode(Format::kF16, value));
      EXPECT_EQ(float_to_e4m3(value), encode(Format::kE4m3, value, {.satfinite = true}));
      EXPECT_EQ(float_to_e2m1(value), encode(Format::kE2m1, value, {.satfinite = true}));
    }
  }
  for (std::uint32_t code = 0; code < 256; ++code) {
    float const value = e4m3_to_float(static_cast<std::uint8_t>(code));
    EXPECT_TRUE(std::isnan(value) ? (code & 0x7f) == 0x7f : value == decode(Format::kE4m3, code));
    EXPECT_EQ(e2m1_to_float(static_cast<std::uint8_t>(code & 15)), decode(Format::kE2m1, code & 15));
  }
  std::uint8_t const bytes[2] = {pack_e2m1(3, 0xc), pack_e2m1(0xf, 1)};
  EXPECT_EQ(bytes[0], 0xc3);
  EXPECT_EQ(packed_e2m1(bytes, 0), 3);
  EXPECT_EQ(packed_e2m1(bytes, 1), 0xc);
  EXPECT_EQ(packed_e2m1(bytes, 2), 0xf);
  EXPECT_EQ(packed_e2m1(bytes, 3), 1);
}

}  // namespace
}  // namespace deepwell::num

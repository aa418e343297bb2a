// Random numbers and block quantisation for samples and tests.
#include "checkpoint/quantise.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/error.hpp"

namespace deepwell {

std::uint64_t seed_of(std::string_view text, std::uint64_t seed) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return Random(hash ^ (seed * 0x9e3779b97f4a7c15u)).next();
}

std::uint8_t fast_e4m3(float value) {
  std::uint32_t const bits = std::bit_cast<std::uint32_t>(value);
  std::uint8_t const sign = static_cast<std::uint8_t>(bits >> 24 & 0x80);
  std::uint32_t const magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7f;
  if (magnitude >= 0x43e00000u) return sign | 0x7e;  // 448 and more
  if (magnitude < 0x3c800000u) {                     // below 2^-6: multiples of 2^-9
    float const steps = std::bit_cast<float>(magnitude) * 512.0f + 8388608.0f;
    return static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(steps) & 0xf));
  }
  std::uint32_t const rounded = magnitude + 0x7ffffu + (magnitude >> 20 & 1);
  return static_cast<std::uint8_t>(sign | std::min<std::uint32_t>((rounded >> 20) - (120u << 3), 0x7e));
}

std::uint8_t fast_e2m1(float value) {
  float const x = std::fabs(value);
  // Halfway points go to the even code: 0.25 -> 0, 0.75 -> 1, 1.25 -> 1, 1.75 -> 2, 2.5 -> 2, 3.5 -> 4, 5 -> 4.
  int const code =
      (x > 0.25f) + (x >= 0.75f) + (x > 1.25f) + (x >= 1.75f) + (x > 2.5f) + (x >= 3.5f) + (x > 5.0f);
  return static_cast<std::uint8_t>(code | (std::signbit(value) ? 8 : 0));
}

std::uint8_t scale_byte(float amax, float largest, float floor) {
  float const ratio = std::max(amax, floor) / largest;
  int exponent = 0;
  float const significand =
      std::frexp(ratio, &exponent);  // ratio = significand * 2^exponent, significand in [0.5, 1)
  if (significand == 0.5f) --exponent;
  return static_cast<std::uint8_t>(std::clamp(exponent + 127, 0, 254));
}

void fill_quantised(Quantisation const& how, std::int64_t rows, std::int64_t k, float deviation,
                    std::uint64_t seed, std::span<std::byte> codes, std::span<std::byte> scales,
                    ThreadPool& pool) {
  bool const packed = how.dtype == Dtype::kE2m1;
  if (!packed && how.dtype != Dtype::kE4m3) throw bad_argument("dtype", name_of(how.dtype), "e4m3 or e2m1");
  std::int64_t const row_bytes = packed ? k / 2 : k;
  std::int64_t const block_cols = ceil_div(k, how.block_k), block_rows = ceil_div(rows, how.block_rows);
  if (static_cast<std::int64_t>(codes.size()) != rows * row_bytes ||
      static_cast<std::int64_t>(scales.size()) != block_rows * block_cols) {
    throw bad_argument("codes, scales", fmt::format("{} and {} bytes", codes.size(), scales.size()),
                       fmt::format("{} and {}", rows * row_bytes, block_rows * block_cols));
  }
  float const largest = packed ? 6.0f : 448.0f;
  std::vector<float> column_gain(static_cast<std::size_t>(k));
  Random column_random(seed ^ 0x5851f42d4c957f2du);
  for (float& gain : column_gain) {
    gain = 0.5f + column_random.uniform();
    if (column_random.below(64) == 0) gain *= 8.0f;
  }
  pool.parallel_for(static_cast<std::size_t>(block_rows), [&](std::size_t block) {
    Random random(seed + 0x2545f4914f6cdd1du * (block + 1));
    std::int64_t const first = static_cast<std::int64_t>(block) * how.block_rows;
    std::int64_t const height = std::min<std::int64_t>(how.block_rows, rows - first);
    std::vector<float> values(static_cast<std::size_t>(height * how.block_k));
    std::vector<float> row_gain(static_cast<std::size_t>(height));
    for (float& gain : row_gain) gain = deviation * (random.below(128) == 0 ? 6.0f : 0.5f + random.uniform());
    for (std::int64_t col = 0; col < block_cols; ++col) {
      std::int64_t const k0 = col * how.block_k, width = std::min<std::int64_t>(how.block_k, k - k0);
      float amax = 0;
      for (std::int64_t i = 0; i < height; ++i) {
        for (std::int64_t j = 0; j < width; ++j) {
          float const value = random.heavy() * row_gain[i] * column_gain[k0 + j];
          values[i * how.block_k + j] = value;
          amax = std::max(amax, std::fabs(value));
        }
      }
      std::uint8_t const byte = scale_byte(amax, largest, 1e-4f);
      scales[block * block_cols + col] = std::byte{byte};
      float const inverse = std::ldexp(1.0f, 127 - byte);
      for (std::int64_t i = 0; i < height; ++i) {
        std::byte* out = codes.data() + (first + i) * row_bytes + (packed ? k0 / 2 : k0);
        float const* in = values.data() + i * how.block_k;
        if (packed) {
          for (std::int64_t j = 0; j < width; j += 2) {
            out[j / 2] = std::byte{
                static_cast<std::uint8_t>(fast_e2m1(in[j] * inverse) | fast_e2m1(in[j + 1] * inverse) << 4)};
          }
        } else {
          for (std::int64_t j = 0; j < width; ++j) out[j] = std::byte{fast_e4m3(in[j] * inverse)};
        }
      }
    }
  });
}

}  // namespace deepwell

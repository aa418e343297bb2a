// Seeded numbers with the tails that trained weights have, and their quantisation to blocks of e4m3 or e2m1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/thread_pool.hpp"
#include "deepwell/common.h"

namespace deepwell {

/// SplitMix64: the same numbers on every machine. Copies continue independently.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t x = (state_ += 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  /// Below `bound`, which is at least 1.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  /// Within [0, 1).
  float uniform() { return static_cast<float>(next() >> 40) * 0x1p-24f; }
  /// About normal (four uniform numbers), variance 1.
  float normal() {
    std::uint64_t const bits = next();
    auto const part = [&](int i) { return static_cast<float>(bits >> (16 * i) & 0xffff); };
    return (part(0) + part(1) + part(2) + part(3) - 131070.0f) * (1.7320508f / 65536.0f);
  }
  /// Normal, but one in 256 is 4 to 20 times as large: what trained weights and activations look like.
  float heavy() {
    float const value = normal();
    std::uint64_t const bits = next();
    return (bits & 0xff) == 0 ? value * (4.0f + static_cast<float>(bits >> 8 & 0xf)) : value;
  }

 private:
  std::uint64_t state_;
};

/// A seed from a text and a number: the same on every machine.
std::uint64_t seed_of(std::string_view text, std::uint64_t seed);

/// Nearest even, beyond 448 saturated; the bits of num::float_to_e4m3 for every finite value. NaN gives 0x7f.
std::uint8_t fast_e4m3(float value);
/// Nearest even, beyond 6 saturated.
std::uint8_t fast_e2m1(float value);

/// The smallest power of two, as a UE8M0 byte, by which values up to `amax` fit a format whose largest value is `largest`;
/// `amax` counts as at least `floor`.
std::uint8_t scale_byte(float amax, float largest, float floor);

/// How values become codes: blocks of block_rows x block_k share a scale.
struct Quantisation {
  Dtype dtype = Dtype::kE4m3;  // or kE2m1, packed
  int block_rows = 128, block_k = 128;
};

/// Fills [rows, k] codes (row-major, packed for e2m1) and [ceil(rows / block_rows), ceil(k / block_k)] scale bytes with
/// heavy-tailed numbers of deviation about `deviation`; columns and rows differ in size, some by much. k % 2 == 0.
void fill_quantised(Quantisation const& how, std::int64_t rows, std::int64_t k, float deviation,
                    std::uint64_t seed, std::span<std::byte> codes, std::span<std::byte> scales,
                    ThreadPool& pool);

}  // namespace deepwell

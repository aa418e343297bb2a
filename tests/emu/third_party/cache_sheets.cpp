// Launch sheets: writers of the paged FP4 and FP8 caches. The quantised bytes are compared exactly.
#include <algorithm>
#include <map>

#include "launch_sheets.hpp"

namespace deepwell::third_party {
namespace {

constexpr int kDims = 512;

struct Record {
  std::vector<std::uint8_t> data, scales;
};

/// 16 values: scale = e4m3(clamp(amax / 6, 2^-9, 448)), codes = e2m1(value / scale); a group with NaN or infinity gets
/// scale 0x7f and zero codes. Divisions are rounded to float.
Record fp4_record(std::vector<float> const& values) {
  Record record;
  for (int g = 0; g < kDims / 16; ++g) {
    float const* const x = &values[static_cast<std::size_t>(g) * 16];
    float amax = 0;
    bool finite = true;
    for (int i = 0; i < 16; ++i) {
      finite = finite && std::isfinite(x[i]);
      amax = std::max(amax, std::abs(x[i]));
    }
    if (!finite) {
      record.scales.push_back(0x7f);
      record.data.insert(record.data.end(), 8, 0);
      continue;
    }
    std::uint8_t const scale = to_e4m3(std::clamp(amax / 6.0f, 0x1p-9f, 448.0f));
    auto const divisor = static_cast<float>(e4m3_magnitude(scale));
    record.scales.push_back(scale);
    for (int i = 0; i < 16; i += 2) {
      record.data.push_back(
          static_cast<std::uint8_t>(to_e2m1(x[i] / divisor) | to_e2m1(x[i + 1] / divisor) << 4));
    }
  }
  return record;
}

/// 32 values: scale = 2^ceil(log2(max(max(amax, 1e-4) / 448, 1e-4))) as UE8M0, codes = e4m3(value / scale).
Record fp8_record(std::vector<float> const& values) {
  Record record;
  for (int g = 0; g < kDims / 32; ++g) {
    float const* const x = &values[static_cast<std::size_t>(g) * 32];
    float amax = 0;
    bool nan = false, infinite = false;
    for (int i = 0; i < 32; ++i) {
      nan = nan || std::isnan(x[i]);
      infinite = infinite || std::isinf(x[i]);
      amax = std::fmax(amax, std::abs(x[i]));
    }
    if (nan || infinite) {
      record.scales.push_back(0xff);
      for (int i = 0; i < 32; ++i) {
        bool const is_nan = nan || std::isinf(x[i]);
        record.data.push_back(is_nan ? 0x7f : std::signbit(x[i]) ? 0x80 : 0x00);
      }
      continue;
    }
    float const ratio = std::max(std::max(amax, 1e-4f) / 448.0f, 1e-4f);
    int exponent = 0;
    double const fraction = std::frexp(static_cast<double>(ratio),
                                       &exponent);  // ratio = fraction 2^exponent, 0.5 <= fraction < 1
    int const k = fraction == 0.5 ? exponent - 1 : exponent;
    record.scales.push_back(static_cast<std::uint8_t>(k + 127));
    for (int i = 0; i < 32; ++i)
      record.data.push_back(to_e4m3(std::clamp(std::ldexp(x[i], -k), -448.0f, 448.0f)));
  }
  return record;
}

struct Cache {
  int pages = 3, page_size = 5;
  std::size_t data_bytes = 0, scale_bytes = 0, page_stride = 0;
};

float random_value(std::mt19937& random, int token) {
  std::normal_distribution<float> normal;
  // Magnitudes from far below the smallest scale to near the largest bf16 that half holds too.
  float const size = std::ldexp(1.0f, token % 15 - 9);
  if (token % 15 == 13 && random() % 200 == 0) return random() % 2 ? INFINITY : NAN;
  return random() % 32 == 0 ? 0.0f : normal(random) * size;
}

float half_to_float(std::uint16_t bits) {
  int const exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float const sign = bits & 0x8000 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                               : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25));
}

/// A half near `value`: truncated, which is as good as any for random inputs.
std::uint16_t float_to_half(float value) {
  std::uint16_t const sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return 0x7e00;
  if (std::isinf(value)) return static_cast<std::uint16_t>(sign | 0x7c00);
  int exponent = 0;
  float const fraction = std::frexp(std::abs(value), &exponent);
  if (fraction == 0 || exponent < -13) return sign;
  auto const mantissa = static_cast<int>(fraction * 2048) - 1024;
  return static_cast<std::uint16_t>(sign | (exponent + 14) << 10 | mantissa);
}

using Quantise = Record (*)(std::vector<float> const&);

/// Packs whole pages (`slots` empty) or appends rows to slots; of equal slots the first row wins, slots outside the cache
/// are ignored.
template <class Slot>
Finding run_cache(Kernel& kernel, std::mt19937& random, Quantise quantise, bool half, bool append) {
  Finding finding;
  Cache cache;
  cache.data_bytes = quantise == fp4_record ? 256 : 512;
  cache.scale_bytes = quantise == fp4_record ? 32 : 16;
  int const slots_total = cache.pages * cache.page_size;
  cache.page_stride = static_cast<std::size_t>(cache.page_size) * (cache.data_bytes + cache.scale_bytes) + 32;
  int const tokens = append ? 43 : slots_total;
  std::vector<std::uint16_t> input(static_cast<std::size_t>(tokens) * kDims);
  std::vector<std::vector<float>> values(static_cast<std::size_t>(tokens));
  for (int t = 0; t < tokens; ++t) {
    for (int d = 0; d < kDims; ++d) {
      float const x = random_value(random, t);
      std::uint16_t const bits = half ? float_to_half(x) : std::isnan(x) ? 0x7fc0 : float_to_bf16(x);
      input[static_cast<std::size_t>(t * kDims + d)] = bits;
      values[static_cast<std::size_t>(t)].push_back(half ? half_to_float(bits) : bf16_to_float(bits));
    }
  }
  std::vector<Slot> slots(static_cast<std::size_t>(tokens));
  for (int t = 0; t < tokens; ++t) {
    slots[static_cast<std::size_t>(t)] = append ? static_cast<Slot>(random() % (slots_total + 4)) - 2 : t;
  }
  emu::Memory memory;
  std::size_t const bytes = cache.page_stride * static_cast<std::size_t>(cache.pages);
  Buffer<std::uint16_t> dinput(memory, input, "latent");
  Buffer<Slot> dslots(memory, slots, "slots");
  Buffer<std::uint8_t> dcache(memory, bytes, "cache");
  dcache.fill(0xa5);
  Params params;
  params.add(dinput.address());
  if (append) params.add(dslots.address()).add(tokens);
  params.add(dcache.address())
      .add(cache.pages)
      .add(cache.page_size)
      .add(static_cast<std::uint64_t>(cache.page_stride));
  emu::LaunchConfig config{.block = {32, 1, 1}};
  if (append) {
    config.grid = {static_cast<std::uint32_t>(tokens), 1, 1};
  } else {
    config.grid = {static_cast<std::uint32_t>(cache.pages), static_cast<std::uint32_t>(cache.page_size), 1};
  }
  kernel.launch(memory, config, params);

  std::vector<std::uint8_t> want(bytes, 0xa5);
  std::vector<bool> taken(static_cast<std::size_t>(slots_total));
  for (int t = 0; t < tokens; ++t) {
    Slot const slot = slots[static_cast<std::size_t>(t)];
    if (slot < 0 || slot >= slots_total || taken[static_cast<std::size_t>(slot)]) continue;
    taken[static_cast<std::size_t>(slot)] = true;
    Record const record = quantise(values[static_cast<std::size_t>(t)]);
    auto const page = static_cast<std::size_t>(slot) / static_cast<std::size_t>(cache.page_size);
    auto const entry = static_cast<std::size_t>(slot) % static_cast<std::size_t>(cache.page_size);
    std::size_t const base = page * cache.page_stride;
    std::copy(record.data.begin(), record.data.end(),
              want.begin() + static_cast<std::ptrdiff_t>(base + entry * cache.data_bytes));
    std::size_t const footer = base + static_cast<std::size_t>(cache.page_size) * cache.data_bytes;
    std::copy(record.scales.begin(), record.scales.end(),
              want.begin() + static_cast<std::ptrdiff_t>(footer + entry * cache.scale_bytes));
  }
  auto const got = dcache.read();
  for (std::size_t i = 0; i < bytes; ++i) {
    finding.check_same(
        got[i], want[i],
        fmt::format("cache byte {} (page {}, offset {})", i, i / cache.page_stride, i % cache.page_stride));
  }
  return finding;
}

void add(std::vector<Sheet>& sheets, std::string const& file, std::string const& what, Quantise quantise) {
  sheets.push_back(
      {file,
       {"QuantizePackKernel", "nv_bfloat16"},
       what + " pages from bf16",
       [=](Kernel& k, std::mt19937& r) { return run_cache<std::int32_t>(k, r, quantise, false, false); }});
  sheets.push_back(
      {file, {"QuantizePackKernel", "half"}, what + " pages from f16", [=](Kernel& k, std::mt19937& r) {
         return run_cache<std::int32_t>(k, r, quantise, true, false);
       }});
  sheets.push_back(
      {file,
       {"QuantizeAppendKernel", "nv_bfloat16iE"},
       what + " rows from bf16, 32-bit slots",
       [=](Kernel& k, std::mt19937& r) { return run_cache<std::int32_t>(k, r, quantise, false, true); }});
  sheets.push_back(
      {file,
       {"QuantizeAppendKernel", "nv_bfloat16lE"},
       what + " rows from bf16, 64-bit slots",
       [=](Kernel& k, std::mt19937& r) { return run_cache<std::int64_t>(k, r, quantise, false, true); }});
  sheets.push_back(
      {file,
       {"QuantizeAppendKernel", "halfiE"},
       what + " rows from f16, 32-bit slots",
       [=](Kernel& k, std::mt19937& r) { return run_cache<std::int32_t>(k, r, quantise, true, true); }});
}

}  // namespace

std::vector<Sheet> cache_sheets() {
  std::vector<Sheet> sheets;
  add(sheets, "dsv41_fp4_cache_ops", "FP4 cache", fp4_record);
  add(sheets, "cake_dsv41_fp8_cache_ops", "FP8 cache", fp8_record);
  return sheets;
}

}  // namespace deepwell::third_party

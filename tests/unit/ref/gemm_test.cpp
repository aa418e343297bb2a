// The double-precision reference against naive loops over dequantised matrices.
#include "ref/gemm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.hpp"
#include "num/formats.hpp"

namespace deepwell::ref {
namespace {

/// Owns what an Operand points to: random codes and scales in a padded layout.
struct Owned {
  std::vector<std::byte> data, scale;
  Operand operand;
};

std::uint32_t next(std::uint32_t& state) { return state = state * 1664525u + 1013904223u; }

Owned make(Dtype dtype, ScaleFormat format, int gran_mn, int gran_k, std::int64_t rows, std::int64_t k,
           std::int64_t batch, bool columns, std::uint32_t seed) {
  Owned out;
  std::int64_t const row_bytes = k * bits_of(dtype) / 8, pitch = row_bytes + 5;
  out.data.resize(static_cast<std::size_t>(batch * rows * pitch));
  for (std::byte& byte : out.data) {
    std::uint8_t code = static_cast<std::uint8_t>(next(seed) >> 24);
    if (dtype == Dtype::kE4m3 && (code & 0x7f) == 0x7f) code = 0x11;
    byte = std::byte{code};
  }
  std::int64_t const scale_rows = ceil_div(rows, gran_mn), groups = ceil_div(k, gran_k);
  std::int64_t const cols = format == ScaleFormat::kPacked ? ceil_div(groups, 4) : groups;
  std::int64_t const size = format == ScaleFormat::kUe8m0 ? 1 : 4;
  out.scale.resize(static_cast<std::size_t>(batch * scale_rows * cols * size));
  for (std::int64_t i = 0; i < batch * scale_rows * cols; ++i) {
    if (format == ScaleFormat::kF32) {
      float const value = 0.01f + static_cast<float>(next(seed) >> 16);
      std::memcpy(out.scale.data() + 4 * i, &value, 4);
    } else {
      for (std::int64_t j = 0; j < size; ++j)
        out.scale[static_cast<std::size_t>(size * i + j)] =
            std::byte{static_cast<std::uint8_t>(117 + (next(seed) >> 28))};
    }
  }
  out.operand = {.dtype = dtype,
                 .data = out.data.data(),
                 .rows = rows,
                 .k = k,
                 .pitch = pitch,
                 .batch_stride = rows * pitch,
                 .scales = {.format = format,
                            .gran_mn = gran_mn,
                            .gran_k = gran_k,
                            .data = out.scale.data(),
                            .row_stride = columns ? 1 : cols,
                            .k_stride = columns ? scale_rows : 1,
                            .batch_stride = scale_rows * cols}};
  return out;
}

/// Straight from the definitions, one element at a time.
double element(Operand const& o, std::int64_t z, std::int64_t row, std::int64_t k) {
  auto const* bytes = reinterpret_cast<std::uint8_t const*>(o.data) + z * o.batch_stride + row * o.pitch;
  double const value =
      o.dtype == Dtype::kE4m3
          ? num::decode(num::Format::kE4m3, bytes[k])
          : num::decode(num::Format::kE2m1, k % 2 == 0 ? bytes[k / 2] & 15 : bytes[k / 2] >> 4);
  Scales const& s = o.scales;
  std::int64_t const at = z * s.batch_stride + row / s.gran_mn * s.row_stride;
  std::int64_t const group = k / s.gran_k;
  if (s.format == ScaleFormat::kF32) {
    float scale;
    std::memcpy(&scale, s.data + 4 * (at + group * s.k_stride), 4);
    return value * scale;
  }
  std::uint8_t byte;
  if (s.format == ScaleFormat::kUe8m0) {
    std::memcpy(&byte, s.data + at + group * s.k_stride, 1);
  } else {
    std::memcpy(&byte, s.data + 4 * (at + group / 4 * s.k_stride) + group % 4, 1);
  }
  return std::ldexp(value, byte - 127);
}

struct Formats {
  Dtype a, b;
  ScaleFormat a_scale, b_scale;
  int a_gran_k, b_gran_mn, b_gran_k;
};

class RefGemm : public testing::TestWithParam<Formats> {};

TEST_P(RefGemm, AgreesWithNaiveLoops) {
  Formats const f = GetParam();
  ThreadPool pool(2);
  std::int64_t const m = 5, n = 139, k = 352, batch = 2;
  Owned const a = make(f.a, f.a_scale, 1, f.a_gran_k, m, k, batch, false, 1);
  Owned const b = make(f.b, f.b_scale, f.b_gran_mn, f.b_gran_k, n, k, batch, true, 2);
  std::vector<double> c(static_cast<std::size_t>(batch * m * n));
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<double>(i % 17) - 8.0;
  Product const product = gemm(a.operand, b.operand, batch, c.data(), pool);
  ASSERT_EQ(product.d.size(), c.size());
  for (std::int64_t z = 0; z < batch; ++z) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        long double sum = 0, magnitude = 0;
        for (std::int64_t at = 0; at < k; ++at) {
          double const p = element(a.operand, z, i, at) * element(b.operand, z, j, at);
          sum += p;
          magnitude += std::fabs(p);
        }
        std::size_t const index = static_cast<std::size_t>((z * m + i) * n + j);
        double const tolerance = static_cast<double>(magnitude) * 0x1p-45;
        ASSERT_NEAR(product.d[index], static_cast<double>(sum) + c[index], tolerance)
            << z << " " << i << " " << j;
        ASSERT_NEAR(product.magnitude[index], static_cast<double>(magnitude), tolerance);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, RefGemm,
    testing::Values(
        Formats{Dtype::kE4m3, Dtype::kE4m3, ScaleFormat::kF32, ScaleFormat::kF32, 128, 128, 128},
        Formats{Dtype::kE4m3, Dtype::kE4m3, ScaleFormat::kPacked, ScaleFormat::kUe8m0, 128, 128, 128},
        Formats{Dtype::kE4m3, Dtype::kE2m1, ScaleFormat::kPacked, ScaleFormat::kPacked, 128, 1, 32},
        Formats{Dtype::kE2m1, Dtype::kE4m3, ScaleFormat::kUe8m0, ScaleFormat::kF32, 32, 1, 128},
        Formats{Dtype::kE2m1, Dtype::kE2m1, ScaleFormat::kF32, ScaleFormat::kPacked, 32, 1, 32}));

TEST(RefGemmSmall, KnownAnswer) {
  // a = [1, -2 ...zeros], b row 0 = [3, 0.5 ...]: 1 * 3 - 2 * 0.5 = 2, times 2^1 * 2^-3.
  std::vector<std::byte> a(32), b(32);
  a[0] = std::byte{0x38}, a[1] = std::byte{0xc0};
  b[0] = std::byte{0x44}, b[1] = std::byte{0x30};
  std::byte const scale_a{128}, scale_b{124};
  Operand const oa{
      .dtype = Dtype::kE4m3, .data = a.data(), .rows = 1, .k = 32, .pitch = 32, .scales = {.data = &scale_a}};
  Operand const ob{
      .dtype = Dtype::kE4m3, .data = b.data(), .rows = 1, .k = 32, .pitch = 32, .scales = {.data = &scale_b}};
  ThreadPool pool(1);
  Product const product = gemm(oa, ob, 1, nullptr, pool);
  EXPECT_EQ(product.d[0], 0.5);
  EXPECT_EQ(product.magnitude[0], 1.0);
}

TEST(RefGemmSmall, DequantisedRowsAndLowNibbleFirst) {
  std::byte const packed[16] = {std::byte{0x21}};  // 0.5, then 1
  std::byte const scale{129};
  Operand const o{.dtype = Dtype::kE2m1,
                  .data = packed,
                  .rows = 1,
                  .k = 32,
                  .pitch = 16,
                  .scales = {.gran_k = 32, .data = &scale}};
  double row[32];
  dequantise_row(o, 0, 0, row);
  EXPECT_EQ(row[0], 2.0);
  EXPECT_EQ(row[1], 4.0);
  EXPECT_EQ(row[2], 0.0);
}

TEST(RefGemmSmall, RejectsWhatHasNoMeaning) {
  ThreadPool pool(1);
  std::vector<std::byte> bytes(64);
  Operand const a{.dtype = Dtype::kE4m3,
                  .data = bytes.data(),
                  .rows = 1,
                  .k = 32,
                  .pitch = 32,
                  .scales = {.data = bytes.data()}};
  Operand b = a;
  b.k = 64;
  EXPECT_THROW(gemm(a, b, 1, nullptr, pool), Error);
  b = a;
  b.scales.gran_k = 16;
  EXPECT_THROW(gemm(a, b, 1, nullptr, pool), Error);
  b = a;
  b.dtype = Dtype::kF32;
  EXPECT_THROW(gemm(a, b, 1, nullptr, pool), Error);
}

}  // namespace
}  // namespace deepwell::ref

// The C interface with tensors in host memory: exact results, strides, tensors that share memory, what is left untouched, errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/options.hpp"
#include "capi/staging.hpp"
#include "deepwell/deepwell.h"
#include "unit/capi/tensors.hpp"

namespace deepwell {
namespace {

using testing::Tensor;

constexpr char const* kDevice = "emu:sm_120a:4";
constexpr float kGuard = -7777.0f;

/// A context that kernels are built in once for the whole program.
dw_context* context() {
  static dw_context* const made = [] {
    set_option(Option::kBackgroundBuilds, "0");
    dw_context* out = nullptr;
    EXPECT_EQ(dw_context_create(kDevice, &out), DW_OK) << dw_error_message();
    return out;
  }();
  return made;
}

constexpr std::uint8_t kCodes[] = {0x00, 0x38, 0xb8, 0x40};  // e4m3
constexpr float kValues[] = {0, 1, -1, 2};

/// Codes whose products are integers; `seed` makes another matrix.
std::uint8_t code_at(std::int64_t row, std::int64_t column, unsigned seed) {
  auto const mixed = static_cast<unsigned>(row * 31 + column * 7 + row * column) * 2654435761u + seed * 97u;
  return kCodes[(mixed >> 13) % 4];
}

float value_of(std::uint8_t code) {
  return kValues[std::find(std::begin(kCodes), std::end(kCodes), code) - std::begin(kCodes)];
}

struct Matrix {
  std::vector<std::uint8_t> bytes;
  std::int64_t pitch;
};

Matrix matrix(std::int64_t rows, std::int64_t columns, unsigned seed) {
  Matrix out{.bytes = std::vector<std::uint8_t>(static_cast<std::size_t>(rows * columns)), .pitch = columns};
  for (std::int64_t i = 0; i < rows * columns; ++i)
    out.bytes[static_cast<std::size_t>(i)] = code_at(i / columns, i % columns, seed);
  return out;
}

/// d[i, j] of a and b at these addresses, scales apart.
float dot(std::uint8_t const* a, std::uint8_t const* b, std::int64_t k) {
  float sum = 0;
  for (std::int64_t i = 0; i < k; ++i) sum += value_of(a[i]) * value_of(b[i]);
  return sum;
}

Tensor bytes_tensor(void* data, std::int64_t rows, std::int64_t columns, std::int64_t pitch) {
  return {data, DW_CODE_FLOAT8_E4M3FN, 8, {rows, columns}, {pitch, 1}, DW_DEVICE_CPU};
}
Tensor floats_tensor(void* data, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides = {}) {
  return {data, DW_CODE_FLOAT, 32, std::move(shape), std::move(strides), DW_DEVICE_CPU};
}

/// m, n, k of a product in host memory with one scale of 0.5 and 4 for all.
struct Product {
  std::int64_t m, n, k;
  Matrix a, b;
  std::vector<float> scale_a, scale_b;
  Tensor a_tensor, b_tensor, scale_a_tensor, scale_b_tensor;

  Product(std::int64_t rows, std::int64_t columns, std::int64_t depth)
      : m(rows),
        n(columns),
        k(depth),
        a(matrix(m, k, 1)),
        b(matrix(n, k, 2)),
        scale_a(static_cast<std::size_t>(m * ((k + 127) / 128)), 0.5f),
        scale_b(static_cast<std::size_t>((n + 127) / 128 * ((k + 127) / 128)), 4.0f),
        a_tensor(bytes_tensor(a.bytes.data(), m, k, k)),
        b_tensor(bytes_tensor(b.bytes.data(), n, k, k)),
        scale_a_tensor(floats_tensor(scale_a.data(), {m, (k + 127) / 128})),
        scale_b_tensor(floats_tensor(scale_b.data(), {(n + 127) / 128, (k + 127) / 128})) {}

  dw_gemm_call call(Tensor const& d, Tensor const* c = nullptr) {
    dw_gemm_call out{};
    out.size = sizeof out;
    out.a = &a_tensor.tensor;
    out.b = &b_tensor.tensor;
    out.scale_a = &scale_a_tensor.tensor;
    out.scale_b = &scale_b_tensor.tensor;
    out.d = &d.tensor;
    out.c = c == nullptr ? nullptr : &c->tensor;
    return out;
  }
  float expected(std::int64_t i, std::int64_t j) const {
    return 2 * dot(a.bytes.data() + i * k, b.bytes.data() + j * k, k);
  }
};

TEST(HostTensors, Gemm) {
  Product product(5, 72, 352);
  std::vector<float> d(5 * 72, kGuard);
  Tensor const d_tensor = floats_tensor(d.data(), {5, 72});
  dw_gemm_call const call = product.call(d_tensor);
  ASSERT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();
  for (std::int64_t i = 0; i < 5; ++i)
    for (std::int64_t j = 0; j < 72; ++j)
      ASSERT_EQ(d[static_cast<std::size_t>(i * 72 + j)], product.expected(i, j)) << i << " " << j;
}

/// The product before hyper-connections, whole and in parts: ones times twos.
TEST(HostTensors, HcPrenorm) {
  std::vector<std::uint16_t> a(5 * 200, 0x3f80);
  std::vector<float> b(24 * 200, 2.0f);
  Tensor const a_tensor(a.data(), DW_CODE_BFLOAT, 16, {5, 200}, {}, DW_DEVICE_CPU);
  Tensor const b_tensor = floats_tensor(b.data(), {24, 200});
  dw_hc_prenorm_call call{};
  call.size = sizeof call;
  call.a = &a_tensor.tensor;
  call.b = &b_tensor.tensor;
  std::vector<float> d(5 * 24, kGuard), sqr_sum(5, kGuard);
  Tensor const d_tensor = floats_tensor(d.data(), {5, 24}), sqr_tensor = floats_tensor(sqr_sum.data(), {5});
  call.d = &d_tensor.tensor;
  call.sqr_sum = &sqr_tensor.tensor;
  ASSERT_EQ(dw_tf32_hc_prenorm_gemm(context(), &call), DW_OK) << dw_error_message();
  EXPECT_EQ(d, std::vector<float>(5 * 24, 400.0f));
  EXPECT_EQ(sqr_sum, std::vector<float>(5, 200.0f));

  std::vector<float> parts(3 * 5 * 24, kGuard), sums(3 * 5, kGuard);
  Tensor const parts_tensor = floats_tensor(parts.data(), {3, 5, 24}),
               sums_tensor = floats_tensor(sums.data(), {3, 5});
  std::int64_t num_splits = 3;
  call.d = &parts_tensor.tensor;
  call.sqr_sum = &sums_tensor.tensor;
  call.num_splits = &num_splits;
  ASSERT_EQ(dw_tf32_hc_prenorm_gemm(context(), &call), DW_OK) << dw_error_message();
  constexpr float kParts[] = {128, 64, 8};
  for (std::size_t i = 0; i < parts.size(); ++i) ASSERT_EQ(parts[i], 2 * kParts[i / (5 * 24)]) << i;
  for (std::size_t i = 0; i < sums.size(); ++i) ASSERT_EQ(sums[i], kParts[i / 5]) << i;
  num_splits = 0;
  EXPECT_EQ(dw_tf32_hc_prenorm_gemm(context(), &call), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "num_splits");
  call.sqr_sum = nullptr;
  EXPECT_EQ(dw_tf32_hc_prenorm_gemm(context(), &call), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "sqr_sum");
}

TEST(HostTensors, OnlyTheElementsOfAStridedOutputAreWritten) {
  Product product(6, 40, 160);
  constexpr std::int64_t kPitch = 53, kOffset = 3;
  std::vector<std::uint16_t> d(static_cast<std::size_t>(8 * kPitch), 0xabcd);
  Tensor d_tensor(d.data(), DW_CODE_BFLOAT, 16, {6, 40}, {kPitch, 1}, DW_DEVICE_CPU);
  d_tensor.tensor.byte_offset = 2 * kOffset;
  dw_gemm_call const call = product.call(d_tensor);
  ASSERT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();
  for (std::int64_t at = 0; at < std::ssize(d); ++at) {
    std::int64_t const i = (at - kOffset) / kPitch, j = (at - kOffset) % kPitch;
    std::uint16_t expected = 0xabcd;
    if (at >= kOffset && i < 6 && j < 40) {
      float const value = product.expected(i, j);
      std::uint32_t bits = 0;
      std::memcpy(&bits, &value, sizeof bits);
      ASSERT_EQ(bits & 0xffff, 0u) << "not exact in bf16";
      expected = static_cast<std::uint16_t>(bits >> 16);
    }
    ASSERT_EQ(d[static_cast<std::size_t>(at)], expected) << at;
  }
}

TEST(HostTensors, AddendsThatAreTheOutputOrApartFromIt) {
  Product product(4, 24, 128);
  std::vector<float> d(4 * 30), c(4 * 24);
  std::iota(d.begin(), d.end(), 100.0f);
  std::iota(c.begin(), c.end(), 7.0f);
  std::vector<float> const before = d;
  Tensor const d_tensor = floats_tensor(d.data(), {4, 24}, {30, 1});
  Tensor const c_tensor = floats_tensor(c.data(), {4, 24});
  dw_gemm_call call = product.call(d_tensor, &d_tensor);
  ASSERT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();
  for (std::size_t at = 0; at < d.size(); ++at) {
    auto const i = static_cast<std::int64_t>(at / 30), j = static_cast<std::int64_t>(at % 30);
    ASSERT_EQ(d[at], before[at] + (j < 24 ? product.expected(i, j) : 0)) << at;
  }
  call = product.call(d_tensor, &c_tensor);
  ASSERT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();
  for (std::size_t at = 0; at < c.size(); ++at) {
    auto const i = static_cast<std::int64_t>(at / 24), j = static_cast<std::int64_t>(at % 24);
    ASSERT_EQ(d[at / 24 * 30 + at % 24], c[at] + product.expected(i, j)) << at;
  }
}

TEST(HostTensors, ViewsOfOneMatrix) {
  // Rows 0 to 4 and 2 to 33 of one matrix: the operands share rows.
  constexpr std::int64_t kK = 160;
  Matrix base = matrix(34, kK, 3);
  Product product(5, 32, kK);
  product.a_tensor.tensor.data = base.bytes.data();
  product.b_tensor.tensor.data = base.bytes.data() + 2 * kK;
  std::vector<float> d(5 * 32);
  Tensor const d_tensor = floats_tensor(d.data(), {5, 32});
  dw_gemm_call call = product.call(d_tensor);
  ASSERT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t j = 0; j < 32; ++j) {
      float const expected = 2 * dot(base.bytes.data() + i * kK, base.bytes.data() + (j + 2) * kK, kK);
      ASSERT_EQ(d[static_cast<std::size_t>(i * 32 + j)], expected) << i << " " << j;
    }
  }
}

TEST(HostTensors, OutputBetweenTheColumnsThatAreRead) {
  // Rows of 512 bytes: 160 of a, 32 floats of d, the rest guards.
  constexpr std::int64_t kK = 160, kPitch = 512;
  Product product(5, 32, kK);
  std::vector<std::uint8_t> rows(5 * kPitch, 0x5a);
  for (std::int64_t i = 0; i < 5; ++i)
    std::copy_n(product.a.bytes.data() + i * kK, kK, rows.data() + i * kPitch);
  std::vector<std::uint8_t> expected = rows;
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t j = 0; j < 32; ++j) {
      float const value = product.expected(i, j);
      std::memcpy(expected.data() + i * kPitch + kK + 4 * j, &value, 4);
    }
  }
  Tensor const a_tensor = bytes_tensor(rows.data(), 5, kK, kPitch);
  Tensor const d_tensor = floats_tensor(rows.data() + kK, {5, 32}, {kPitch / 4, 1});
  dw_gemm_call call = product.call(d_tensor);
  call.a = &a_tensor.tensor;
  ASSERT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();
  EXPECT_EQ(rows, expected);
}

TEST(HostTensors, OverlapsAreErrorsThatLeaveTheMemory) {
  Product product(5, 32, 160);
  std::vector<float> memory(5 * 32 + 6, kGuard);
  Tensor const d_tensor = floats_tensor(memory.data(), {5, 32});
  Tensor const scale_a =
      floats_tensor(memory.data() + 5 * 32 - 4, {5, 2});  // the last four elements of d are its first
  dw_gemm_call call = product.call(d_tensor);
  call.scale_a = &scale_a.tensor;
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "d");
  EXPECT_NE(std::strstr(dw_error_got(), "overlaps scale_a"), nullptr);
  EXPECT_EQ(memory, std::vector<float>(5 * 32 + 6, kGuard));
}

TEST(HostTensors, NothingToDo) {
  Product empty(0, 32, 160);
  std::vector<float> guards(64, kGuard);
  Tensor const no_rows = floats_tensor(nullptr, {0, 32});
  empty.a_tensor.tensor.data = empty.scale_a_tensor.tensor.data = nullptr;
  dw_gemm_call call = empty.call(no_rows);
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();

  Product depthless(2, 24, 0);
  for (Tensor* const one :
       {&depthless.a_tensor, &depthless.b_tensor, &depthless.scale_a_tensor, &depthless.scale_b_tensor}) {
    one->tensor.data = nullptr;
  }
  Tensor const d_tensor = floats_tensor(guards.data(), {2, 24}, {32, 1});
  call = depthless.call(d_tensor);
  ASSERT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();
  for (std::size_t at = 0; at < guards.size(); ++at)
    ASSERT_EQ(guards[at], at % 32 < 24 ? 0.0f : kGuard) << at;

  Product product(2, 24, 128);
  Tensor const null_d = floats_tensor(nullptr, {2, 24});
  call = product.call(null_d);
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "d.data");
}

/// Memory of the emulated device until the end of a scope.
class OnDevice {
 public:
  explicit OnDevice(std::size_t bytes) {
    EXPECT_EQ(dw_memory_allocate(context(), bytes, &address_), DW_OK) << dw_error_message();
  }
  ~OnDevice() { dw_memory_release(context(), address_); }
  OnDevice(OnDevice const&) = delete;
  void* address() const { return address_; }

 private:
  void* address_ = nullptr;
};

TEST(HostTensors, BesideTensorsOnTheDevice) {
  Product product(5, 32, 160);
  OnDevice const a(product.a.bytes.size()), d(5 * 32 * 4);
  ASSERT_EQ(
      dw_memory_to_device(context(), a.address(), product.a.bytes.data(), product.a.bytes.size(), nullptr),
      DW_OK);
  product.a_tensor.tensor.data = a.address();
  product.a_tensor.tensor.device.device_type = DW_DEVICE_EXTENSION;
  Tensor const d_tensor(d.address(), DW_CODE_FLOAT, 32, {5, 32});
  std::vector<float> c(5 * 32, 3.0f), result(5 * 32);
  Tensor const c_tensor = floats_tensor(c.data(), {5, 32});
  dw_gemm_call const call = product.call(d_tensor, &c_tensor);
  ASSERT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();
  ASSERT_EQ(dw_memory_to_host(context(), result.data(), d.address(), result.size() * 4, nullptr), DW_OK);
  for (std::int64_t i = 0; i < 5; ++i)
    for (std::int64_t j = 0; j < 32; ++j)
      ASSERT_EQ(result[static_cast<std::size_t>(i * 32 + j)], 3 + product.expected(i, j)) << i << " " << j;
}

TEST(HostTensors, ReportsLeaveTheMemory) {
  Product product(5, 32, 160);
  OnDevice const unwritten(product.a.bytes.size());
  product.a_tensor.tensor.data = unwritten.address();
  product.a_tensor.tensor.device.device_type = DW_DEVICE_EXTENSION;
  std::vector<float> d(5 * 32, kGuard);
  Tensor const d_tensor = floats_tensor(d.data(), {5, 32});
  dw_gemm_call const call = product.call(d_tensor);
  for (int pdl : {0, 1}) {  // with it the report comes while d is copied back
    ASSERT_EQ(dw_context_set_pdl(context(), pdl), DW_OK);
    EXPECT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_DEVICE);
    EXPECT_STREQ(dw_error_got(), "poison");
    EXPECT_NE(std::strstr(dw_error_message(), "d at 0x7"), nullptr) << dw_error_message();
    EXPECT_EQ(d, std::vector<float>(5 * 32, kGuard));
  }
  dw_context_set_pdl(context(), 0);
}

TEST(HostTensors, ProgrammaticLaunchesAreCompleteWhenTheCallReturns) {
  ASSERT_EQ(dw_context_set_pdl(context(), 1), DW_OK);
  Product product(5, 32, 160);
  std::vector<float> d(5 * 32, 1.0f);
  Tensor const d_tensor = floats_tensor(d.data(), {5, 32});
  dw_gemm_call const call = product.call(d_tensor, &d_tensor);
  for (int times = 1; times <= 3; ++times) {
    ASSERT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_OK) << dw_error_message();
    for (std::int64_t i = 0; i < 5; ++i) {
      for (std::int64_t j = 0; j < 32; ++j) {
        ASSERT_EQ(d[static_cast<std::size_t>(i * 32 + j)],
                  1 + static_cast<float>(times) * product.expected(i, j));
      }
    }
  }
  dw_context_set_pdl(context(), 0);
}

TEST(HostTensors, ManyThreads) {
  constexpr std::int64_t kM = 2, kN = 16,
                         kK = 4096;  // few tiles: k is split
  for (int pdl : {0, 1}) {
    dw_context* shared = nullptr;
    ASSERT_EQ(dw_context_create(kDevice, &shared), DW_OK);
    ASSERT_EQ(dw_context_set_pdl(shared, pdl), DW_OK);
    std::vector<std::thread> threads;
    std::array<int, 4> wrong{};
    for (int& count : wrong) {
      threads.emplace_back([&] {
        Product product(kM, kN, kK);
        for (int turn = 0; turn < 4; ++turn) {
          std::vector<float> d(kM * kN, kGuard);
          Tensor const d_tensor = floats_tensor(d.data(), {kM, kN});
          dw_gemm_call const call = product.call(d_tensor);
          if (dw_fp8_fp4_gemm_nt(shared, &call) != DW_OK) ++count;
          for (std::int64_t i = 0; i < kM * kN; ++i)
            count += d[static_cast<std::size_t>(i)] != product.expected(i / kN, i % kN);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, (std::array<int, 4>{})) << pdl;
    dw_context_destroy(shared);
  }
}

TEST(HostTensors, Einsum) {
  constexpr std::int64_t kB = 3, kH = 2, kD = 24, kR = 160;
  Matrix x = matrix(kB * kH, kR, 1), w = matrix(kH * kD, kR, 2);
  std::vector<float> scale_x(kB * kH * 2, 1.0f), scale_w(kH * 2, 2.0f);
  // Tokens and heads of z lie in columns of a larger tensor.
  constexpr std::int64_t kRow = 32, kToken = kH * kRow + 5;
  std::vector<float> z(kB * kToken, kGuard);
  Tensor const x_tensor(x.bytes.data(), DW_CODE_FLOAT8_E4M3FN, 8, {kB, kH, kR}, {}, DW_DEVICE_CPU);
  Tensor const w_tensor(w.bytes.data(), DW_CODE_FLOAT8_E4M3FN, 8, {kH, kD, kR}, {}, DW_DEVICE_CPU);
  Tensor const scale_x_tensor = floats_tensor(scale_x.data(), {kB, kH, 2});
  Tensor const scale_w_tensor = floats_tensor(scale_w.data(), {kH, 1, 2});
  Tensor const z_tensor = floats_tensor(z.data(), {kB, kH, kD}, {kToken, kRow, 1});
  dw_einsum_call call{};
  call.size = sizeof call;
  call.expression = "bhr,hdr->bhd";
  call.a = &x_tensor.tensor;
  call.b = &w_tensor.tensor;
  call.scale_a = &scale_x_tensor.tensor;
  call.scale_b = &scale_w_tensor.tensor;
  call.d = &z_tensor.tensor;
  ASSERT_EQ(dw_fp8_einsum(context(), &call), DW_OK) << dw_error_message();
  for (std::int64_t at = 0; at < std::ssize(z); ++at) {
    std::int64_t const b = at / kToken, h = at % kToken / kRow, d = at % kToken % kRow;
    float expected = kGuard;
    if (h < kH && d < kD)
      expected = 2 * dot(x.bytes.data() + (b * kH + h) * kR, w.bytes.data() + (h * kD + d) * kR, kR);
    ASSERT_EQ(z[static_cast<std::size_t>(at)], expected) << at;
  }
}

TEST(HostTensors, ScaleLayouts) {
  constexpr std::int64_t kRows = 5, kColumns = 6, kPitch = 8;
  std::vector<float> scale(kRows * kColumns);
  for (std::size_t i = 0; i < scale.size(); ++i) scale[i] = std::ldexp(1.0f, static_cast<int>(i) - 10);
  Tensor const from = floats_tensor(scale.data(), {kRows, kColumns});

  constexpr std::uint32_t kWord = 0xdeadbeef;
  auto const packed_at = [&](std::size_t at) {
    std::size_t const column = at / kPitch, row = at % kPitch;
    if (row >= kRows) return kWord;
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < 4 && 4 * column + i < kColumns; ++i)
      word |= static_cast<std::uint32_t>(127 + static_cast<int>(row * kColumns + 4 * column + i) - 10)
              << 8 * i;
    return word;
  };
  dw_scale_layout layout{};
  ASSERT_EQ(dw_packed_scale_layout(context(), &from.tensor, &layout), DW_OK) << dw_error_message();
  ASSERT_EQ(layout.strides[1], kPitch);
  std::vector<std::uint32_t> packed(2 * kPitch, kWord);
  Tensor const to(packed.data(), DW_CODE_INT, 32, {kRows, 2}, {1, kPitch}, DW_DEVICE_CPU);
  ASSERT_EQ(dw_write_scale_layout(context(), &from.tensor, &to.tensor, nullptr), DW_OK) << dw_error_message();
  for (std::size_t at = 0; at < packed.size(); ++at) ASSERT_EQ(packed[at], packed_at(at)) << at;

  dw_scale_layout_call call{};
  call.size = sizeof call;
  call.scale = &from.tensor;
  call.mn = kRows;
  call.k = kColumns * 128;
  call.num_groups = -1;
  call.gran_mn = 1;
  call.gran_k = 128;
  ASSERT_EQ(dw_required_scale_layout(context(), &call, &layout), DW_OK) << dw_error_message();
  std::fill(packed.begin(), packed.end(), kWord);
  ASSERT_EQ(dw_transform_scale(context(), &call, &to.tensor, nullptr), DW_OK) << dw_error_message();
  for (std::size_t at = 0; at < packed.size(); ++at) ASSERT_EQ(packed[at], packed_at(at)) << at;

  std::vector<float> columns(kColumns * kPitch, kGuard);
  Tensor const to_columns = floats_tensor(columns.data(), {kRows, kColumns}, {1, kPitch});
  ASSERT_EQ(dw_write_scale_layout(context(), &from.tensor, &to_columns.tensor, nullptr), DW_OK)
      << dw_error_message();
  for (std::size_t at = 0; at < columns.size(); ++at) {
    std::size_t const row = at % kPitch;
    ASSERT_EQ(columns[at], row < kRows ? scale[row * kColumns + at / kPitch] : kGuard) << at;
  }
}

void expect_host_refused(dw_context* on, char const* device_tuple) {
  Product product(2, 16, 128);
  std::vector<float> d(2 * 16);
  Tensor const d_tensor = floats_tensor(d.data(), {2, 16});
  dw_gemm_call const call = product.call(d_tensor);
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(on, &call), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "a.device");
  EXPECT_STREQ(dw_error_got(), "DLPack device (1, 0), host memory");
  EXPECT_NE(std::strstr(dw_error_expected(), device_tuple), nullptr) << dw_error_expected();
  EXPECT_NE(std::strstr(dw_error_message(), "\"emu:sm_"), nullptr) << dw_error_message();
}

TEST(HostTensors, OtherDevicesRefuseThem) {
  ScopedOption const driver(Option::kCudaDriver, DW_MOCK_CUDA);
  dw_context* cuda = nullptr;
  ASSERT_EQ(dw_context_create("cuda", &cuda), DW_OK) << dw_error_message();
  expect_host_refused(cuda, "(2, 0) for cuda:0");
  dw_context_destroy(cuda);

  Product product(2, 16, 128);
  product.b_tensor.tensor.device.device_type = DW_DEVICE_CUDA;
  std::vector<float> d(2 * 16);
  Tensor const d_tensor = floats_tensor(d.data(), {2, 16});
  dw_gemm_call const call = product.call(d_tensor);
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context(), &call), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "b.device");
}

TEST(HostTensors, DeviceThatRunsNothingTakesThemAsTheyAre) {
  dw_context* null = nullptr;
  ASSERT_EQ(dw_context_create("null:sm_120a", &null), DW_OK);
  Product product(2, 16, 128);
  std::vector<float> d(2 * 16, kGuard);
  Tensor const d_tensor = floats_tensor(d.data(), {2, 16});
  dw_gemm_call const call = product.call(d_tensor);
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(null, &call), DW_OK) << dw_error_message();
  for (float value : d) EXPECT_EQ(value, kGuard);
  dw_context_destroy(null);
}

TEST(Staging, KeepsDistancesAlignmentAndEnds) {
  Context device(kDevice);
  std::vector<std::uint8_t> memory(4096);
  std::iota(memory.begin(), memory.end(), std::uint8_t{0});
  auto const address = reinterpret_cast<std::uintptr_t>(memory.data());
  auto const view = [&](std::size_t at, std::int64_t rows, std::int64_t columns, std::int64_t pitch) {
    return TensorView{.data = address + at,
                      .dtype = Dtype::kU8,
                      .rank = 2,
                      .shape = {rows, columns},
                      .strides = {pitch, 1}};
  };
  // The first two share bytes, the third begins where they end, the last has no bytes.
  TensorView first = view(3, 4, 10, 100), second = view(250, 2, 60, 70), third = view(380, 1, 1000, 1);
  TensorView none = view(5, 0, 10, 10);
  std::uint64_t const none_before = none.data;
  Staging staging(device, nullptr);
  staging.copy_in({{"third", &third}, {"second", &second, true}, {"none", &none}, {"first", &first}});
  EXPECT_EQ(second.data - first.data, 247u);
  EXPECT_EQ(first.data % 256, (address + 3) % 256);
  EXPECT_EQ(third.data % 256, (address + 380) % 256);
  EXPECT_EQ(none.data, none_before);

  std::vector<std::byte> back(377);
  device.backend().copy_to_host(back, first.data, nullptr);
  EXPECT_EQ(std::memcmp(back.data(), memory.data() + 3, back.size()), 0);
  std::byte one{};
  EXPECT_THROW(device.backend().copy_to_host({&one, 1}, first.data + 377, nullptr), Error);
  EXPECT_NO_THROW(device.backend().copy_to_host({&one, 1}, third.data + 999, nullptr));
  EXPECT_THROW(device.backend().copy_to_host({&one, 1}, third.data + 1000, nullptr), Error);

  device.backend().fill(first.data, 377, std::byte{0xee}, nullptr);
  std::vector<std::uint8_t> expected = memory;
  for (std::size_t row : {0, 1}) std::fill_n(expected.begin() + 250 + 70 * static_cast<int>(row), 60, 0xee);
  staging.copy_back();
  EXPECT_EQ(memory, expected);
  EXPECT_NE(staging.describe().find(fmt::format("second at {:#x}", second.data)), std::string::npos);
}

TEST(Staging, ReleasesItsMemory) {
  Context device(kDevice);
  std::vector<std::uint8_t> memory(64);
  TensorView view{.data = reinterpret_cast<std::uintptr_t>(memory.data()),
                  .dtype = Dtype::kU8,
                  .rank = 1,
                  .shape = {64},
                  .strides = {1}};
  {
    Staging staging(device, nullptr);
    staging.copy_in({{"view", &view}});
  }
  std::byte one{};
  EXPECT_THROW(device.backend().copy_to_host({&one, 1}, view.data, nullptr), Error);
}

}  // namespace
}  // namespace deepwell

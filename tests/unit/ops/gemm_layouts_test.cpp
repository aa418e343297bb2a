// The same product from every layout of its tensors has the same bits; an empty k gives c or zeros. On the emulator.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>

#include "ops/einsum/einsum.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

class GemmLayoutsOn : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { context = std::make_unique<Context>(GetParam()); }
  void TearDown() override {
    for (DeviceAddress address : allocated) context->backend().release(address);
  }

  DeviceAddress allocate(std::size_t bytes) {
    allocated.push_back(context->backend().allocate(bytes));
    return allocated.back();
  }

  /// [rows, columns] bytes of `element` bytes each, placed `offset` bytes into an allocation with the given strides (elements).
  DeviceAddress place(std::vector<std::uint8_t> const& values, std::int64_t rows, std::int64_t columns,
                      int element, std::int64_t row_stride, std::int64_t column_stride, std::size_t offset) {
    std::size_t const bytes =
        static_cast<std::size_t>(((rows - 1) * row_stride + (columns - 1) * column_stride + 1) * element) +
        offset;
    std::vector<std::byte> image(bytes, std::byte{0x7f});
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) {
        std::memcpy(&image[offset + static_cast<std::size_t>((r * row_stride + c * column_stride) * element)],
                    &values[static_cast<std::size_t>((r * columns + c) * element)],
                    static_cast<std::size_t>(element));
      }
    }
    DeviceAddress const address = allocate(bytes);
    context->backend().copy_to_device(address, image, nullptr);
    return address + offset;
  }

  std::vector<float> read_rows(DeviceAddress from, std::int64_t rows, std::int64_t columns,
                               std::int64_t pitch) {
    std::vector<float> values;
    for (std::int64_t r = 0; r < rows; ++r) {
      std::vector<float> row(static_cast<std::size_t>(columns));
      context->backend().copy_to_host(std::as_writable_bytes(std::span(row)),
                                      from + static_cast<DeviceAddress>(r * pitch * 4), nullptr);
      values.insert(values.end(), row.begin(), row.end());
    }
    return values;
  }

  std::unique_ptr<Context> context;
  std::vector<DeviceAddress> allocated;
};

std::vector<std::uint8_t> random_bytes(std::size_t count, std::uint32_t seed, int most) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random() % static_cast<unsigned>(most));
  return bytes;
}

TEST_P(GemmLayoutsOn, SameBitsFromEveryLayout) {
  for (std::int64_t m : {3, 70}) {
    std::int64_t const n = 45, k = 416, groups = 13;  // 13 scales a row: the last word is not full
    auto const a = random_bytes(static_cast<std::size_t>(m * k), 1, 0x60);
    auto const b = random_bytes(static_cast<std::size_t>(n * k / 2), 2, 256);
    auto scale_a = random_bytes(static_cast<std::size_t>(m * groups), 3, 8);
    auto scale_b = random_bytes(static_cast<std::size_t>(n * groups), 4, 8);
    for (auto* scales : {&scale_a, &scale_b}) {
      for (auto& byte : *scales) byte = static_cast<std::uint8_t>(byte + 123);
    }
    std::vector<std::uint8_t> packed_b(static_cast<std::size_t>(n * 4 * 4), 0xff);
    for (std::int64_t row = 0; row < n; ++row)
      std::memcpy(&packed_b[static_cast<std::size_t>(row * 16)],
                  &scale_b[static_cast<std::size_t>(row * groups)], groups);

    std::vector<float> first;
    for (int variant = 0; variant < 5; ++variant) {
      bool const odd = variant % 2 == 1;
      std::int64_t const a_pitch = odd ? k + 3 : k, b_pitch = odd ? k / 2 + 1 : k / 2;
      GemmCall call;
      call.recipe = {1, 1, 32};
      call.a = contiguous_view(place(a, m, k, 1, a_pitch, 1, odd ? 5 : 0), Dtype::kE4m3, {m, k});
      call.a.strides[0] = a_pitch;
      call.b = contiguous_view(place(b, n, k / 2, 1, b_pitch, 1, odd ? 7 : 0), Dtype::kU8, {n, k / 2});
      call.b.strides[0] = b_pitch;
      std::int64_t const row_stride = variant == 2 ? 1 : groups + variant, k_stride = variant == 2 ? m : 1;
      call.scale_a = contiguous_view(
          place(scale_a, m, groups, 1, row_stride, k_stride, static_cast<std::size_t>(variant)),
          Dtype::kUe8m0, {m, groups});
      call.scale_a.strides = {row_stride, k_stride};
      std::int64_t const column = variant < 2 ? 48 : variant == 2 ? 45 : 47;
      call.scale_b =
          contiguous_view(place(packed_b, n, 4, 4, 1, column, variant == 4 ? 4 : 0), Dtype::kI32, {n, 4});
      call.scale_b.strides = {1, column};
      std::int64_t const d_pitch = n + variant;
      call.d = contiguous_view(allocate(static_cast<std::size_t>(m * d_pitch + 1) * 4) + (odd ? 4 : 0),
                               Dtype::kF32, {m, n});
      call.d.strides[0] = d_pitch;
      fp8_fp4_gemm_nt(*context, call);
      context->backend().synchronize(nullptr);
      std::vector<float> const d = read_rows(call.d.data, m, n, d_pitch);
      if (variant == 0) {
        first = d;
        EXPECT_NE(d, std::vector<float>(d.size(), 0.0f));
      } else {
        EXPECT_EQ(std::memcmp(d.data(), first.data(), d.size() * 4), 0)
            << "m " << m << " variant " << variant;
      }
    }
  }
}

TEST_P(GemmLayoutsOn, AnEmptyKGivesCOrZeros) {
  std::int64_t const m = 5, n = 33;
  GemmCall call;
  call.a = contiguous_view(0, Dtype::kE4m3, {m, 0});
  call.b = contiguous_view(0, Dtype::kE4m3, {n, 0});
  call.scale_a = contiguous_view(0, Dtype::kF32, {m, 0});
  call.scale_b = contiguous_view(0, Dtype::kF32, {1, 0});
  call.d = contiguous_view(allocate(static_cast<std::size_t>(m * n) * 4), Dtype::kF32, {m, n});
  fp8_fp4_gemm_nt(*context, call);
  context->backend().synchronize(nullptr);
  EXPECT_EQ(read_rows(call.d.data, m, n, n), std::vector<float>(static_cast<std::size_t>(m * n), 0.0f));

  std::vector<float> c(static_cast<std::size_t>(m * n));
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(i) - 7.25f;
  call.c = contiguous_view(allocate(c.size() * 4), Dtype::kF32, {m, n});
  context->backend().copy_to_device(call.c.data, std::as_bytes(std::span(c)), nullptr);
  fp8_fp4_gemm_nt(*context, call);
  context->backend().synchronize(nullptr);
  EXPECT_EQ(read_rows(call.d.data, m, n, n), c);
}

TEST_P(GemmLayoutsOn, BothRecipesOfTheEinsumGiveTheSameBits) {
  std::int64_t const t = 3, h = 2, d = 40, r = 256;
  auto const a = random_bytes(static_cast<std::size_t>(t * h * r), 5, 0x60);
  auto const w = random_bytes(static_cast<std::size_t>(h * d * r), 6, 0x60);
  auto const scale_a = random_bytes(static_cast<std::size_t>(t * h * 2), 7, 10);
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(h * d * 4), 0);
  for (std::size_t i = 0; i < packed.size(); ++i)
    packed[i] = i % 4 < 2 ? static_cast<std::uint8_t>(120 + i % 5) : 0;
  EinsumCall call;
  call.a = contiguous_view(place(a, 1, t * h * r, 1, 0, 1, 0), Dtype::kE4m3, {t, h, r});
  call.b = contiguous_view(place(w, 1, h * d * r, 1, 0, 1, 0), Dtype::kE4m3, {h, d, r});
  call.scale_a = contiguous_view(place(scale_a, 1, t * h * 2, 1, 0, 1, 0), Dtype::kUe8m0, {t, h, 2});
  call.scale_b = contiguous_view(place(packed, 1, h * d, 4, 0, 1, 0), Dtype::kI32, {h, d, 1});
  std::vector<float> first;
  for (bool flat : {false, true}) {
    for (int gran_n : {1, 128}) {
      call.recipe = {1, gran_n, 128};
      if (flat) {
        call.b = contiguous_view(call.b.data, Dtype::kE4m3, {h * d, r});
        call.scale_b = contiguous_view(call.scale_b.data, Dtype::kI32, {h * d, 1});
      }
      call.d = contiguous_view(allocate(static_cast<std::size_t>(t * h * d) * 4), Dtype::kF32, {t, h, d});
      fp8_einsum(*context, "bhr,hdr->bhd", call);
      context->backend().synchronize(nullptr);
      std::vector<float> const answer = read_rows(call.d.data, 1, t * h * d, t * h * d);
      if (first.empty()) first = answer;
      EXPECT_EQ(std::memcmp(answer.data(), first.data(), answer.size() * 4), 0) << flat << " " << gran_n;
    }
  }
}

/// Sums of few bits: e2m1 beside e4m3 in its own container gives what the widened form gives. Both sides of the MMA.
TEST_P(GemmLayoutsOn, NativeE2m1IsTheSameProduct) {
  for (std::int64_t m : {3, 70}) {
    for (bool fp4_is_a : {false, true}) {
      std::int64_t const n = 45, k = 416, groups = 13;
      std::int64_t const wide_rows = fp4_is_a ? n : m, narrow_rows = fp4_is_a ? m : n;
      auto wide = random_bytes(static_cast<std::size_t>(wide_rows * k), 1, 0x20);
      for (auto& byte : wide) byte = static_cast<std::uint8_t>(byte + 0x28);  // 0.25 to 3.75
      auto const narrow = random_bytes(static_cast<std::size_t>(narrow_rows * k / 2), 2, 256);
      std::vector<std::uint8_t> const ones(static_cast<std::size_t>(std::max(m, n) * groups), 127);
      TensorView const wide_view =
          contiguous_view(place(wide, wide_rows, k, 1, k, 1, 0), Dtype::kE4m3, {wide_rows, k});
      TensorView const narrow_view = contiguous_view(place(narrow, narrow_rows, k / 2, 1, k / 2, 1, 0),
                                                     Dtype::kI8, {narrow_rows, k / 2});
      GemmCall call;
      call.recipe = {1, 1, 32};
      call.a = fp4_is_a ? narrow_view : wide_view;
      call.b = fp4_is_a ? wide_view : narrow_view;
      call.scale_a = contiguous_view(place(ones, m, groups, 1, groups, 1, 0), Dtype::kUe8m0, {m, groups});
      call.scale_b = contiguous_view(place(ones, n, groups, 1, groups, 1, 0), Dtype::kUe8m0, {n, groups});
      std::vector<float> answers[2];
      for (bool native : {false, true}) {
        call.d = contiguous_view(allocate(static_cast<std::size_t>(m * n) * 4), Dtype::kF32, {m, n});
        GemmProblem const problem = check_gemm(call);
        GemmCandidate candidate = choose_gemm(shape_of(problem), context->arch()).ranked.front();
        candidate.plan.native_e2m1 = native;
        launch_gemm(*context, problem, candidate, nullptr);
        context->backend().synchronize(nullptr);
        answers[native] = read_rows(call.d.data, m, n, n);
      }
      EXPECT_NE(answers[0], std::vector<float>(answers[0].size(), 0.0f));
      EXPECT_EQ(answers[1], answers[0]) << "m " << m << (fp4_is_a ? ", a is e2m1" : ", b is e2m1");
    }
  }
}

/// FP32 scales whose product with what stands beside them inside an MMA, or with a partial sum, would leave FP32's range.
TEST_P(GemmLayoutsOn, ScalesAtBothEndsOfTheRange) {
  std::int64_t const m = 2, n = 8, k = 128;
  struct Pair {
    float a;
    std::uint8_t b;
  };
  std::vector<Pair> const pairs{{0x1.8p-120f, 251}, {0x1.8p-126f, 254}, {0x1.8p120f, 1}, {0x1.8p127f, 0},
                                {-0x1.8p100f, 20},  {0x1.8p-130f, 254}, {0.0f, 254},     {0x1.8p-148f, 254},
                                {0x1p-140f, 200},   {0x1p127f, 3}};
  auto const ones = std::vector<std::uint8_t>(static_cast<std::size_t>(n * k), 0x38);
  for (Pair const& pair : pairs) {
    GemmCall call;
    call.recipe = {1, 1, 128};
    call.a = contiguous_view(place(ones, m, k, 1, k, 1, 0), Dtype::kE4m3, {m, k});
    call.b = contiguous_view(place(ones, n, k, 1, k, 1, 0), Dtype::kE4m3, {n, k});
    std::vector<std::uint8_t> scale_a(static_cast<std::size_t>(m * 4));
    for (std::int64_t i = 0; i < m; ++i) std::memcpy(&scale_a[static_cast<std::size_t>(4 * i)], &pair.a, 4);
    call.scale_a = contiguous_view(place(scale_a, m, 1, 4, 1, 1, 0), Dtype::kF32, {m, 1});
    call.scale_b = contiguous_view(
        place(std::vector<std::uint8_t>(static_cast<std::size_t>(n), pair.b), n, 1, 1, 1, 1, 0),
        Dtype::kUe8m0, {n, 1});
    call.d = contiguous_view(allocate(static_cast<std::size_t>(m * n) * 4), Dtype::kF32, {m, n});
    double const expected =
        128.0 * static_cast<double>(pair.a) * (pair.b == 0 ? 0x1p-127 : std::ldexp(1.0, pair.b - 127));
    fp8_fp4_gemm_nt(*context, call);
    context->backend().synchronize(nullptr);
    EXPECT_EQ(read_rows(call.d.data, m, n, n),
              std::vector<float>(static_cast<std::size_t>(m * n), static_cast<float>(expected)))
        << pair.a << " and byte " << int{pair.b};
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, GemmLayoutsOn, testing::Values("emu:sm_120a", "emu:sm_90a"),
                         [](auto const& info) { return info.param.substr(4); });

}  // namespace
}  // namespace deepwell

// Scale layouts: what is required where, the kernel against a twin in plain host code bit for bit, and mistakes by name.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>

#include "ops/layout/layout.hpp"
#include "recording_backend.hpp"

namespace deepwell {
namespace {

/// One context per device for all tests here: kernels are compiled once.
Context& context_on(std::string const& device) {
  static std::map<std::string, std::unique_ptr<Context>> contexts;
  auto& context = contexts[device];
  if (context == nullptr) context = std::make_unique<Context>(device);
  return *context;
}

/// The smallest power of two, between 2^-127 and 2^127, that is at least |value|, as its exponent byte; 255 for what is no number.
struct Twin {
  std::uint32_t byte;
  bool lossy;
};
Twin twin_of(float value) {
  if (std::isnan(value) || std::isinf(value)) return {255, true};
  double const magnitude = std::fabs(static_cast<double>(value));
  if (magnitude == 0) return {0, false};
  int exponent = -127;
  while (exponent < 127 && std::ldexp(1.0, exponent) < magnitude) ++exponent;
  return {static_cast<std::uint32_t>(exponent + 127), value < 0 || std::ldexp(1.0, exponent) != magnitude};
}

template <class T>
std::vector<T> download(Context& context, DeviceAddress from, std::size_t count) {
  std::vector<T> values(count);
  context.backend().copy_to_host(std::as_writable_bytes(std::span(values)), from, nullptr);
  return values;
}

template <class T>
DeviceAddress upload(Context& context, std::vector<T> const& values) {
  DeviceAddress const address =
      context.backend().allocate(std::max<std::size_t>(values.size() * sizeof(T), 1));
  context.backend().copy_to_device(address, std::as_bytes(std::span(values)), nullptr);
  return address;
}

std::uint32_t lossy_count(Context& context) {
  return context.backend().read_note(static_cast<int>(Note::kLossyScale));
}

/// Random strides order of [groups, rows, columns] input: natural, or with rows as neighbours.
TensorView input_view(DeviceAddress data, Dtype dtype, std::int64_t groups, std::int64_t rows,
                      std::int64_t columns, bool rows_first) {
  TensorView view = contiguous_view(data, dtype, {groups, rows, columns});
  if (rows_first) view.strides = {rows * columns, 1, rows};
  return view;
}

class ScaleLayoutOn : public testing::TestWithParam<std::string> {};

TEST_P(ScaleLayoutOn, Fp32ToPackedMatchesTheTwinBitForBit) {
  Context& context = context_on(GetParam());
  std::mt19937 random(7);
  std::vector<float> const special{0.0f,
                                   -0.0f,
                                   1.0f,
                                   -1.0f,
                                   1.5f,
                                   0x1p-126f,
                                   0x1p-127f,
                                   0x1p-128f,
                                   0x1.8p-127f,
                                   0x1p-149f,
                                   0x1p127f,
                                   0x1.000002p127f,
                                   std::numeric_limits<float>::max(),
                                   std::numeric_limits<float>::infinity(),
                                   -std::numeric_limits<float>::infinity(),
                                   std::numeric_limits<float>::quiet_NaN(),
                                   0x1.fffffep-127f};
  for (std::int64_t groups : {1, 3}) {
    for (std::int64_t gran_mn : {1, 128}) {
      for (std::int64_t columns : {1, 3, 4, 9}) {
        for (bool rows_first : {false, true}) {
          std::int64_t const mn = 131;
          std::int64_t const rows = ceil_div(mn, gran_mn);
          std::vector<float> values(static_cast<std::size_t>(groups * rows * columns));
          for (float& value : values) {
            value = random() % 3 == 0 ? special[random() % special.size()]
                                      : std::ldexp(1.0f, static_cast<int>(random() % 250) - 125);
          }
          TensorView const from =
              input_view(upload(context, values), Dtype::kF32, groups, rows, columns, rows_first);
          ScaleLayoutCall const call{.scale = from,
                                     .mn = mn,
                                     .k = 128 * columns,
                                     .gran_mn = static_cast<int>(gran_mn),
                                     .gran_k = 128,
                                     .num_groups = groups};
          ScaleLayoutResult wanted = required_scale_layout(call, arch_by_target("sm_120a"));
          ASSERT_FALSE(wanted.unchanged);
          std::int64_t const words = ceil_div(columns, 4);
          ASSERT_EQ(wanted.bytes, static_cast<std::size_t>(groups * words * 132 * 4));
          wanted.view.data = context.backend().allocate(wanted.bytes);
          context.backend().fill(wanted.view.data, wanted.bytes, std::byte{0xee}, nullptr);
          std::uint32_t const notes_before = lossy_count(context);
          if (context.arch().block_scaled_mma) {
            transform_scale(context, call, wanted.view, nullptr);
          } else if (gran_mn == 1) {
            write_scale_layout(context, from, wanted.view,
                               nullptr);  // FP32 stays FP32 there unless asked to be packed
          } else {
            continue;
          }
          context.backend().synchronize(nullptr);
          auto const packed = download<std::uint32_t>(context, wanted.view.data, wanted.bytes / 4);
          std::uint32_t lossy = 0;
          for (std::int64_t g = 0; g < groups; ++g) {
            for (std::int64_t w = 0; w < words; ++w) {
              for (std::int64_t row = 0; row < 132; ++row) {
                std::uint32_t expected = 0;
                for (std::int64_t i = 0; i < 4 && row < mn; ++i) {
                  std::int64_t const column = 4 * w + i;
                  if (column >= columns) continue;
                  std::int64_t const r = row / gran_mn;
                  std::size_t const at = static_cast<std::size_t>(
                      g * rows * columns + (rows_first ? column * rows + r : r * columns + column));
                  Twin const twin = twin_of(values[at]);
                  expected |= twin.byte << (8 * i);
                  lossy += twin.lossy;
                }
                if (row >= mn) expected = 0xeeeeeeeeu;  // rows beyond the tensor are not touched
                ASSERT_EQ(packed[static_cast<std::size_t>((g * words + w) * 132 + row)], expected)
                    << "group " << g << " word " << w << " row " << row;
              }
            }
          }
          EXPECT_EQ(lossy_count(context) - notes_before, lossy);
          context.backend().release(wanted.view.data);
          context.backend().release(from.data);
        }
      }
    }
  }
}

TEST_P(ScaleLayoutOn, BytesArePackedUnchangedAndWithoutNotes) {
  Context& context = context_on(GetParam());
  std::int64_t const mn = 200, columns = 7;
  for (int gran_mn : {1, 128}) {
    std::int64_t const rows = ceil_div(mn, gran_mn);
    std::vector<std::uint8_t> values(static_cast<std::size_t>(rows * columns));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint8_t>(i * 37);
    TensorView const from = contiguous_view(upload(context, values), Dtype::kUe8m0, {rows, columns});
    ScaleLayoutCall const call{.scale = from, .mn = mn, .k = 32 * columns, .gran_mn = gran_mn, .gran_k = 32};
    ScaleLayoutResult wanted = required_scale_layout(call, context.arch());
    EXPECT_EQ(wanted.view.dtype, Dtype::kI32);
    EXPECT_EQ(wanted.view.rank, 2);
    wanted.view.data = context.backend().allocate(wanted.bytes);
    std::uint32_t const notes_before = lossy_count(context);
    transform_scale(context, call, wanted.view, nullptr);
    context.backend().synchronize(nullptr);
    auto const packed = download<std::uint32_t>(context, wanted.view.data, wanted.bytes / 4);
    for (std::int64_t row = 0; row < mn; ++row) {
      for (std::int64_t column = 0; column < 8; ++column) {
        std::uint32_t const byte =
            packed[static_cast<std::size_t>(column / 4 * 200 + row)] >> (8 * (column % 4)) & 0xff;
        ASSERT_EQ(byte,
                  column < columns ? values[static_cast<std::size_t>(row / gran_mn * columns + column)] : 0);
      }
    }
    EXPECT_EQ(lossy_count(context), notes_before);
    context.backend().release(wanted.view.data);
    context.backend().release(from.data);
  }
}

TEST_P(ScaleLayoutOn, Fp32ColumnByColumn) {
  Context& context = context_on(GetParam());
  std::int64_t const groups = 2, mn = 130, columns = 5;
  std::vector<float> values(static_cast<std::size_t>(groups * mn * columns));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.37f - 100;
  TensorView const from = contiguous_view(upload(context, values), Dtype::kF32, {groups, mn, columns});
  ScaleLayoutResult wanted = mn_major_scale_layout(from);
  ASSERT_FALSE(wanted.unchanged);
  EXPECT_EQ(wanted.view.strides, (std::array<std::int64_t, kMaxRank>{132 * 5, 1, 132, 0}));
  wanted.view.data = context.backend().allocate(wanted.bytes);
  write_scale_layout(context, from, wanted.view, nullptr);
  context.backend().synchronize(nullptr);
  // The padding of the emulator's memory stays poison: read the tensor's own bytes only.
  for (std::int64_t g = 0; g < groups; ++g) {
    for (std::int64_t c = 0; c < columns; ++c) {
      auto const column = download<float>(
          context, wanted.view.data + static_cast<DeviceAddress>((g * columns + c) * 132 * 4), 130);
      for (std::int64_t row = 0; row < mn; ++row) {
        ASSERT_EQ(
            std::bit_cast<std::uint32_t>(column[static_cast<std::size_t>(row)]),
            std::bit_cast<std::uint32_t>(values[static_cast<std::size_t>((g * mn + row) * columns + c)]));
      }
    }
  }
  EXPECT_TRUE(mn_major_scale_layout(wanted.view).unchanged);
  context.backend().release(wanted.view.data);
  context.backend().release(from.data);
}

INSTANTIATE_TEST_SUITE_P(Devices, ScaleLayoutOn, testing::Values("emu:sm_120a", "emu:sm_121a", "emu:sm_90a"),
                         [](auto const& info) { return info.param.substr(4); });

constexpr DeviceAddress kScale = 0x10000000, kOut = 0x20000000;

TEST(ScaleLayoutRule, WhatIsRequiredWhere) {
  Arch const& blackwell = arch_by_target("sm_120a");
  Arch const& hopper = arch_by_target("sm_90a");
  ScaleLayoutCall call{.scale = contiguous_view(kScale, Dtype::kF32, {100, 9}),
                       .mn = 100,
                       .k = 1100,
                       .gran_mn = 1,
                       .gran_k = 128};
  ScaleLayoutResult result = required_scale_layout(call, blackwell);
  EXPECT_EQ(result.view.dtype, Dtype::kI32);
  EXPECT_EQ(result.view.shape[1], 3);
  EXPECT_EQ(result.view.strides[1], 100);
  result = required_scale_layout(call, hopper);
  EXPECT_EQ(result.view.dtype, Dtype::kF32);
  EXPECT_EQ(result.view.shape[1], 9);
  EXPECT_FALSE(result.unchanged);
  call.disable_ue8m0_cast = true;
  EXPECT_EQ(required_scale_layout(call, blackwell).view.dtype, Dtype::kF32);

  call = {.scale = contiguous_view(kScale, Dtype::kF32, {2, 9}),
          .mn = 200,
          .k = 1100,
          .gran_mn = 128,
          .gran_k = 128};
  result = required_scale_layout(call, blackwell);
  EXPECT_EQ(result.view.shape[0], 200);
  EXPECT_TRUE(required_scale_layout(call, hopper).unchanged);

  call = {.scale = contiguous_view(kScale, Dtype::kUe8m0, {200, 35}),
          .mn = 200,
          .k = 1100,
          .gran_mn = 1,
          .gran_k = 32};
  EXPECT_EQ(required_scale_layout(call, hopper).view.dtype, Dtype::kI32);

  call = {.scale = contiguous_view(kScale, Dtype::kI32, {101, 3}),
          .mn = 101,
          .k = 1100,
          .gran_mn = 1,
          .gran_k = 128};
  call.scale.strides = {1, 104};
  EXPECT_TRUE(required_scale_layout(call, blackwell).unchanged);
  EXPECT_TRUE(required_scale_layout(call, hopper).unchanged);
  call.scale.strides = {1, 103};
  EXPECT_THROW(required_scale_layout(call, blackwell), Error);
  call.scale.strides = {3, 1};
  EXPECT_THROW(required_scale_layout(call, blackwell), Error);
}

TEST(ScaleLayoutRule, ServingCodesWeightScales) {
  ScaleLayoutCall const call{.scale = contiguous_view(kScale, Dtype::kF32, {8, 8, 32}),
                             .mn = 1024,
                             .k = 4096,
                             .gran_mn = 128,
                             .gran_k = 128,
                             .num_groups = 8};
  ScaleLayoutResult const result = required_scale_layout(call, arch_by_target("sm_120a"));
  EXPECT_EQ(result.view.shape, (std::array<std::int64_t, kMaxRank>{8, 1024, 8, 0}));
  EXPECT_EQ(result.view.strides, (std::array<std::int64_t, kMaxRank>{8192, 1, 1024, 0}));
}

TEST(ScaleLayoutRule, Recipes) {
  std::array<int, 3> const three{1, 128, 32};
  std::array<int, 2> const two{128, 128};
  EXPECT_EQ(scale_granularity(three, true).mn, 1);
  EXPECT_EQ(scale_granularity(three, false).mn, 128);
  EXPECT_EQ(scale_granularity(three, false).k, 32);
  EXPECT_EQ(scale_granularity(two, std::nullopt).mn, 128);
  EXPECT_THROW(scale_granularity(three, std::nullopt), Error);
  EXPECT_THROW(scale_granularity(two, true), Error);
  EXPECT_THROW(scale_granularity({}, true), Error);
}

TEST(ScaleLayoutRule, AlignedSizes) {
  EXPECT_EQ(tma_aligned_size(5, 4), 8);
  EXPECT_EQ(tma_aligned_size(8, 4), 8);
  EXPECT_EQ(tma_aligned_size(5, 1), 16);
  EXPECT_EQ(tma_aligned_size(0, 2), 0);
  EXPECT_THROW(tma_aligned_size(5, 3), Error);
  EXPECT_THROW(tma_aligned_size(5, 0), Error);
  EXPECT_THROW(tma_aligned_size(-1, 4), Error);
}

template <class F>
void expect_bad(char const* argument, F&& make) {
  ScaleLayoutCall call{.scale = contiguous_view(kScale, Dtype::kF32, {100, 9}),
                       .mn = 100,
                       .k = 1100,
                       .gran_mn = 1,
                       .gran_k = 128};
  make(call);
  try {
    required_scale_layout(call, arch_by_target("sm_120a"));
    FAIL() << argument << " accepted";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), argument);
  }
}

TEST(ScaleLayoutRule, MistakesAreNamed) {
  expect_bad("scale.rank", [](ScaleLayoutCall& c) { c.num_groups = 1; });
  expect_bad("scale.rank", [](ScaleLayoutCall& c) {
    c.scale = contiguous_view(kScale, Dtype::kF32, {1, 100, 9});
  });
  expect_bad("scale.dtype", [](ScaleLayoutCall& c) { c.scale.dtype = Dtype::kBf16; });
  expect_bad("scale.shape", [](ScaleLayoutCall& c) { c.mn = 99; });
  expect_bad("scale.shape", [](ScaleLayoutCall& c) { c.k = 2000; });
  expect_bad("scale.shape", [](ScaleLayoutCall& c) { c.gran_mn = 128; });
  expect_bad("scale.shape", [](ScaleLayoutCall& c) {
    c.scale = contiguous_view(kScale, Dtype::kF32, {2, 100, 9});
    c.num_groups = 3;
  });
  expect_bad("scale.dtype", [](ScaleLayoutCall& c) {
    c.scale = contiguous_view(kScale, Dtype::kI32, {1, 3});
    c.gran_mn = 128;
  });
  expect_bad("scale.data", [](ScaleLayoutCall& c) { c.scale.data = 0; });
  expect_bad("scale.data", [](ScaleLayoutCall& c) { c.scale.data += 2; });
  expect_bad("recipe", [](ScaleLayoutCall& c) { c.gran_k = 64; });
  expect_bad("recipe", [](ScaleLayoutCall& c) { c.gran_mn = 0; });
  expect_bad("mn", [](ScaleLayoutCall& c) { c.mn = -1; });
  expect_bad("k", [](ScaleLayoutCall& c) { c.k = std::int64_t{1} << 40; });
  expect_bad("num_groups", [](ScaleLayoutCall& c) { c.num_groups = 0; });
}

TEST(ScaleLayoutRule, SizesThatNoKernelCanCountAreRefused) {
  Context context("null:sm_120a");
  std::int64_t const columns = 2147483647 - 2 * 128 - 100;
  TensorView const from = contiguous_view(0x1000, Dtype::kF32, {1, columns});
  TensorView to = mn_major_scale_layout(from).view;
  to.data = std::uint64_t{1} << 45;
  try {
    write_scale_layout(context, from, to, nullptr);
    FAIL() << "accepted";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), "scale.shape");
  }
}

TEST(ScaleLayoutRule, OutputsAreChecked) {
  Context context(std::make_unique<RecordingBackend>());
  ScaleLayoutCall const call{.scale = contiguous_view(kScale, Dtype::kF32, {100, 9}),
                             .mn = 100,
                             .k = 1100,
                             .gran_mn = 1,
                             .gran_k = 128};
  TensorView out = required_scale_layout(call, context.arch()).view;
  out.data = kOut;
  EXPECT_NO_THROW(transform_scale(context, call, out, nullptr));
  auto const rejected = [&](auto change) {
    TensorView other = out;
    change(other);
    EXPECT_THROW(transform_scale(context, call, other, nullptr), Error);
  };
  rejected([](TensorView& o) { o.data = 0; });
  rejected([](TensorView& o) { o.data = kScale; });
  rejected([](TensorView& o) { o.dtype = Dtype::kF32; });
  rejected([](TensorView& o) { o.shape[0] = 101; });
  rejected([](TensorView& o) { o.strides = {3, 1}; });
  rejected([](TensorView& o) { o.strides = {1, 99}; });
}

}  // namespace
}  // namespace deepwell

// The V4-Flash sample: names and shapes of the checkpoint, values quantised as they should be.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>

#include "base/error.hpp"
#include "base/file.hpp"
#include "checkpoint/deepseek_v4.hpp"
#include "checkpoint/quantise.hpp"
#include "checkpoint/safetensors.hpp"
#include "num/formats.hpp"

namespace deepwell {
namespace {

using Shape = std::vector<std::int64_t>;

std::map<std::string, V4Tensor> table(V4SampleOptions const& options) {
  std::map<std::string, V4Tensor> out;
  for (V4Tensor const& tensor : v4_layer_tensors(options))
    EXPECT_TRUE(out.emplace(tensor.name, tensor).second) << tensor.name;
  return out;
}

TEST(V4Tensors, ShapesOfTheCheckpoint) {
  auto const t = table({.layer = 2});
  auto const expect = [&](char const* name, Dtype dtype, Shape const& shape) {
    auto const found = t.find(std::string("layers.2.") + name);
    ASSERT_NE(found, t.end()) << name;
    EXPECT_EQ(found->second.dtype, dtype) << name;
    EXPECT_EQ(found->second.shape, shape) << name;
  };
  expect("attn.wq_a.weight", Dtype::kE4m3, {1024, 4096});
  expect("attn.wq_a.scale", Dtype::kUe8m0, {8, 32});
  expect("attn.wq_b.weight", Dtype::kE4m3, {32768, 1024});
  expect("attn.wq_b.scale", Dtype::kUe8m0, {256, 8});
  expect("attn.wkv.scale", Dtype::kUe8m0, {4, 32});
  expect("attn.wo_a.weight", Dtype::kE4m3, {8192, 4096});
  expect("attn.wo_b.scale", Dtype::kUe8m0, {32, 64});
  expect("attn.indexer.wq_b.weight", Dtype::kE4m3, {8192, 1024});
  expect("ffn.shared_experts.w2.scale", Dtype::kUe8m0, {32, 16});
  expect("ffn.experts.0.w1.weight", Dtype::kI8, {2048, 2048});
  expect("ffn.experts.0.w1.scale", Dtype::kUe8m0, {2048, 128});
  expect("ffn.experts.0.w2.weight", Dtype::kI8, {4096, 1024});
  expect("ffn.experts.0.w2.scale", Dtype::kUe8m0, {4096, 64});
  expect("attn.compressor.wkv.weight", Dtype::kBf16, {1024, 4096});
  expect("attn.compressor.ape", Dtype::kF32, {4, 1024});
  expect("ffn.gate.tid2eid", Dtype::kI64, {129280, 6});
  expect("hc_attn_fn", Dtype::kF32, {24, 16384});
  EXPECT_EQ(t.count("layers.2.ffn.experts.1.w1.weight"), 0u);
  EXPECT_EQ(t.count("layers.2.ffn.gate.bias"), 0u);
  std::int64_t total = 0;
  for (auto const& [name, tensor] : t) total += bytes_of(tensor);
  EXPECT_LT(total, 300'000'000);
}

TEST(V4Tensors, LayersDiffer) {
  auto const first = table({.layer = 0}), odd = table({.layer = 3}), even = table({.layer = 4});
  EXPECT_EQ(first.count("layers.0.attn.compressor.ape"), 0u);
  EXPECT_EQ(odd.at("layers.3.attn.compressor.ape").shape, (Shape{128, 512}));
  EXPECT_EQ(odd.count("layers.3.attn.indexer.wq_b.weight"), 0u);
  EXPECT_EQ(even.count("layers.4.attn.indexer.wq_b.weight"), 1u);
  EXPECT_EQ(even.count("layers.4.ffn.gate.bias"), 1u);
  EXPECT_EQ(table({.layer = 4, .all_experts = true}).count("layers.4.ffn.experts.255.w3.scale"), 1u);
  EXPECT_THROW(v4_layer_tensors({.layer = 43}), Error);
  EXPECT_THROW(v4_layer_tensors({.scale_down = 3}), Error);
  EXPECT_THROW(v4_layer_tensors({.scale_down = 16}), Error);
}

TEST(V4Sample, WritesAReadableFileTheSameEachTime) {
  TemporaryFolder folder;
  ThreadPool one(1), two(2);
  V4SampleOptions const options{.layer = 2, .scale_down = 8, .seed = 5};
  std::int64_t const bytes = write_v4_sample(folder.path() / "a", options, one);
  write_v4_sample(folder.path() / "b", options, two);
  EXPECT_EQ(read_binary_file(folder.path() / "a"), read_binary_file(folder.path() / "b"));
  SafetensorsFile const file(folder.path() / "a");
  std::int64_t total = 0;
  for (StoredTensor const& tensor : file.tensors()) total += static_cast<std::int64_t>(tensor.bytes.size());
  EXPECT_EQ(total, bytes);
  ASSERT_EQ(file.tensors().size(), v4_layer_tensors(options).size());
  write_v4_sample(folder.path() / "c", {.layer = 2, .scale_down = 8, .seed = 6}, two);
  EXPECT_NE(read_binary_file(folder.path() / "a"), read_binary_file(folder.path() / "c"));
}

TEST(V4Sample, ValuesAreQuantisedByTheirLargest) {
  TemporaryFolder folder;
  ThreadPool pool(2);
  write_v4_sample(folder.path() / "a", {.layer = 2, .scale_down = 8}, pool);
  SafetensorsFile const file(folder.path() / "a");
  StoredTensor const& weight = *file.find("layers.2.attn.wo_b.weight");
  StoredTensor const& scale = *file.find("layers.2.attn.wo_b.scale");
  std::int64_t const rows = weight.shape[0], k = weight.shape[1];
  int distinct[256] = {};
  double largest = 0, square = 0;
  for (std::int64_t block_row = 0; block_row < rows / 128; ++block_row) {
    for (std::int64_t block_col = 0; block_col < k / 128; ++block_col) {
      float amax = 0;
      for (std::int64_t i = 0; i < 128; ++i) {
        for (std::int64_t j = 0; j < 128; ++j) {
          auto const code =
              std::to_integer<std::uint8_t>(weight.bytes[(block_row * 128 + i) * k + block_col * 128 + j]);
          ASSERT_NE(code & 0x7f, 0x7f);
          amax = std::max(amax, std::fabs(num::e4m3_to_float(code)));
        }
      }
      // A power of two that fits the largest value, and no larger one than needed.
      EXPECT_GT(amax, 220.0f);
      EXPECT_LE(amax, 448.0f);
      auto const byte = std::to_integer<std::uint8_t>(scale.bytes[block_row * scale.shape[1] + block_col]);
      ++distinct[byte];
      largest = std::max(largest, static_cast<double>(amax) * std::ldexp(1.0, byte - 127));
    }
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      double const v =
          num::e4m3_to_float(std::to_integer<std::uint8_t>(weight.bytes[i * k + j])) *
          std::ldexp(1.0, std::to_integer<int>(scale.bytes[i / 128 * scale.shape[1] + j / 128]) - 127);
      square += v * v;
    }
  }
  double const deviation = std::sqrt(square / static_cast<double>(rows * k));
  EXPECT_GT(largest / deviation, 15.0) << "trained weights have outliers";
  EXPECT_GT(std::count_if(std::begin(distinct), std::end(distinct), [](int n) { return n > 0; }), 1);
}

TEST(Quantise, FastCodesAreTheExactOnes) {
  // All bf16 patterns and their neighbours on the FP32 grid, so every tie and its two sides.
  for (std::uint32_t high = 0; high < 0x10000; ++high) {
    for (std::uint32_t low : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      float const value = std::bit_cast<float>(high << 16 | low);
      if (!std::isfinite(value)) continue;
      ASSERT_EQ(fast_e4m3(value), num::float_to_e4m3(value)) << value;
      ASSERT_EQ(fast_e2m1(value), num::float_to_e2m1(value)) << value;
    }
  }
  EXPECT_EQ(fast_e4m3(std::nanf("")), 0x7f);
}

TEST(Quantise, ScaleByteIsTheSmallestThatFits) {
  for (float amax : {448.0f, 449.0f, 447.0f, 1.0f, 896.0f, 3e-3f, 1e30f}) {
    int const exponent = scale_byte(amax, 448.0f, 1e-4f) - 127;
    EXPECT_LE(amax, std::ldexp(448.0, exponent));
    EXPECT_GT(amax, std::ldexp(448.0, exponent - 1));
  }
  EXPECT_EQ(scale_byte(0.0f, 448.0f, 1e-4f), scale_byte(1e-4f, 448.0f, 1e-4f));
}

TEST(Quantise, SizesAreChecked) {
  ThreadPool pool(1);
  std::vector<std::byte> codes(64), scales(1);
  EXPECT_THROW(fill_quantised({}, 1, 32, 1.0f, 0, codes, scales, pool), Error);
  EXPECT_THROW(fill_quantised({.dtype = Dtype::kF32}, 1, 64, 1.0f, 0, codes, scales, pool), Error);
}

}  // namespace
}  // namespace deepwell

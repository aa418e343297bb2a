// Checkpoint layers as cases: which are found, what ranks hold, and what is skipped with a reason.
#include "check/model.hpp"

#include <gtest/gtest.h>

#include <map>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/thread_pool.hpp"
#include "checkpoint/deepseek_v4.hpp"

namespace deepwell::check {
namespace {

std::filesystem::path sample(TemporaryFolder const& folder) {
  ThreadPool pool(2);
  std::filesystem::path const path = folder.path() / "sample";
  write_v4_sample(path, {.layer = 2, .scale_down = 4}, pool);
  return path;
}

TEST(Model, FindsEveryQuantisedLayer) {
  TemporaryFolder folder;
  SafetensorsFile const file(sample(folder));
  ModelCases const found = find_model_cases(file, 1, 4);
  EXPECT_TRUE(found.skipped.empty());
  std::map<std::string, Case> cases;
  for (ModelCase const& c : found.cases) cases.emplace(c.what.label, c.what);
  EXPECT_EQ(cases.size(), 12u);  // 6 linears of attention, 3 of the shared expert, 3 of one routed expert
  Case const& wo_a = cases.at("layers.2.attn.wo_a");
  EXPECT_EQ(wo_a.op, Op::kEinsum);
  EXPECT_EQ(wo_a.batch, 8);
  EXPECT_EQ(wo_a.n, 8192 / 4 / 8);
  EXPECT_EQ(wo_a.k, 1024);
  Case const& expert = cases.at("layers.2.ffn.experts.0.w2");
  EXPECT_EQ(expert.b.dtype, Dtype::kE2m1);
  EXPECT_EQ(expert.b.gran_k, 32);
  EXPECT_EQ(expert.k, 512);
}

TEST(Model, RanksHoldTheirParts) {
  TemporaryFolder folder;
  SafetensorsFile const file(sample(folder));
  ModelCases const whole = find_model_cases(file, 1, 4), parts = find_model_cases(file, 2, 4);
  auto const find = [](ModelCases const& in, std::string const& label) -> ModelCase const& {
    for (ModelCase const& c : in.cases) {
      if (c.what.label == label) return c;
    }
    throw Error(ErrorCode::kInternal, label);
  };
  ModelCase::Weights const wq_b = find(whole, "layers.2.attn.wq_b").load();
  ModelCase::Weights const last = find(parts, "layers.2.attn.wq_b rank 1/2").load();
  ASSERT_EQ(last.codes.size() * 2, wq_b.codes.size());
  EXPECT_TRUE(std::equal(last.codes.begin(), last.codes.end(),
                         wq_b.codes.begin() + static_cast<std::ptrdiff_t>(last.codes.size())));
  EXPECT_TRUE(std::equal(last.scales.begin(), last.scales.end(),
                         wq_b.scales.begin() + static_cast<std::ptrdiff_t>(last.scales.size())));
  ModelCase const& wo_b_whole = find(whole, "layers.2.attn.wo_b");
  ModelCase const& wo_b = find(parts, "layers.2.attn.wo_b rank 1/2");
  ModelCase::Weights const all = wo_b_whole.load(), part = wo_b.load();
  EXPECT_EQ(wo_b.what.k * 2, wo_b_whole.what.k);
  EXPECT_EQ(wo_b.what.n, wo_b_whole.what.n);
  std::int64_t const k = wo_b.what.k;
  for (std::int64_t row : {std::int64_t{0}, wo_b.what.n - 1})
    EXPECT_EQ(part.codes[static_cast<std::size_t>(row * k + 5)],
              all.codes[static_cast<std::size_t>(row * 2 * k + k + 5)]);
  EXPECT_EQ(find(parts, "layers.2.attn.wo_a rank 0/2").what.batch, 4);
  EXPECT_NO_THROW(find(parts, "layers.2.attn.wkv"));  // held whole
  EXPECT_THROW(find_model_cases(file, 3, 4), Error);
}

TEST(Model, SaysWhyALayerIsSkipped) {
  TemporaryFolder folder;
  auto const zero = [](std::span<std::byte>) {};
  std::vector<TensorToWrite> const tensors{
      {"alone.weight", Dtype::kE4m3, {128, 128}, zero}, {"fine.weight", Dtype::kE4m3, {128, 128}, zero},
      {"fine.scale", Dtype::kUe8m0, {4, 4}, zero},      {"float.weight", Dtype::kE4m3, {128, 128}, zero},
      {"float.scale", Dtype::kF32, {1, 1}, zero},       {"vector.weight", Dtype::kE4m3, {128}, zero},
      {"short.weight", Dtype::kE4m3, {128, 40}, zero},  {"short.scale", Dtype::kUe8m0, {1, 1}, zero},
      {"dense.weight", Dtype::kBf16, {8, 8}, zero}};
  write_safetensors(folder.path() / "file", tensors);
  ModelCases const found = find_model_cases(SafetensorsFile(folder.path() / "file"), 1, 4);
  EXPECT_TRUE(found.cases.empty());
  EXPECT_EQ(found.skipped.size(), 5u);
  for (SkippedTensor const& tensor : found.skipped) EXPECT_FALSE(tensor.reason.empty()) << tensor.name;
}

}  // namespace
}  // namespace deepwell::check

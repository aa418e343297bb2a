// V4-Flash's tensor table and the sample generator.
#include "checkpoint/deepseek_v4.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "base/error.hpp"
#include "checkpoint/quantise.hpp"
#include "checkpoint/safetensors.hpp"
#include "num/formats.hpp"

namespace deepwell {
namespace {

constexpr std::int64_t kHidden = 4096, kQueryRank = 1024, kQueryOut = 32768, kHeadDim = 512,
                       kOutputRank = 8192;
constexpr std::int64_t kIndexerOut = 8192, kIndexerDim = 128, kExpertDim = 2048, kExperts = 256,
                       kVocabulary = 129280;
constexpr std::int64_t kHyper = 4, kHyperMix = 24;

class Builder {
 public:
  Builder(std::string prefix, int scale_down) : prefix_(std::move(prefix)), scale_down_(scale_down) {}

  void fp8(std::string const& name, std::int64_t out, std::int64_t in) {
    out = scaled(out), in = scaled(in);
    add(name + ".weight", Dtype::kE4m3, {out, in}, TensorRole::kFp8Weight);
    add(name + ".scale", Dtype::kUe8m0, {ceil_div(out, 128), ceil_div(in, 128)}, TensorRole::kFp8Scale);
  }
  void fp4(std::string const& name, std::int64_t out, std::int64_t in) {
    out = scaled(out), in = scaled(in);
    add(name + ".weight", Dtype::kI8, {out, in / 2}, TensorRole::kFp4Weight);
    add(name + ".scale", Dtype::kUe8m0, {out, in / 32}, TensorRole::kFp4Scale);
  }
  void bf16(std::string const& name, std::int64_t out, std::int64_t in) {
    add(name, Dtype::kBf16, {scaled(out), scaled(in)}, TensorRole::kDense);
  }
  void norm(std::string const& name, std::int64_t size) {
    add(name, Dtype::kBf16, {scaled(size)}, TensorRole::kNorm);
  }
  void f32(std::string const& name, std::vector<std::int64_t> shape) {
    add(name, Dtype::kF32, std::move(shape), TensorRole::kDense);
  }
  void add(std::string const& name, Dtype dtype, std::vector<std::int64_t> shape, TensorRole role) {
    tensors.push_back({prefix_ + name, dtype, std::move(shape), role});
  }
  std::int64_t scaled(std::int64_t size) const {
    return size <= 128 ? size : std::max<std::int64_t>(128, size / scale_down_);
  }

  std::vector<V4Tensor> tensors;

 private:
  std::string prefix_;
  int scale_down_;
};

int compress_ratio(int layer) { return layer < 2 ? 0 : layer % 2 == 0 ? 4 : 128; }

void add_attention(Builder& b, int layer) {
  b.fp8("attn.wq_a", kQueryRank, kHidden);
  b.fp8("attn.wq_b", kQueryOut, kQueryRank);
  b.fp8("attn.wkv", kHeadDim, kHidden);
  b.fp8("attn.wo_a", kOutputRank, kHidden);
  b.fp8("attn.wo_b", kHidden, kOutputRank);
  b.norm("attn.q_norm.weight", kQueryRank);
  b.norm("attn.kv_norm.weight", kHeadDim);
  b.f32("attn.attn_sink", {64});
  int const ratio = compress_ratio(layer);
  if (ratio == 0) return;
  std::int64_t const width = ratio == 4 ? 2 * kHeadDim : kHeadDim;
  b.bf16("attn.compressor.wkv.weight", width, kHidden);
  b.bf16("attn.compressor.wgate.weight", width, kHidden);
  b.norm("attn.compressor.norm.weight", kHeadDim);
  b.f32("attn.compressor.ape", {ratio, width});
  if (ratio != 4) return;
  b.fp8("attn.indexer.wq_b", kIndexerOut, kQueryRank);
  b.bf16("attn.indexer.weights_proj.weight", 64, kHidden);
  b.bf16("attn.indexer.compressor.wkv.weight", 2 * kIndexerDim, kHidden);
  b.bf16("attn.indexer.compressor.wgate.weight", 2 * kIndexerDim, kHidden);
  b.norm("attn.indexer.compressor.norm.weight", kIndexerDim);
  b.f32("attn.indexer.compressor.ape", {ratio, 2 * kIndexerDim});
}

void add_experts(Builder& b, V4SampleOptions const& options) {
  b.fp8("ffn.shared_experts.w1", kExpertDim, kHidden);
  b.fp8("ffn.shared_experts.w2", kHidden, kExpertDim);
  b.fp8("ffn.shared_experts.w3", kExpertDim, kHidden);
  for (int expert = 0; expert < (options.all_experts ? kExperts : 1); ++expert) {
    std::string const name = fmt::format("ffn.experts.{}.", expert);
    b.fp4(name + "w1", kExpertDim, kHidden);
    b.fp4(name + "w2", kHidden, kExpertDim);
    b.fp4(name + "w3", kExpertDim, kHidden);
  }
  b.add("ffn.gate.weight", Dtype::kBf16, {kExperts, b.scaled(kHidden)}, TensorRole::kDense);
  if (options.layer < 3) {
    b.add("ffn.gate.tid2eid", Dtype::kI64, {kVocabulary / options.scale_down, 6}, TensorRole::kTable);
  } else {
    b.f32("ffn.gate.bias", {kExperts});
  }
}

void fill_dense(V4Tensor const& tensor, std::uint64_t seed, std::span<std::byte> out) {
  Random random(seed);
  bool const norm = tensor.role == TensorRole::kNorm;
  auto const value = [&] { return norm ? 1.0f + 0.1f * random.normal() : 0.02f * random.heavy(); };
  if (tensor.dtype == Dtype::kBf16) {
    for (std::size_t i = 0; i + 2 <= out.size(); i += 2) {
      std::uint16_t const code = num::float_to_bf16(value());
      std::memcpy(out.data() + i, &code, 2);
    }
  } else if (tensor.dtype == Dtype::kF32) {
    for (std::size_t i = 0; i + 4 <= out.size(); i += 4) {
      float const x = value();
      std::memcpy(out.data() + i, &x, 4);
    }
  } else {
    for (std::size_t i = 0; i + 8 <= out.size(); i += 8) {
      std::int64_t const id = static_cast<std::int64_t>(random.below(kExperts));
      std::memcpy(out.data() + i, &id, 8);
    }
  }
}

}  // namespace

std::vector<V4Tensor> v4_layer_tensors(V4SampleOptions const& options) {
  if (options.layer < 0 || options.layer >= kV4Layers) {
    throw bad_argument("layer", fmt::format("{}", options.layer), "0 to 42");
  }
  if (std::popcount(static_cast<unsigned>(options.scale_down)) != 1 || options.scale_down > 8) {
    throw bad_argument("scale_down", fmt::format("{}", options.scale_down), "1, 2, 4 or 8");
  }
  Builder b(fmt::format("layers.{}.", options.layer), options.scale_down);
  b.norm("attn_norm.weight", kHidden);
  add_attention(b, options.layer);
  b.norm("ffn_norm.weight", kHidden);
  add_experts(b, options);
  for (char const* part : {"attn", "ffn"}) {
    b.f32(fmt::format("hc_{}_fn", part), {kHyperMix, kHyper * b.scaled(kHidden)});
    b.f32(fmt::format("hc_{}_base", part), {kHyperMix});
    b.f32(fmt::format("hc_{}_scale", part), {3});
  }
  return b.tensors;
}

std::int64_t bytes_of(V4Tensor const& tensor) {
  std::int64_t bytes = bits_of(tensor.dtype) / 8;
  for (std::int64_t extent : tensor.shape) bytes *= extent;
  return bytes;
}

std::int64_t write_v4_sample(std::filesystem::path const& path, V4SampleOptions const& options,
                             ThreadPool& pool) {
  std::vector<V4Tensor> const tensors = v4_layer_tensors(options);
  // Weights and scales are made together, whichever is written first; the other waits here.
  std::map<std::string, std::vector<std::byte>> waiting;
  std::vector<TensorToWrite> writes;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    V4Tensor const& tensor = tensors[i];
    total += bytes_of(tensor);
    TensorToWrite write{.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape, .fill = {}};
    std::uint64_t const seed = seed_of(tensor.name, options.seed);
    bool const is_weight = tensor.role == TensorRole::kFp8Weight || tensor.role == TensorRole::kFp4Weight;
    if (is_weight) {
      bool const fp4 = tensor.role == TensorRole::kFp4Weight;
      V4Tensor const& scale = tensors[i + 1];
      write.fill = [&waiting, &tensor, &scale, &pool, fp4, seed](std::span<std::byte> out) {
        std::vector<std::byte>& scales = waiting[scale.name];
        scales.resize(static_cast<std::size_t>(bytes_of(scale)));
        Quantisation const how =
            fp4 ? Quantisation{Dtype::kE2m1, 1, 32} : Quantisation{Dtype::kE4m3, 128, 128};
        fill_quantised(how, tensor.shape[0], tensor.shape[1] * (fp4 ? 2 : 1), 0.02f, seed, out, scales, pool);
      };
    } else if (tensor.role == TensorRole::kFp8Scale || tensor.role == TensorRole::kFp4Scale) {
      write.fill = [&waiting, &tensor](std::span<std::byte> out) {
        auto const found = waiting.find(tensor.name);
        DW_CHECK(found != waiting.end(), kInternal, "{} is written before its weight", tensor.name);
        std::memcpy(out.data(), found->second.data(), out.size());
        waiting.erase(found);
      };
    } else {
      write.fill = [&tensor, seed](std::span<std::byte> out) { fill_dense(tensor, seed, out); };
    }
    writes.push_back(std::move(write));
  }
  write_safetensors(path, writes,
                    {{"format", "pt"},
                     {"generator", fmt::format("deepwell sample, layer {}, scale-down {}, seed {}",
                                               options.layer, options.scale_down, options.seed)}});
  return total;
}

}  // namespace deepwell

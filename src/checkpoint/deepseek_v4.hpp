// The tensors of DeepSeek-V4-Flash's checkpoint: names, element types, shapes, and what each is for; and a generated sample.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "deepwell/common.h"

namespace deepwell {

enum class TensorRole {
  kFp8Weight,  // e4m3 [out, in]; its scale: one byte per 128 x 128
  kFp8Scale,
  kFp4Weight,  // packed e2m1 stored as I8 [out, in / 2], low nibble the even element; its scale: one byte per 1 x 32
  kFp4Scale,
  kDense,  // bf16 or f32
  kNorm,   // bf16, about 1
  kTable,  // i64 expert ids
};

struct V4Tensor {
  std::string name;
  Dtype dtype = Dtype::kBf16;
  std::vector<std::int64_t> shape;
  TensorRole role = TensorRole::kDense;
};

struct V4SampleOptions {
  int layer =
      2;  // 0..42; even ones from 2 compress by 4 and have an indexer, odd ones from 3 compress by 128
  bool all_experts = false;  // all 256 routed experts, else one
  int scale_down = 1;        // 1, 2, 4 or 8: divides the sizes of the linear layers, none below 128
  std::uint64_t seed = 0;
};

inline constexpr int kV4Layers = 43;
inline constexpr int kV4OutputGroups = 8;  // groups of wo_a

/// The tensors of one layer in a fixed order; each scale follows its weight. Throws Error (kBadArgument).
std::vector<V4Tensor> v4_layer_tensors(V4SampleOptions const& options);

/// Bytes of a tensor's data.
std::int64_t bytes_of(V4Tensor const& tensor);

/// Writes a safetensors file of `v4_layer_tensors(options)` with generated values. Returns the bytes of tensor data.
std::int64_t write_v4_sample(std::filesystem::path const& path, V4SampleOptions const& options,
                             ThreadPool& pool);

}  // namespace deepwell

// The tensors of a checkpoint that the library has operations for, as cases with those weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "check/case.hpp"
#include "checkpoint/safetensors.hpp"

namespace deepwell::check {

/// One linear layer, or the part of it that one of `tp` ranks holds.
struct ModelCase {
  Case what;
  StoredTensor const* weight = nullptr;
  StoredTensor const* scale = nullptr;
  std::int64_t first_row = 0, first_k = 0;  // of the part

  /// Codes and scale bytes of the part, densely.
  struct Weights {
    std::vector<std::byte> codes, scales;
  };
  Weights load() const;
};

/// A weight that looks like one of ours but is served by no operation, and why.
struct SkippedTensor {
  std::string name, reason;
};

struct ModelCases {
  std::vector<ModelCase> cases;
  std::vector<SkippedTensor> skipped;
};

/// FP8 linears (scale bytes per 128 x 128), FP4 experts (per 1 x 32) and wo_a as the einsum of 8 groups. With tp 2, 4 or 8,
/// wq_b, wo_a and indexer.wq_b are split along their rows and wo_b along k, first and last rank. Throws Error
/// (kBadArgument) for another tp. `m` tokens of activations.
ModelCases find_model_cases(SafetensorsFile const& file, int tp, std::int64_t m);

}  // namespace deepwell::check

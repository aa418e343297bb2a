// The sizes of a DeepSeek-V4 model that kernels depend on, and reading them from a checkpoint's config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace deepwell {

// X(name in config.json and here, value of V4-Flash)
#define DW_MODEL_SIZES(X)        \
  X(hidden_size, 4096)           \
  X(num_attention_heads, 64)     \
  X(head_dim, 512)               \
  X(q_lora_rank, 1024)           \
  X(o_groups, 8)                 \
  X(o_lora_rank, 1024)           \
  X(index_n_heads, 64)           \
  X(index_head_dim, 128)         \
  X(index_topk, 512)             \
  X(n_routed_experts, 256)       \
  X(n_shared_experts, 1)         \
  X(num_experts_per_tok, 6)      \
  X(moe_intermediate_size, 2048) \
  X(hc_mult, 4)

/// As made: V4-Flash.
struct ModelSizes {
#define DW_FIELD(name, value) std::int64_t name = value;
  DW_MODEL_SIZES(DW_FIELD)
#undef DW_FIELD
  bool fp4_experts = true;  // expert_dtype fp4; else fp8
  bool operator==(ModelSizes const&) const = default;
};

/// Reads the text of a config.json, or its part "text_config". Every size has to be there. Fields that say that the checkpoint
/// is of another kind (model_type, expert_dtype, quantization_config) are refused. Throws Error kBadArgument naming `prefix`
/// and the field.
ModelSizes parse_model_sizes(std::string_view config, std::string_view prefix);

/// The same from a file, or from config.json in a folder.
ModelSizes read_model_sizes(std::filesystem::path const& path);

/// Throws Error kBadArgument naming `prefix` and the field for sizes that no model has.
void check_model_sizes(ModelSizes const& sizes, std::string_view prefix);

/// Throws Error kBadArgument ("tp") unless the model can be split over `tp` ranks.
void check_tp(ModelSizes const& sizes, int tp);

}  // namespace deepwell

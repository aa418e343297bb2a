// config.json -> sizes. What is missing or odd is an error that names the field.
#include "ops/startup/model_sizes.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/file.hpp"

namespace deepwell {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();

std::string text_of(Json const& value) {
  if (value.is_object()) return "an object";
  // dump() recurses into what is nested.
  bool const numbers = value.is_array() && std::all_of(value.begin(), value.end(),
                                                       [](Json const& each) { return each.is_number(); });
  if (value.is_array() && !numbers) return "an array";
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80);
}

std::int64_t size_field(Json const& config, char const* name, std::string_view prefix) {
  auto const found = config.find(name);
  std::string field = fmt::format("{}{}", prefix, name);
  if (found == config.end()) throw bad_argument(std::move(field), "absent", "an integer of 1 or more");
  bool const fits = found->is_number_unsigned() && found->get<std::uint64_t>() >= 1 &&
                    found->get<std::uint64_t>() <= static_cast<std::uint64_t>(kLargest);
  if (!fits)
    throw bad_argument(std::move(field), text_of(*found), fmt::format("an integer from 1 to {}", kLargest));
  return found->get<std::int64_t>();
}

/// The value of a text that may be absent or null.
std::string optional_text(Json const& config, char const* name, std::string_view prefix,
                          char const* expected) {
  auto const found = config.find(name);
  if (found == config.end() || found->is_null()) return {};
  if (!found->is_string()) throw bad_argument(fmt::format("{}{}", prefix, name), text_of(*found), expected);
  return found->get<std::string>();
}

void check_kind(Json const& config, std::string_view prefix) {
  std::string const type = optional_text(config, "model_type", prefix, "deepseek_v4");
  if (!type.empty() && type != "deepseek_v4" && !type.starts_with("deepseek_v4_"))
    throw bad_argument(fmt::format("{}model_type", prefix), type, "deepseek_v4");
}

void check_quantisation(Json const& config, std::string_view prefix) {
  auto const found = config.find("quantization_config");
  if (found == config.end() || found->is_null()) return;
  std::string const inner = fmt::format("{}quantization_config.", prefix);
  if (!found->is_object())
    throw bad_argument(inner.substr(0, inner.size() - 1), text_of(*found), "an object");
  std::string const method = optional_text(*found, "quant_method", inner, "fp8");
  if (!method.empty() && method.find("fp8") == std::string::npos)
    throw bad_argument(inner + "quant_method", method, "fp8");
  std::string const format = optional_text(*found, "scale_fmt", inner, "ue8m0");
  if (!format.empty() && format != "ue8m0") throw bad_argument(inner + "scale_fmt", format, "ue8m0");
  auto const block = found->find("weight_block_size");
  if (block != found->end() && !block->is_null() && *block != Json::array({128, 128}))
    throw bad_argument(inner + "weight_block_size", text_of(*block), "[128,128]");
}

ModelSizes sizes_of(Json const& config, std::string_view prefix) {
  check_kind(config, prefix);
  check_quantisation(config, prefix);
  ModelSizes sizes;
#define DW_READ(name, value) sizes.name = size_field(config, #name, prefix);
  DW_MODEL_SIZES(DW_READ)
#undef DW_READ
  std::string const experts = optional_text(config, "expert_dtype", prefix, "fp4 or fp8");
  if (!experts.empty() && experts != "fp4" && experts != "fp8")
    throw bad_argument(fmt::format("{}expert_dtype", prefix), experts, "fp4 or fp8");
  sizes.fp4_experts = experts != "fp8";
  check_model_sizes(sizes, prefix);
  return sizes;
}

}  // namespace

ModelSizes parse_model_sizes(std::string_view config, std::string_view prefix) {
  std::string const whole(prefix.empty() ? "config" : prefix.substr(0, prefix.find_last_not_of(".: ") + 1));
  Json json;
  try {
    json = Json::parse(config);
  } catch (Json::exception const& error) {
    throw bad_argument(whole, error.what(), "the JSON text of a config.json");
  }
  if (!json.is_object()) throw bad_argument(whole, text_of(json), "a JSON object");
  auto const text = json.find("text_config");
  bool const inside = !json.contains("hidden_size") && text != json.end() && text->is_object();
  return inside ? sizes_of(*text, fmt::format("{}text_config.", prefix)) : sizes_of(json, prefix);
}

ModelSizes read_model_sizes(fs::path const& path) {
  std::error_code ignored;
  fs::path const file = fs::is_directory(path, ignored) ? path / "config.json" : path;
  std::string text;
  try {
    text = read_text_file(file);
  } catch (std::system_error const& error) {
    throw bad_argument(file.string(), error.code().message(),
                       "a model's config.json, or the folder that holds it");
  }
  return parse_model_sizes(text, file.string() + ": ");
}

void check_model_sizes(ModelSizes const& sizes, std::string_view prefix) {
#define DW_CHECK_SIZE(name, value)                                                     \
  if (sizes.name < 1 || sizes.name > kLargest) {                                       \
    throw bad_argument(fmt::format("{}" #name, prefix), fmt::format("{}", sizes.name), \
                       fmt::format("an integer from 1 to {}", kLargest));              \
  }
  DW_MODEL_SIZES(DW_CHECK_SIZE)
#undef DW_CHECK_SIZE
  if (sizes.num_attention_heads % sizes.o_groups != 0) {
    throw bad_argument(fmt::format("{}o_groups", prefix), fmt::format("{}", sizes.o_groups),
                       fmt::format("a divisor of num_attention_heads, {}", sizes.num_attention_heads));
  }
  if (sizes.num_experts_per_tok > sizes.n_routed_experts) {
    throw bad_argument(fmt::format("{}num_experts_per_tok", prefix),
                       fmt::format("{}", sizes.num_experts_per_tok),
                       fmt::format("at most n_routed_experts, {}", sizes.n_routed_experts));
  }
}

void check_tp(ModelSizes const& sizes, int tp) {
  bool const splits = tp >= 1 && sizes.num_attention_heads % tp == 0 && sizes.o_groups % tp == 0 &&
                      sizes.moe_intermediate_size % tp == 0;
  if (splits) return;
  throw bad_argument(
      "tp", fmt::format("{}", tp),
      fmt::format("a divisor of num_attention_heads {}, o_groups {} and moe_intermediate_size {}",
                  sizes.num_attention_heads, sizes.o_groups, sizes.moe_intermediate_size));
}

}  // namespace deepwell

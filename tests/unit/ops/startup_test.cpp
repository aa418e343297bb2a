// Starting up: sizes from a config, the set of a model's kernels, and that after the warm-up its calls build and load nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/file.hpp"
#include "base/options.hpp"
#include "ops/einsum/einsum.hpp"
#include "ops/gemm/grouped.hpp"
#include "ops/hc_prenorm/hc_prenorm.hpp"
#include "ops/layout/layout.hpp"
#include "ops/startup/kernel_set.hpp"
#include "unit/jit/fake_compiler.hpp"
#include "unit/ops/code_backend.hpp"

namespace deepwell {
namespace {
namespace fs = std::filesystem;

constexpr char const* kFlash = R"({
  "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "hidden_size": 4096, "num_attention_heads": 64,
  "head_dim": 512, "q_lora_rank": 1024, "o_groups": 8, "o_lora_rank": 1024, "index_n_heads": 64, "index_head_dim": 128,
  "index_topk": 512, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 6, "moe_intermediate_size": 2048,
  "hc_mult": 4, "expert_dtype": "fp4", "rope_theta": 10000.0, "sliding_window": null,
  "quantization_config": {"quant_method": "fp8", "scale_fmt": "ue8m0", "weight_block_size": [128, 128]}})";

/// kFlash with `from` replaced.
std::string changed(std::string_view from, std::string_view to) {
  std::string text = kFlash;
  std::size_t const at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

Error error_of(std::string const& config) {
  try {
    parse_model_sizes(config, "model_config.");
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    return error;
  }
  ADD_FAILURE() << "no error for " << config.substr(0, 300);
  return Error(ErrorCode::kInternal, "none");
}

TEST(ModelSizesTest, OfVFourFlash) {
  EXPECT_EQ(parse_model_sizes(kFlash, ""), ModelSizes{});
  EXPECT_EQ(parse_model_sizes(fmt::format("{{\"text_config\": {}, \"vision\": {{}}}}", kFlash), ""),
            ModelSizes{});
  ModelSizes const pro = parse_model_sizes(changed("\"hidden_size\": 4096", "\"hidden_size\": 7168"), "");
  EXPECT_EQ(pro.hidden_size, 7168);
  EXPECT_FALSE(
      parse_model_sizes(changed("\"expert_dtype\": \"fp4\"", "\"expert_dtype\": \"fp8\""), "").fp4_experts);
  EXPECT_TRUE(parse_model_sizes(changed("\"expert_dtype\": \"fp4\",", ""), "").fp4_experts);
}

TEST(ModelSizesTest, EveryFieldHasToBeThere){
#define DW_EXPECT(name, value)                                                                              \
  {                                                                                                         \
    Error const error = error_of(changed("\"" #name "\"", "\"another\""));                                  \
    EXPECT_EQ(error.argument(), "model_config." #name);                                                     \
    EXPECT_EQ(error.got(), "absent");                                                                       \
    for (char const* odd : {"0", "-1", "1.5", "4096.0", "\"4096\"", "null", "true", "[1]", "{}", "[]",      \
                            "1e400", "2147483648", "99999999999999999999"}) {                               \
      EXPECT_EQ(                                                                                            \
          error_of(changed(fmt::format("\"" #name "\": {}", value), fmt::format("\"" #name "\": {}", odd))) \
              .argument(),                                                                                  \
          std::string_view(odd) == "1e400" ? "model_config" : "model_config." #name)                        \
          << odd;                                                                                           \
    }                                                                                                       \
  }
    DW_MODEL_SIZES(DW_EXPECT)
#undef DW_EXPECT
}

TEST(ModelSizesTest, OtherModelsAreRefusedByTheFieldThatTells) {
  struct Case {
    char const *from, *to, *argument;
  };
  Case const cases[] = {
      {"\"deepseek_v4\"", "\"deepseek_v41\"", "model_config.model_type"},
      {"\"deepseek_v4\"", "\"llama\"", "model_config.model_type"},
      {"\"deepseek_v4\"", "4", "model_config.model_type"},
      {"\"fp4\"", "\"int4\"", "model_config.expert_dtype"},
      {"\"quant_method\": \"fp8\"", "\"quant_method\": \"awq\"",
       "model_config.quantization_config.quant_method"},
      {"[128, 128]", "[32, 32]", "model_config.quantization_config.weight_block_size"},
      {"[128, 128]", "128", "model_config.quantization_config.weight_block_size"},
      {"\"ue8m0\"", "\"float\"", "model_config.quantization_config.scale_fmt"},
      {"\"o_groups\": 8", "\"o_groups\": 7", "model_config.o_groups"},
      {"\"num_experts_per_tok\": 6", "\"num_experts_per_tok\": 600", "model_config.num_experts_per_tok"},
  };
  for (Case const& each : cases)
    EXPECT_EQ(error_of(changed(each.from, each.to)).argument(), each.argument) << each.to;
  for (std::string const& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("7"), std::string("\"\xff\""),
        std::string(100000, '['), std::string("{\"a\":") + std::string(50000, '[')}) {
    EXPECT_EQ(error_of(text).argument(), "model_config") << text.substr(0, 20);
  }
  EXPECT_EQ(error_of("{\"text_config\": {\"text_config\": {}}}").argument(),
            "model_config.text_config.hidden_size");
}

TEST(ModelSizesTest, FromAFileOrItsFolder) {
  TemporaryFolder const folder;
  write_new_file(folder.path() / "config.json", kFlash, 0600, false);
  EXPECT_EQ(read_model_sizes(folder.path()), ModelSizes{});
  EXPECT_EQ(read_model_sizes(folder.path() / "config.json"), ModelSizes{});
  for (fs::path const& path : {folder.path() / "none", fs::path("/")}) {
    try {
      read_model_sizes(path);
      FAIL() << "no error";
    } catch (Error const& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos);
    }
  }
  write_new_file(folder.path() / "other.json", "{}", 0600, false);
  try {
    read_model_sizes(folder.path() / "other.json");
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_NE(error.argument().find("other.json: hidden_size"), std::string::npos) << error.argument();
  }
}

TEST(ModelSizesTest, RanksDivideTheModel) {
  for (int tp : {1, 2, 4, 8}) EXPECT_NO_THROW(check_tp(ModelSizes{}, tp)) << tp;
  for (int tp : {-1, 0, 3, 16, 1 << 30}) {
    try {
      check_tp(ModelSizes{}, tp);
      FAIL() << tp;
    } catch (Error const& error) {
      EXPECT_EQ(error.argument(), "tp");
      EXPECT_EQ(error.got(), std::to_string(tp));
    }
  }
}

TEST(KernelSet, HasEachKernelOnceInAFixedOrder) {
  for (Arch const& arch : all_archs()) {
    SCOPED_TRACE(arch.target);
    KernelItems const items = model_kernels(ModelSizes{}, 1, arch);
    std::set<std::uint64_t> keys;
    std::set<std::string> names, sources;
    for (KernelStore::Item const& item : items) {
      KernelRequest const kernel = item.describe();
      keys.insert(item.key);
      names.insert(kernel.name);
      sources.insert(kernel.source);
      EXPECT_EQ(kernel.name, kernel.entry);
    }
    EXPECT_EQ(keys.size(), items.size());
    EXPECT_EQ(names.size(), items.size());
    EXPECT_EQ(sources.size(), items.size());
    KernelItems const again = model_kernels(ModelSizes{}, 1, arch);
    ASSERT_EQ(again.size(), items.size());
    for (std::size_t i = 0; i < items.size(); ++i) EXPECT_EQ(again[i].key, items[i].key);
    EXPECT_GT(items.size(), 20u);
  }
}

TEST(KernelSet, TakesTheOptionThatKernelsDependOn) {
  Arch const& arch = arch_by_target("sm_120a");
  std::set<std::uint64_t> plain;
  for (KernelStore::Item const& item : model_kernels(ModelSizes{}, 1, arch)) plain.insert(item.key);
  ScopedOption const option(Option::kEveryReaderArrives, "1");
  std::size_t same = 0;
  for (KernelStore::Item const& item : model_kernels(ModelSizes{}, 1, arch)) same += plain.count(item.key);
  EXPECT_EQ(same, all_scale_layout_plans().size() + 1);  // and the schedule of paged logits
}

TEST(KernelSet, SizesThatNoKernelTakesAreNamed) {
  ModelSizes sizes;
  sizes.q_lora_rank = 1025;
  try {
    model_kernels(sizes, 1, arch_by_target("sm_120a"));
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_EQ(error.argument(), "attn.wq_b");
    EXPECT_NE(std::string(error.what()).find("k = 1025"), std::string::npos) << error.what();
  }
  sizes = {};
  sizes.hc_mult = 11;
  try {
    model_kernels(sizes, 1, arch_by_target("sm_120a"));
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_EQ(error.argument(), "hc_mult");
  }
  sizes.q_lora_rank = -1;
  EXPECT_THROW(model_kernels(sizes, 1, arch_by_target("sm_120a")), Error);
  EXPECT_THROW(model_kernels(ModelSizes{}, 3, arch_by_target("sm_120a")), Error);
}

TEST(KernelSet, LinearsHaveTheCheckpointsSizes) {
  struct Row {
    char const* name;
    std::int64_t n, k, groups;
  };
  auto const expect = [](int tp, std::initializer_list<Row> rows) {
    std::vector<ModelLinear> const linears = model_linears(ModelSizes{}, tp);
    for (Row const& row : rows) {
      auto const found = std::find_if(linears.begin(), linears.end(),
                                      [&](ModelLinear const& linear) { return linear.name == row.name; });
      ASSERT_NE(found, linears.end()) << row.name;
      EXPECT_EQ(found->n, row.n) << row.name;
      EXPECT_EQ(found->k, row.k) << row.name;
      EXPECT_EQ(found->groups, row.groups) << row.name;
      bool const expert = found->name.starts_with("ffn.experts");
      EXPECT_EQ(found->weight, expert ? Dtype::kE2m1 : Dtype::kE4m3) << row.name;
      EXPECT_EQ(found->experts, expert ? 256 : 0) << row.name;
    }
  };
  expect(1, {{"attn.wq_a", 1024, 4096, 1},
             {"attn.wkv", 512, 4096, 1},
             {"attn.wq_b", 32768, 1024, 1},
             {"attn.wo_a", 1024, 4096, 8},
             {"attn.wo_b", 4096, 8192, 1},
             {"attn.indexer.wq_b", 8192, 1024, 1},
             {"ffn.shared_experts.w1", 2048, 4096, 1},
             {"ffn.shared_experts.w2", 4096, 2048, 1},
             {"ffn.experts.w1|w3", 4096, 4096, 1},
             {"ffn.experts.w2", 4096, 2048, 1}});
  expect(8, {{"attn.wq_b", 4096, 1024, 1},
             {"attn.wo_a", 1024, 4096, 1},
             {"attn.wo_b", 4096, 1024, 1},
             {"ffn.shared_experts.w2", 4096, 256, 1},
             {"ffn.experts.w1|w3", 512, 4096, 1}});
  ModelSizes fp8;
  fp8.fp4_experts = false;
  EXPECT_EQ(model_linears(fp8, 1).back().weight, Dtype::kE4m3);
}

// ---- calls after the warm-up ----

constexpr DeviceAddress kA = 0x1000000000, kB = 0x2000000000, kScaleA = 0x3000000000, kScaleB = 0x4000000000,
                        kD = 0x5000000000, kLayout = 0x6000000000;

/// [rows, k] of a weight or of tokens; e2m1 as bytes.
TensorView operand(DeviceAddress data, Dtype dtype, std::int64_t rows, std::int64_t k) {
  bool const packed = dtype == Dtype::kE2m1;
  return contiguous_view(data, packed ? Dtype::kI8 : dtype, {rows, packed ? k / 2 : k});
}

TensorView packed_scales(DeviceAddress data, std::int64_t rows, std::int64_t k, int gran) {
  TensorView view = contiguous_view(data, Dtype::kI32, {rows, ceil_div(k, 4 * gran)});
  view.strides = {1, align_up(rows, 4)};
  return view;
}

TensorView scales(DeviceAddress data, ScaleKind kind, std::int64_t rows, std::int64_t k, int gran) {
  return kind == ScaleKind::kF32 ? contiguous_view(data, Dtype::kF32, {rows, ceil_div(k, gran)})
                                 : packed_scales(data, rows, k, gran);
}

/// The same with an axis in front, whose pieces lie behind each other.
TensorView with_groups(TensorView const& view, std::int64_t groups) {
  TensorView out = view;
  out.rank = view.rank + 1;
  std::int64_t distance = 1;
  for (int i = 0; i < view.rank; ++i) {
    out.shape[i + 1] = view.shape[i];
    out.strides[i + 1] = view.strides[i];
    distance = std::max(distance, view.shape[i] * view.strides[i]);
  }
  out.shape[0] = groups;
  out.strides[0] = align_up(distance, 4);
  return out;
}

/// [groups, rows, k] -> [rows, groups, k].
TensorView tokens_first(TensorView view) {
  std::swap(view.shape[0], view.shape[1]);
  std::swap(view.strides[0], view.strides[1]);
  return view;
}

void call_linear(Context& context, ModelLinear const& linear, GemmShape const& shape, std::int64_t m) {
  int const b_gran = shape.b_gran_k;
  TensorView const a = operand(kA, Dtype::kE4m3, m, linear.k),
                   b = operand(kB, linear.weight, linear.n, linear.k);
  TensorView const scale_a = scales(kScaleA, shape.a_scale, m, linear.k, 128);
  TensorView const scale_b = scales(kScaleB, shape.b_scale, linear.n, linear.k, b_gran);
  TensorView const d = contiguous_view(kD, Dtype::kBf16, {m, linear.n});
  if (linear.name == "attn.wo_a") {
    EinsumCall call;
    call.a = tokens_first(with_groups(a, linear.groups));
    call.scale_a = tokens_first(with_groups(scale_a, linear.groups));
    call.b = with_groups(b, linear.groups);
    call.scale_b = with_groups(scale_b, linear.groups);
    call.d = contiguous_view(kD, Dtype::kBf16, {m, linear.groups, linear.n});
    call.recipe = {1, 1, 128};
    fp8_einsum(context, "bhr,hdr->bhd", call);
    return;
  }
  GemmCall call;
  call.a = a, call.scale_a = scale_a, call.b = b, call.scale_b = scale_b, call.d = d;
  call.recipe_a = {1, 128};
  call.recipe_b = {1, b_gran};
  fp8_fp4_gemm_nt(context, call);
}

void call_experts(Context& context, ModelLinear const& linear, GemmShape const& shape, std::int64_t m,
                  std::int64_t alignment) {
  bool const masked = shape.grouping == Grouping::kMasked;
  GroupedGemmCall call;
  call.grouping = shape.grouping;
  call.a = operand(kA, Dtype::kE4m3, m, linear.k);
  call.scale_a = scales(kScaleA, shape.a_scale, m, linear.k, 128);
  call.b = with_groups(operand(kB, linear.weight, linear.n, linear.k), linear.experts);
  call.scale_b =
      with_groups(scales(kScaleB, shape.b_scale, linear.n, linear.k, shape.b_gran_k), linear.experts);
  call.d = contiguous_view(kD, Dtype::kBf16, {m, linear.n});
  if (masked) {
    call.a = with_groups(call.a, linear.experts);
    call.scale_a = with_groups(call.scale_a, linear.experts);
    call.d = with_groups(call.d, linear.experts);
    call.expected_rows = alignment;
  } else {
    call.alignment = alignment;
  }
  call.layout = contiguous_view(kLayout, Dtype::kI32, {masked ? linear.experts : m});
  call.recipe.recipe_a = {1, 128};
  call.recipe.recipe_b = {1, shape.b_gran_k};
  grouped_fp8_fp4_gemm_nt(context, call);
}

/// What serving code calls before the first product: scales of weights and of activations.
void call_layouts(Context& context, ModelLinear const& linear) {
  int const gran = linear.weight == Dtype::kE2m1 ? 32 : 128;
  int const gran_mn = gran == 128 ? 128 : 1;
  TensorView const scale = contiguous_view(
      kScaleA, Dtype::kF32, {linear.groups, ceil_div(linear.n, gran_mn), ceil_div(linear.k, gran)});
  ScaleLayoutCall call{.scale = scale,
                       .mn = linear.n,
                       .k = linear.k,
                       .gran_mn = gran_mn,
                       .gran_k = gran,
                       .num_groups = linear.groups};
  ScaleLayoutResult const result = required_scale_layout(call, context.arch());
  if (!result.unchanged) {
    TensorView out = result.view;
    out.data = kScaleB;
    transform_scale(context, call, out, nullptr);
  }
  for (ScaleLayoutResult (*layout)(TensorView const&) : {mn_major_scale_layout, packed_scale_layout}) {
    TensorView const rows = contiguous_view(kScaleA, Dtype::kF32, {7, ceil_div(linear.k, 128)});
    TensorView out = layout(rows).view;
    out.data = kScaleB;
    write_scale_layout(context, rows, out, nullptr);
  }
}

void call_hyperconnection(Context& context, std::int64_t m, std::int64_t k, std::int64_t splits) {
  constexpr std::int64_t kColumns = 24;
  HcPrenormCall call;
  call.a = contiguous_view(kA, Dtype::kBf16, {m, k});
  call.b = contiguous_view(kB, Dtype::kF32, {kColumns, k});
  call.d = contiguous_view(kD, Dtype::kF32, {splits, m, kColumns});
  call.sqr_sum = contiguous_view(kScaleA, Dtype::kF32, {splits, m});
  call.num_splits = splits;
  tf32_hc_prenorm_gemm(context, call);
}

class AfterWarmUp : public ::testing::TestWithParam<std::string> {
 protected:
  AfterWarmUp() {
    compiler_->info_.kind = "fake";
    ContextOptions options;
    options.kernels.cache_folders = (folder_.path() / "cache").string();
    options.kernels.use_compiler = compiler_;
    auto backend = std::make_unique<CodeBackend>(GetParam());
    backend_ = backend.get();
    context_ = std::make_unique<Context>(std::move(backend), std::move(options));
  }

  TemporaryFolder const folder_{"deepwell-startup-test-"};
  std::shared_ptr<jit::FakeCompiler> compiler_ = std::make_shared<jit::FakeCompiler>();
  CodeBackend* backend_;
  std::unique_ptr<Context> context_;
};

TEST_P(AfterWarmUp, NoCallOfTheModelBuildsOrLoadsAnything) {
  ScopedOption const late(Option::kAfterWarmup, "error");
  for (int tp : {1, 2, 4, 8}) {
    SCOPED_TRACE(tp);
    std::size_t seen = 0;
    KernelStore::BuildSummary const summary =
        warm_up(*context_, ModelSizes{}, tp, [&](KernelStore::BuildProgress const&) { return ++seen > 0; });
    EXPECT_EQ(seen, summary.kernels);
    EXPECT_EQ(summary.kernels, model_kernels(ModelSizes{}, tp, context_->arch()).size());
    EXPECT_EQ(tp == 1 ? summary.compiled : summary.in_memory,
              summary.kernels);  // sizes choose no other kernels

    KernelStore::Counts const before = context_->kernels().counts();
    std::size_t const images = backend_->images.size();
    int const compiles = compiler_->calls;
    // What serving code calls, and not what the set is made from.
    ScaleKind const of_weights = context_->arch().block_scaled_mma ? ScaleKind::kUe8m0 : ScaleKind::kF32;
    std::size_t calls = 0;
    for (ModelLinear const& linear : model_linears(ModelSizes{}, tp)) {
      GemmShape shape;
      shape.b_scale = of_weights;
      shape.b_gran_k = linear.weight == Dtype::kE2m1 ? 32 : 128;
      for (ScaleKind of_tokens : {ScaleKind::kUe8m0, ScaleKind::kF32}) {
        shape.a_scale = of_tokens;
        for (std::int64_t m : {1, 2, 8, 9, 16, 17, 32, 33, 64, 65, 127, 128, 300, 4096}) {
          SCOPED_TRACE(fmt::format("{} m {}", linear.name, m));
          ASSERT_NO_THROW(call_linear(*context_, linear, shape, m));
          ++calls;
          if (!linear.name.starts_with("ffn.experts")) continue;
          for (Grouping grouping : {Grouping::kContiguous, Grouping::kMasked}) {
            shape.grouping = grouping;
            for (std::int64_t alignment : {1, 8, 16, 24, 32, 64, 128}) {
              ASSERT_NO_THROW(call_experts(*context_, linear, shape, m, alignment));
              ++calls;
            }
          }
        }
      }
      ASSERT_NO_THROW(call_layouts(*context_, linear)) << linear.name;
    }
    for (std::int64_t m : {1, 8, 16, 17, 33, 64, 100, 128, 129, 300, 4096, 8192}) {
      for (std::int64_t k : {4096, 16384}) {
        for (std::int64_t splits : {1, 2, 16, 37, 64}) {
          SCOPED_TRACE(fmt::format("hyper-connection m {} k {} splits {}", m, k, splits));
          ASSERT_NO_THROW(call_hyperconnection(*context_, m, k, splits));
        }
      }
    }
    context_->kernels().wait();
    KernelStore::Counts const after = context_->kernels().counts();
    EXPECT_GT(calls, 500u);
    EXPECT_EQ(after.loaded, before.loaded);
    EXPECT_EQ(after.compiled, before.compiled);
    EXPECT_EQ(after.from_disk, before.from_disk);
    EXPECT_EQ(after.late, 0u);
    EXPECT_EQ(backend_->images.size(), images);
    EXPECT_EQ(compiler_->calls, compiles);
  }
}

TEST_P(AfterWarmUp, AnotherCallIsNamed) {
  CapturedLog const log;
  warm_up(*context_, ModelSizes{}, 1);
  GemmCall call;
  call.a = operand(kA, Dtype::kE4m3, 4, 256);
  call.b = operand(kB, Dtype::kE4m3, 64, 256);
  call.scale_a = packed_scales(kScaleA, 4, 256, 128);
  call.scale_b = packed_scales(kScaleB, 64, 256, 128);
  call.d = contiguous_view(kD, Dtype::kF32, {4, 64});  // FP32 is not what the model asks for
  call.recipe_a = call.recipe_b = {1, 128};
  fp8_fp4_gemm_nt(*context_, call);
  context_->kernels().wait();
  EXPECT_GE(context_->kernels().counts().late, 1u);
  EXPECT_EQ(log.count("is not part of the warm-up: compiled in"), context_->kernels().counts().late);
  EXPECT_EQ(log.count("during a call"), 1u);
}

TEST_P(AfterWarmUp, ABadOptionIsFoundOutFirst) {
  ScopedOption const late(Option::kAfterWarmup, "perhaps");
  EXPECT_THROW(warm_up(*context_, ModelSizes{}, 1), Error);
  EXPECT_EQ(compiler_->calls, 0);
}

INSTANTIATE_TEST_SUITE_P(Targets, AfterWarmUp,
                         ::testing::Values("null:sm_120a", "null:sm_121a", "null:sm_90a"),
                         [](auto const& info) { return info.param.substr(5); });

}  // namespace
}  // namespace deepwell

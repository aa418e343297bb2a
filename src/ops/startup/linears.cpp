// The products of a model with its weights: FP8 linears, o_proj, experts alone and in groups; and the layouts of their scales.
#include "base/options.hpp"
#include "ops/layout/layout.hpp"
#include "ops/startup/kernel_set.hpp"

namespace deepwell {

std::vector<ModelLinear> model_linears(ModelSizes const& sizes, int tp) {
  std::int64_t const queries = sizes.num_attention_heads * sizes.head_dim;
  std::int64_t const shared = sizes.moe_intermediate_size * sizes.n_shared_experts / tp;
  std::int64_t const expert = sizes.moe_intermediate_size / tp;
  Dtype const experts = sizes.fp4_experts ? Dtype::kE2m1 : Dtype::kE4m3;
  return {
      {.name = "attn.wq_a", .n = sizes.q_lora_rank, .k = sizes.hidden_size},
      {.name = "attn.wkv", .n = sizes.head_dim, .k = sizes.hidden_size},
      {.name = "attn.wq_a|wkv", .n = sizes.q_lora_rank + sizes.head_dim, .k = sizes.hidden_size},
      {.name = "attn.wq_b", .n = queries / tp, .k = sizes.q_lora_rank},
      {.name = "attn.wo_a",
       .n = sizes.o_lora_rank,
       .k = queries / sizes.o_groups,
       .groups = sizes.o_groups / tp},
      {.name = "attn.wo_b", .n = sizes.hidden_size, .k = sizes.o_groups * sizes.o_lora_rank / tp},
      {.name = "attn.indexer.wq_b", .n = sizes.index_n_heads * sizes.index_head_dim, .k = sizes.q_lora_rank},
      {.name = "ffn.shared_experts.w1", .n = shared, .k = sizes.hidden_size},
      {.name = "ffn.shared_experts.w1|w3", .n = 2 * shared, .k = sizes.hidden_size},
      {.name = "ffn.shared_experts.w2", .n = sizes.hidden_size, .k = shared},
      {.name = "mtp.e_proj", .n = sizes.hidden_size, .k = sizes.hidden_size},
      {.name = "ffn.experts.w1",
       .n = expert,
       .k = sizes.hidden_size,
       .weight = experts,
       .experts = sizes.n_routed_experts},
      {.name = "ffn.experts.w1|w3",
       .n = 2 * expert,
       .k = sizes.hidden_size,
       .weight = experts,
       .experts = sizes.n_routed_experts},
      {.name = "ffn.experts.w2",
       .n = sizes.hidden_size,
       .k = expert,
       .weight = experts,
       .experts = sizes.n_routed_experts},
  };
}

namespace {

/// Serving packs the scales of a; warm-ups and the first product of experts have them in FP32. Those of b are packed, or the
/// checkpoint's bytes; where the tensor cores apply no scales they stay FP32 too.
void add_scale_kinds(GemmShape shape, Arch const& arch, std::vector<GemmShape>& shapes) {
  for (ScaleKind b_scale : {ScaleKind::kUe8m0, ScaleKind::kF32}) {
    if (b_scale == ScaleKind::kF32 && arch.block_scaled_mma) continue;
    for (ScaleKind a_scale : {ScaleKind::kUe8m0, ScaleKind::kF32}) {
      shape.a_scale = a_scale;
      shape.b_scale = b_scale;
      shapes.push_back(shape);
    }
  }
}

}  // namespace

std::vector<GemmShape> linear_shapes(ModelLinear const& linear, Arch const& arch) {
  GemmShape shape{.m = 0, .n = linear.n, .k = linear.k, .batch = linear.groups};
  shape.b = linear.weight;
  shape.b_gran_k = linear.weight == Dtype::kE2m1 ? 32 : 128;
  std::vector<GemmShape> shapes;
  add_scale_kinds(shape, arch, shapes);
  if (linear.experts == 0) return shapes;
  shape.groups = linear.experts;
  shape.grouping = Grouping::kContiguous;
  add_scale_kinds(shape, arch, shapes);
  shape.grouping = Grouping::kMasked;
  shape.batch = linear.experts;
  add_scale_kinds(shape, arch, shapes);
  return shapes;
}

void add_linear_kernels(ModelSizes const& sizes, int tp, Arch const& arch, KernelItems& items) {
  bool const every_reader_arrives = option_flag(Option::kEveryReaderArrives);
  for (ModelLinear const& linear : model_linears(sizes, tp)) {
    for (GemmShape const& shape : linear_shapes(linear, arch)) {
      std::vector<GemmPlan> const plans = plans_for(shape, arch);
      if (plans.empty()) {
        GemmDecision const decision = choose_gemm(shape, arch);
        std::string const reason = decision.rejected.empty() ? "no kernel" : decision.rejected.front().reason;
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("{} [{}, {}] on {} with tp {}: {}", linear.name, linear.n, linear.k,
                                arch.target, tp, reason),
                    linear.name, fmt::format("n {} k {}", linear.n, linear.k), reason);
      }
      for (GemmPlan plan : plans) {
        plan.every_reader_arrives = every_reader_arrives;
        items.push_back(kernel_item(plan, arch));
      }
    }
  }
}

void add_scale_layout_kernels(ModelSizes const&, int, Arch const& arch, KernelItems& items) {
  for (ScaleLayoutPlan const& plan : all_scale_layout_plans()) items.push_back(kernel_item(plan, arch));
}

}  // namespace deepwell

// The set of kernels that a model needs, and warming it up: after that nothing is compiled or loaded while it serves.
#pragma once

#include <string>
#include <vector>

#include "ops/context.hpp"
#include "ops/gemm/gemm.hpp"
#include "ops/startup/model_sizes.hpp"

namespace deepwell {

using KernelItems = std::vector<KernelStore::Item>;

/// Adds what one operation needs for a rank of `tp`, for all numbers of tokens; an item may be added twice. Reads no device. The
/// table of these functions is in kernel_set.cpp.
using AddKernels = void (*)(ModelSizes const&, int tp, Arch const&, KernelItems&);

/// Every kernel of the model on one of `tp` ranks, each key once, in a fixed order. Throws Error kBadArgument ("tp") when the
/// model cannot be split so, kUnsupported when no kernel takes a size.
KernelItems model_kernels(ModelSizes const& sizes, int tp, Arch const& arch);

/// A weight of the model as the GEMMs of a rank see it. groups > 1, or wo_a: one product for each group, by fp8_einsum.
struct ModelLinear {
  std::string name;  // in the checkpoint; "a|b": one product with both
  std::int64_t n = 0, k = 0, groups = 1;
  Dtype weight = Dtype::kE4m3;  // or kE2m1, with a scale per row and 32 elements
  std::int64_t experts = 0;     // of a routed expert: how many there are
};
std::vector<ModelLinear> model_linears(ModelSizes const& sizes, int tp);
/// The combinations of scales with which serving code calls them on `arch`, without m.
std::vector<GemmShape> linear_shapes(ModelLinear const& linear, Arch const& arch);

/// Compiles and loads all kernels of the model, in parallel, on the calling thread and others. A later call that still needs a
/// kernel does what option DEEPWELL_AFTER_WARMUP says. `progress` as KernelStore::build_all.
KernelStore::BuildSummary warm_up(Context& context, ModelSizes const& sizes, int tp,
                                  KernelStore::ProgressFunction const& progress = {}, int threads = 0);

// ---- for the table ----

void add_linear_kernels(ModelSizes const& sizes, int tp, Arch const& arch, KernelItems& items);
void add_hc_prenorm_kernels(ModelSizes const& sizes, int tp, Arch const& arch, KernelItems& items);
void add_indexer_kernels(ModelSizes const& sizes, int tp, Arch const& arch, KernelItems& items);
void add_scale_layout_kernels(ModelSizes const& sizes, int tp, Arch const& arch, KernelItems& items);

}  // namespace deepwell

// The table of what adds kernels to a model's set, and the warm-up.
#include "ops/startup/kernel_set.hpp"

#include <unordered_set>

namespace deepwell {
namespace {

/// One line for each operation that a model's layers call.
constexpr AddKernels kTable[] = {
    add_linear_kernels,
    add_hc_prenorm_kernels,
    add_indexer_kernels,
    add_scale_layout_kernels,
};

}  // namespace

KernelItems model_kernels(ModelSizes const& sizes, int tp, Arch const& arch) {
  check_model_sizes(sizes, "");
  check_tp(sizes, tp);
  KernelItems items;
  for (AddKernels add : kTable) add(sizes, tp, arch, items);
  std::unordered_set<std::uint64_t> seen;
  std::erase_if(items, [&](KernelStore::Item const& item) { return !seen.insert(item.key).second; });
  return items;
}

KernelStore::BuildSummary warm_up(Context& context, ModelSizes const& sizes, int tp,
                                  KernelStore::ProgressFunction const& progress, int threads) {
  LateBuilds const late = late_builds_option();
  KernelStore::BuildSummary const summary =
      context.kernels().build_all(model_kernels(sizes, tp, context.arch()), threads, progress);
  context.kernels().after_warm_up(late);
  return summary;
}

}  // namespace deepwell

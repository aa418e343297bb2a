// The product in front of a model's hyper-connections.
#include "base/options.hpp"
#include "ops/hc_prenorm/hc_prenorm.hpp"
#include "ops/startup/kernel_set.hpp"

namespace deepwell {

void add_hc_prenorm_kernels(ModelSizes const& sizes, int, Arch const& arch, KernelItems& items) {
  // For each of the streams: a weight before, a weight after, and one to each stream.
  std::int64_t const columns = sizes.hc_mult * (sizes.hc_mult + 2);
  std::vector<HcPrenormPlan> plans = hc_prenorm_plans(columns, arch);
  if (plans.empty()) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("hc_mult {} on {}: no kernel has {} columns", sizes.hc_mult, arch.target, columns),
        "hc_mult", fmt::format("{}", sizes.hc_mult), fmt::format("at most {} columns", kHcMaxCols));
  }
  for (HcPrenormPlan& plan : plans) {
    plan.every_reader_arrives = option_flag(Option::kEveryReaderArrives);
    items.push_back(kernel_item(plan, arch));
  }
}

}  // namespace deepwell

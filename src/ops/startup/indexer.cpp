// The indexer's logits: ragged for prefill, paged for decode, and the schedule of the paged ones.
#include "base/options.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"
#include "ops/startup/kernel_set.hpp"

namespace deepwell {
namespace {

constexpr std::int64_t kPage = 64;  // states of a page: blocks of 256 tokens, one state for four
constexpr std::int64_t kMostNewTokens = 8;

}  // namespace

void add_indexer_kernels(ModelSizes const& sizes, int, Arch const& arch, KernelItems& items) {
  items.push_back(mqa_schedule_item());
  for (bool const paged : {false, true}) {
    for (std::int64_t rows = 1; rows <= kMostNewTokens; ++rows) {
      MqaShape const shape{.paged = paged,
                           .rows = rows,
                           .heads = sizes.index_n_heads,
                           .dim = sizes.index_head_dim,
                           .page = kPage};
      Verdict const verdict = accepts_mqa(shape, arch);
      if (!verdict.accepted()) {
        throw Error(
            ErrorCode::kUnsupported, fmt::format("the indexer on {}: {}", arch.target, verdict.reason),
            "index_n_heads, index_head_dim", fmt::format("{}, {}", sizes.index_n_heads, sizes.index_head_dim),
            "1 to 64 heads of dimension 32, 64 or 128");
      }
      MqaPlan plan = mqa_plan(shape, arch);
      plan.every_reader_arrives = option_flag(Option::kEveryReaderArrives);
      items.push_back(kernel_item(plan, arch));
    }
  }
}

}  // namespace deepwell

// The GEMM call: check, early outs, choose (remembered per shape), launch.
#include "ops/gemm/gemm.hpp"

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <unordered_set>

#include "base/options.hpp"

namespace deepwell {
namespace {

std::uint64_t mix(std::uint64_t hash, std::int64_t value) {
  hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

struct ShapeHash {
  std::size_t operator()(GemmShape const& s) const {
    std::uint64_t hash = mix(mix(mix(mix(1, s.m), s.n), s.k), s.batch);
    hash = mix(hash, static_cast<int>(s.a) | static_cast<int>(s.b) << 8 | static_cast<int>(s.d) << 16 |
                         static_cast<int>(s.a_scale) << 24 | static_cast<int>(s.b_scale) << 25);
    hash = mix(mix(hash, s.groups), s.group_rows);
    return mix(hash, s.a_gran_k | s.b_gran_k << 12 | static_cast<int>(s.grouping) << 24);
  }
};

/// What a context remembers about GEMMs. Thread-safe.
struct GemmState {
  bool const every_reader_arrives = option_flag(Option::kEveryReaderArrives);
  bool const background_builds = option_flag(Option::kBackgroundBuilds);
  std::shared_mutex mutex;
  std::unordered_map<GemmShape, std::unique_ptr<GemmCandidate const>, ShapeHash> chosen;
  std::unordered_set<GemmShape, ShapeHash> warmed;  // shapes with m = 0
};

GemmCandidate best_candidate(GemmShape const& shape, Context& context, GemmState const& state) {
  GemmDecision decision = choose_gemm(shape, context.arch());
  if (decision.ranked.empty()) {
    std::string reasons;
    for (GemmRejection const& rejection : decision.rejected) {
      reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", rejection.kernel, rejection.reason);
    }
    throw Error(ErrorCode::kUnsupported, fmt::format("no GEMM kernel accepts this problem: {}", reasons),
                "problem", fmt::format("m {} n {} k {} batch {}", shape.m, shape.n, shape.k, shape.batch),
                reasons);
  }
  decision.ranked.front().plan.every_reader_arrives = state.every_reader_arrives;
  return std::move(decision.ranked.front());
}

/// The reference holds as long as the context.
GemmCandidate const& candidate_for(GemmShape const& shape, Context& context, GemmState& state) {
  {
    std::shared_lock const lock(state.mutex);
    if (auto const found = state.chosen.find(shape); found != state.chosen.end()) return *found->second;
  }
  auto candidate = std::make_unique<GemmCandidate const>(best_candidate(shape, context, state));
  std::unique_lock const lock(state.mutex);
  return *state.chosen.try_emplace(shape, std::move(candidate)).first->second;
}

void warm_once(GemmShape shape, Context& context, GemmState& state) {
  shape.m = 0;
  {
    std::unique_lock const lock(state.mutex);
    if (!state.warmed.insert(shape).second) return;
  }
  warm_gemm(context, shape);
}

}  // namespace

bool every_reader_arrives(Context& context) { return context.state<GemmState>().every_reader_arrives; }

void run_gemm(Context& context, GemmProblem const& problem, Stream stream) {
  if (problem.m == 0 || problem.n == 0 || problem.batch == 0) return;
  GemmState& state = context.state<GemmState>();
  GemmShape const shape = shape_of(problem);
  GemmCandidate const& candidate = candidate_for(shape, context, state);
  bool const known = context.kernels().find(plan_key(candidate.plan)) != nullptr;
  // k == 0 needs no early out: the kernel adds nothing to c, or to zeros.
  launch_gemm(context, problem, candidate, stream);
  if (!known && state.background_builds && context.backend().needs_code() &&
      context.backend().capture_id(stream) == 0) {
    warm_once(shape, context, state);
  }
}

void fp8_fp4_gemm_nt(Context& context, GemmCall const& call) {
  run_gemm(context, check_gemm(call), call.stream);
}

}  // namespace deepwell

// The hyper-connections' product: check, early out, choose, launch.
#include "ops/hc_prenorm/hc_prenorm.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "base/options.hpp"
#include "ops/addresses.hpp"
#include "ops/gemm/checks.hpp"

namespace deepwell {
namespace {

using checks::Range;

void check_dtype(std::string_view name, TensorView const& view, Dtype wanted) {
  if (view.dtype != wanted)
    throw bad_argument(fmt::format("{}.dtype", name), name_of(view.dtype), name_of(wanted));
}

void check_k_major(std::string_view name, TensorView const& view) {
  if (view.elements() != 0 && view.shape[1] > 1 && view.strides[1] != 1) {
    throw bad_argument(fmt::format("{}.strides", name), describe(view), "a last stride of 1 (k-major)");
  }
}

void check_shape(std::string_view name, TensorView const& view, std::initializer_list<std::int64_t> wanted) {
  if (!std::equal(wanted.begin(), wanted.end(), view.shape.begin()))
    throw bad_argument(fmt::format("{}.shape", name), describe(view), checks::shape_text(wanted));
}

/// No two elements at one place: each axis, in the order of strides, steps over all that the smaller ones span.
void check_places(std::string_view name, TensorView const& view) {
  if (view.elements() == 0) return;
  std::vector<std::pair<std::int64_t, std::int64_t>> axes;  // stride, size
  for (int i = 0; i < view.rank; ++i) {
    if (view.shape[i] > 1) axes.emplace_back(view.strides[i], view.shape[i]);
  }
  std::sort(axes.begin(), axes.end());
  std::int64_t span = 1;
  for (auto const& [stride, size] : axes) {
    if (stride < span) {
      throw bad_argument(fmt::format("{}.strides", name), describe(view),
                         "elements that do not share their place");
    }
    span += stride * (size - 1);
  }
}

/// Whether TMA can read an operand; `row` is the bytes of one.
bool tma_reads(DeviceAddress data, std::int64_t rows, std::int64_t row, std::int64_t pitch) {
  return data % 16 == 0 && (rows == 1 || (pitch >= row && tma_stride(pitch)));
}

TensorMap encode(Backend& backend, DeviceAddress data, Dtype dtype, std::int64_t rows, std::int64_t k,
                 std::int64_t pitch, int box_rows) {
  int const bytes = bits_of(dtype) / 8;
  TensorMapSpec spec;
  spec.element = dtype == Dtype::kBf16 ? TensorMapSpec::Element::kBf16 : TensorMapSpec::Element::kF32;
  spec.swizzle = TensorMapSpec::Swizzle::k128B;
  spec.rank = 3;
  spec.base = data;
  spec.dims = {static_cast<std::uint64_t>(k), static_cast<std::uint64_t>(rows), 1};
  // The stride of an axis of size 1 is never used, but has to be a legal one.
  std::int64_t const unused = align_up(k * bytes, 16);
  spec.strides_bytes = {static_cast<std::uint64_t>(rows > 1 ? pitch : unused),
                        static_cast<std::uint64_t>(unused)};
  spec.box = {static_cast<std::uint32_t>(128 / bytes), static_cast<std::uint32_t>(box_rows), 1};
  return backend.encode(spec);
}

std::uint32_t grid_size(std::int64_t size, std::int64_t limit, char const* what) {
  DW_CHECK(size >= 1 && size <= limit, kUnsupported, "a grid of {} {}, the limit is {}", size, what, limit);
  return static_cast<std::uint32_t>(size);
}

KernelRequest kernel_request(HcPrenormPlan const& plan, Arch const& arch) {
  return {.name = plan_name(plan),
          .entry = plan_name(plan),
          .source = hc_prenorm_source(plan, arch),
          .dynamic_smem_bytes = static_cast<std::uint32_t>(smem_map(plan).total)};
}

/// What a context remembers. Thread-safe.
struct HcPrenormState {
  bool const every_reader_arrives = option_flag(Option::kEveryReaderArrives);
  bool const background_builds = option_flag(Option::kBackgroundBuilds);
  std::mutex mutex;
  std::unordered_set<int> warmed;  // tile columns
};

/// Builds the other tiles' kernels in the background, once for each number of columns.
void warm_once(Context& context, HcPrenormState& state, std::int64_t n) {
  std::vector<HcPrenormPlan> plans = hc_prenorm_plans(n, context.arch());
  {
    std::lock_guard const lock(state.mutex);
    if (plans.empty() || !state.warmed.insert(plans.front().tile_cols).second) return;
  }
  std::vector<KernelStore::Item> items;
  for (HcPrenormPlan& plan : plans) {
    plan.every_reader_arrives = state.every_reader_arrives;
    items.push_back(kernel_item(plan, context.arch()));
  }
  context.kernels().build_in_background(std::move(items));
}

HcPrenormCandidate best_candidate(Context& context, HcPrenormState const& state,
                                  HcPrenormShape const& shape) {
  std::vector<HcPrenormCandidate> const ranked = choose_hc_prenorm(shape, context.arch());
  if (ranked.empty()) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("no kernel for this product on {}", context.arch().target), "problem",
                fmt::format("m {} n {} k {} splits {}", shape.m, shape.n, shape.k, shape.splits),
                "a target with 99 KiB of shared memory a CTA");
  }
  HcPrenormCandidate best = ranked.front();
  best.plan.every_reader_arrives = state.every_reader_arrives;
  return best;
}

}  // namespace

HcPrenormProblem check_hc_prenorm(HcPrenormCall const& call) {
  if (call.num_splits && (*call.num_splits < 1 || *call.num_splits > kHcMaxSplits)) {
    throw bad_argument("num_splits", fmt::format("{}", *call.num_splits),
                       fmt::format("1 to {}, or none", kHcMaxSplits));
  }
  check_dtype("a", call.a, Dtype::kBf16);
  check_dtype("b", call.b, Dtype::kF32);
  check_dtype("d", call.d, Dtype::kF32);
  check_dtype("sqr_sum", call.sqr_sum, Dtype::kF32);
  bool const split = call.num_splits.has_value();
  Range const a = checks::check_view("a", call.a, 2), b = checks::check_view("b", call.b, 2);
  Range const d = checks::check_view("d", call.d, split ? 3 : 2);
  Range const sqr_sum = checks::check_view("sqr_sum", call.sqr_sum, split ? 2 : 1);
  HcPrenormProblem problem;
  problem.m = call.a.shape[0], problem.k = call.a.shape[1], problem.n = call.b.shape[0];
  problem.splits = call.num_splits.value_or(1);
  if (problem.k < 1 || problem.k > checks::kMaxSize)
    throw bad_argument("a.shape", describe(call.a), fmt::format("1 to {} columns", checks::kMaxSize));
  if (problem.m > checks::kMaxSize)
    throw bad_argument("a.shape", describe(call.a), fmt::format("at most {} rows", checks::kMaxSize));
  if (problem.n < 1 || problem.n > kHcMaxCols)
    throw bad_argument("b.shape", describe(call.b), fmt::format("1 to {} rows", kHcMaxCols));
  check_shape("b", call.b, {problem.n, problem.k});
  if (split) {
    check_shape("d", call.d, {problem.splits, problem.m, problem.n});
    check_shape("sqr_sum", call.sqr_sum, {problem.splits, problem.m});
  } else {
    check_shape("d", call.d, {problem.m, problem.n});
    check_shape("sqr_sum", call.sqr_sum, {problem.m});
  }
  check_k_major("a", call.a);
  check_k_major("b", call.b);
  checks::check_output("d", call.d);
  check_places("sqr_sum", call.sqr_sum);
  for (Range const& input : {a, b}) {
    checks::check_apart(d, input);
    checks::check_apart(sqr_sum, input);
  }
  checks::check_apart(sqr_sum, d);
  problem.a = call.a.data, problem.b = call.b.data;
  problem.d = call.d.data, problem.sqr_sum = call.sqr_sum.data;
  problem.a_pitch = problem.m > 1 ? 2 * call.a.strides[0] : 0;
  problem.b_pitch = problem.n > 1 ? 4 * call.b.strides[0] : 0;
  problem.d_split_stride = split ? call.d.strides[0] : 0;
  problem.d_pitch = call.d.strides[split ? 1 : 0];
  problem.sqr_sum_split_stride = split ? call.sqr_sum.strides[0] : 0;
  problem.sqr_sum_stride = call.sqr_sum.strides[split ? 1 : 0];
  return problem;
}

HcPrenormLaunch prepare_hc_prenorm(Backend& backend, HcPrenormProblem const& problem,
                                   HcPrenormCandidate const& candidate) {
  HcPrenormPlan const& plan = candidate.plan;
  std::int64_t const tiles = ceil_div(problem.m, plan.tile_rows);
  HcPrenormLaunch launch;
  HcPrenormArgs& args = launch.args;
  args.a = pointer<unsigned char const>(problem.a);
  args.b = pointer<unsigned char const>(problem.b);
  args.a_pitch = problem.a_pitch;
  args.b_pitch = problem.b_pitch;
  args.d = pointer<float>(problem.d);
  args.sqr_sum = pointer<float>(problem.sqr_sum);
  args.d_split_stride = problem.d_split_stride;
  args.d_pitch = problem.d_pitch;
  args.sqr_sum_split_stride = problem.sqr_sum_split_stride;
  args.sqr_sum_stride = problem.sqr_sum_stride;
  args.m = static_cast<int>(problem.m);
  args.n = static_cast<int>(problem.n);
  args.k = static_cast<int>(problem.k);
  args.splits = static_cast<int>(problem.splits);
  args.pieces = candidate.pieces;
  args.a_by_tma = tma_reads(problem.a, problem.m, 2 * problem.k, problem.a_pitch);
  args.b_by_tma = tma_reads(problem.b, problem.n, 4 * problem.k, problem.b_pitch);
  if (args.a_by_tma) {
    args.a_map =
        encode(backend, problem.a, Dtype::kBf16, problem.m, problem.k, problem.a_pitch, plan.tile_rows);
  }
  if (args.b_by_tma) {
    args.b_map =
        encode(backend, problem.b, Dtype::kF32, problem.n, problem.k, problem.b_pitch, plan.tile_cols);
  }
  launch.spec.grid = {grid_size(tiles, std::numeric_limits<int>::max(), "tiles"),
                      grid_size(problem.splits * candidate.pieces, 65535, "pieces"), 1};
  launch.spec.threads = static_cast<std::uint32_t>(threads(plan));
  launch.spec.dynamic_smem_bytes = static_cast<std::uint32_t>(smem_map(plan).total);
  if (candidate.pieces > 1) {
    launch.counters = static_cast<std::size_t>(tiles * problem.splits);
    launch.partial_bytes = launch.counters * static_cast<std::size_t>(candidate.pieces) *
                           static_cast<std::size_t>(plan.tile_rows * (plan.tile_cols + 1)) * sizeof(float);
  }
  return launch;
}

void launch_hc_prenorm(Context& context, HcPrenormProblem const& problem, HcPrenormCandidate const& candidate,
                       Stream stream, Allocator* workspace) {
  LoadedKernel const& kernel = context.kernels().get(
      plan_key(candidate.plan), stream, [&] { return kernel_request(candidate.plan, context.arch()); });
  HcPrenormLaunch launch = prepare_hc_prenorm(context.backend(), problem, candidate);
  launch.spec.stream = stream;
  Workspace const partials(context.allocator(workspace), launch.partial_bytes, stream);
  if (launch.counters > 0) {
    launch.args.partials = pointer<float>(partials.address());
    launch.args.counters = pointer<unsigned>(context.counters(launch.counters, stream));
  }
  context.launch(kernel, launch.spec, launch.args);
}

void tf32_hc_prenorm_gemm(Context& context, HcPrenormCall const& call) {
  HcPrenormProblem const problem = check_hc_prenorm(call);
  if (problem.m == 0) return;
  HcPrenormState& state = context.state<HcPrenormState>();
  HcPrenormCandidate const candidate = best_candidate(context, state, shape_of(problem));
  bool const known = context.kernels().find(plan_key(candidate.plan)) != nullptr;
  launch_hc_prenorm(context, problem, candidate, call.stream, call.workspace);
  if (!known && state.background_builds && context.backend().needs_code() &&
      context.backend().capture_id(call.stream) == 0) {
    warm_once(context, state, problem.n);
  }
}

KernelStore::Item kernel_item(HcPrenormPlan const& plan, Arch const& arch) {
  return {.key = plan_key(plan), .describe = [plan, arch] { return kernel_request(plan, arch); }};
}

}  // namespace deepwell

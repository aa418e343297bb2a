// Cases on devices.
#include "check/run.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <set>
#include <span>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "check/device.hpp"
#include "ops/einsum/einsum.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell::check {
namespace {

using ref::ScaleFormat;

GemmCall gemm_call(CaseData const& data, DeviceAddress a, DeviceAddress scale_a, DeviceAddress b,
                   DeviceAddress scale_b, DeviceAddress c, DeviceAddress d) {
  auto const matrix = [](OperandData const& o, DeviceAddress at) {
    return strided_view(at, stored_dtype(o.how.dtype), {o.rows, row_bytes(o)}, {o.pitch, 1});
  };
  auto const scales = [](OperandData const& o, DeviceAddress at) {
    return strided_view(at, scale_dtype(o.how.scale), {o.scale_rows, o.scale_cols},
                        {o.scale_row_stride, o.scale_k_stride});
  };
  Case const& what = data.what;
  GemmCall call;
  call.a = matrix(data.a, a), call.b = matrix(data.b, b);
  call.scale_a = scales(data.a, scale_a), call.scale_b = scales(data.b, scale_b);
  call.d = strided_view(d, what.d, {what.m, what.n}, {data.d_pitch, 1});
  if (what.c == CMode::kSame) call.c = call.d;
  if (what.c == CMode::kOther) call.c = strided_view(c, what.d, {what.m, what.n}, {data.c_pitch, 1});
  if (!what.default_recipe) {
    call.recipe_a = {what.a.gran_mn, what.a.gran_k};
    call.recipe_b = {what.b.gran_mn, what.b.gran_k};
  }
  return call;
}

/// b, h, d and r of the expression are m, batch, n and k here.
EinsumCall einsum_call(CaseData const& data, DeviceAddress a, DeviceAddress scale_a, DeviceAddress b,
                       DeviceAddress scale_b, DeviceAddress d) {
  Case const& what = data.what;
  DW_CHECK(what.c == CMode::kNone, kInternal, "einsum cases have no c");
  EinsumCall call;
  call.a = strided_view(a, stored_dtype(what.a.dtype), {what.m, what.batch, row_bytes(data.a)},
                        {data.a.pitch, data.a.batch_stride, 1});
  call.scale_a =
      strided_view(scale_a, scale_dtype(what.a.scale), {data.a.scale_rows, what.batch, data.a.scale_cols},
                   {data.a.scale_row_stride, data.a.scale_batch_stride, data.a.scale_k_stride});
  if (what.flat_weights) {
    call.b = strided_view(b, stored_dtype(what.b.dtype), {what.batch * what.n, row_bytes(data.b)},
                          {data.b.pitch, 1});
    call.scale_b =
        strided_view(scale_b, scale_dtype(what.b.scale), {what.batch * data.b.scale_rows, data.b.scale_cols},
                     {data.b.scale_row_stride, data.b.scale_k_stride});
  } else {
    call.b = strided_view(b, stored_dtype(what.b.dtype), {what.batch, what.n, row_bytes(data.b)},
                          {data.b.batch_stride, data.b.pitch, 1});
    call.scale_b =
        strided_view(scale_b, scale_dtype(what.b.scale), {what.batch, data.b.scale_rows, data.b.scale_cols},
                     {data.b.scale_batch_stride, data.b.scale_row_stride, data.b.scale_k_stride});
  }
  call.d = strided_view(d, what.d, {what.m, what.batch, what.n}, {data.d_pitch, data.d_batch_stride, 1});
  call.recipe = {1, what.b.gran_mn, 128};
  return call;
}

std::string short_name(GemmCandidate const& candidate) {
  GemmPlan const& p = candidate.plan;
  std::string out = fmt::format("{} {}x{}{} s{}", candidate.kernel, p.tile_rows, p.tile_cols,
                                p.swap ? " swap" : "", p.stages);
  if (candidate.splits > 1) out += fmt::format(" split {}", candidate.splits);
  return out;
}

GemmShape gemm_shape(Case const& what) {
  auto const kind = [](OperandCase const& o) {
    return o.scale == ScaleFormat::kF32 ? ScaleKind::kF32 : ScaleKind::kUe8m0;
  };
  return {.m = what.m,
          .n = what.n,
          .k = what.k,
          .batch = what.batch,
          .a = what.a.dtype,
          .b = what.b.dtype,
          .d = what.d,
          .a_scale = kind(what.a),
          .b_scale = kind(what.b),
          .a_gran_k = what.a.gran_k,
          .b_gran_k = what.b.gran_k};
}

/// The kernel that the library chooses for a case; none when it refuses the case.
std::optional<KernelStore::Item> kernel_of(Context& context, Case const& what) {
  GemmDecision const decision = choose_gemm(gemm_shape(what), context.arch());
  if (decision.ranked.empty()) return std::nullopt;
  GemmPlan plan = decision.ranked.front().plan;
  plan.every_reader_arrives = every_reader_arrives(context);
  return KernelStore::Item{.key = plan_key(plan), .describe = [plan, &context] {
                             return KernelRequest{
                                 .name = plan_name(plan),
                                 .entry = plan_name(plan),
                                 .source = gemm_source(plan, context.arch()),
                                 .dynamic_smem_bytes = static_cast<std::uint32_t>(smem_map(plan).total)};
                           }};
}

}  // namespace

char const* name_of(Status status) {
  switch (status) {
    case Status::kPass: return "pass";
    case Status::kFail: return "fail";
    case Status::kError: return "error";
    case Status::kUnsupported: return "unsupported";
  }
  return "?";
}

Choice choose(Case const& what, Arch const& arch) {
  GemmDecision const decision = choose_gemm(gemm_shape(what), arch);
  Choice out;
  if (decision.ranked.empty()) {
    for (GemmRejection const& rejection : decision.rejected)
      out.refused +=
          fmt::format("{}{}: {}", out.refused.empty() ? "" : "; ", rejection.kernel, rejection.reason);
    if (out.refused.empty()) out.refused = "no kernel";
    return out;
  }
  GemmCandidate const& best = decision.ranked.front();
  out.kernel = short_name(best);
  out.swap = best.plan.swap;
  out.arithmetic =
      arithmetic_of(arch, what.a.dtype, what.a.scale, what.b.dtype, what.b.scale,
                    best.splits > 1 ? std::int64_t{best.k_tiles_per_split} * kTileK : 0, best.plan.warps_k);
  return out;
}

void build_kernels(Context& context, std::vector<Case> const& cases) {
  std::vector<KernelStore::Item> items;
  std::set<std::uint64_t> keys;
  for (Case const& what : cases) {
    std::optional<KernelStore::Item> item = kernel_of(context, what);
    if (item && keys.insert(item->key).second) items.push_back(std::move(*item));
  }
  context.kernels().build_in_background(std::move(items));
}

RunResult run_on_device(Context& context, CaseData const& data) {
  Backend& backend = context.backend();
  DeviceBuffer const a(backend, data.a.data), scale_a(backend, data.a.scale), b(backend, data.b.data),
      scale_b(backend, data.b.scale), c(backend, data.c), d(backend, data.d);
  backend.synchronize(nullptr);
  // Built and loaded before the clock starts.
  if (std::optional<KernelStore::Item> const kernel = kernel_of(context, data.what))
    context.kernels().get(kernel->key, nullptr, kernel->describe);
  auto const start = std::chrono::steady_clock::now();
  if (data.what.op == Op::kGemm) {
    GemmCall const call =
        gemm_call(data, a.tensor(), scale_a.tensor(), b.tensor(), scale_b.tensor(), c.tensor(), d.tensor());
    fp8_fp4_gemm_nt(context, call);
  } else {
    EinsumCall const call =
        einsum_call(data, a.tensor(), scale_a.tensor(), b.tensor(), scale_b.tensor(), d.tensor());
    fp8_einsum(context, "bhr,hdr->bhd", call);
  }
  backend.synchronize(nullptr);
  RunResult out;
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  out.after = d.read();
  check_unchanged(a, data.a.data, "a");
  check_unchanged(scale_a, data.a.scale, "a's scale");
  check_unchanged(b, data.b.data, "b");
  check_unchanged(scale_b, data.b.scale, "b's scale");
  check_unchanged(c, data.c, "c");
  return out;
}

Outcome under_schedules(Context& context, Schedules const& schedules, std::function<Outcome()> const& once) {
  bool const one_schedule = schedules.first == 0 && schedules.count == 1;
  std::uint64_t const runs = schedules.count * schedules.repeats;
  std::optional<std::string> bits;
  Outcome out;
  for (std::uint64_t run = 0; run < runs; ++run) {
    std::uint64_t const schedule = schedules.first + run / schedules.repeats;
    if (!one_schedule && !context.backend().set_schedule(schedule)) {
      throw bad_argument("schedules", fmt::format("{} from {} on", schedules.count, schedules.first),
                         fmt::format("the default one: {} is no emulated device", context.device().id));
    }
    out = once();
    if (out.status == Status::kPass && out.bits != bits.value_or(out.bits)) {
      out.status = Status::kFail;
      out.other_bits = true;
      out.reason = fmt::format("run {} of {} left other bits than the first", run + 1, runs);
    }
    bits = out.bits;
    if (out.failed() && !one_schedule) {
      out.schedule = schedule;
      out.reason = fmt::format("schedule {}: {}", schedule, out.reason);
    }
    if (out.status != Status::kPass) break;
  }
  if (!one_schedule) context.backend().set_schedule(0);
  return out;
}

Outcome run_case(Context& context, Case const& what, std::uint64_t seed, ThreadPool& pool,
                 GivenWeights const* weights, Schedules const& schedules) {
  Outcome out;
  try {
    Choice const choice = choose(what, context.arch());
    if (!choice.refused.empty()) {
      out.status = Status::kUnsupported;
      out.reason = choice.refused;
      return out;
    }
    out.kernel = choice.kernel;
    CaseData const data = make_data(what, seed, pool, weights);
    std::vector<double> const limits = bounds(data.a.view(), data.b.view(), what.batch, data.c_pointer(),
                                              data.exact, what.d, choice.arithmetic, pool);
    return under_schedules(context, schedules, [&] {
      Outcome one;
      one.kernel = choice.kernel;
      try {
        RunResult const result = run_on_device(context, data);
        one.bits = hash_hex(result.after);
        Verdict const verdict = judge(data, limits, result.after);
        one.status = verdict.pass ? Status::kPass : Status::kFail;
        one.error = verdict.error, one.bound = verdict.bound;
        one.seconds = result.seconds;
        one.reason = verdict.reason;
      } catch (std::exception const& error) {
        one.reason = error.what();
      }
      return one;
    });
  } catch (std::exception const& error) {
    out.status = Status::kError;
    out.reason = error.what();
  }
  return out;
}

}  // namespace deepwell::check

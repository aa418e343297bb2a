// The calls of the indexer's logits: check, choose, launch.
#include "ops/mqa_logits/mqa_logits.hpp"

#include <algorithm>
#include <limits>

#include "ops/addresses.hpp"
#include "ops/gemm/checks.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

constexpr std::int64_t kMaxKeys = std::numeric_limits<int>::max() - 2 * kMqaMostTile;

void check_dtype(char const* name, TensorView const& view, Dtype wanted) {
  if (view.dtype != wanted)
    throw bad_argument(fmt::format("{}.dtype", name), name_of(view.dtype), name_of(wanted));
}

void check_shape(char const* name, TensorView const& view, std::initializer_list<std::int64_t> wanted) {
  if (!std::equal(wanted.begin(), wanted.end(), view.shape.begin(), view.shape.begin() + view.rank))
    throw bad_argument(fmt::format("{}.shape", name), describe(view), checks::shape_text(wanted));
}

void check_last_stride(char const* name, TensorView const& view) {
  int const last = view.rank - 1;
  if (view.elements() > 0 && view.shape[last] > 1 && view.strides[last] != 1)
    throw bad_argument(fmt::format("{}.strides", name), describe(view), "a last stride of 1");
}

void check_contiguous(char const* name, TensorView const& view) {
  if (view.elements() > 0 && !view.contiguous())
    throw bad_argument(fmt::format("{}.strides", name), describe(view), "a contiguous tensor");
}

void check_most(char const* name, std::int64_t size) {
  if (size > kMaxKeys) throw bad_argument(name, fmt::format("{}", size), fmt::format("at most {}", kMaxKeys));
}

/// FP4 comes in bytes: that is a form without kernels rather than a mistake.
void check_query_dtype(TensorView const& q) {
  if (checks::is_e2m1_bytes(q.dtype)) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("q.dtype: got {}, expected e4m3: logits of FP4 queries have no kernels yet",
                            name_of(q.dtype)),
                "q.dtype", name_of(q.dtype), "e4m3");
  }
  check_dtype("q", q, Dtype::kE4m3);
}

void check_accepted(MqaShape const& shape, Arch const& arch, TensorView const& q) {
  Verdict const verdict = accepts_mqa(shape, arch);
  if (!verdict.accepted()) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("no kernel makes these logits: {} (q: {})", verdict.reason, describe(q)), "q",
                describe(q), verdict.reason);
  }
}

TensorMapSpec::Swizzle swizzle_of(std::int64_t row_bytes) {
  return row_bytes == 128  ? TensorMapSpec::Swizzle::k128B
         : row_bytes == 64 ? TensorMapSpec::Swizzle::k64B
                           : TensorMapSpec::Swizzle::k32B;
}

/// e4m3 [pages, rows, dim].
TensorMapSpec value_map(DeviceAddress data, std::int64_t dim, std::int64_t rows, std::int64_t row_stride,
                        std::int64_t pages, std::int64_t page_stride, int box_rows, int box_pages = 1) {
  TensorMapSpec spec;
  spec.element = TensorMapSpec::Element::kU8;
  spec.swizzle = swizzle_of(dim);
  spec.rank = 3;
  spec.base = data;
  spec.dims = {static_cast<std::uint64_t>(dim), static_cast<std::uint64_t>(rows),
               static_cast<std::uint64_t>(pages)};
  spec.strides_bytes = {static_cast<std::uint64_t>(row_stride), static_cast<std::uint64_t>(page_stride)};
  spec.box = {static_cast<std::uint32_t>(dim), static_cast<std::uint32_t>(box_rows),
              static_cast<std::uint32_t>(box_pages)};
  return spec;
}

/// [lines, count] floats.
TensorMapSpec float_map(DeviceAddress data, std::int64_t count, std::int64_t lines, std::int64_t line_stride,
                        int box, int box_lines = 1) {
  TensorMapSpec spec;
  spec.element = TensorMapSpec::Element::kF32;
  spec.swizzle = TensorMapSpec::Swizzle::kNone;
  spec.rank = 3;
  spec.base = data;
  spec.dims = {static_cast<std::uint64_t>(count), static_cast<std::uint64_t>(lines), 1};
  spec.strides_bytes = {static_cast<std::uint64_t>(line_stride), static_cast<std::uint64_t>(line_stride)};
  spec.box = {static_cast<std::uint32_t>(box), static_cast<std::uint32_t>(box_lines), 1};
  return spec;
}

/// Queries and weights of `lines` rows. The stride of an axis of size 1 is never used, but has to be a legal one.
void set_queries(Context& context, MqaArgs& args, MqaPlan const& plan, TensorView const& q,
                 TensorView const& weights) {
  auto const head = static_cast<std::size_t>(q.rank - 2);
  std::int64_t const heads = q.shape[head], rows = q.shape[head - 1], dim = q.shape[head + 1];
  std::int64_t const lines = weights.shape[0];
  args.heads = static_cast<int>(heads);
  args.q = pointer<unsigned char const>(q.data);
  args.weights = pointer<unsigned char const>(weights.data);
  args.q_head_stride = q.strides[head];
  args.q_row_stride = q.strides[head - 1];
  args.q_request_stride = q.rank == 4 ? q.strides[0] : 0;
  args.weights_pitch = 4 * weights.strides[0];

  std::int64_t const head_stride = heads > 1 ? args.q_head_stride : align_up(dim, 16);
  std::int64_t line_stride = lines > 1 ? args.q_row_stride : align_up(dim, 16);
  bool regular = true;  // lines are equally far apart
  if (lines > 1 && q.rank == 4 && q.shape[0] > 1) {
    if (rows == 1) line_stride = args.q_request_stride;
    regular = args.q_request_stride == rows * line_stride;
  }
  std::int64_t const weights_pitch = lines > 1 ? args.weights_pitch : align_up(4 * heads, 16);
  args.query_copies = regular && q.data % 16 == 0 && weights.data % 16 == 0 && tma_stride(head_stride) &&
                      tma_stride(line_stride) && tma_stride(weights_pitch);
  if (args.query_copies == 0) return;
  args.query_map = context.backend().encode(
      value_map(q.data, dim, heads, head_stride, lines, line_stride, plan.heads, copy_rows(plan)));
  args.weight_map = context.backend().encode(
      float_map(weights.data, heads, lines, weights_pitch, plan.heads, copy_rows(plan)));
}

MqaWork make_work(TensorView const& ends, std::int64_t requests, std::int64_t rows, std::int64_t keys,
                  std::int64_t width) {
  MqaWork work{};
  work.ends = pointer<int const>(ends.data);
  work.requests = static_cast<int>(requests);
  work.rows = static_cast<int>(rows);
  work.keys = static_cast<int>(keys);
  work.width = static_cast<int>(width);
  return work;
}

/// Fills in what follows from the rows of a unit.
void divide(MqaWork& work, int unit_rows, char const* name) {
  work.unit_rows = unit_rows;
  work.units_per_request = static_cast<int>(ceil_div(work.rows, unit_rows));
  std::int64_t const units = std::int64_t{work.requests} * work.units_per_request;
  check_most(name, units);
}

KernelRequest kernel_request(MqaPlan const& plan, Arch const& arch) {
  return {.name = plan_name(plan),
          .entry = plan_name(plan),
          .source = mqa_source(plan, arch),
          .dynamic_smem_bytes = static_cast<std::uint32_t>(smem_map(plan).total)};
}

constexpr std::uint64_t kScheduleKey = 0x6d71615f73636864u;

KernelRequest schedule_request() {
  return {.name = "mqa_schedule",
          .entry = "mqa_schedule",
          .source = mqa_schedule_source(),
          .dynamic_smem_bytes = static_cast<std::uint32_t>(sizeof(MqaShareScratch))};
}

void launch(Context& context, MqaPlan plan, MqaArgs& args, std::int64_t longest, Stream stream) {
  plan.every_reader_arrives = every_reader_arrives(context);
  args.notes = pointer<unsigned>(context.backend().notes_address());
  LoadedKernel const& kernel =
      context.kernels().get(plan_key(plan), stream, [&] { return kernel_request(plan, context.arch()); });
  // One CTA an SM, none without a tile. How many there are changes no logit.
  std::int64_t const units = std::int64_t{args.work.requests} * args.work.units_per_request;
  std::int64_t const work = args.fill != 0 ? units * plan.query_warps : units * ceil_div(longest, plan.tile);
  LaunchSpec spec;
  spec.grid = {
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(work, 1, std::max(context.device().sm_count, 1))),
      1, 1};
  spec.threads = kMqaThreads;
  spec.dynamic_smem_bytes = static_cast<std::uint32_t>(smem_map(plan).total);
  spec.stream = stream;
  context.launch(kernel, spec, args);
}

void check_result(TensorView const& logits, std::int64_t rows, std::initializer_list<checks::Range> inputs) {
  checks::Range const range = checks::check_view("logits", logits, 2);
  check_dtype("logits", logits, Dtype::kF32);
  if (logits.shape[0] != rows)
    throw bad_argument("logits.shape", describe(logits), fmt::format("[{}, columns]", rows));
  check_most("logits.shape", logits.shape[1]);
  checks::check_output("logits", logits);
  for (checks::Range const& input : inputs) checks::check_apart(range, input);
}

checks::Range check_weights(TensorView const& weights, std::int64_t rows, std::int64_t heads) {
  checks::Range const range = checks::check_view("weights", weights, 2);
  check_dtype("weights", weights, Dtype::kF32);
  check_shape("weights", weights, {rows, heads});
  check_last_stride("weights", weights);
  return range;
}

checks::Range check_lengths(TensorView const& lengths) {
  checks::Range const range = checks::check_view("context_lens", lengths, 2);
  check_dtype("context_lens", lengths, Dtype::kI32);
  check_contiguous("context_lens", lengths);
  return range;
}

void check_indices(TensorView const& indices, TensorView const& lengths) {
  if (!indices.present()) return;
  checks::check_view("indices", indices, 1);
  check_dtype("indices", indices, Dtype::kI32);
  check_shape("indices", indices, {lengths.shape[0]});
  if (lengths.shape[1] != 1)
    throw bad_argument("indices", fmt::format("given with {} tokens a request", lengths.shape[1]),
                       "one token a request, where each token has an index");
}

}  // namespace

void fp8_mqa_logits(Context& context, MqaLogitsCall const& call) {
  check_query_dtype(call.q);
  checks::Range const q = checks::check_view("q", call.q, 3);
  check_last_stride("q", call.q);
  std::int64_t const rows = call.q.shape[0], heads = call.q.shape[1], dim = call.q.shape[2];
  checks::Range const keys = checks::check_view("kv", call.keys, 2);
  check_dtype("kv", call.keys, Dtype::kE4m3);
  std::int64_t const count = call.keys.shape[0];
  check_shape("kv", call.keys, {count, dim});
  check_last_stride("kv", call.keys);
  checks::Range const scales = checks::check_view("kv_scale", call.scales, 1);
  check_dtype("kv_scale", call.scales, Dtype::kF32);
  check_shape("kv_scale", call.scales, {count});
  check_contiguous("kv_scale", call.scales);
  checks::Range const weights = check_weights(call.weights, rows, heads);
  checks::Range ranges[2];
  for (auto const& [name, view, range] : {std::tuple{"cu_seq_len_k_start", &call.start, &ranges[0]},
                                          std::tuple{"cu_seq_len_k_end", &call.end, &ranges[1]}}) {
    *range = checks::check_view(name, *view, 1);
    check_dtype(name, *view, Dtype::kI32);
    check_shape(name, *view, {rows});
    check_contiguous(name, *view);
  }
  check_most("q.shape", rows);
  check_most("kv.shape", count);
  check_result(call.logits, rows, {q, keys, scales, weights, ranges[0], ranges[1]});
  if (!call.compressed && call.logits.shape[1] != count)
    throw bad_argument("logits.shape", describe(call.logits), checks::shape_text({rows, count}));
  if (call.compressed && call.clean) {
    throw bad_argument("clean_logits", "true",
                       "false beside max_seqlen_k: columns past a row's keys are not written");
  }
  MqaShape const shape{.paged = false, .rows = rows, .heads = heads, .dim = dim};
  check_accepted(shape, context.arch(), call.q);
  if (rows == 0 || count == 0 || call.logits.shape[1] == 0) return;

  MqaPlan const plan = mqa_plan(shape, context.arch());
  MqaArgs args{};
  args.work = make_work(call.end, 1, rows, count, call.logits.shape[1]);
  args.work.starts = pointer<int const>(call.start.data);
  divide(args.work, plan.query_warps, "q.shape");
  set_queries(context, args, plan, call.q, call.weights);
  args.keys = pointer<unsigned char const>(call.keys.data);
  args.scales = pointer<unsigned char const>(call.scales.data);
  args.keys_stride = call.keys.strides[0];
  args.logits = pointer<float>(call.logits.data);
  args.logits_pitch = call.logits.strides[0];
  args.columns = static_cast<int>(call.logits.shape[1]);
  args.compressed = call.compressed;
  args.fill = call.clean;
  args.pages = 1;
  args.key_copies = call.keys.data % 16 == 0 && call.scales.data % 16 == 0 &&
                    (count == 1 || tma_stride(call.keys.strides[0]));
  if (args.key_copies) {
    std::int64_t const pitch = count == 1 ? dim : call.keys.strides[0];
    args.key_map =
        context.backend().encode(value_map(call.keys.data, dim, count, pitch, 1, pitch, plan.tile));
    args.scale_map =
        context.backend().encode(float_map(call.scales.data, count, 1, align_up(4 * count, 16), plan.tile));
  }
  launch(context, plan, args, count, call.stream);
}

void fp8_paged_mqa_logits(Context& context, PagedMqaLogitsCall const& call) {
  check_query_dtype(call.q);
  checks::Range const q = checks::check_view("q", call.q, 4);
  check_last_stride("q", call.q);
  auto const [requests, rows, heads, dim] = call.q.shape;
  checks::Range const cache = checks::check_view("kv_cache", call.cache, 4);
  check_dtype("kv_cache", call.cache, Dtype::kU8);
  std::int64_t const pages = call.cache.shape[0], page = call.cache.shape[1];
  check_shape("kv_cache", call.cache, {pages, page, 1, dim + 4});
  check_last_stride("kv_cache", call.cache);
  if (call.cache.elements() > 0 && page > 1 && call.cache.strides[1] != dim + 4) {
    throw bad_argument("kv_cache.strides", describe(call.cache),
                       fmt::format("{} bytes from token to token of a page", dim + 4));
  }
  checks::Range const lengths = check_lengths(call.lengths);
  check_shape("context_lens", call.lengths, {requests, rows});
  checks::Range const table = checks::check_view("block_table", call.block_table, 2);
  check_dtype("block_table", call.block_table, Dtype::kI32);
  check_shape("block_table", call.block_table, {requests, call.block_table.shape[1]});
  check_last_stride("block_table", call.block_table);
  if (call.schedule.present()) {
    checks::check_view("schedule_meta", call.schedule, 2);
    check_dtype("schedule_meta", call.schedule, Dtype::kI32);
    check_shape("schedule_meta", call.schedule, {call.schedule.shape[0], 2});
  }
  check_indices(call.indices, call.lengths);
  check_most("q.shape", std::max(requests, rows));
  check_most("q.shape", requests * rows);
  check_most("kv_cache.shape", pages);
  check_most("block_table.shape", call.block_table.shape[1]);
  checks::Range const weights = check_weights(call.weights, requests * rows, heads);
  check_result(call.logits, requests * rows, {q, cache, weights, lengths, table});
  MqaShape const shape{.paged = true, .rows = rows, .heads = heads, .dim = dim, .page = page};
  check_accepted(shape, context.arch(), call.q);
  std::int64_t const longest = call.logits.shape[1];
  if (requests == 0 || rows == 0 || longest == 0) return;

  MqaPlan const plan = mqa_plan(shape, context.arch());
  MqaArgs args{};
  args.work = make_work(call.lengths, requests, rows, longest, longest);
  divide(args.work, plan.query_warps, "q.shape");
  set_queries(context, args, plan, call.q, call.weights);
  args.keys = pointer<unsigned char const>(call.cache.data);
  args.keys_stride = call.cache.strides[0];
  args.block_table = pointer<int const>(call.block_table.data);
  args.table_pitch = call.block_table.strides[0];
  args.table_columns = static_cast<int>(call.block_table.shape[1]);
  args.logits = pointer<float>(call.logits.data);
  args.logits_pitch = call.logits.strides[0];
  args.columns = static_cast<int>(longest);
  args.pages = static_cast<int>(pages);
  std::int64_t const stride = pages > 1 ? call.cache.strides[0] : page * (dim + 4);
  args.key_copies = pages > 0 && call.cache.data % 16 == 0 && tma_stride(stride);
  if (args.key_copies) {
    int const box = static_cast<int>(page);
    args.key_map = context.backend().encode(value_map(call.cache.data, dim, page, dim, pages, stride, box));
    args.scale_map = context.backend().encode(
        float_map(call.cache.data + static_cast<DeviceAddress>(page * dim), page, pages, stride, box));
  }
  launch(context, plan, args, longest, call.stream);
}

void paged_mqa_logits_schedule(Context& context, MqaScheduleCall const& call) {
  checks::Range const lengths = check_lengths(call.lengths);
  check_indices(call.indices, call.lengths);
  std::int64_t const requests = call.lengths.shape[0], rows = call.lengths.shape[1];
  MqaShape const shape{.paged = true, .rows = rows, .page = call.page};
  Verdict const verdict = accepts_mqa(shape, context.arch());
  if (!verdict.accepted())
    throw Error(ErrorCode::kUnsupported, fmt::format("block_kv: {}", verdict.reason), "block_kv",
                fmt::format("{}", call.page), "32, 64 or 128");
  checks::Range const schedule = checks::check_view("schedule", call.schedule, 2);
  check_dtype("schedule", call.schedule, Dtype::kI32);
  check_shape("schedule", call.schedule, {call.schedule.shape[0], 2});
  check_contiguous("schedule", call.schedule);
  if (call.schedule.shape[0] < 2 || call.schedule.shape[0] > kMaxKeys)
    throw bad_argument("num_sms", fmt::format("{}", call.schedule.shape[0] - 1), "at least 1");
  check_most("context_lens.shape", std::max(requests, rows));
  check_most("context_lens.shape", requests * rows);
  checks::check_apart(schedule, lengths);

  MqaScheduleArgs args{};
  args.work = make_work(call.lengths, requests, rows, kMaxKeys, kMaxKeys);
  MqaPlan const plan = mqa_plan(shape, context.arch());
  divide(args.work, plan.query_warps, "context_lens.shape");
  args.tile = plan.tile;
  args.schedule = pointer<int>(call.schedule.data);
  LoadedKernel const& kernel = context.kernels().get(kScheduleKey, call.stream, schedule_request);
  LaunchSpec spec;
  spec.grid = {static_cast<std::uint32_t>(call.schedule.shape[0]), 1, 1};
  spec.threads = kMqaThreads;
  spec.dynamic_smem_bytes = static_cast<std::uint32_t>(sizeof(MqaShareScratch));
  spec.stream = call.stream;
  context.launch(kernel, spec, args);
}

KernelStore::Item kernel_item(MqaPlan const& plan, Arch const& arch) {
  return {.key = plan_key(plan), .describe = [plan, &arch] { return kernel_request(plan, arch); }};
}

KernelStore::Item mqa_schedule_item() { return {.key = kScheduleKey, .describe = schedule_request}; }

}  // namespace deepwell

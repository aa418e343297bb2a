// Scale layouts: what a call needs, and the launch that makes it.
#include "ops/layout/layout.hpp"

#include <algorithm>
#include <limits>

#include "ops/addresses.hpp"
#include "ops/gemm/checks.hpp"

namespace deepwell {
namespace {

constexpr ScaleLayoutPlan kPlans[] = {
    {.from = Dtype::kF32, .to = Dtype::kF32},
    {.from = Dtype::kF32, .to = Dtype::kI32},
    {.from = Dtype::kUe8m0, .to = Dtype::kI32},
};

/// A tensor of scales as [groups, rows, columns]; one group when it has no such axis.
struct Scales {
  std::int64_t groups, rows, columns;
  std::int64_t group_stride, row_stride, column_stride;  // elements
};

Scales scales_of(TensorView const& view) {
  auto const at = static_cast<std::size_t>(view.rank);
  return {.groups = view.rank == 3 ? view.shape[0] : 1,
          .rows = view.shape[at - 2],
          .columns = view.shape[at - 1],
          .group_stride = view.rank == 3 ? view.strides[0] : 0,
          .row_stride = view.strides[at - 2],
          .column_stride = view.strides[at - 1]};
}

ScaleLayoutResult column_by_column(Dtype dtype, int rank, std::int64_t groups, std::int64_t rows,
                                   std::int64_t columns) {
  std::int64_t const pitch = align_up(rows, 4);
  ScaleLayoutResult result;
  result.view.dtype = dtype;
  result.view.rank = rank;
  if (rank == 3) {
    result.view.shape = {groups, rows, columns};
    result.view.strides = {pitch * columns, 1, pitch};
  } else {
    result.view.shape = {rows, columns};
    result.view.strides = {1, pitch};
  }
  result.bytes = static_cast<std::size_t>(groups * columns * pitch) * 4;
  return result;
}

/// Whether two views of one shape address the same places.
bool same_strides(TensorView const& left, TensorView const& right) {
  for (int i = 0; i < left.rank; ++i) {
    if (left.shape[i] > 1 && left.strides[i] != right.strides[i]) return false;
  }
  return true;
}

ScaleLayoutResult unchanged(TensorView const& scale) {
  ScaleLayoutResult result{.unchanged = true, .view = scale, .bytes = 0};
  result.view.data = 0;
  return result;
}

/// Two or three axes.
void check_rank(TensorView const& scale) {
  if (scale.rank != 2 && scale.rank != 3) {
    throw bad_argument("scale.rank", fmt::format("{}", scale.rank), "2, or 3 with groups");
  }
}

void check_packed_strides(TensorView const& scale) {
  Scales const s = scales_of(scale);
  if (scale.elements() == 0) return;
  bool const rows_ok = s.rows == 1 || s.row_stride == 1;
  bool const columns_ok =
      s.columns == 1 || (s.column_stride >= align_up(s.rows, 4) && s.column_stride % 4 == 0);
  bool const groups_ok = s.groups == 1 || (s.group_stride >= s.rows && s.group_stride % 4 == 0);
  if (!rows_ok || !columns_ok || !groups_ok) {
    throw bad_argument(
        "scale.strides", describe(scale),
        fmt::format("rows 1 apart, columns a multiple of 4 and at least {} apart", align_up(s.rows, 4)));
  }
}

void check_block_strides(TensorView const& scale) {
  TensorView swapped = scale;
  auto const last = static_cast<std::size_t>(scale.rank - 1);
  std::swap(swapped.shape[last], swapped.shape[last - 1]);
  std::swap(swapped.strides[last], swapped.strides[last - 1]);
  if (!scale.contiguous() && !swapped.contiguous()) {
    throw bad_argument("scale.strides", describe(scale),
                       "a contiguous tensor, or one that is with its last two axes swapped");
  }
}

void check_call(ScaleLayoutCall const& call) {
  if (call.mn < 0 || call.mn > checks::kMaxSize) {
    throw bad_argument("mn", fmt::format("{}", call.mn), fmt::format("0 to {}", checks::kMaxSize));
  }
  if (call.k < 0 || call.k > checks::kMaxSize) {
    throw bad_argument("k", fmt::format("{}", call.k), fmt::format("0 to {}", checks::kMaxSize));
  }
  if (call.gran_k != 32 && call.gran_k != 128)
    throw bad_argument("recipe", fmt::format("{} elements of k per scale", call.gran_k), "32 or 128");
  if (call.gran_mn < 1)
    throw bad_argument("recipe", fmt::format("{} rows per scale", call.gran_mn), "at least 1");
  if (call.num_groups && *call.num_groups < 1) {
    throw bad_argument("num_groups", fmt::format("{}", *call.num_groups), "at least 1");
  }
  checks::ScaleForm const form = checks::scale_form("scale", call.scale);
  int const rank = call.num_groups ? 3 : 2;
  checks::check_view("scale", call.scale, rank);
  bool const packed = form == checks::ScaleForm::kPacked;
  if (packed && call.gran_mn != 1) {
    throw bad_argument("scale.dtype", fmt::format("i32 with {} rows per scale", call.gran_mn),
                       "f32 or ue8m0 for blocks of rows; packed scales are per row");
  }
  Scales const s = scales_of(call.scale);
  std::int64_t const rows = ceil_div(call.mn, call.gran_mn);
  std::int64_t const columns = ceil_div(call.k, packed ? 4 * call.gran_k : call.gran_k);
  if (s.rows != rows || s.columns != columns || (call.num_groups && s.groups != *call.num_groups)) {
    throw bad_argument("scale.shape", describe(call.scale),
                       call.num_groups ? checks::shape_text({*call.num_groups, rows, columns})
                                       : checks::shape_text({rows, columns}));
  }
}

constexpr std::int64_t kMostBlocks = 1024;  // of a grid along columns and groups; the kernel steps by as many

std::uint32_t grid(std::int64_t size, std::int64_t most) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(size, 1, most));
}

KernelRequest kernel_request(ScaleLayoutPlan const& plan, Arch const& arch) {
  return {.name = plan_name(plan),
          .entry = plan_name(plan),
          .source = scale_layout_source(plan, arch),
          .dynamic_smem_bytes = 0};
}

/// `from` [groups, ceil(rows / rows_per_scale), columns] -> `to` [groups, rows, out columns].
void launch(Context& context, TensorView const& from, int rows_per_scale, TensorView const& to,
            Stream stream) {
  Scales const source = scales_of(from);
  Scales const target = scales_of(to);
  if (target.groups == 0 || target.rows == 0 || target.columns == 0) return;
  for (std::int64_t size : {target.groups, target.rows, source.columns}) {
    // A step past the end still has to be an int.
    if (size > checks::kMaxSize - kMostBlocks)
      throw bad_argument("scale.shape", describe(from),
                         fmt::format("sizes of at most {}", checks::kMaxSize - kMostBlocks));
  }
  int const from_bytes = bits_of(from.dtype) / 8;
  ScaleLayoutPlan const plan{.from = from.dtype == Dtype::kF32 ? Dtype::kF32 : Dtype::kUe8m0, .to = to.dtype};
  ScaleLayoutArgs args{};
  args.from = pointer<unsigned char const>(from.data);
  args.to = pointer<unsigned>(to.data);
  args.from_group_stride = source.group_stride * from_bytes;
  args.from_row_stride = source.row_stride * from_bytes;
  args.from_column_stride = source.column_stride * from_bytes;
  args.to_group_stride = target.group_stride;
  args.to_column_stride = target.column_stride;
  args.groups = static_cast<int>(target.groups);
  args.rows = static_cast<int>(target.rows);
  args.columns = static_cast<int>(source.columns);
  args.out_columns = static_cast<int>(target.columns);
  args.rows_per_scale = rows_per_scale;
  args.notes = pointer<unsigned>(context.backend().notes_address());

  LoadedKernel const& kernel =
      context.kernels().get(plan_key(plan), stream, [&] { return kernel_request(plan, context.arch()); });
  LaunchSpec spec;
  spec.grid = {grid(ceil_div(target.rows, kScaleLayoutThreads), std::numeric_limits<int>::max()),
               grid(target.columns, kMostBlocks), grid(target.groups, kMostBlocks)};
  spec.threads = kScaleLayoutThreads;
  spec.stream = stream;
  context.launch(kernel, spec, args);
}

/// `out` is what `wanted` describes: type and shape, rows 1 apart, columns and groups apart from each other.
void check_out(TensorView const& out, ScaleLayoutResult const& wanted, checks::Range const& from) {
  if (out.dtype != wanted.view.dtype)
    throw bad_argument("out.dtype", name_of(out.dtype), name_of(wanted.view.dtype));
  checks::Range const range = checks::check_view("out", out, wanted.view.rank);
  for (int i = 0; i < out.rank; ++i) {
    if (out.shape[i] != wanted.view.shape[i])
      throw bad_argument("out.shape", describe(out), describe(wanted.view));
  }
  Scales const s = scales_of(out);
  if (out.elements() == 0) return;
  bool const rows_ok = s.rows == 1 || s.row_stride == 1;
  bool const columns_ok = s.columns == 1 || s.column_stride >= s.rows;
  bool const groups_ok =
      s.groups == 1 || s.group_stride >= s.rows + (s.columns > 1 ? (s.columns - 1) * s.column_stride : 0);
  if (!rows_ok || !columns_ok || !groups_ok) {
    throw bad_argument("out.strides", describe(out),
                       fmt::format("{}, or larger column and group strides", describe(wanted.view)));
  }
  checks::check_apart(range, from);
}

}  // namespace

ScaleLayoutResult mn_major_scale_layout(TensorView const& scale) {
  check_rank(scale);
  if (scale.dtype != Dtype::kF32) throw bad_argument("scale.dtype", name_of(scale.dtype), "f32");
  checks::check_view("scale", scale, scale.rank);
  Scales const s = scales_of(scale);
  ScaleLayoutResult result = column_by_column(Dtype::kF32, scale.rank, s.groups, s.rows, s.columns);
  return same_strides(scale, result.view) ? unchanged(scale) : result;
}

ScaleLayoutResult packed_scale_layout(TensorView const& scale) {
  check_rank(scale);
  if (checks::scale_form("scale", scale) == checks::ScaleForm::kPacked)
    throw bad_argument("scale.dtype", "i32", "f32, ue8m0 or u8");
  checks::check_view("scale", scale, scale.rank);
  Scales const s = scales_of(scale);
  return column_by_column(Dtype::kI32, scale.rank, s.groups, s.rows, ceil_div(s.columns, 4));
}

ScaleLayoutResult required_scale_layout(ScaleLayoutCall const& call, Arch const& arch) {
  check_call(call);
  checks::ScaleForm const form = checks::scale_form("scale", call.scale);
  if (form == checks::ScaleForm::kPacked) {
    check_packed_strides(call.scale);
    return unchanged(call.scale);
  }
  bool const stays_fp32 =
      form == checks::ScaleForm::kF32 && (call.disable_ue8m0_cast || !arch.block_scaled_mma);
  if (stays_fp32 && call.gran_mn == 1) return mn_major_scale_layout(call.scale);
  if (stays_fp32) {
    check_block_strides(call.scale);
    return unchanged(call.scale);
  }
  Scales const s = scales_of(call.scale);
  return column_by_column(Dtype::kI32, call.scale.rank, s.groups, call.mn, ceil_div(s.columns, 4));
}

void transform_scale(Context& context, ScaleLayoutCall const& call, TensorView const& out, Stream stream) {
  ScaleLayoutResult const wanted = required_scale_layout(call, context.arch());
  if (wanted.unchanged)
    throw bad_argument("scale", describe(call.scale), "scales that are not yet in the required layout");
  check_out(out, wanted, checks::check_view("scale", call.scale, call.scale.rank));
  launch(context, call.scale, call.gran_mn, out, stream);
}

void write_scale_layout(Context& context, TensorView const& from, TensorView const& to, Stream stream) {
  ScaleLayoutResult const wanted =
      to.dtype == Dtype::kF32 ? mn_major_scale_layout(from) : packed_scale_layout(from);
  check_out(to, wanted, checks::check_view("scale", from, from.rank));
  launch(context, from, 1, to, stream);
}

ScaleGranularity scale_granularity(std::span<int const> recipe, std::optional<bool> is_a) {
  if (recipe.size() == 3) {
    if (!is_a)
      throw bad_argument("is_sfa", "absent", "given beside a recipe of three: it picks gran_m or gran_n");
    return {.mn = *is_a ? recipe[0] : recipe[1], .k = recipe[2]};
  }
  if (recipe.size() == 2) {
    if (is_a) throw bad_argument("is_sfa", *is_a ? "true" : "false", "absent beside a recipe of two");
    return {.mn = recipe[0], .k = recipe[1]};
  }
  throw bad_argument("recipe", fmt::format("{} numbers", recipe.size()),
                     "(gran_m, gran_n, gran_k) or (gran_mn, gran_k)");
}

std::int64_t tma_aligned_size(std::int64_t size, int element_bytes) {
  if (element_bytes < 1 || 16 % element_bytes != 0) {
    throw bad_argument("element_size", fmt::format("{}", element_bytes), "a divisor of 16");
  }
  if (size < 0 || size > std::numeric_limits<std::int64_t>::max() - 16)
    throw bad_argument("x", fmt::format("{}", size), "a size that is not negative");
  return align_up(size, 16 / element_bytes);
}

std::string plan_name(ScaleLayoutPlan const& plan) {
  return fmt::format("scale_layout_{}_{}", name_of(plan.from),
                     plan.to == Dtype::kI32 ? "packed" : name_of(plan.to));
}

std::uint64_t plan_key(ScaleLayoutPlan const& plan) {
  return 0x7363616c65000000u | static_cast<std::uint64_t>(plan.from) << 8 |
         static_cast<std::uint64_t>(plan.to);
}

std::string scale_layout_source(ScaleLayoutPlan const& plan, Arch const&) {
  auto const literal = [](Dtype dtype) {
    return dtype == Dtype::kF32   ? "deepwell::Dtype::kF32"
           : dtype == Dtype::kI32 ? "deepwell::Dtype::kI32"
                                  : "deepwell::Dtype::kUe8m0";
  };
  return fmt::format(
      "// generated: scale layout  {} -> {}\n"
      "#include \"deepwell/kernel/scale_layout.cuh\"\n"
      "using Kernel = deepwell::ScaleLayout<deepwell::ScaleLayoutPlan{{.from = {}, .to = {}}}>;\n"
      "extern \"C\" __global__ void __launch_bounds__(Kernel::kThreads)\n"
      "{}(__grid_constant__ deepwell::ScaleLayoutArgs const args) {{ Kernel::run(args); }}\n",
      name_of(plan.from), name_of(plan.to), literal(plan.from), literal(plan.to), plan_name(plan));
}

std::span<ScaleLayoutPlan const> all_scale_layout_plans() { return kPlans; }

KernelStore::Item kernel_item(ScaleLayoutPlan const& plan, Arch const& arch) {
  return {.key = plan_key(plan), .describe = [plan, arch] { return kernel_request(plan, arch); }};
}

}  // namespace deepwell

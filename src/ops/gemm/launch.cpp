// From a problem and a candidate to a launch: how each tensor is brought in, the arguments, the grid, the workspace.
#include <algorithm>
#include <limits>

#include "ops/addresses.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

/// One side of the product as a kernel sees it.
struct Side {
  MatrixOperand const& operand;
  std::int64_t rows;
  int tile_rows;
  std::int64_t k, batch;
  ScaleSlots slots;
};

TensorMapSpec data_map(Side const& side) {
  std::int64_t const row = side.k * bits_of(side.operand.dtype) / 8;
  TensorMapSpec spec;
  spec.element = TensorMapSpec::Element::kU8;
  spec.swizzle =
      row_bytes(side.operand.dtype) == 128 ? TensorMapSpec::Swizzle::k128B : TensorMapSpec::Swizzle::k64B;
  spec.rank = 3;
  spec.base = side.operand.data;
  spec.dims = {static_cast<std::uint64_t>(row), static_cast<std::uint64_t>(side.rows),
               static_cast<std::uint64_t>(side.batch)};
  // The stride of an axis of size 1 is never used, but has to be a legal one.
  std::int64_t const pitch = side.rows > 1 ? side.operand.pitch : align_up(row, 16);
  std::int64_t const batch_stride = side.batch > 1 ? side.operand.batch_stride : align_up(row, 16);
  spec.strides_bytes = {static_cast<std::uint64_t>(pitch), static_cast<std::uint64_t>(batch_stride)};
  spec.box = {static_cast<std::uint32_t>(row_bytes(side.operand.dtype)),
              static_cast<std::uint32_t>(side.tile_rows), 1};
  return spec;
}

TensorMapSpec scale_map(Side const& side) {
  ScaleOperand const& scale = side.operand.scale;
  std::int64_t const words = ceil_div(side.k, 4 * scale.gran.k);
  TensorMapSpec spec;
  spec.element = TensorMapSpec::Element::kI32;
  spec.swizzle = TensorMapSpec::Swizzle::kNone;
  spec.rank = 3;
  spec.base = scale.data;
  spec.dims = {static_cast<std::uint64_t>(side.rows), static_cast<std::uint64_t>(words),
               static_cast<std::uint64_t>(side.batch)};
  std::int64_t const column = align_up(4 * side.rows, 16);
  spec.strides_bytes = {static_cast<std::uint64_t>(words > 1 ? scale.k_stride : column),
                        static_cast<std::uint64_t>(side.batch > 1 ? scale.batch_stride : column)};
  spec.box = {static_cast<std::uint32_t>(side.tile_rows), static_cast<std::uint32_t>(side.slots.words), 1};
  return spec;
}

Source data_source(Side const& side) {
  MatrixOperand const& operand = side.operand;
  bool const legal = side.k > 0 && operand.data % 16 == 0 && (side.rows == 1 || tma_stride(operand.pitch)) &&
                     (side.batch == 1 || tma_stride(operand.batch_stride));
  return legal ? Source::kTma : Source::kPlain;
}

Source scale_source(Side const& side) {
  ScaleOperand const& scale = side.operand.scale;
  std::int64_t const values = ceil_div(side.k, scale.gran.k);
  if (scale.kind == ScaleKind::kF32) return Source::kWords;
  if (scale.packed) {
    bool const legal =
        side.k > 0 && scale.data % 16 == 0 && (ceil_div(values, 4) == 1 || tma_stride(scale.k_stride)) &&
        (side.rows == 1 || scale.row_stride == 4) && (side.batch == 1 || tma_stride(scale.batch_stride));
    return legal ? Source::kTma : Source::kWords;
  }
  // Bytes go in fours where four of one row make an aligned word that lies wholly inside the row.
  bool const one_row = ceil_div(side.rows, scale.gran.mn) == 1;
  bool const whole_words = scale.k_stride == 1 && values % 4 == 0 && scale.data % 4 == 0 &&
                           (one_row || scale.row_stride % 4 == 0) &&
                           (side.batch == 1 || scale.batch_stride % 4 == 0);
  return whole_words ? Source::kWords : Source::kPlain;
}

GemmOperandArgs operand_args(Backend& backend, Side const& side) {
  ScaleOperand const& scale = side.operand.scale;
  GemmOperandArgs args{};
  args.data = pointer<unsigned char const>(side.operand.data);
  args.scale = pointer<unsigned char const>(scale.data);
  args.data_pitch = side.operand.pitch;
  args.data_batch_stride = side.operand.batch_stride;
  args.scale_row_stride = scale.row_stride;
  args.scale_k_stride = scale.k_stride;
  args.scale_batch_stride = scale.batch_stride;
  args.data_source = data_source(side);
  args.scale_source = scale_source(side);
  if (args.scale_source == Source::kWords && scale.kind == ScaleKind::kUe8m0 && !scale.packed)
    args.scale_k_stride = 4;
  args.rows = static_cast<int>(side.rows);
  args.gran_mn_log2 = scale.gran.mn == 128 ? 7 : 0;
  if (args.data_source == Source::kTma) args.data_map = backend.encode(data_map(side));
  if (args.scale_source == Source::kTma) {
    args.scale_map = backend.encode(scale_map(side));
    args.scale_copy_bytes = static_cast<unsigned>(4 * side.tile_rows * side.slots.words);
  }
  return args;
}

/// What the load warp does, from the operands' sources.
void add_loads(GemmArgs& args, GemmPlan const& plan) {
  GemmSmemMap const map = smem_map(plan);
  args.loads = Loads::kCopies;
  auto const add = [&](Source source, int stage_bytes) {
    if (source == Source::kTma) args.stage_copy_bytes += static_cast<unsigned>(stage_bytes);
    args.loads = std::max(args.loads, source == Source::kTma     ? Loads::kCopies
                                      : source == Source::kWords ? Loads::kWords
                                                                 : Loads::kAny);
  };
  add(args.x.data_source, map.x_stage_bytes);
  add(args.y.data_source, map.y_stage_bytes);
  add(args.x.scale_source, 0);
  add(args.y.scale_source, 0);
}

/// Whether columns 4i to 4i + 3 of every row lie at a multiple of four elements.
bool quads_aligned(DeviceAddress data, std::int64_t pitch, std::int64_t batch_stride,
                   GemmProblem const& problem) {
  auto const quad_bytes = static_cast<DeviceAddress>(4 * bits_of(problem.d_type) / 8);
  return data % quad_bytes == 0 && (problem.m == 1 || pitch % 4 == 0) &&
         (problem.batch == 1 || batch_stride % 4 == 0);
}

std::uint32_t grid_size(std::int64_t size, std::int64_t limit, char const* what) {
  DW_CHECK(size >= 1 && size <= limit, kUnsupported, "a grid of {} {}, the limit is {}", size, what, limit);
  return static_cast<std::uint32_t>(size);
}

}  // namespace

GemmLaunch prepare_gemm(Backend& backend, GemmProblem const& problem, GemmCandidate const& candidate) {
  GemmPlan const& plan = candidate.plan;
  Side const a{problem.a, problem.m,     plan.swap ? plan.tile_cols : plan.tile_rows,
               problem.k, problem.batch, plan.swap ? y_scale_slots(plan) : x_scale_slots(plan)};
  Side const b{problem.b,
               problem.n,
               plan.swap ? plan.tile_rows : plan.tile_cols,
               problem.k,
               problem.grouping == Grouping::kNone ? problem.batch : problem.groups,
               plan.swap ? x_scale_slots(plan) : y_scale_slots(plan)};
  Side const& x = plan.swap ? b : a;
  Side const& y = plan.swap ? a : b;
  std::int64_t row_tiles = ceil_div(x.rows, plan.tile_rows);
  std::int64_t col_tiles = ceil_div(y.rows, plan.tile_cols);
  if (problem.grouping == Grouping::kMasked) {
    // CTAs for the rows that are expected; where more count, they take further tiles.
    std::int64_t& token_tiles = plan.swap ? col_tiles : row_tiles;
    std::int64_t const expected = ceil_div(problem.group_rows, tile_m(plan));
    token_tiles = std::clamp<std::int64_t>(expected, 1, token_tiles);
  }

  GemmLaunch launch;
  GemmArgs& args = launch.args;
  args.x = operand_args(backend, x);
  args.y = operand_args(backend, y);
  args.d = pointer<void>(problem.d);
  args.c = pointer<void const>(problem.c);
  args.d_pitch = problem.d_pitch;
  args.d_batch_stride = problem.d_batch_stride;
  args.c_pitch = problem.c_pitch;
  args.c_batch_stride = problem.c_batch_stride;
  add_loads(args, plan);
  args.k = static_cast<int>(problem.k);
  args.row_tiles = static_cast<int>(row_tiles);
  args.col_tiles = static_cast<int>(col_tiles);
  args.splits = candidate.splits;
  args.k_tiles_per_split = candidate.k_tiles_per_split;
  args.layout = pointer<int const>(problem.layout);
  args.groups = static_cast<int>(problem.groups);
  args.block = static_cast<int>(std::min<std::int64_t>(problem.group_rows, align_up(problem.m, 128)));
  args.notes = pointer<unsigned>(problem.grouping == Grouping::kNone ? 0 : backend.notes_address());
  args.quad_access =
      quads_aligned(problem.d, problem.d_pitch, problem.d_batch_stride, problem) &&
      (problem.c == 0 || quads_aligned(problem.c, problem.c_pitch, problem.c_batch_stride, problem));

  launch.spec.grid = {grid_size(row_tiles * col_tiles, std::numeric_limits<int>::max(), "tiles"),
                      grid_size(candidate.splits, kMaxSplits, "splits"),
                      grid_size(problem.batch, 65535, "batches")};
  launch.spec.threads = static_cast<std::uint32_t>(threads(plan));
  launch.spec.dynamic_smem_bytes = static_cast<std::uint32_t>(smem_map(plan).total);
  launch.spec.cluster = {1, launch.spec.grid[1], 1};
  return launch;
}

namespace {

KernelRequest kernel_request(GemmPlan const& plan, Arch const& arch) {
  return {.name = plan_name(plan),
          .entry = plan_name(plan),
          .source = gemm_source(plan, arch),
          .dynamic_smem_bytes = static_cast<std::uint32_t>(smem_map(plan).total)};
}

}  // namespace

KernelStore::Item kernel_item(GemmPlan const& plan, Arch const& arch) {
  return {.key = plan_key(plan), .describe = [plan, arch] { return kernel_request(plan, arch); }};
}

void launch_gemm(Context& context, GemmProblem const& problem, GemmCandidate const& candidate,
                 Stream stream) {
  LoadedKernel const& kernel = context.kernels().get(
      plan_key(candidate.plan), stream, [&] { return kernel_request(candidate.plan, context.arch()); });
  GemmLaunch launch = prepare_gemm(context.backend(), problem, candidate);
  launch.spec.stream = stream;
  context.launch(kernel, launch.spec, launch.args);
}

void warm_gemm(Context& context, GemmShape const& shape) {
  std::vector<KernelStore::Item> items;
  for (GemmPlan plan : plans_for(shape, context.arch())) {
    plan.every_reader_arrives = every_reader_arrives(context);
    items.push_back(kernel_item(plan, context.arch()));
  }
  context.kernels().build_in_background(std::move(items));
}

}  // namespace deepwell

// The table of GEMM kernels: what each accepts, which plans it offers, how k is split, and what a plan costs.
#include <algorithm>
#include <limits>

#include "ops/choose.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

/// Planning figures of the board that a family's choice is tuned for. The choice must not differ between boards of a family
/// (the bits would), so there is one row per family and estimates are for its board.
struct BoardFigures {
  std::string_view device_target;
  std::string_view board;
  int sms;
  double clock_ghz;
  double dram_gbps, l2_gbps;
  double fma_per_clock;      // per SM, 8-bit operands
  double fma_per_clock_k64;  // per SM, 4-bit operands, 64 elements of k per MMA
  double fp32_per_clock;     // per SM
};

// clang-format off
constexpr BoardFigures kBoards[] = {
    {.device_target = "Sm120", .board = "RTX PRO 6000", .sms = 188, .clock_ghz = 2.4, .dram_gbps = 1600, .l2_gbps = 6000,
     .fma_per_clock = 1024, .fma_per_clock_k64 = 2048, .fp32_per_clock = 128},
    {.device_target = "Sm90",  .board = "H200",         .sms = 132, .clock_ghz = 1.7, .dram_gbps = 4200, .l2_gbps = 7000,
     .fma_per_clock = 1024, .fma_per_clock_k64 = 1024, .fp32_per_clock = 128},
};
// clang-format on

BoardFigures const& figures_of(Arch const& arch) {
  for (BoardFigures const& board : kBoards) {
    if (board.device_target == arch.device_target) return board;
  }
  throw Error(ErrorCode::kInternal,
              fmt::format("no planning figures for device target {}", arch.device_target));
}

/// A form of tile. There are few, so that a weight needs few kernels whatever m is.
struct TileForm {
  int max_m;  // the largest m that it is offered for
  bool swap;
  int tile_rows, tile_cols, warps_rows, warps_cols, warps_k, k_tiles;
  int max_stages;
  bool two_ctas;  // shared memory for two CTAs on an SM
  int min_k_tiles_per_split;
  std::int64_t wanted_ctas;  // tiles times splits stays at or below this
};

constexpr int kAnyM = std::numeric_limits<int>::max();

// clang-format off
constexpr TileForm kForms[] = {
    {.max_m = 8,     .swap = true,  .tile_rows = 32, .tile_cols = 8,   .warps_rows = 2, .warps_cols = 1, .warps_k = 2, .k_tiles = 2, .max_stages = 4, .two_ctas = true,  .min_k_tiles_per_split = 8, .wanted_ctas = 264},
    {.max_m = 16,    .swap = true,  .tile_rows = 32, .tile_cols = 16,  .warps_rows = 2, .warps_cols = 1, .warps_k = 2, .k_tiles = 2, .max_stages = 4, .two_ctas = true,  .min_k_tiles_per_split = 8, .wanted_ctas = 264},
    {.max_m = 32,    .swap = true,  .tile_rows = 32, .tile_cols = 32,  .warps_rows = 2, .warps_cols = 1, .warps_k = 2, .k_tiles = 2, .max_stages = 3, .two_ctas = true,  .min_k_tiles_per_split = 8, .wanted_ctas = 264},
    {.max_m = 64,    .swap = true,  .tile_rows = 64, .tile_cols = 64,  .warps_rows = 2, .warps_cols = 2, .warps_k = 1, .k_tiles = 1, .max_stages = 8, .two_ctas = true,  .min_k_tiles_per_split = 8, .wanted_ctas = 132},
    {.max_m = kAnyM, .swap = false, .tile_rows = 128, .tile_cols = 128, .warps_rows = 2, .warps_cols = 4, .warps_k = 1, .k_tiles = 1, .max_stages = 4, .two_ctas = false, .min_k_tiles_per_split = 8, .wanted_ctas = 132},
};
// clang-format on

// Measured on an H200 (bench/results/h200_v4_calls.md): a CTA's start and end cost about as much as 16 k tiles take, CTAs that wait
// for others of their cluster cost more than those that do not, and a second wave of CTAs costs most. 128 tiles of 32 k tiles were
// faster whole, of 64 in two splits; and whole ones with six stages, which with four had too few bytes on their way.
constexpr std::int64_t kEnoughTiles = 132;  // from here on k is not split
constexpr std::int64_t kManyTiles = 96;     // from here on a split is at least kLongSplit k tiles
constexpr std::int64_t kLongSplit = 32;
constexpr std::int64_t kFewTiles = 400;  // up to here tiles of few rows of weights start together
constexpr int kStagesOfFew = 6;          // of weights with no more tiles than SMs, and not long in k
constexpr std::int64_t kRowsOfWeights[] = {4096, 8192,
                                           65536};  // a number of each kind: few tiles, more, many
constexpr int kReservedSmemPerCta = 1024;           // taken by the system from an SM's shared memory

int smem_budget(TileForm const& form, Arch const& arch) {
  int const shared_by_two = arch.smem_per_sm / 2 - kReservedSmemPerCta;
  bool const roomy = arch.smem_per_cta > 128 * 1024;  // SM 9.0: one CTA never needs all of it
  return form.two_ctas || roomy ? std::min(arch.smem_per_cta, shared_by_two) : arch.smem_per_cta;
}

/// Matrices of b that a call reads, as far as its shape tells.
std::int64_t matrices_of_b(GemmShape const& shape) {
  if (shape.grouping != Grouping::kContiguous) return shape.batch;
  return std::min<std::int64_t>(shape.groups, ceil_div(shape.m, std::max<std::int64_t>(shape.group_rows, 1)));
}

/// Products with so many rows of weights that small tiles would make several waves of CTAs take larger ones.
void fit_to_weights(TileForm& form, GemmShape const& shape, std::int64_t matrices, Arch const& arch) {
  std::int64_t const rows = shape.n * matrices;
  if (!form.swap || form.tile_cols > 32) return;
  if (rows <= kFewTiles * form.tile_rows) {
    bool const is_long = ceil_div(shape.k, kTileK) >= 2 * kLongSplit;
    if (shape.grouping == Grouping::kNone && form.tile_cols <= 16 && rows <= kEnoughTiles * form.tile_rows &&
        !is_long)
      form.max_stages = kStagesOfFew;
    return;
  }
  bool const roomy = arch.smem_per_cta > 128 * 1024;
  form.warps_rows = 4;
  if (form.tile_cols <= 16 && roomy && shape.grouping == Grouping::kNone) {
    form.tile_rows = 128;
    form.max_stages = 2;
  } else {
    form.tile_rows = 64;
    if (form.tile_cols == 32 || !roomy) {
      form.warps_k = form.k_tiles = 1;
      form.max_stages = 8;
    }
  }
}

/// Experts' e2m1 weights where they become f16: converting them is most of the work, and what a warp does once per stage and for
/// the tokens serves 64 rows of weights, 32 where there are few groups.
void fit_to_conversion(TileForm& form, GemmShape const& shape, std::int64_t matrices) {
  form.tile_rows = 128;
  form.warps_rows = form.warps_k = form.k_tiles = 2;
  form.max_stages = 3;
  if (shape.n * matrices <= kFewTiles * 128) {
    form.tile_rows = 32;
    form.warps_rows = 1;
    form.warps_k = form.k_tiles = 4;
  }
}

/// Whether partial sums are scaled outside the MMA for every 32 elements of k: that takes more registers.
bool scales_outside_often(GemmShape const& shape, Arch const& arch) {
  auto const outside = [&](ScaleKind kind, int gran_k) {
    return gran_k == 32 && (kind == ScaleKind::kF32 || !arch.block_scaled_mma);
  };
  return outside(shape.a_scale, shape.a_gran_k) || outside(shape.b_scale, shape.b_gran_k);
}

GemmPlan make_plan(TileForm form, GemmShape const& shape, std::int64_t matrices, Arch const& arch) {
  bool const f32 = shape.a_scale == ScaleKind::kF32 || shape.b_scale == ScaleKind::kF32;
  bool const grouped_f32 = shape.grouping != Grouping::kNone && f32 && arch.block_scaled_mma;
  bool const f16 =
      !arch.block_scaled_mma && (shape.a == Dtype::kE2m1 || shape.b == Dtype::kE2m1);  // two fragments a step
  if (!form.swap && (scales_outside_often(shape, arch) || grouped_f32 || f16)) {
    // A warp's 64 x 32 sums beside the scales (and the groups, or f16 fragments) would spill; 32 x 32 do not.
    form.tile_cols = 64;
    form.warps_rows = 4;
    form.warps_cols = 2;
  }
  if (form.swap && form.tile_cols == 8 && shape.grouping != Grouping::kNone && f16 &&
      shape.b == Dtype::kE2m1) {
    fit_to_conversion(form, shape, matrices);
  } else {
    fit_to_weights(form, shape, matrices, arch);
  }
  GemmPlan plan{.x = form.swap ? shape.b : shape.a,
                .y = form.swap ? shape.a : shape.b,
                .d = shape.d,
                .grouping = shape.grouping,
                .x_scale = form.swap ? shape.b_scale : shape.a_scale,
                .y_scale = form.swap ? shape.a_scale : shape.b_scale,
                .x_gran_k = form.swap ? shape.b_gran_k : shape.a_gran_k,
                .y_gran_k = form.swap ? shape.a_gran_k : shape.b_gran_k,
                .swap = form.swap,
                .tile_rows = form.tile_rows,
                .tile_cols = form.tile_cols,
                .warps_rows = form.warps_rows,
                .warps_cols = form.warps_cols,
                .warps_k = form.warps_k,
                .k_tiles = form.k_tiles,
                .stages = form.max_stages,
                .native_e2m1 = false,
                .every_reader_arrives = false};
  while (plan.stages > 2 && smem_map(plan).total > smem_budget(form, arch)) --plan.stages;
  return plan;
}

std::int64_t tiles_of(GemmPlan const& plan, GemmShape const& shape) {
  std::int64_t const x_rows = plan.swap ? shape.n : shape.m;
  std::int64_t const y_rows = plan.swap ? shape.m : shape.n;
  return ceil_div(x_rows, plan.tile_rows) * ceil_div(y_rows, plan.tile_cols) * shape.batch;
}

struct Split {
  int splits, k_tiles_per_split;
};

Split split_k(std::int64_t tiles, std::int64_t k_tiles, TileForm const& form, GemmPlan const& plan) {
  if (k_tiles == 0) return {1, 0};
  std::int64_t splits = tiles > 0 && tiles < kEnoughTiles ? form.wanted_ctas / tiles : 1;
  std::int64_t const least = tiles < kManyTiles
                                 ? form.min_k_tiles_per_split
                                 : std::max<std::int64_t>(kLongSplit, form.min_k_tiles_per_split);
  splits = std::max<std::int64_t>(1, std::min({splits, k_tiles / least, std::int64_t{kMaxSplits}}));
  std::int64_t const per_split = align_up(ceil_div(k_tiles, splits), plan.k_tiles);
  return {static_cast<int>(ceil_div(k_tiles, per_split)), static_cast<int>(per_split)};
}

double operand_bytes(double rows, double k, Dtype dtype, ScaleKind scale, int gran_k) {
  return rows * k * bits_of(dtype) / 8 + rows * k / gran_k * (scale == ScaleKind::kF32 ? 4 : 1);
}

/// Estimates in microseconds for the family's board: memory, L2 and arithmetic overlap, the rest adds.
void add_cost(GemmCandidate& candidate, GemmShape const& shape, Arch const& arch) {
  BoardFigures const& board = figures_of(arch);
  GemmPlan const& plan = candidate.plan;
  double const m = static_cast<double>(shape.m), n = static_cast<double>(shape.n),
               k = static_cast<double>(shape.k);
  double const batch = static_cast<double>(shape.batch);
  double const tiles = static_cast<double>(tiles_of(plan, shape));
  double const ctas = tiles * candidate.splits;
  int const ctas_per_sm = smem_map(plan).total <= arch.smem_per_sm / 2 - kReservedSmemPerCta ? 2 : 1;
  double const slots = static_cast<double>(board.sms) * ctas_per_sm;
  double const waves =
      static_cast<double>(ceil_div(static_cast<std::int64_t>(ctas), static_cast<std::int64_t>(slots)));
  double const busy_sms = std::min<double>(board.sms, ctas);

  double const d_bytes = m * n * batch * bits_of(shape.d) / 8;
  double const dram_bytes = batch * operand_bytes(m, k, shape.a, shape.a_scale, shape.a_gran_k) +
                            static_cast<double>(matrices_of_b(shape)) *
                                operand_bytes(n, k, shape.b, shape.b_scale, shape.b_gran_k) +
                            d_bytes;
  double const l2_bytes = tiles * (operand_bytes(plan.tile_rows, k, plan.x, plan.x_scale, plan.x_gran_k) +
                                   operand_bytes(plan.tile_cols, k, plan.y, plan.y_scale, plan.y_gran_k)) +
                          d_bytes;
  double const tile_elements = static_cast<double>(plan.tile_rows) * plan.tile_cols;
  double const fma = tiles * tile_elements * static_cast<double>(align_up(shape.k, kTileK));
  double const rate = uses_k64(plan) ? board.fma_per_clock_k64 : board.fma_per_clock;
  bool const scaled_outside =
      !arch.block_scaled_mma || plan.x_scale == ScaleKind::kF32 || plan.y_scale == ScaleKind::kF32;

  double const dram = dram_bytes / (board.dram_gbps * 1e3);
  double const l2 = l2_bytes / (board.l2_gbps * 1e3);
  double const clocks_us = busy_sms * board.clock_ghz * 1e3;
  double const balance = ctas > slots ? waves * slots / ctas : 1.0;  // an uneven last wave
  double const mma = fma / (rate * clocks_us) * balance;
  double const scale = scaled_outside ? 2 * fma / std::min(plan.x_gran_k, plan.y_gran_k) /
                                            (board.fp32_per_clock * clocks_us) * balance
                                      : 0;
  double const split = candidate.splits > 1 ? 1.0 + 2 * ctas * tile_elements * 4 / (board.l2_gbps * 1e3) : 0;
  double const launch = 2.5;

  candidate.cost_terms = {{"launch", launch}, {"dram", dram},   {"l2", l2},
                          {"mma", mma},       {"scale", scale}, {"split", split}};
  double const longest = std::max({dram, l2, mma + scale});
  candidate.cost_us = launch + longest + 0.1 * (dram + l2 + mma + scale - longest) + split;
}

Verdict accepts_mx(GemmShape const& shape, Arch const& arch) {
  constexpr std::int64_t kMaxSize = std::numeric_limits<int>::max() - 2 * kTileK;
  auto const four_or_eight = [](Dtype dtype) { return dtype == Dtype::kE4m3 || dtype == Dtype::kE2m1; };
  if (!four_or_eight(shape.a)) return Verdict::no(fmt::format("a is {}, not e4m3 or e2m1", name_of(shape.a)));
  if (!four_or_eight(shape.b)) return Verdict::no(fmt::format("b is {}, not e4m3 or e2m1", name_of(shape.b)));
  if (shape.d != Dtype::kBf16 && shape.d != Dtype::kF32)
    return Verdict::no(fmt::format("d is {}, not bf16 or f32", name_of(shape.d)));
  for (int gran_k : {shape.a_gran_k, shape.b_gran_k}) {
    if (gran_k != 32 && gran_k != 128)
      return Verdict::no(fmt::format("{} elements of k per scale, not 32 or 128", gran_k));
  }
  if (shape.k % kStepK != 0)
    return Verdict::no(fmt::format("k = {} is not a multiple of {}", shape.k, kStepK));
  if (shape.m < 0 || shape.n < 0 || shape.k < 0 || shape.batch < 1) return Verdict::no("a size is negative");
  if (std::max({shape.m, shape.n, shape.k}) > kMaxSize)
    return Verdict::no(fmt::format("a size is above {}", kMaxSize));
  if (shape.grouping != Grouping::kNone && shape.m > kMaxSize / 2)
    return Verdict::no(fmt::format("m = {} is above the {} rows of grouped products", shape.m, kMaxSize / 2));
  if (shape.grouping == Grouping::kContiguous &&
      (shape.groups < 1 || shape.groups > kMaxSize || shape.group_rows < 1))
    return Verdict::no("groups or rows of a block below 1");
  if (shape.batch > 65535) return Verdict::no(fmt::format("batch {} is above the grid's 65535", shape.batch));
  if (ceil_div(shape.m, 128) >
      std::numeric_limits<int>::max() / ceil_div(std::max<std::int64_t>(shape.n, 1), 64)) {
    return Verdict::no("more tiles than a grid has CTAs");
  }
  for (BoardFigures const& board : kBoards) {
    if (board.device_target == arch.device_target) return Verdict::yes();
  }
  return Verdict::no(fmt::format("target {} has no planning figures", arch.target));
}

/// The one form for a grouped product. Blocks of rows: the largest tile that divides them, so that no tile holds two groups; masked:
/// the smallest that holds the rows that a group is expected to have.
TileForm const& form_of_groups(GemmShape const& shape) {
  TileForm const* best = &kForms[0];
  for (TileForm const& form : kForms) {
    std::int64_t const rows = form.swap ? form.tile_cols : form.tile_rows;
    if (shape.grouping == Grouping::kContiguous && shape.group_rows % rows == 0) best = &form;
    if (shape.grouping == Grouping::kMasked && shape.group_rows <= form.max_m) return form;
  }
  return *best;
}

std::vector<GemmCandidate> candidates_mx(GemmShape const& shape, Arch const& arch) {
  std::vector<GemmCandidate> candidates;
  for (TileForm const& form : kForms) {
    if (shape.grouping == Grouping::kNone ? shape.m > form.max_m : &form != &form_of_groups(shape)) continue;
    GemmCandidate candidate;
    candidate.kernel = "gemm_mx";
    candidate.plan = make_plan(form, shape, matrices_of_b(shape), arch);
    candidate.tiles = tiles_of(candidate.plan, shape);
    std::int64_t const k_tiles = ceil_div(shape.k, kTileK);
    Split const split = shape.grouping == Grouping::kNone
                            ? split_k(candidate.tiles, k_tiles, form, candidate.plan)
                            : Split{1, static_cast<int>(align_up(k_tiles, candidate.plan.k_tiles))};
    candidate.splits = split.splits;
    candidate.k_tiles_per_split = split.k_tiles_per_split;
    add_cost(candidate, shape, arch);
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

using GemmRow = KernelRow<GemmShape, GemmCandidate>;
constexpr GemmRow kRows[] = {
    {.name = "gemm_mx", .accepts = accepts_mx, .candidates = candidates_mx},
};

void add_plans(std::vector<GemmPlan>& plans, std::vector<GemmPlan> const& more) {
  for (GemmPlan const& plan : more) {
    if (std::find(plans.begin(), plans.end(), plan) == plans.end()) plans.push_back(plan);
  }
}

}  // namespace

GemmShape shape_of(GemmProblem const& problem) {
  return {.m = problem.m,
          .n = problem.n,
          .k = problem.k,
          .batch = problem.batch,
          .a = problem.a.dtype,
          .b = problem.b.dtype,
          .d = problem.d_type,
          .a_scale = problem.a.scale.kind,
          .b_scale = problem.b.scale.kind,
          .a_gran_k = problem.a.scale.gran.k,
          .b_gran_k = problem.b.scale.gran.k,
          .grouping = problem.grouping,
          .groups = problem.groups,
          .group_rows = problem.group_rows};
}

GemmDecision choose_gemm(GemmShape const& shape, Arch const& arch) {
  return choose<GemmDecision>(std::span<GemmRow const>(kRows), shape, arch);
}

std::string_view planning_board(Arch const& arch) { return figures_of(arch).board; }

GemmFloor gemm_floor(GemmShape const& shape, Arch const& arch) {
  BoardFigures const& board = figures_of(arch);
  double const m = static_cast<double>(shape.m), n = static_cast<double>(shape.n),
               k = static_cast<double>(shape.k);
  double const batch = static_cast<double>(shape.batch);
  GemmFloor floor;
  floor.bytes =
      batch * (operand_bytes(m, k, shape.a, shape.a_scale, shape.a_gran_k) + m * n * bits_of(shape.d) / 8) +
      static_cast<double>(matrices_of_b(shape)) * operand_bytes(n, k, shape.b, shape.b_scale, shape.b_gran_k);
  bool const k64 = arch.block_scaled_mma && shape.a == Dtype::kE2m1 && shape.b == Dtype::kE2m1 &&
                   shape.a_scale == ScaleKind::kUe8m0 && shape.b_scale == ScaleKind::kUe8m0;
  floor.memory_us = floor.bytes / (board.dram_gbps * 1e3);
  floor.math_us = batch * m * n * k /
                  ((k64 ? board.fma_per_clock_k64 : board.fma_per_clock) * board.sms * board.clock_ghz * 1e3);
  return floor;
}

std::vector<GemmPlan> plans_for(GemmShape shape, Arch const& arch) {
  std::vector<GemmPlan> plans;
  shape.m = 1;
  shape.group_rows = std::max<std::int64_t>(shape.group_rows, 1);
  if (!accepts_mx(shape, arch).accepted()) return plans;
  // Groups: how many of them a call has rows of, which its m tells.
  for (TileForm const& form : kForms) {
    add_plans(plans,
              {make_plan(form, shape, shape.grouping == Grouping::kContiguous ? 1 : shape.batch, arch)});
    if (shape.grouping == Grouping::kContiguous)
      add_plans(plans, {make_plan(form, shape, shape.groups, arch)});
  }
  return plans;
}

std::vector<GemmPlan> all_gemm_plans(Arch const& arch) {
  std::vector<GemmPlan> plans;
  constexpr Dtype kOperands[] = {Dtype::kE4m3, Dtype::kE2m1};
  constexpr ScaleKind kScales[] = {ScaleKind::kUe8m0, ScaleKind::kF32};
  GemmShape shape{.m = 1, .n = 4096, .k = 4096};
  for (Grouping grouping : {Grouping::kNone, Grouping::kContiguous, Grouping::kMasked}) {
    shape.grouping = grouping;
    for (Dtype d : {Dtype::kBf16, Dtype::kF32}) {
      if (grouping != Grouping::kNone && d != Dtype::kBf16) continue;
      shape.d = d;
      for (int formats = 0; formats < 64; ++formats) {
        shape.a = kOperands[formats % 2];
        shape.b = kOperands[formats / 2 % 2];
        shape.a_scale = kScales[formats / 4 % 2];
        shape.b_scale = kScales[formats / 8 % 2];
        shape.a_gran_k = formats / 16 % 2 == 0 ? 32 : 128;
        shape.b_gran_k = formats / 32 % 2 == 0 ? 32 : 128;
        for (std::int64_t const n : kRowsOfWeights) {
          shape.n = n;
          add_plans(plans, plans_for(shape, arch));
        }
      }
    }
  }
  return plans;
}

std::vector<GemmPlan> representative_gemm_plans(Arch const& arch) {
  std::vector<GemmPlan> plans;
  auto const add = [&](GemmShape const& shape, std::size_t first, std::size_t step) {
    std::vector<GemmPlan> const forms = plans_for(shape, arch);
    for (std::size_t i = first; i < forms.size(); i += step) add_plans(plans, {forms[i]});
  };
  auto const add_all = [&](GemmShape of) {
    for (std::int64_t const n : kRowsOfWeights) {
      of.n = n;
      add(of, 0, 1);
    }
  };
  GemmShape shape{.m = 1, .n = 4096, .k = 4096};
  // What V4-Flash is served with, in every form: FP8 linears, FP4 experts with packed or FP32 scales of a, FP4 on both sides.
  for (Dtype d : {Dtype::kBf16, Dtype::kF32}) {
    shape.d = d;
    shape.a = shape.b = Dtype::kE4m3;
    shape.a_gran_k = shape.b_gran_k = 128;
    for (ScaleKind kind : {ScaleKind::kUe8m0, ScaleKind::kF32}) {
      shape.a_scale = shape.b_scale = kind;
      add_all(shape);
    }
    shape.b = Dtype::kE2m1;
    shape.b_gran_k = 32;
    shape.b_scale = ScaleKind::kUe8m0;
    for (ScaleKind kind : {ScaleKind::kUe8m0, ScaleKind::kF32}) {
      shape.a_scale = kind;
      add_all(shape);
    }
    shape.a = Dtype::kE2m1;
    shape.a_gran_k = 32;
    shape.a_scale = ScaleKind::kUe8m0;
    add_all(shape);
  }
  // Experts, in every form.
  shape.d = Dtype::kBf16;
  shape.a = Dtype::kE4m3;
  shape.a_gran_k = 128;
  shape.b_scale = ScaleKind::kUe8m0;
  for (Grouping grouping : {Grouping::kContiguous, Grouping::kMasked}) {
    shape.grouping = grouping;
    for (Dtype b : {Dtype::kE4m3, Dtype::kE2m1}) {
      shape.b = b;
      shape.b_gran_k = b == Dtype::kE4m3 ? 128 : 32;
      for (ScaleKind kind : {ScaleKind::kUe8m0, ScaleKind::kF32}) {
        if (grouping == Grouping::kMasked && kind == ScaleKind::kF32) continue;
        shape.a_scale = kind;
        add_all(shape);
      }
    }
  }
  shape.grouping = Grouping::kNone;
  // Every other mix of operands, scales and granularities in one of the forms, in turn.
  std::size_t turn = 0;
  for (Dtype a : {Dtype::kE4m3, Dtype::kE2m1}) {
    for (Dtype b : {Dtype::kE4m3, Dtype::kE2m1}) {
      for (int scales = 0; scales < 4; ++scales) {
        for (int grans = 0; grans < 4; ++grans) {
          shape.a = a;
          shape.b = b;
          shape.d = turn % 2 == 0 ? Dtype::kBf16 : Dtype::kF32;
          shape.a_scale = scales % 2 == 0 ? ScaleKind::kUe8m0 : ScaleKind::kF32;
          shape.b_scale = scales / 2 == 0 ? ScaleKind::kUe8m0 : ScaleKind::kF32;
          shape.a_gran_k = grans % 2 == 0 ? 32 : 128;
          shape.b_gran_k = grans / 2 == 0 ? 32 : 128;
          add(shape, turn++ % std::size(kForms), std::size(kForms));
        }
      }
    }
  }
  return plans;
}

}  // namespace deepwell

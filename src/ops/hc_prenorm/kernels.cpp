// Which tile a call gets and into how many pieces its splits are cut; plans as text.
#include <algorithm>

#include "ops/hc_prenorm/hc_prenorm.hpp"

namespace deepwell {
namespace {

/// The forms of tile. At most three serve a number of columns, so that a model needs three kernels whatever the number of tokens.
/// A warp holds the sums of 32 rows by 64 columns or of 16 by 128; more would spill.
struct Form {
  int min_cols, max_cols;
  int tile_rows, warps_rows, warps_k;
};
constexpr Form kForms[] = {
    {.min_cols = 8, .max_cols = 64, .tile_rows = 16, .warps_rows = 1, .warps_k = 4},
    {.min_cols = 128, .max_cols = 128, .tile_rows = 16, .warps_rows = 1, .warps_k = 2},
    {.min_cols = 8, .max_cols = 64, .tile_rows = 64, .warps_rows = 2, .warps_k = 2},
    {.min_cols = 128, .max_cols = 128, .tile_rows = 64, .warps_rows = 4, .warps_k = 1},
    {.min_cols = 8, .max_cols = 64, .tile_rows = 128, .warps_rows = 4, .warps_k = 1},
};
constexpr int kCols[] = {8, 16, 24, 32, 64, 128};
constexpr int kPieces[] = {1, 2, 4, 8, 16, 32};
constexpr int kMostPieces = 32;
constexpr int kMaxStages = 12;

// Planning figures, the same for every board, as the bits depend on the choice.
constexpr double kSms = 128;
constexpr double kBytesPerUs = 5e6;      // from L2 to all SMs
constexpr double kBytesPerUsOfSm = 5e4;  // to one
constexpr double kLastCtaUs = 2;         // counting in, and the first sums of the other pieces
constexpr std::int64_t kLongestSum =
    128;  // blocks that one warp adds up: the tensor core truncates each of its sums

HcPrenormPlan make_plan(Form const& form, int cols, Arch const& arch) {
  HcPrenormPlan plan{.tile_rows = form.tile_rows,
                     .tile_cols = cols,
                     .warps_rows = form.warps_rows,
                     .warps_k = form.warps_k,
                     .stages = kMaxStages,
                     .every_reader_arrives = false};
  // What SM 12.x has, on all targets: two such CTAs fit on an SM 9.0.
  int const budget = std::min(arch.smem_per_cta, arch_by_target("sm_120a").smem_per_cta);
  while (plan.stages > plan.warps_k && smem_map(plan).total > budget) plan.stages -= plan.warps_k;
  return plan;
}

int columns_for(std::int64_t n) {
  for (int cols : kCols) {
    if (n <= cols) return cols;
  }
  throw Error(ErrorCode::kInternal, fmt::format("no tile of {} columns", n));
}

/// Bytes through L2, shared among all SMs or by rounds of CTAs, whichever takes longer; then the sum of the pieces.
double cost_us(HcPrenormShape const& shape, HcPrenormPlan const& plan, std::int64_t pieces) {
  std::int64_t const tiles = ceil_div(shape.m, plan.tile_rows);
  std::int64_t const rows = std::min<std::int64_t>(shape.m, plan.tile_rows);
  std::int64_t const of_split = ceil_div(hc_blocks(shape.k), shape.splits);
  std::int64_t const ctas = tiles * shape.splits * pieces;
  double const stage = static_cast<double>(rows * kHcBlockK * 2 + shape.n * kHcBlockK * 4);
  double const cta = static_cast<double>(ceil_div(of_split, pieces)) * stage;
  double const all = static_cast<double>(tiles * hc_blocks(shape.k)) * stage;
  double const rounds = static_cast<double>(ceil_div(ctas, static_cast<std::int64_t>(kSms)));
  double cost = std::max(all / kBytesPerUs, rounds * cta / kBytesPerUsOfSm);
  if (pieces > 1) {
    double const sums = static_cast<double>(pieces * rows * (shape.n + 1) * 4);
    cost += kLastCtaUs + sums / kBytesPerUsOfSm;
  }
  return cost;
}

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) + 0x9e3779b97f4a7c15u;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  return hash ^ (hash >> 29);
}

std::string literal(int value) { return fmt::format("{}", value); }
std::string literal(bool value) { return value ? "true" : "false"; }

}  // namespace

HcPrenormShape shape_of(HcPrenormProblem const& problem) {
  return {.m = problem.m, .n = problem.n, .k = problem.k, .splits = problem.splits};
}

std::vector<HcPrenormCandidate> choose_hc_prenorm(HcPrenormShape const& shape, Arch const& arch) {
  std::vector<HcPrenormCandidate> out;
  std::int64_t const of_split = ceil_div(hc_blocks(shape.k), shape.splits);
  for (HcPrenormPlan const& plan : hc_prenorm_plans(shape.n, arch)) {
    // Few enough blocks a warp, and no more pieces than there are blocks.
    std::int64_t const least =
        std::min<std::int64_t>(ceil_div(of_split, kLongestSum * plan.warps_k), kMostPieces);
    for (int pieces : kPieces) {
      if (pieces < least || (pieces > 1 && pieces > of_split)) continue;
      out.push_back({.plan = plan, .pieces = pieces, .cost_us = cost_us(shape, plan, pieces)});
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](auto const& left, auto const& right) { return left.cost_us < right.cost_us; });
  return out;
}

std::vector<HcPrenormPlan> hc_prenorm_plans(std::int64_t n, Arch const& arch) {
  std::vector<HcPrenormPlan> out;
  if (n < 1 || n > kHcMaxCols) return out;
  int const cols = columns_for(n);
  for (Form const& form : kForms) {
    if (cols < form.min_cols || cols > form.max_cols) continue;
    HcPrenormPlan const plan = make_plan(form, cols, arch);
    if (smem_map(plan).total <= arch.smem_per_cta) out.push_back(plan);
  }
  return out;
}

std::vector<HcPrenormPlan> all_hc_prenorm_plans(Arch const& arch) {
  std::vector<HcPrenormPlan> out;
  for (int cols : kCols) {
    for (HcPrenormPlan const& plan : hc_prenorm_plans(cols, arch)) out.push_back(plan);
  }
  return out;
}

std::string plan_name(HcPrenormPlan const& plan) {
  return fmt::format("tf32_hc_prenorm_gemm_{}x{}_w{}x{}_s{}{}", plan.tile_rows, plan.tile_cols,
                     plan.warps_rows, plan.warps_k, plan.stages, plan.every_reader_arrives ? "_e" : "");
}

std::uint64_t plan_key(HcPrenormPlan const& plan) {
  std::uint64_t hash = 0x68635f7072656eu;  // "hc_pren"
#define DW_MIX(type, name) hash = mix(hash, static_cast<std::uint64_t>(static_cast<int>(plan.name)));
  DW_HC_PRENORM_PLAN_FIELDS(DW_MIX)
#undef DW_MIX
  return hash;
}

std::string hc_prenorm_source(HcPrenormPlan const& plan, Arch const& arch) {
  std::string fields;
#define DW_FIELD(type, name) \
  fields +=                  \
      fmt::format("{}.{} = {}", fields.empty() ? "" : ", ", #name, literal(static_cast<type>(plan.name)));
  DW_HC_PRENORM_PLAN_FIELDS(DW_FIELD)
#undef DW_FIELD
  return fmt::format(
      "// generated: hc_prenorm  {} rows x {} columns, warps {}x{}, stages {}\n"
      "#include \"deepwell/kernel/hc_prenorm.cuh\"\n"
      "using Kernel = deepwell::HcPrenorm<deepwell::HcPrenormPlan{{{}}}, deepwell::{}>;\n"
      "extern \"C\" __global__ void __launch_bounds__(Kernel::kThreads, 1)\n"
      "{}(__grid_constant__ deepwell::HcPrenormArgs const args) {{ Kernel::run(args); }}\n",
      plan.tile_rows, plan.tile_cols, plan.warps_rows, plan.warps_k, plan.stages, fields, arch.device_target,
      plan_name(plan));
}

}  // namespace deepwell

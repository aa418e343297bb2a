// `deepwell explain`: which kernels accept or refuse a problem and why, the ranked plans with the terms of their cost, how k is
// split, the shared memory of the best plan, and what no kernel could beat.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "base/table.hpp"
#include "cli/commands.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

struct Question {
  std::int64_t m = 1, n = 0, k = 0, heads = 1;
  std::string a = "e4m3", b = "e4m3", d = "bf16";
  std::string a_scale = "packed", b_scale = "packed";
  int gran_a = 0, gran_b = 0;
  std::string target = "sm_120a";
};

Dtype dtype_of(char const* option, std::string const& text) {
  for (Dtype dtype : {Dtype::kE4m3, Dtype::kE2m1, Dtype::kBf16, Dtype::kF32, Dtype::kF16}) {
    if (text == name_of(dtype)) return dtype;
  }
  throw bad_argument(option, text, "e4m3, e2m1, bf16, f32 or f16");
}

ScaleKind scale_of(char const* option, std::string const& text) {
  if (text == "f32") return ScaleKind::kF32;
  if (text == "packed" || text == "bytes") return ScaleKind::kUe8m0;
  throw bad_argument(option, text, "packed, bytes or f32");
}

/// Unless said: 32 elements of k per scale for e2m1, 128 for e4m3.
int gran_of(int given, Dtype dtype) { return given != 0 ? given : dtype == Dtype::kE2m1 ? 32 : 128; }

GemmShape shape_of(Question const& q) {
  GemmShape shape{.m = q.m, .n = q.n, .k = q.k, .batch = q.heads};
  shape.a = dtype_of("--a", q.a);
  shape.b = dtype_of("--b", q.b);
  shape.d = dtype_of("--d", q.d);
  shape.a_scale = scale_of("--a-scale", q.a_scale);
  shape.b_scale = scale_of("--b-scale", q.b_scale);
  shape.a_gran_k = gran_of(q.gran_a, shape.a);
  shape.b_gran_k = gran_of(q.gran_b, shape.b);
  return shape;
}

std::string how_scales_arrive(std::string const& format) {
  if (format == "packed") return "words by TMA (any other stride or alignment: 4-byte copies)";
  if (format == "bytes")
    return "words by 4-byte copies where four exponents of a row are aligned, else byte by byte";
  return "values by 4-byte copies, any strides";
}

void print_candidates(GemmDecision const& decision, Arch const& arch) {
  std::vector<Table::Column> columns{
      {.title = "#", .align = Table::Align::kRight},    {.title = "plan"},
      {.title = "CTAs", .align = Table::Align::kRight}, {.title = "splits", .align = Table::Align::kRight},
      {.title = "smem", .align = Table::Align::kRight}, {.title = "us", .align = Table::Align::kRight}};
  for (auto const& [name, value] : decision.ranked.front().cost_terms)
    columns.push_back({.title = name, .align = Table::Align::kRight});
  Table table(columns);
  int rank = 0;
  for (GemmCandidate const& candidate : decision.ranked) {
    GemmPlan const& plan = candidate.plan;
    std::vector<std::string> cells{
        fmt::format("{}", ++rank),
        fmt::format("{} {}x{}x{}{}, {}x{} warps, {} stages", candidate.kernel, plan.tile_rows, plan.tile_cols,
                    kTileK, plan.swap ? " of b x a" : "", plan.warps_rows, plan.warps_cols, plan.stages),
        "",
        fmt::format("{}", candidate.splits),
        fmt::format("{}", smem_map(plan).total),
        fmt::format("{:.2f}", candidate.cost_us)};
    cells[2] = fmt::format("{}", candidate.tiles * candidate.splits);
    for (auto const& [name, value] : candidate.cost_terms) cells.push_back(fmt::format("{:.2f}", value));
    table.add(cells);
  }
  std::fputs(table.text().c_str(), stdout);
  fmt::print(
      "Estimates in microseconds for {}, the board that this family's choice is made for; at most {} bytes "
      "of shared memory per CTA.\n",
      planning_board(arch), arch.smem_per_cta);
}

std::string stages_text(char const* operand, GemmPlan const& plan, int rows, int row_bytes) {
  return fmt::format("{}: {} stages of {} k tile{} of {} rows of {} bytes", operand, plan.stages,
                     plan.k_tiles, plan.k_tiles == 1 ? "" : "s", rows, row_bytes);
}

std::string slots_text(char const* operand, ScaleSlots const& slots) {
  return fmt::format("scales of {}: {} slots of {} word{} a row, for {} k tile{}", operand, slots.slots,
                     slots.words, slots.words == 1 ? "" : "s", slots.tiles, slots.tiles == 1 ? "" : "s");
}

void print_shared_memory(GemmPlan const& plan) {
  GemmSmemMap const map = smem_map(plan);
  Table table({{.title = "offset", .align = Table::Align::kRight},
               {.title = "bytes", .align = Table::Align::kRight},
               {.title = "what"}});
  auto const row = [&](int at, int bytes, std::string what) {
    table.add({fmt::format("{}", at), fmt::format("{}", bytes), std::move(what)});
  };
  char const* const x = plan.swap ? "b" : "a";
  char const* const y = plan.swap ? "a" : "b";
  row(map.x, plan.stages * map.x_stage_bytes, stages_text(x, plan, plan.tile_rows, row_bytes(plan.x)));
  row(map.y, plan.stages * map.y_stage_bytes, stages_text(y, plan, plan.tile_cols, row_bytes(plan.y)));
  row(map.scale_x, x_scale_slots(plan).slots * x_scale_slots(plan).bytes, slots_text(x, x_scale_slots(plan)));
  row(map.scale_y, y_scale_slots(plan).slots * y_scale_slots(plan).bytes, slots_text(y, y_scale_slots(plan)));
  row(map.full, 8 * plan.stages, "mbarriers: stage is full");
  row(map.empty, 8 * plan.stages, "mbarriers: stage is empty");
  std::fputs(table.text().c_str(), stdout);
}

void explain(Question const& question) {
  Arch const& arch = arch_by_target(question.target);
  GemmShape const shape = shape_of(question);
  for (auto const& [name, value] : {std::pair{"--m", question.m},
                                    {"--n", question.n},
                                    {"--k", question.k},
                                    {"--heads", question.heads}}) {
    if (value < 1) throw bad_argument(name, fmt::format("{}", value), "at least 1");
  }
  fmt::print("d[{}, {}] {} = a[{}, {}] {} x b[{}, {}]^T {}", shape.m, shape.n, name_of(shape.d), shape.m,
             shape.k, name_of(shape.a), shape.n, shape.k, name_of(shape.b));
  if (shape.batch > 1) fmt::print(", {} heads", shape.batch);
  fmt::print(" on {}\n", arch.target);
  fmt::print("scales: a {} per {} of k, {}; b {} per {} of k, {}\n\n", question.a_scale, shape.a_gran_k,
             how_scales_arrive(question.a_scale), question.b_scale, shape.b_gran_k,
             how_scales_arrive(question.b_scale));

  GemmDecision const decision = choose_gemm(shape, arch);
  std::map<std::string, int> offered;
  for (GemmCandidate const& candidate : decision.ranked) ++offered[candidate.kernel];
  for (auto const& [kernel, plans] : offered) fmt::print("{} accepts, with {} plans\n", kernel, plans);
  for (GemmRejection const& rejection : decision.rejected)
    fmt::print("{} refuses: {}\n", rejection.kernel, rejection.reason);
  if (decision.ranked.empty()) {
    fmt::print("no kernel accepts this problem\n");
    throw CLI::RuntimeError(1);
  }
  fmt::print("\n");
  print_candidates(decision, arch);

  GemmCandidate const& best = decision.ranked.front();
  fmt::print("\nbest: {}\n", plan_name(best.plan));
  fmt::print("      {}\n", plan_text(best.plan));
  fmt::print("      k in {} tiles of {}, {} split{}{}\n", ceil_div(shape.k, kTileK), kTileK, best.splits,
             best.splits == 1 ? "" : "s",
             best.splits == 1 ? ""
                              : fmt::format(" of up to {}, summed in order by the tile's cluster",
                                            best.k_tiles_per_split));
  fmt::print("      {} threads, {} bytes of shared memory\n\n", threads(best.plan),
             smem_map(best.plan).total);
  print_shared_memory(best.plan);

  GemmFloor const floor = gemm_floor(shape, arch);
  fmt::print(
      "\nfloor: {:.2f} us: {:.3f} MB once through memory takes {:.2f} us, the products alone {:.2f} us\n",
      std::max(floor.memory_us, floor.math_us), floor.bytes / 1e6, floor.memory_us, floor.math_us);
}

void add_common_options(CLI::App& command, std::shared_ptr<Question> const& question) {
  command.add_option("--a", question->a, "e4m3 or e2m1")->capture_default_str();
  command.add_option("--b", question->b, "e4m3 or e2m1")->capture_default_str();
  command.add_option("--d", question->d, "bf16 or f32")->capture_default_str();
  command.add_option("--a-scale", question->a_scale, "packed, bytes or f32")->capture_default_str();
  command.add_option("--b-scale", question->b_scale, "packed, bytes or f32")->capture_default_str();
  command.add_option("--gran-a", question->gran_a,
                     "elements of k per scale of a: 32 or 128 (default by type)");
  command.add_option("--gran-b", question->gran_b,
                     "elements of k per scale of b: 32 or 128 (default by type)");
  command.add_option("--target", question->target, "sm_120a, sm_121a, sm_120f or sm_90a")
      ->capture_default_str();
  command.callback([question] { explain(*question); });
}

}  // namespace

void add_explain_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("explain", "Which kernel an operation gets, and why");
  command->require_subcommand(1);

  auto const gemm = std::make_shared<Question>();
  CLI::App* const gemm_command = command->add_subcommand("gemm", "d[m, n] = a[m, k] b[n, k]^T");
  gemm_command->add_option("--m", gemm->m, "rows of a")->required();
  gemm_command->add_option("--n", gemm->n, "rows of b")->required();
  gemm_command->add_option("--k", gemm->k, "elements of a row")->required();
  add_common_options(*gemm_command, gemm);

  auto const einsum = std::make_shared<Question>();
  einsum->heads = 8;
  einsum->n = 1024;
  einsum->k = 4096;
  CLI::App* const einsum_command = command->add_subcommand("einsum", "bhr,hdr->bhd: a GEMM for each head");
  einsum_command->add_option("--m,--tokens", einsum->m, "tokens (b)")->required();
  einsum_command->add_option("--heads", einsum->heads, "heads (h)")->capture_default_str();
  einsum_command->add_option("--n,--out", einsum->n, "rows of a head's weight (d)")->capture_default_str();
  einsum_command->add_option("--k,--rank", einsum->k, "elements of a row (r)")->capture_default_str();
  add_common_options(*einsum_command, einsum);
}

}  // namespace deepwell

// Time of a cold compile and of a warm load, in one process and on one thread: what the first sight of a shape costs. One JSON
// object a line for each plan, compiler target and scale format.
//
// The compiler is loaded, and has compiled once, before the clock starts; nothing is read from a cache. CPU time is that of the
// whole process, so that it means the same on a machine that is busy.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "base/file.hpp"
#include "jit/jit.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

struct Times {
  double wall_ms = 0, cpu_ms = 0;
  double least_ms = 0;  // of several runs, in wall time: what the machine can do when nothing else runs
};

double cpu_milliseconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  auto const of = [](timeval const& time) {
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) * 1e-3;
  };
  return of(use.ru_utime) + of(use.ru_stime);
}

template <class Call>
Times time_of(Call&& call) {
  auto const start = std::chrono::steady_clock::now();
  double const cpu = cpu_milliseconds();
  call();
  std::chrono::duration<double, std::milli> const wall = std::chrono::steady_clock::now() - start;
  return {.wall_ms = wall.count(), .cpu_ms = cpu_milliseconds() - cpu, .least_ms = wall.count()};
}

template <class Call>
Times median_of(int runs, Call&& call) {
  std::vector<double> wall, cpu;
  for (int i = 0; i < runs; ++i) {
    Times const times = time_of(call);
    wall.push_back(times.wall_ms);
    cpu.push_back(times.cpu_ms);
  }
  std::sort(wall.begin(), wall.end());
  std::sort(cpu.begin(), cpu.end());
  std::size_t const middle = wall.size() / 2;
  return {.wall_ms = wall[middle], .cpu_ms = cpu[middle], .least_ms = wall.front()};
}

struct Tile {
  char const* name;
  int rows, cols;
};

/// The plan of an e4m3 x e4m3 product with this tile, or nothing where no shape is served by it.
GemmPlan const* find_plan(std::vector<GemmPlan> const& plans, Tile const& tile) {
  for (GemmPlan const& plan : plans) {
    if (plan.tile_rows == tile.rows && plan.tile_cols == tile.cols) return &plan;
  }
  return nullptr;
}

jit::CompileRequest request_of(GemmPlan const& plan, Arch const& arch) {
  return {.name = plan_name(plan),
          .source = gemm_source(plan, arch),
          .target = std::string(arch.target),
          .entry = plan_name(plan)};
}

/// Reads the entry as a new process does: a cache object that has nothing in memory.
void load(std::string const& folder, jit::CompileRequest const& request, jit::Compiler const& compiler) {
  jit::KernelCache cache(folder);
  DW_CHECK(cache.find(request, compiler.info()).has_value(), kInternal, "{} is not in the cache",
           request.name);
}

void measure(jit::Compiler const& compiler, Arch const& arch, ScaleKind scales,
             std::vector<Tile> const& tiles, int runs) {
  std::vector<GemmPlan> const plans = plans_for(
      {.n = 4096, .k = 4096, .a = Dtype::kE4m3, .b = Dtype::kE4m3, .a_scale = scales, .b_scale = scales},
      arch);
  TemporaryFolder const folder("deepwell-bench-");
  for (Tile const& tile : tiles) {
    GemmPlan const* const plan = find_plan(plans, tile);
    DW_CHECK(plan != nullptr, kInternal, "no e4m3 plan of {} has tiles of {} x {}", arch.target, tile.rows,
             tile.cols);
    jit::CompileRequest const request = request_of(*plan, arch);
    Times const cold = median_of(runs, [&] { compiler.compile(request); });
    jit::KernelCache(folder.path().string()).get(request, compiler);
    Times const warm = median_of(runs, [&] { load(folder.path().string(), request, compiler); });
    std::printf(
        "{\"kernel\": \"%s\", \"tile\": \"%dx%d\", \"scales\": \"%s\", \"target\": \"%s\", \"compiler\": "
        "\"%s "
        "%s\", "
        "\"cold_ms\": %.0f, \"cold_cpu_ms\": %.0f, \"cold_least_ms\": %.0f, \"warm_ms\": %.2f, \"runs\": %d, "
        "\"plan\": \"%s\"}\n",
        tile.name, tile.rows, tile.cols, scales == ScaleKind::kF32 ? "f32" : "packed",
        std::string(arch.target).c_str(), compiler.info().kind.c_str(), compiler.info().full_version.c_str(),
        cold.wall_ms, cold.cpu_ms, cold.least_ms, warm.wall_ms, runs, request.name.c_str());
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace deepwell

int main(int argc, char** argv) {
  using namespace deepwell;
  CLI::App app("Time of cold compiles and warm loads.");
  std::vector<std::string> targets{"sm_120a", "sm_121a"};
  std::string compiler_kind = "nvrtc";
  int runs = 5;
  app.add_option("--targets", targets, "Targets to compile for")->delimiter(',');
  app.add_option("--compiler", compiler_kind, "nvrtc or nvcc");
  app.add_option("--runs", runs, "Compiles of each kernel; the median counts")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    std::vector<Tile> const tiles = {{"decode", 64, 8}, {"decode", 64, 16}, {"large", 128, 128}};
    for (std::string const& target : targets) {
      Arch const& arch = arch_by_target(target);
      std::shared_ptr<jit::Compiler> const compiler = jit::make_compiler(compiler_kind, target);
      for (ScaleKind const scales : {ScaleKind::kUe8m0, ScaleKind::kF32}) {
        GemmPlan const first =
            plans_for({.n = 4096, .k = 4096, .a_scale = scales, .b_scale = scales}, arch).at(0);
        compiler->compile(request_of(first, arch));
        measure(*compiler, arch, scales, tiles, runs);
      }
    }
  } catch (std::exception const& error) {
    std::fprintf(stderr, "bench_compile_time: %s\n", error.what());
    return 1;
  }
  return 0;
}

// deepwell emulate FILE.ptx: runs kernels of a PTX file in the emulator, with all checks on. Here one launch from the command line;
// launch files in emulate_sheet.cpp.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "cli/commands.hpp"
#include "cli/emulate_sheet.hpp"
#include "cli/launch_sheet.hpp"
#include "cli/statistics.hpp"
#include "emu/emu.hpp"

namespace deepwell {
namespace {

struct EmulateArgs {
  std::string file, kernel, target = "sm_120a", grid = "1", block = "32", cluster = "1";
  std::vector<std::string> params, dumps;
  std::size_t smem = 0;
  std::uint64_t seed = 0, seeds = 1, data_seed = 0, max_steps = 0;
  int threads = 0;
  bool check = true, no_race = false, json = false, stats = false;
  std::string launch;
  std::string trace;
  std::uint64_t memory_bytes = std::uint64_t{8} << 30;
  bool every_seed = false, any_path = false;
};

emu::KernelInfo choose_kernel(emu::Module const& module, std::string const& wanted) {
  std::vector<emu::KernelInfo> const kernels = module.kernels();
  std::string names;
  for (emu::KernelInfo const& kernel : kernels) {
    if (kernel.name == wanted || (wanted.empty() && kernels.size() == 1)) return kernel;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", kernel.name);
  }
  throw bad_argument("--kernel", wanted,
                     names.empty() ? "a file with at least one .entry" : fmt::format("one of {}", names));
}

std::string read_ptx(std::string const& file) {
  try {
    return read_text_file(file);
  } catch (std::filesystem::filesystem_error const& error) {
    throw bad_argument("FILE", file, fmt::format("a readable PTX file ({})", error.code().message()));
  }
}

/// A launch in the emulator's memory: buffers allocated and filled, parameters
/// placed.
struct Prepared {
  emu::Memory memory;
  std::vector<std::uint64_t> addresses;  // one per parameter, 0 for scalars
  std::vector<std::byte> block;
};

void prepare(Prepared& prepared, std::vector<LaunchParam> const& params, std::uint64_t seed) {
  std::vector<std::uint64_t> buffers;
  for (std::size_t i = 0; i < params.size(); ++i) {
    prepared.addresses.push_back(0);
    if (!params[i].is_buffer) continue;
    std::uint64_t const address = prepared.memory.allocate(params[i].bytes, fmt::format("param {}", i));
    prepared.addresses.back() = address;
    buffers.push_back(address);
    std::vector<std::byte> const fill = make_fill(params[i], seed + i);
    if (!fill.empty()) prepared.memory.write(address, fill);
  }
  prepared.block = parameter_block(params, buffers);
}

/// The command that runs one seed alone.
std::string repeat_command(EmulateArgs const& args, std::uint64_t seed) {
  std::string out = fmt::format("deepwell emulate {} --target {} --grid {} --block {} --cluster {} --seed {}",
                                args.file, args.target, args.grid, args.block, args.cluster, seed);
  if (!args.kernel.empty()) out += " --kernel " + args.kernel;
  if (args.smem != 0) out += fmt::format(" --smem {}", args.smem);
  if (args.data_seed != 0) out += fmt::format(" --data-seed {}", args.data_seed);
  if (args.max_steps != 0) out += fmt::format(" --max-steps {}", args.max_steps);
  for (std::string const& param : args.params) out += " --param " + param;
  if (args.no_race) out += " --no-race";
  return out;
}

void run_emulate(EmulateArgs const& args) {
  std::string const name = args.target.starts_with("emu:") ? args.target : "emu:" + args.target;
  emu::Profile const profile = emu::parse_profile(name);
  std::vector<LaunchParam> params;
  for (std::string const& text : args.params) params.push_back(parse_launch_param(text));
  std::vector<DumpRequest> dumps;
  for (std::string const& text : args.dumps) dumps.push_back(parse_dump(text, params));
  emu::LaunchConfig config{.dynamic_smem_bytes = args.smem};
  std::vector<std::uint32_t> const grid = parse_extent("--grid", args.grid);
  std::vector<std::uint32_t> const block = parse_extent("--block", args.block);
  std::vector<std::uint32_t> const cluster = parse_extent("--cluster", args.cluster);
  for (std::size_t i = 0; i < 3; ++i) {
    config.grid[i] = grid[i];
    config.block[i] = block[i];
    config.cluster[i] = cluster[i];
  }

  std::shared_ptr<emu::Module const> const module =
      emu::Module::parse(read_ptx(args.file), profile, args.file);
  emu::KernelInfo const kernel = choose_kernel(*module, args.kernel);
  emu::Options options{.check = args.check,
                       .race = !args.no_race,
                       .seed = args.seed,
                       .max_steps = args.max_steps,
                       .threads = args.threads,
                       .output = [](std::string_view text) { fmt::print("{}", text); },
                       .statistics = args.stats};
  auto last = std::make_unique<Prepared>();
  emu::Statistics statistics;
  double seconds = 0;
  for (std::uint64_t run = 0; run < args.seeds; ++run, ++options.seed) {
    last = std::make_unique<Prepared>();
    prepare(*last, params, args.data_seed);
    if (last->block.size() != kernel.param_bytes) {
      throw bad_argument("--param", fmt::format("{} bytes in all", last->block.size()),
                         fmt::format("the {} bytes of {}'s parameters", kernel.param_bytes, kernel.name));
    }
    auto const start = std::chrono::steady_clock::now();
    try {
      statistics = emu::launch(*module, kernel.name, config, last->block, last->memory, options, profile);
    } catch (emu::Report const& report) {
      if (args.seeds == 1) throw;
      throw emu::Report(report.finding(),
                        fmt::format("seed {} of {}: {}\n  repeat: {}", options.seed, args.seeds,
                                    report.what(), repeat_command(args, options.seed)),
                        report.argument());
    }
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  Prepared& prepared = *last;

  if (args.json) {
    nlohmann::ordered_json line{
        {"kernel", kernel.name},   {"target", profile.target},
        {"ctas", statistics.ctas}, {"warp_instructions", statistics.warp_instructions},
        {"mma", statistics.mma},   {"seconds", seconds}};
    if (args.stats) line["statistics"] = nlohmann::ordered_json::parse(to_json(statistics));
    fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{} on {}: {} CTAs, {} warp instructions, {} mma, {:.3f} s\n", kernel.name, profile.target,
               statistics.ctas, statistics.warp_instructions, statistics.mma, seconds);
    if (args.stats) fmt::print("\n{}", statistics_text(statistics));
  }
  for (DumpRequest const& dump : dumps) {
    std::vector<std::byte> bytes(params[dump.param].bytes);
    prepared.memory.read(prepared.addresses[dump.param], bytes);
    fmt::print("param {} as {}\n{}", dump.param, dump.type, dump_text(bytes, dump.type, dump.count));
  }
}

/// The launch file, with what was given on the command line instead.
void run_launch_file(CLI::App const& command, EmulateArgs const& args) {
  SheetArgs out;
  out.ptx = args.file;
  out.launch = args.launch;
  auto const given = [&](char const* option) { return command.count(option) > 0; };
  for (char const* option :
       {"--grid", "--block", "--cluster", "--smem", "--kernel", "--param", "--dump", "--data-seed"}) {
    if (given(option)) throw bad_argument(option, "beside --launch", "it in the launch file");
  }
  if (given("--target")) out.target = args.target;
  if (given("--check")) out.check = args.check;
  if (given("--seed")) out.seed = args.seed;
  if (given("--seeds")) out.seeds = args.seeds;
  if (given("--max-steps")) out.max_steps = args.max_steps;
  if (given("--threads")) out.threads = args.threads;
  if (given("--trace")) out.trace = args.trace;
  out.memory_bytes = args.memory_bytes;
  out.no_race = args.no_race;
  out.statistics = args.stats;
  out.every_seed = args.every_seed;
  out.any_path = args.any_path;
  out.json = args.json;
  int const code = run_sheet_command(out);
  if (code != 0) throw CLI::RuntimeError(code);
}

}  // namespace

void add_emulate_command(CLI::App& app) {
  auto const args = std::make_shared<EmulateArgs>();
  CLI::App* command =
      app.add_subcommand("emulate", "Run a kernel of a PTX file on the CPU, every access checked");
  command->add_option("file", args->file, "PTX text; launch files may name their own")
      ->check(CLI::ExistingFile);
  command
      ->add_option("--launch", args->launch, "launch file: buffers, tensor maps, launches (docs/emulate.md)")
      ->check(CLI::ExistingFile);
  command->add_option("--kernel", args->kernel, "entry name; not needed when the file has one");
  command
      ->add_option("--target", args->target,
                   "sm_120a, sm_121a, sm_120f, sm_90a, or with a number of "
                   "SMs: sm_120a:48")
      ->capture_default_str();
  command->add_option("--grid", args->grid, "CTAs: X[,Y[,Z]]")->capture_default_str();
  command->add_option("--block", args->block, "threads of a CTA: X[,Y[,Z]]")->capture_default_str();
  command->add_option("--cluster", args->cluster, "CTAs of a cluster: X[,Y[,Z]]")->capture_default_str();
  command->add_option("--smem", args->smem, "dynamic shared memory in bytes");
  command->add_option("--param", args->params,
                      "one per parameter, in order: "
                      "buffer:BYTES[:zero|poison|iota|random|0xNN|f32=V], "
                      "u32:7, u64:, s32:, f32:, ...");
  command->add_option("--dump", args->dumps, "print a buffer afterwards: INDEX[:TYPE[:COUNT]], 0:f32:16");
  command
      ->add_option("--seed", args->seed, "order of warps and CTAs, timing of asynchronous copies; 0 is fair")
      ->capture_default_str();
  command->add_option("--seeds", args->seeds, "run under this many seeds, from --seed on, until one fails")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_option("--data-seed", args->data_seed, "random fills")->capture_default_str();
  command->add_option("--max-steps", args->max_steps,
                      "warp instructions per CTA after which the run counts as endless");
  command->add_option("--threads", args->threads, "host threads with --no-check, 0: all cores")
      ->capture_default_str();
  command->add_flag("--check,!--no-check", args->check,
                    "all checks (the default), or none but bounds, which always hold");
  command->add_flag("--no-race", args->no_race, "no race checks");
  command->add_flag("--stats", args->stats, "count sectors, bank conflicts, copies and waits as well");
  command->add_flag("--json", args->json, "counts as a JSON object");
  command->add_option("--trace", args->trace,
                      "with --launch: write each instruction that runs, with its results, to this file");
  command
      ->add_option("--memory-bytes", args->memory_bytes,
                   "with --launch: the most that all buffers together may take")
      ->capture_default_str();
  command->add_flag("--every-seed", args->every_seed,
                    "with --launch: go on with the next seed after a finding");
  command->add_flag("--any-path", args->any_path, "the launch file may name files outside of its folder");
  command->callback([args, command] {
    if (!args->launch.empty()) return run_launch_file(*command, *args);
    if (args->file.empty()) throw bad_argument("FILE", "none", "a PTX file, or --launch");
    for (char const* option : {"--every-seed", "--any-path", "--trace", "--memory-bytes"}) {
      if (command->count(option) > 0) throw bad_argument(option, "alone", "it beside --launch");
    }
    run_emulate(*args);
  });
}

}  // namespace deepwell

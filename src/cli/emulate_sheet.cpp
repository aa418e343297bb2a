// A launch file from the command line: options over those of the file, the report as text.
#include "cli/emulate_sheet.hpp"

#include <cstdio>
#include <filesystem>

#include "base/file.hpp"
#include "cli/statistics.hpp"
#include "emu/launch/sheet_json.hpp"

namespace deepwell {
namespace {

std::string read_input(char const* what, std::string const& file) {
  try {
    return read_text_file(file);
  } catch (std::filesystem::filesystem_error const& error) {
    throw bad_argument(what, file, fmt::format("a readable file ({})", error.code().message()));
  }
}

void apply(SheetArgs const& args, emu::Sheet& sheet) {
  emu::Options& options = sheet.options;
  if (args.check) options.check = *args.check;
  if (args.no_race) options.race = false;
  if (args.statistics) options.statistics = true;
  if (args.seed) options.seed = *args.seed;
  if (args.seeds) sheet.seeds = *args.seeds;
  if (args.max_steps) options.max_steps = *args.max_steps;
  if (args.threads) options.threads = *args.threads;
  if (args.trace) sheet.trace.file = *args.trace;
  if (args.every_seed) sheet.every_seed = true;
}

void print_comparison(emu::SheetBuffer const& buffer, emu::Comparison const& comparison) {
  fmt::print("{}: ", buffer.name);
  if (comparison.ok()) {
    fmt::print("{} elements as expected, largest error {:.3g}\n", comparison.compared,
               comparison.worst_error);
    return;
  }
  fmt::print(
      "{} of {} elements differ, {} were never written; first at {}: got {}, expected {}; largest error "
      "{:.3g} at {}\n",
      comparison.mismatches, comparison.compared, comparison.undefined, comparison.first,
      element_text(*buffer.type, comparison.first_got), element_text(*buffer.type, comparison.first_expected),
      comparison.worst_error, comparison.worst);
}

void print_report(emu::Sheet const& sheet, emu::SheetResult const& result) {
  if (!result.output.empty()) fmt::print("{}{}", result.output, result.output.ends_with('\n') ? "" : "\n");
  for (emu::SheetFinding const& finding : result.findings)
    fmt::print("{}, seed {}: {}\n", name_of(finding.finding), finding.seed, finding.message);
  for (std::size_t i = 0; i < result.launches.size(); ++i) {
    emu::Statistics const& counts = result.launches[i];
    fmt::print("{} on {}: {} CTAs, {} warp instructions, {} mma\n", result.kernels[i], sheet.profile.target,
               counts.ctas, counts.warp_instructions, counts.mma);
    if (counts.detailed) fmt::print("\n{}\n", statistics_text(counts));
  }
  for (std::size_t i = 0; i < result.buffers.size(); ++i) {
    emu::SheetBuffer const& buffer = sheet.buffers[i];
    emu::BufferResult const& got = result.buffers[i];
    if (got.comparison) print_comparison(buffer, *got.comparison);
    if (buffer.output.empty()) continue;
    fmt::print("{}: {} bytes to {}", buffer.name, buffer.bytes, buffer.output);
    fmt::print("{}\n", got.undefined_bytes == 0
                           ? ""
                           : fmt::format(", {} of them never written", got.undefined_bytes));
  }
  fmt::print("{}: {} seeds from {} on, {}, {:.3f} s\n", result.ok() ? "ok" : "FAILED", result.seeds_run,
             sheet.options.seed, sheet.options.check ? "checked" : "not checked", result.seconds);
}

}  // namespace

int run_sheet_command(SheetArgs const& args) {
  std::string const text = read_input("--launch", args.launch);
  emu::SheetSource source{.text = text,
                          .name = args.launch,
                          .folder = std::filesystem::absolute(args.launch).parent_path(),
                          .anywhere = args.any_path,
                          .most_memory_bytes = args.memory_bytes.value_or(std::uint64_t{8} << 30),
                          .target = args.target.value_or(""),
                          .module = {},
                          .arrays = {}};
  if (!args.ptx.empty()) source.module = {.name = args.ptx, .ptx = read_input("FILE", args.ptx)};
  emu::Sheet sheet = parse_sheet(source);
  apply(args, sheet);
  emu::SheetResult const result = run_sheet(sheet);
  write_outputs(sheet, result);
  if (args.json) {
    fmt::print("{}\n", to_json(sheet, result, true));
  } else {
    print_report(sheet, result);
  }
  return result.ok() ? 0 : 1;
}

}  // namespace deepwell

// `deepwell emulate --launch FILE`: a launch file from the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace deepwell {

/// What the command line says instead of the launch file, where it does.
struct SheetArgs {
  std::string ptx;     // path of the PTX file for launches that name no module; empty: none
  std::string launch;  // path of the launch file
  std::optional<std::string> target;
  std::optional<bool> check;
  std::optional<std::uint64_t> seed, seeds, max_steps;
  std::optional<int> threads;
  std::optional<std::string> trace;  // path
  std::optional<std::uint64_t> memory_bytes;
  bool no_race = false, statistics = false, every_seed = false, any_path = false, json = false;
};

/// Runs it, writes outputs, prints a report. 0, or 1 where something was found or differs from what is expected.
int run_sheet_command(SheetArgs const& args);

}  // namespace deepwell

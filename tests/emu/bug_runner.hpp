// Runs planted bugs: kernels with one known mistake each, and the same kernels repaired. The broken one must be reported as
// what it is, the repaired one must run without a report and give the expected memory, whatever the seed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "emu/case_runner.hpp"

namespace deepwell::testing {

struct PlantedBug {
  std::string name;  // "ring/missing_empty_wait"
  Case broken, repaired;
};

/// Throws Error (kBadArgument) where the header is wrong or the two programs are the same.
PlantedBug read_bug(std::string const& path, std::string name);
/// All files under a folder, sorted by name.
std::vector<PlantedBug> read_bugs(std::string const& folder);

/// What the seeds of one target gave.
struct BugTally {
  int seeds = 0;
  int reported = 0;           // seeds on which the broken program was reported as its header says
  int repaired_reported = 0;  // seeds on which the repaired one was
  std::string wrong;          // what the header does not allow, with seeds; empty: as it should be
};

/// Runs both programs with seeds 0 to `seeds` - 1. Wrong memory of the repaired one counts as wrong too, and so does an open
/// bug that is found.
BugTally run_bug(PlantedBug const& bug, std::string const& target, int seeds);

}  // namespace deepwell::testing

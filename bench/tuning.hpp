// For tuning: fields of the plan that a call gets, and its number of splits, from the command line.
#pragma once

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include "ops/gemm/gemm.hpp"

namespace deepwell::bench {

/// What --set NAME=VALUE gave: names of GemmPlan's fields, and "splits".
using Tuning = std::map<std::string, int>;

/// The choice of the library with these fields changed.
inline GemmCandidate tuned_candidate(GemmProblem const& problem, Arch const& arch, Tuning const& tuning) {
  GemmCandidate candidate = choose_gemm(shape_of(problem), arch).ranked.at(0);
  for (auto const& [name, value] : tuning) {
    bool found = name == "splits";
#define DW_SET_FIELD(type, field)                    \
  if (name == #field) {                              \
    candidate.plan.field = static_cast<type>(value); \
    found = true;                                    \
  }
    DW_GEMM_PLAN_FIELDS(DW_SET_FIELD)
#undef DW_SET_FIELD
    if (!found) throw bad_argument("--set", name, "a field of the plan, or splits");
    if (name == "splits") candidate.splits = value;
  }
  auto const k_tiles = static_cast<int>(ceil_div(problem.k, kTileK));
  candidate.k_tiles_per_split =
      static_cast<int>(align_up((k_tiles + candidate.splits - 1) / candidate.splits, candidate.plan.k_tiles));
  candidate.splits = std::max(1, (k_tiles + candidate.k_tiles_per_split - 1) / candidate.k_tiles_per_split);
  return candidate;
}

/// NAME=VALUE pairs as CLI11 gives them.
inline Tuning parse_tuning(std::vector<std::string> const& pairs) {
  Tuning tuning;
  for (std::string const& pair : pairs) {
    std::size_t const equals = pair.find('=');
    if (equals == std::string::npos) throw bad_argument("--set", pair, "NAME=VALUE");
    int value = 0;
    char const* const end = pair.data() + pair.size();
    auto const parsed = std::from_chars(pair.data() + equals + 1, end, value);
    if (parsed.ec != std::errc{} || parsed.ptr != end)
      throw bad_argument("--set", pair, "NAME=VALUE, a whole number");
    tuning[pair.substr(0, equals)] = value;
  }
  return tuning;
}

}  // namespace deepwell::bench

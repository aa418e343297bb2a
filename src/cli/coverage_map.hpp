// The places where DeepSeek-V4-Flash, served through deep_gemm, meets SM 12.x, and what this library has for each of them.
#pragma once

#include <span>
#include <string_view>

#include "base/arch.hpp"

namespace deepwell {

/// One place. `served` says whether this library's code answers there on an architecture; null: nothing does yet.
struct CoverageRow {
  std::string_view group;      // "dispatch", "kernels", "serving"
  std::string_view site;       // where a caller meets it: function, file or flag of the public packages
  std::string_view operation;  // what V4-Flash does there
  std::string_view formats;    // operand and scale formats; empty where it has no meaning
  bool (*served)(Arch const&);
  std::string_view without;  // what a caller hits there without this library, or while the row is missing
  std::string_view answer;   // what this library answers, or is to answer
};

enum class Coverage { kWorks, kMissing };
char const* name_of(Coverage coverage);

std::span<CoverageRow const> coverage_map();
Coverage coverage_on(CoverageRow const& row, Arch const& arch);

}  // namespace deepwell

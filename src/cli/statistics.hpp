// Statistics of emulated launches as text for a terminal, and of a checked case as a line.
#pragma once

#include <string>

#include "base/table.hpp"
#include "check/work.hpp"
#include "emu/statistics.hpp"

namespace deepwell {

/// Several tables, each with a line break at its end.
std::string statistics_text(emu::Statistics const& statistics);

/// What `deepwell check --stats` says about the launch of one case.
class CaseStatistics {
 public:
  CaseStatistics(check::Case const& what, bool swap, emu::Statistics statistics)
      : statistics_(std::move(statistics)), efficiency_(check::efficiency_of(what, swap, statistics_)) {}
  CaseStatistics(check::OpCase const& what, emu::Statistics statistics)
      : statistics_(std::move(statistics)), efficiency_(check::efficiency_of(what, statistics_)) {}

  static Table table();
  void add_to(Table& table, std::string const& op, std::string const& tensors,
              std::string const& kernel) const;
  /// {"efficiency": ..., "statistics": ...}
  std::string json() const;

 private:
  emu::Statistics statistics_;
  check::Efficiency efficiency_;
};

}  // namespace deepwell

// The generic choice of a kernel: rows that accept a shape -> their candidates -> cheapest first, losers and refusals kept.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/arch.hpp"

namespace deepwell {

/// Yes, or the reason why not.
struct Verdict {
  std::string reason;  // empty: accepted
  bool accepted() const { return reason.empty(); }
  static Verdict yes() { return {}; }
  static Verdict no(std::string why) { return {std::move(why)}; }
};

/// One kernel of an operation's table. `candidates` is asked only for shapes that `accepts` took; it fills in costs.
template <class Shape, class Candidate>
struct KernelRow {
  std::string_view name;
  Verdict (*accepts)(Shape const&, Arch const&);
  std::vector<Candidate> (*candidates)(Shape const&, Arch const&);
};

/// Pure. Decision has `ranked` (candidates, best first) and `rejected` (kernel, reason). Ties keep the order of the table.
template <class Decision, class Shape, class Candidate>
Decision choose(std::span<KernelRow<Shape, Candidate> const> rows, Shape const& shape, Arch const& arch) {
  Decision decision;
  for (auto const& row : rows) {
    Verdict verdict = row.accepts(shape, arch);
    if (!verdict.accepted()) {
      decision.rejected.push_back({std::string(row.name), std::move(verdict.reason)});
      continue;
    }
    for (Candidate& candidate : row.candidates(shape, arch)) decision.ranked.push_back(std::move(candidate));
  }
  std::stable_sort(
      decision.ranked.begin(), decision.ranked.end(),
      [](Candidate const& left, Candidate const& right) { return left.cost_us < right.cost_us; });
  return decision;
}

}  // namespace deepwell

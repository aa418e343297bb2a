// The list of operations that bring their own cases.
#include "check/op_case.hpp"

#include <algorithm>
#include <iterator>

#include "check/grouped.hpp"
#include "check/hc_prenorm.hpp"
#include "check/layout.hpp"

namespace deepwell::check {
namespace {

using Cases = std::vector<OpCase> (*)(bool quick);
constexpr Cases kOperations[] = {grouped_op_cases, layout_op_cases, hc_prenorm_op_cases};

}  // namespace

std::vector<OpCase> op_cases(bool quick) {
  std::vector<OpCase> out;
  for (Cases const cases : kOperations) std::ranges::move(cases(quick), std::back_inserter(out));
  return out;
}

std::vector<std::string> op_case_names() {
  std::vector<std::string> out;
  for (OpCase const& c : op_cases(true)) {
    if (std::ranges::find(out, c.op) == out.end()) out.push_back(c.op);
  }
  return out;
}

}  // namespace deepwell::check

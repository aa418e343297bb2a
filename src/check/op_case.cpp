// The list of operations that bring their own cases.
#include "check/op_case.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "check/grouped.hpp"
#include "check/hc_prenorm.hpp"
#include "check/layout.hpp"
#include "check/mqa_logits.hpp"

namespace deepwell::check {
namespace {

/// Names apart from cases, which cost much to make.
struct Operation {
  std::vector<std::string> names;
  std::vector<OpCase> (*cases)(bool quick);
};

std::vector<Operation> const& operations() {
  static std::vector<Operation> const all{{{"grouped"}, grouped_op_cases},
                                          {{"layout"}, layout_op_cases},
                                          {{"hc_prenorm"}, hc_prenorm_op_cases},
                                          {{"mqa_logits", "paged_mqa_logits"}, mqa_op_cases}};
  return all;
}

}  // namespace

std::vector<OpCase> op_cases(bool quick) {
  std::vector<OpCase> out;
  for (Operation const& one : operations()) std::ranges::move(one.cases(quick), std::back_inserter(out));
  return out;
}

std::vector<std::string> op_case_names() {
  std::vector<std::string> out;
  for (Operation const& one : operations()) out.insert(out.end(), one.names.begin(), one.names.end());
  return out;
}

}  // namespace deepwell::check

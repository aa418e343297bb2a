// The names of operations with cases of their own.
#include "check/op_case.hpp"

#include <gtest/gtest.h>

#include <set>

namespace deepwell::check {
namespace {

TEST(OpCases, EveryOperationHasItsNameAndEveryNameACase) {
  std::set<std::string> used, names;
  for (OpCase const& c : op_cases(true)) used.insert(c.op);
  for (std::string const& name : op_case_names()) EXPECT_TRUE(names.insert(name).second) << name;
  EXPECT_EQ(used, names);
}

}  // namespace
}  // namespace deepwell::check

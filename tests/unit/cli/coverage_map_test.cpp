// The coverage map: every row says something, names are unique, and nothing counts as working without a kernel.
#include "cli/coverage_map.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace deepwell {
namespace {

TEST(CoverageMap, RowsAreComplete) {
  std::set<std::string> seen;
  for (CoverageRow const& row : coverage_map()) {
    EXPECT_TRUE(row.group == "dispatch" || row.group == "kernels" || row.group == "serving") << row.site;
    EXPECT_FALSE(row.operation.empty()) << row.site;
    EXPECT_FALSE(row.without.empty()) << row.site;
    EXPECT_FALSE(row.answer.empty()) << row.site;
    EXPECT_TRUE(seen.insert(std::string(row.group) + "/" + std::string(row.site)).second)
        << row.site << " stands twice";
  }
  EXPECT_GT(seen.size(), 20u);
}

TEST(CoverageMap, MissingUnlessServed) {
  Arch const& arch = all_archs().front();
  CoverageRow row{.group = "kernels",
                  .site = "a",
                  .operation = "b",
                  .formats = "",
                  .served = nullptr,
                  .without = "c",
                  .answer = "d"};
  EXPECT_EQ(coverage_on(row, arch), Coverage::kMissing);
  row.served = [](Arch const&) { return false; };
  EXPECT_EQ(coverage_on(row, arch), Coverage::kMissing);
  row.served = [](Arch const&) { return true; };
  EXPECT_EQ(coverage_on(row, arch), Coverage::kWorks);
  EXPECT_STREQ(name_of(Coverage::kWorks), "works");
}

}  // namespace
}  // namespace deepwell

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

Coverage state_of(std::string_view site, std::string_view target) {
  for (CoverageRow const& row : coverage_map()) {
    if (row.site == site) return coverage_on(row, arch_by_target(target));
  }
  ADD_FAILURE() << "no row for " << site;
  return Coverage::kMissing;
}

TEST(CoverageMap, SaysWhatIsThere) {
  for (char const* target : {"sm_90a", "sm_120a", "sm_121a", "sm_120f"}) {
    EXPECT_EQ(state_of("fp8_fp4_gemm_nt", target), Coverage::kWorks) << target;
    EXPECT_EQ(state_of("fp8_einsum", target), Coverage::kWorks) << target;
    EXPECT_EQ(state_of("transform_sf_into_required_layout", target), Coverage::kWorks) << target;
    EXPECT_EQ(state_of("tf32_hc_prenorm_gemm", target), Coverage::kWorks) << target;
    EXPECT_EQ(state_of("fp8_paged_mqa_logits", target), Coverage::kMissing) << target;
    EXPECT_EQ(state_of("k_grouped_fp8_gemm_tn_contiguous, ..._nt_contiguous", target), Coverage::kMissing)
        << target;
    EXPECT_EQ(state_of("import deep_gemm", target), Coverage::kMissing) << target;
  }
}

}  // namespace
}  // namespace deepwell

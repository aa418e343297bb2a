// Who owns a row of a grouped product, by hand.
#include "check/grouped.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace deepwell::check {
namespace {

TEST(GroupedDefinition, PaddingBelongsToItsBlock) {
  GroupedCase c;
  c.m = 12, c.alignment = 4, c.groups = 3;
  std::vector<std::int32_t> const layout{-1, 2, -1, 1, -1, -1, -1, -1, 0, -1, 3, -2};
  std::vector<std::int64_t> const owners{2, 2, 2, 1, -1, -1, -1, -1, 0, 0, 0, 0};
  EXPECT_EQ(owners_of(c, layout), owners);
}

}  // namespace
}  // namespace deepwell::check

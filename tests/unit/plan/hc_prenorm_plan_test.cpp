// The shared header of the hyper-connections' product: how k is divided, which elements meet, shared memory.
#include "deepwell/hc_prenorm.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace deepwell {
namespace {

TEST(HcParts, CoverARangeInOrderAsEvenlyAsCanBe) {
  for (int count : {0, 1, 5, 64, 256}) {
    for (int parts : {1, 2, 3, 16, 37, 64}) {
      int at = 7, previous = count;
      for (int i = 0; i < parts; ++i) {
        HcBlocks const part = part_of({7, count}, i, parts);
        EXPECT_EQ(part.first, at);
        EXPECT_EQ(part.count, count / parts + (i < count % parts ? 1 : 0));
        EXPECT_LE(part.count, previous);
        previous = part.count;
        at += part.count;
      }
      EXPECT_EQ(at, 7 + count);
    }
  }
}

TEST(HcElements, EveryElementOfABlockIsMultipliedOnce) {
  std::set<int> seen;
  for (int step = 0; step < kHcBlockK / 8; ++step) {
    for (int t = 0; t < 4; ++t) {
      for (int e = 0; e < 2; ++e) EXPECT_TRUE(seen.insert(hc_element_of(step, t, e)).second);
    }
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kHcBlockK));
  EXPECT_EQ(*seen.begin(), 0);
  EXPECT_EQ(*seen.rbegin(), kHcBlockK - 1);
}

/// Eight lanes load 16 bytes each at once: two neighbouring rows, four lanes in each. Under the 128-byte swizzle they must lie in
/// different sixteenths of the 128 bytes of banks.
TEST(HcElements, LanesOfTwoRowsMeetInNoBank) {
  for (int half = 0; half < 2; ++half) {
    for (int pair = 0; pair < 4; ++pair) {
      std::set<int> of_a, of_b[2];
      for (int row : {2 * pair, 2 * pair + 1}) {
        for (int t = 0; t < 4; ++t) {
          int const chunk = hc_chunk_of(t, half);
          EXPECT_EQ(chunk % 4, t);
          of_a.insert(chunk ^ row);
          for (int part = 0; part < 2; ++part) of_b[part].insert((2 * t + part) ^ row);
        }
      }
      EXPECT_EQ(of_a.size(), 8u);
      EXPECT_EQ(of_b[0].size(), 8u);
      EXPECT_EQ(of_b[1].size(), 8u);
    }
  }
}

TEST(HcSmemMap, RegionsAreApartAndSumsFitBeforeBarriers) {
  for (int cols : {8, 16, 24, 32, 64, 128}) {
    HcPrenormPlan const plan{.tile_rows = 64,
                             .tile_cols = cols,
                             .warps_rows = 2,
                             .warps_k = 2,
                             .stages = 2,
                             .every_reader_arrives = false};
    HcPrenormSmemMap const map = smem_map(plan);
    EXPECT_EQ(map.a % 1024, 0);
    EXPECT_EQ(map.b % 1024, 0);
    EXPECT_EQ(map.a_stage_bytes % 1024, 0);
    EXPECT_EQ(map.b_stage_bytes % 2048, 0)
        << "each half of a block starts at a multiple of the swizzle's period";
    EXPECT_LE(map.a + plan.stages * map.a_stage_bytes, map.b);
    EXPECT_LE(map.b + plan.stages * map.b_stage_bytes, map.full);
    EXPECT_LE(map.squares + 4 * plan.warps_k * squares_pitch(plan) * 4, map.full);
    EXPECT_LE(map.full + 8 * plan.stages, map.empty);
    EXPECT_LE(map.is_last + 4, map.total);
    EXPECT_TRUE(sums_pitch(plan) % 32 == 8 || sums_pitch(plan) % 32 == 24) << cols;
  }
}

}  // namespace
}  // namespace deepwell

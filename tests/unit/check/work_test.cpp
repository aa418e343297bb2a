// Floors of MMAs and sectors, counted by hand.
#include <gtest/gtest.h>

#include "check/layout.hpp"
#include "check/work.hpp"

namespace deepwell::check {
namespace {

Case product(std::int64_t m, std::int64_t n, std::int64_t k) {
  Case c;
  c.m = m, c.n = n, c.k = k;
  return c;
}

TEST(Work, MmasOfEitherSide) {
  EXPECT_EQ(least_mmas(product(17, 9, 33), false, 32), 2u * 2 * 2);
  EXPECT_EQ(least_mmas(product(4, 64, 128), true, 32), 4u * 1 * 4);
  EXPECT_EQ(least_mmas(product(4, 64, 128), true, 64), 4u * 1 * 2);
  Case einsum = product(1, 16, 32);
  einsum.batch = 8;
  EXPECT_EQ(least_mmas(einsum, true, 32), 8u);
}

TEST(Work, SectorsOfEveryTensor) {
  Case c = product(4, 40, 256);
  c.a = {.dtype = Dtype::kE4m3, .scale = ref::ScaleFormat::kF32, .gran_k = 128};
  c.b = {.dtype = Dtype::kE2m1, .scale = ref::ScaleFormat::kPacked, .gran_k = 32};
  // a 1024 bytes, its scales 4 x 2 x 4; b 40 x 128, its words 40 x 2 x 4; d 4 x 40 x 2.
  EXPECT_EQ(least_sectors(c), 32u + 1 + 160 + 10 + 10);
  c.c = CMode::kOther;
  EXPECT_EQ(least_sectors(c), 32u + 1 + 160 + 10 + 20);
  c.b = {.dtype = Dtype::kE2m1, .scale = ref::ScaleFormat::kUe8m0, .gran_mn = 128, .gran_k = 32};
  EXPECT_EQ(least_sectors(c), 32u + 1 + 160 + 1 + 20);
  EXPECT_EQ(least_sectors(LayoutCase{.from = Dtype::kF32, .mn = 16, .k = 1024, .gran_k = 128}), 16u + 4);
}

TEST(Work, RatiosOfALaunch) {
  emu::Statistics s;
  s.mma = 8;
  s.multiply_adds = 8 * 16 * 8 * 64;
  s.global.load.transactions = 100;
  s.tensor.global_in.transactions = 28;
  s.shared.load = {.requests = 1, .lanes = 32, .bytes = 128, .transactions = 5, .ideal = 1};
  Efficiency const e = efficiency_of(product(4, 64, 128), true, s);
  EXPECT_EQ(e.useful_mma, 8u);
  EXPECT_EQ(e.mma_ratio(), 1.0);
  EXPECT_EQ(e.sectors, 128u);
  EXPECT_EQ(e.shared_conflicts, 4u);
  EXPECT_EQ(efficiency_of(product(4, 64, 128), true, {}).mma_ratio(), 1.0);
}

}  // namespace
}  // namespace deepwell::check

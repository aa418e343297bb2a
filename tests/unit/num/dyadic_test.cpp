// The integers and rationals that the second tensor-core implementation stands on.
#include "unit/num/dyadic.hpp"

#include <gtest/gtest.h>

#include "unit/num/hostile_tiles.hpp"

namespace deepwell::second {
namespace {

Natural random_natural(Random& random) {
  Natural number;
  for (int i = random.in(0, 12); i > 0; --i) {
    std::uint32_t const words[] = {0, 0xffffffff, random.bits()};
    int const shift = random.in(1, 32);
    number = number.times_power_of_two(shift) + Natural(words[random.in(0, 2)]);
  }
  return number;
}

TEST(Dyadic, NaturalsKeepTheLawsOfArithmetic) {
  Random random(1);
  for (int t = 0; t < 2000; ++t) {
    Natural const x = random_natural(random), y = random_natural(random), z = random_natural(random);
    int const power = random.in(0, 400);
    Natural const unit = Natural(1).times_power_of_two(power);
    EXPECT_EQ(compare((x + y) - y, x), 0);
    EXPECT_EQ(compare(x * y, y * x), 0);
    EXPECT_EQ(compare((x + y) * z, x * z + y * z), 0);
    EXPECT_EQ(compare(x.times_power_of_two(power), x * unit), 0);
    Natural const quotient = x.over_power_of_two(power);
    EXPECT_LE(compare(quotient * unit, x), 0);
    EXPECT_GT(compare((quotient + 1) * unit, x), 0);
    if (!x.is_zero()) {
      EXPECT_LE(compare(Natural(1).times_power_of_two(x.num_bits() - 1), x), 0);
      EXPECT_GT(compare(Natural(1).times_power_of_two(x.num_bits()), x), 0);
    }
  }
  EXPECT_EQ((Natural(0xffffffff) * Natural(0xffffffff)).to_u64(), 0xfffffffe00000001u);
}

TEST(Dyadic, CutsAsNamed) {
  struct Case {
    bool negative;
    std::uint64_t quarters;
    std::uint64_t toward_zero, down, nearest_even, nearest_away;
  };
  // Magnitudes of what is left of so many quarters.
  Case const cases[] = {{false, 5, 1, 1, 1, 1},  {false, 6, 1, 1, 2, 2}, {false, 10, 2, 2, 2, 3},
                        {false, 11, 2, 2, 3, 3}, {true, 5, 1, 2, 1, 1},  {true, 6, 1, 2, 2, 2},
                        {true, 10, 2, 3, 2, 3},  {true, 8, 2, 2, 2, 2}};
  for (Case const& c : cases) {
    Dyadic const value = {c.negative, c.quarters, -2};
    EXPECT_EQ(value.cut(0, Cut::kTowardZero).magnitude.to_u64(), c.toward_zero) << c.quarters;
    EXPECT_EQ(value.cut(0, Cut::kDown).magnitude.to_u64(), c.down) << c.quarters;
    EXPECT_EQ(value.cut(0, Cut::kNearestEven).magnitude.to_u64(), c.nearest_even) << c.quarters;
    EXPECT_EQ(value.cut(0, Cut::kNearestAway).magnitude.to_u64(), c.nearest_away) << c.quarters;
  }
}

}  // namespace
}  // namespace deepwell::second

// The reference of the hyper-connections' product against sums done by hand.
#include "ref/hc_prenorm.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

namespace deepwell::ref {
namespace {

std::uint16_t bf16(float value) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

TEST(HcPrenormReference, CutsTowardZeroAndKeepsSigns) {
  EXPECT_EQ(cut_to_tf32(1.0f), 1.0);
  EXPECT_EQ(cut_to_tf32(std::bit_cast<float>(0x3f801fffu)), 1.0);
  EXPECT_EQ(cut_to_tf32(std::bit_cast<float>(0x3f802000u)), 1.0 + 0x1p-10);
  EXPECT_EQ(cut_to_tf32(std::bit_cast<float>(0xbf803fffu)), -1.0 - 0x1p-10);
  EXPECT_EQ(cut_to_tf32(std::bit_cast<float>(0x00001fffu)), 0.0);
}

TEST(HcPrenormReference, OneBlockByHand) {
  std::vector<std::uint16_t> const a{bf16(1), bf16(2), bf16(-3), bf16(0.5f), 0x7fc0,
                                     bf16(4), bf16(1), bf16(1),  bf16(1)};
  std::vector<float> const b{1, 10, 100, 1000, 7, 0, -1, 0, 1, 7};
  ThreadPool pool(1);
  HcPrenormOperands const operands{.a = reinterpret_cast<std::byte const*>(a.data()),
                                   .b = reinterpret_cast<std::byte const*>(b.data()),
                                   .m = 2,
                                   .n = 2,
                                   .k = 4,
                                   .a_pitch = 2 * 5,
                                   .b_pitch = 4 * 5};
  HcPrenormResult const result = hc_prenorm(operands, 1, pool);
  EXPECT_EQ(result.d, (std::vector<double>{1 + 20 - 300 + 500, -2 + 0.5, 4 + 10 + 100 + 1000, -1 + 0 + 1}));
  EXPECT_EQ(result.sqr_sum, (std::vector<double>{1 + 4 + 9 + 0.25, 16 + 1 + 1 + 1}));
}

/// 200 elements are blocks of 64, 64, 64 and 8; of three splits the first gets two, of six the last two none.
TEST(HcPrenormReference, SplitsOwnWholeBlocks) {
  std::vector<std::uint16_t> const a(200, bf16(1));
  std::vector<float> const b(200, 2.0f);
  ThreadPool pool(1);
  HcPrenormOperands const operands{.a = reinterpret_cast<std::byte const*>(a.data()),
                                   .b = reinterpret_cast<std::byte const*>(b.data()),
                                   .m = 1,
                                   .n = 1,
                                   .k = 200,
                                   .a_pitch = 400,
                                   .b_pitch = 800};
  EXPECT_EQ(hc_prenorm(operands, 3, pool).sqr_sum, (std::vector<double>{128, 64, 8}));
  EXPECT_EQ(hc_prenorm(operands, 3, pool).d, (std::vector<double>{256, 128, 16}));
  EXPECT_EQ(hc_prenorm(operands, 6, pool).sqr_sum, (std::vector<double>{64, 64, 64, 8, 0, 0}));
}

}  // namespace
}  // namespace deepwell::ref

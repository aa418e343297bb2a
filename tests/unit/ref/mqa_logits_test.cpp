// The reference of the indexer's logits against numbers worked out by hand.
#include "ref/mqa_logits.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "num/formats.hpp"

namespace deepwell::ref {
namespace {

constexpr int kDim = 32;

struct Query {
  std::vector<std::byte> data = std::vector<std::byte>(2 * kDim);
  std::vector<float> weights{2.0f, -3.0f};
  MqaQuery view() const {
    return {.data = data.data(), .head_stride = kDim, .heads = 2, .dim = kDim, .weights = weights.data()};
  }
};

std::byte code(float value) { return std::byte{num::float_to_e4m3(value)}; }

TEST(MqaReference, AddsUpHeadsAfterTheirRelu) {
  Query query;
  std::vector<std::byte> key(kDim);
  query.data[0] = code(1.5f), query.data[31] = code(-2.0f);  // head 0
  query.data[32] = code(4.0f), query.data[40] = code(1.0f);  // head 1
  key[0] = code(2.0f), key[31] = code(-0.5f), key[8] = code(8.0f);
  // Head 0: 3 + 1 = 4; head 1: 8 + 8 = 16.
  MqaLogit const both = mqa_logit(query.view(), key.data(), 0.5f);
  EXPECT_EQ(both.value, 0.5 * (2 * 4 - 3 * 16));
  EXPECT_EQ(both.weighted, 0.5 * (2 * 4 + 3 * 16));
  // Steps of 16: the largest of sums and products are 3 and 4, then 16 and 16.
  EXPECT_EQ(both.largest, 0.5 * (2 * (3 + 4) + 3 * (16 + 16)));
  query.data[32] = code(-4.0f);  // head 1: -8 + 8 = 0
  query.data[40] = code(0.5f);   // then -8 + 4
  EXPECT_EQ(mqa_logit(query.view(), key.data(), 0.5f).value, 0.5 * 2 * 4);
  EXPECT_EQ(mqa_logit(query.view(), key.data(), -2.0f).value, -2.0 * 2 * 4);
}

TEST(MqaReference, NanIsNotLostInARelu) {
  Query query;
  std::vector<std::byte> key(kDim);
  key[3] = std::byte{0x7f};
  EXPECT_TRUE(std::isnan(mqa_logit(query.view(), key.data(), 1.0f).value));
  key[3] = std::byte{0};
  EXPECT_EQ(mqa_logit(query.view(), key.data(), 1.0f).value, 0.0);
  EXPECT_TRUE(std::isnan(mqa_logit(query.view(), key.data(), std::numeric_limits<float>::infinity()).value));
  query.weights[1] = std::numeric_limits<float>::infinity();  // times 0
  EXPECT_TRUE(std::isnan(mqa_logit(query.view(), key.data(), 1.0f).value));
}

}  // namespace
}  // namespace deepwell::ref

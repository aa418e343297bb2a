// The slow, obviously right answer: one logit of the lightning indexer in double precision.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepwell::ref {

/// One row of queries: e4m3 [heads, dim] and the weight of each head.
struct MqaQuery {
  std::byte const* data = nullptr;
  std::int64_t head_stride = 0;  // bytes
  int heads = 0, dim = 0;        // dim a multiple of 16
  float const* weights = nullptr;
};

struct MqaLogit {
  double value = 0;     // scale * sum over heads of max(0, <q, key>) * weight; max(0, NaN) is NaN
  double weighted = 0;  // |scale| * sum of max(0, <q, key>) * |weight|
  // |scale| * sum over heads of |weight| * the sum, over steps of 16 elements, of the largest magnitude that an addition in the step can
  // meet: of <q, key> before and after it, or of a product, where numbers other than 0 count as at least e4m3's smallest normal one.
  double largest = 0;
};

MqaLogit mqa_logit(MqaQuery const& query, std::byte const* key, float scale);

}  // namespace deepwell::ref

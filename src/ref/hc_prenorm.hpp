// The slow, obviously right answer of the product in front of hyper-connections, in double precision.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_pool.hpp"

namespace deepwell::ref {

/// Host memory: a [m, k] bf16, b [n, k] f32, pitches in bytes.
struct HcPrenormOperands {
  std::byte const* a = nullptr;
  std::byte const* b = nullptr;
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t a_pitch = 0, b_pitch = 0;
};

struct HcPrenormResult {
  std::vector<double> d;        // [splits, m, n]
  std::vector<double> sqr_sum;  // [splits, m]
};

/// An FP32 number without the 13 bits that TF32 does not have, toward zero.
double cut_to_tf32(float value);

/// d[s] = a b^T over split s of k, each element of b cut to TF32, sqr_sum[s] the sums of a's squares. Elements of k in blocks of 64
/// (the last one may be shorter) are dealt out in ranges: block / splits each, one more to each of the first block % splits.
HcPrenormResult hc_prenorm(HcPrenormOperands const& operands, std::int64_t splits, ThreadPool& pool);

}  // namespace deepwell::ref

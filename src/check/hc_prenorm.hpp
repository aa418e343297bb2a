// The hyper-connections' product on a device, judged against its definition.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "check/data.hpp"
#include "check/op_case.hpp"
#include "ops/hc_prenorm/hc_prenorm.hpp"
#include "ref/hc_prenorm.hpp"

namespace deepwell::check {

/// a [m, k] bf16, b [n, k] f32. kOdd pitches also start at no multiple of 16 bytes.
struct HcPrenormCase {
  DataKind data = DataKind::kRandom;
  std::int64_t m = 1, n = 24, k = 4096;
  std::int64_t splits = 0;  // 0: the caller asks for none
  Pitch a = Pitch::kContiguous, b = Pitch::kContiguous, d = Pitch::kContiguous, sqr_sum = Pitch::kContiguous;

  std::int64_t parts() const { return splits == 0 ? 1 : splits; }
  std::string name() const;
  std::string tensors() const;
};

/// Operands, outputs as they are before the call, and the exact answer. kExact: every partial sum is exact once b is cut to
/// TF32, and b has bits beyond TF32. kHostile: exponents far apart, subnormal numbers, zero rows.
struct HcPrenormData {
  HcPrenormCase what;
  Buffer a, b, d, sqr_sum;
  std::int64_t a_pitch = 0, b_pitch = 0;                                                       // elements
  std::int64_t d_pitch = 0, d_split_stride = 0, sqr_sum_stride = 0, sqr_sum_split_stride = 0;  // elements
  ref::HcPrenormResult exact;

  ref::HcPrenormOperands operands() const;
};
HcPrenormData make_hc_prenorm(HcPrenormCase const& what, std::uint64_t seed, ThreadPool& pool);

/// For each element the largest distance from the exact answer that the arithmetic of a plan allows.
ref::HcPrenormResult hc_prenorm_bounds(HcPrenormData const& data, HcPrenormCandidate const& how,
                                       ThreadPool& pool);

/// Both outputs' memory after a call.
struct HcPrenormOutput {
  std::vector<std::byte> d, sqr_sum;
  double seconds = 0;
};
/// "hc_prenorm 16x24 s12 split 32".
std::string short_name(HcPrenormCandidate const& how);

/// Calls the operation; with `how`, that kernel instead of the one that the operation would choose.
HcPrenormOutput run_hc_prenorm(Context& context, HcPrenormData const& data,
                               HcPrenormCandidate const* how = nullptr);
Verdict judge_hc_prenorm(HcPrenormData const& data, ref::HcPrenormResult const& bounds,
                         HcPrenormOutput const& after);

Outcome run_hc_prenorm_case(Context& context, HcPrenormCase const& what, std::uint64_t seed, ThreadPool& pool,
                            Schedules const& schedules = {}, HcPrenormCandidate const* how = nullptr);
using HcPrenormProducer = std::function<HcPrenormOutput(HcPrenormData const&)>;
/// "none" first, which must be accepted; the others must be rejected.
std::vector<MutationOutcome> mutate_hc_prenorm(HcPrenormCase const& what, HcPrenormCandidate const& how,
                                               std::uint64_t seed, HcPrenormProducer const& produce,
                                               ThreadPool& pool);

std::vector<HcPrenormCase> hc_prenorm_cases(bool quick);
std::vector<OpCase> hc_prenorm_op_cases(std::vector<HcPrenormCase> const& cases);
std::vector<OpCase> hc_prenorm_op_cases(bool quick);

}  // namespace deepwell::check

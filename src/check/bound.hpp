// How far a correct kernel may be from the exact product: nothing but the roundings of the hardware that it runs on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/arch.hpp"
#include "base/thread_pool.hpp"
#include "ref/gemm.hpp"

namespace deepwell::check {

/// Which unit multiplies and which scales are applied to its results in FP32.
struct Arithmetic {
  enum class Unit {
    kBlockScaled,  // mma of 32 elements with the addend inside: 25 fraction bits, truncation
    kPackedFp4,    // mma of 64 e2m1 elements: groups of 16 summed exactly, 35 fraction bits, truncation
    kHopper,       // e4m3 as two f16 steps of 16 on zero, then an FP32 addition
  };
  Unit unit = Unit::kBlockScaled;
  bool a_outside = false,
       b_outside = false;    // a part of that scale: partial * a * b is rounded twice in FP32
  std::int64_t split_k = 0;  // elements of k per split, whose sums are added in FP32; 0: no splits
  int chains = 1;            // of a split: its k tiles go to them in turn, and their sums are added in FP32
};

/// The arithmetic of `arch` for operands of these types and scale formats.
Arithmetic arithmetic_of(Arch const& arch, Dtype a, ref::ScaleFormat a_scale, Dtype b,
                         ref::ScaleFormat b_scale, std::int64_t split_k, int chains = 1);

/// For each element of [batch, m, n] the largest |d - exact| that the arithmetic allows, the final rounding to `d_type`
/// (kBf16 or kF32) and the addition of `c` (null: none; [batch, m, n]) included. `exact` is ref::gemm's answer with c.
std::vector<double> bounds(ref::Operand const& a, ref::Operand const& b, std::int64_t batch, double const* c,
                           std::vector<double> const& exact, Dtype d_type, Arithmetic const& arithmetic,
                           ThreadPool& pool);

}  // namespace deepwell::check

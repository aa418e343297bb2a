// Scale-layout transformations on a device, bit for bit against their definition.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "check/op_case.hpp"

namespace deepwell::check {

/// transform of scales [(groups,) ceil(mn / gran_mn), ceil(k / gran_k)] of type `from` (kF32 or kUe8m0).
struct LayoutCase {
  Dtype from = Dtype::kF32;
  std::int64_t mn = 1, k = 128;
  int gran_mn = 1, gran_k = 128;
  std::int64_t groups = 0;    // 0: no such axis
  bool rows_fastest = false;  // of the input
  std::string name() const;
};

std::vector<LayoutCase> layout_cases();
/// Input and output once, in sectors of 32 bytes.
std::uint64_t least_sectors(LayoutCase const& what);
/// The same for `deepwell check`.
std::vector<OpCase> layout_op_cases(bool quick);

/// Runs the transformation on random powers of two (and zeros, from FP32) and compares every word, the padding of the last
/// words included, and the guard bands, under each schedule. Errors become outcomes. kUnsupported where the target keeps such scales as they are.
Outcome run_layout_case(Context& context, LayoutCase const& what, std::uint64_t seed,
                        Schedules const& schedules = {});

}  // namespace deepwell::check

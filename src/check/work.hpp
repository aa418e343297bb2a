// The least that a case can cost, to hold a launch's statistics against.
#pragma once

#include <cstdint>

#include "check/case.hpp"
#include "check/op_case.hpp"
#include "emu/statistics.hpp"

namespace deepwell::check {

/// Every operand, scale, c and d once, in sectors of 32 bytes, each tensor for itself.
std::uint64_t least_sectors(Case const& what);

/// MMAs of 16 x 8 x `k_per_mma` that cover the product when it starts at a tile's corner. `swap`: the side of 16 is b's, as in
/// GemmPlan; else it is a's.
std::uint64_t least_mmas(Case const& what, bool swap, std::int64_t k_per_mma);

/// One launch against that.
struct Efficiency {
  std::uint64_t mma = 0, useful_mma = 0;
  std::uint64_t sectors = 0, floor_sectors = 0;  // global memory, by all ways
  std::uint64_t shared_conflicts = 0;            // wavefronts beyond the ideal
  std::uint64_t barrier_arrivals = 0;            // warps at named barriers
  std::uint64_t mbarrier_waits = 0;              // without retries
  double mma_ratio() const;                      // useful / executed, 1 without MMAs
  double sector_ratio() const;  // floor / touched; above 1 is possible: nothing says that d is written once
};
Efficiency efficiency_of(Case const& what, bool swap, emu::Statistics const& statistics);
Efficiency efficiency_of(OpCase const& what, emu::Statistics const& statistics);

}  // namespace deepwell::check

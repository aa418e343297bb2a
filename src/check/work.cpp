// Floors of MMAs and sectors.
#include "check/work.hpp"

#include "check/layout.hpp"
#include "deepwell/common.h"
#include "emu/run/transactions.hpp"

namespace deepwell::check {
namespace {

std::uint64_t sectors(std::int64_t bytes) {
  return static_cast<std::uint64_t>(ceil_div(bytes, static_cast<std::int64_t>(emu::kSectorBytes)));
}

std::int64_t scale_bytes(OperandCase const& operand, std::int64_t rows, std::int64_t k) {
  std::int64_t const columns = ceil_div(k, operand.gran_k);
  rows = ceil_div(rows, operand.gran_mn);
  switch (operand.scale) {
    case ref::ScaleFormat::kF32: return rows * columns * 4;
    case ref::ScaleFormat::kUe8m0: return rows * columns;
    case ref::ScaleFormat::kPacked: return rows * ceil_div(columns, 4) * 4;
  }
  return 0;
}

std::uint64_t operand_sectors(OperandCase const& operand, std::int64_t rows, Case const& what) {
  return sectors(what.batch * rows * what.k * bits_of(operand.dtype) / 8) +
         sectors(what.batch * scale_bytes(operand, rows, what.k));
}

double ratio(std::uint64_t of, std::uint64_t to) {
  return to == 0 ? 1.0 : static_cast<double>(of) / static_cast<double>(to);
}

Efficiency counted(emu::Statistics const& statistics) {
  return {.mma = statistics.mma,
          .sectors = statistics.global_traffic().transactions,
          .shared_conflicts = statistics.shared.total().excess(),
          .barrier_arrivals = statistics.sync.barrier_arrivals,
          .mbarrier_waits = statistics.sync.mbarrier_waits};
}

}  // namespace

std::uint64_t least_sectors(Case const& what) {
  std::uint64_t const d = sectors(what.batch * what.m * what.n * bits_of(what.d) / 8);
  return operand_sectors(what.a, what.m, what) + operand_sectors(what.b, what.n, what) +
         (what.c == CMode::kNone ? d : 2 * d);
}

std::uint64_t least_sectors(LayoutCase const& what) {
  std::int64_t const groups = what.groups > 0 ? what.groups : 1, columns = ceil_div(what.k, what.gran_k);
  return sectors(groups * ceil_div(what.mn, what.gran_mn) * columns * bits_of(what.from) / 8) +
         sectors(groups * what.mn * ceil_div(columns, 4) * 4);
}

std::uint64_t least_mmas(Case const& what, bool swap, std::int64_t k_per_mma) {
  std::int64_t const rows = swap ? what.n : what.m, columns = swap ? what.m : what.n;
  return static_cast<std::uint64_t>(what.batch * ceil_div(rows, 16) * ceil_div(columns, 8) *
                                    ceil_div(what.k, k_per_mma));
}

double Efficiency::mma_ratio() const { return ratio(useful_mma, mma); }
double Efficiency::sector_ratio() const { return ratio(floor_sectors, sectors); }

Efficiency efficiency_of(Case const& what, bool swap, emu::Statistics const& statistics) {
  Efficiency out = counted(statistics);
  if (statistics.mma != 0) {
    std::uint64_t const k = statistics.multiply_adds / statistics.mma / (16 * 8);
    out.useful_mma = least_mmas(what, swap, static_cast<std::int64_t>(k));
  }
  out.floor_sectors = least_sectors(what);
  return out;
}

Efficiency efficiency_of(OpCase const& what, emu::Statistics const& statistics) {
  Efficiency out = counted(statistics);
  out.floor_sectors = what.floor_sectors;
  out.useful_mma = what.useful_mma;
  return out;
}

}  // namespace deepwell::check

// Grouped products on a device: which rows are written, with which group's matrix, and what stands in them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "check/op_case.hpp"
#include "deepwell/gemm.h"

namespace deepwell::check {

/// How rows are given to groups (contiguous), or how many rows groups have (masked).
enum class Routing {
  kSorted,  // groups in order from multiples of the alignment on, some empty, some rows of padding, blocks of padding at the end
  kShuffled,  // a random group for each block of the alignment
  kAnyRow,    // a random group or padding for each row
  kHostile,   // as kAnyRow, and ids that name no group; masked: numbers below 0 and above m
};

char const* name_of(Routing routing);

struct GroupedCase {
  Grouping grouping = Grouping::kContiguous;
  Routing routing = Routing::kSorted;
  DataKind data = DataKind::kRandom;
  std::int64_t groups = 4, m = 64, n = 64,
               k = 256;         // m: rows of all groups together, or of each one (masked)
  std::int64_t alignment = 16;  // masked: rows that are expected
  OperandCase a, b;
  Pitch d_pitch = Pitch::kContiguous;
  std::string name() const;
};

std::vector<GroupedCase> grouped_cases(bool quick);
std::vector<OpCase> grouped_op_cases(bool quick);

/// The layout argument of a case: i32 ids of rows, or numbers of rows.
std::vector<std::int32_t> layout_of(GroupedCase const& what, std::uint64_t seed);
/// The group that each row of a is multiplied with by the definition in ops/gemm/grouped.hpp, -1 for rows that are left alone.
/// [m], or [groups * m] (masked).
std::vector<std::int64_t> owners_of(GroupedCase const& what, std::vector<std::int32_t> const& layout);

Outcome run_grouped_case(Context& context, GroupedCase const& what, std::uint64_t seed,
                         Schedules const& schedules = {});

}  // namespace deepwell::check

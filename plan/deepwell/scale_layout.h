// What host and device share about the kernel that brings scales into the layout GEMMs read fastest: column by column (the rows of
// a column are neighbours, columns start at multiples of 16 bytes), FP32 as it is or four UE8M0 exponents to a word.
#pragma once

#include "deepwell/common.h"
#include "deepwell/notes.h"

namespace deepwell {

/// All that specialises the kernel. `from` is kF32 or kUe8m0 (bytes), `to` is kF32 or kI32 (packed).
struct ScaleLayoutPlan {
  Dtype from, to;
  bool operator==(ScaleLayoutPlan const&) const = default;
};

inline constexpr int kScaleLayoutThreads = 128;

struct ScaleLayoutArgs {
  unsigned char const* from;  // [groups, ceil(rows / rows_per_scale), columns]
  unsigned* to;               // [groups, rows, out_columns], rows are neighbours
  long long from_group_stride, from_row_stride, from_column_stride;  // bytes
  long long to_group_stride, to_column_stride;                       // words
  int groups, rows, columns;
  int out_columns;  // columns, or ceil(columns / 4) when packed
  int rows_per_scale;
  unsigned* notes;  // the device's counters
};

}  // namespace deepwell

// What kernels note about data that only the device sees: indices into the device's 32-bit counters.
#pragma once

#include "deepwell/common.h"

namespace deepwell {

enum class Note : int {
  kLossyScale,  // scales that a power of two between 2^-127 and 2^127 could not express; see scale_layout.cuh for what became of them
  kBadGroupId,  // ids of groups that name none, of grouped products: their rows count as padding
  kBadGroupSize,  // row counts of groups that are negative or larger than the tensor: they are clipped
  kCount,
};
static_assert(static_cast<int>(Note::kCount) <= kNoteCount);

DW_HD constexpr char const* name_of(Note note) {
  switch (note) {
    case Note::kLossyScale: return "lossy_scale";
    case Note::kBadGroupId: return "bad_group_id";
    case Note::kBadGroupSize: return "bad_group_size";
    case Note::kCount: break;
  }
  return "?";
}

/// One sentence for people.
DW_HD constexpr char const* describe(Note note) {
  switch (note) {
    case Note::kLossyScale:
      return "FP32 scales that are no powers of two were rounded up while being packed to UE8M0";
    case Note::kBadGroupId:
      return "ids of groups that do not exist in a grouped GEMM: their rows were treated as padding";
    case Note::kBadGroupSize:
      return "row counts of groups that are negative or above the number of rows in a grouped GEMM: they "
             "were clipped";
    case Note::kCount: break;
  }
  return "?";
}

}  // namespace deepwell

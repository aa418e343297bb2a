// What kernels note about data that only the device sees: indices into the device's 32-bit counters.
#pragma once

#include "deepwell/common.h"

namespace deepwell {

enum class Note : int {
  kLossyScale,  // scales that a power of two between 2^-127 and 2^127 could not express; see scale_layout.cuh for what became of them
  kBadGroupId,  // ids of groups that name none, of grouped products: their rows count as padding
  kBadGroupSize,  // row counts of groups that are negative or larger than the tensor: they are clipped
  kClippedKeys,  // rows of indexer logits whose range of keys was reversed or left the keys, the result or the block table's pages
  kBadPage,      // entries of a block table that name no page
  kNanLogit,     // logits that would have been NaN
  kCount,
};
static_assert(static_cast<int>(Note::kCount) <= kNoteCount);

DW_HD constexpr char const* name_of(Note note) {
  switch (note) {
    case Note::kLossyScale: return "lossy_scale";
    case Note::kBadGroupId: return "bad_group_id";
    case Note::kBadGroupSize: return "bad_group_size";
    case Note::kClippedKeys: return "clipped_keys";
    case Note::kBadPage: return "bad_page";
    case Note::kNanLogit: return "nan_logit";
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
    case Note::kClippedKeys:
      return "rows of indexer logits had a range of keys that is reversed or does not fit the keys or the "
             "result: it was clipped";
    case Note::kBadPage:
      return "entries of a block table name no page of the cache, or are missing: their logits are -inf";
    case Note::kNanLogit: return "indexer logits that would have been NaN are -inf";
    case Note::kCount: break;
  }
  return "?";
}

}  // namespace deepwell

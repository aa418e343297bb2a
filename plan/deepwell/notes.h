// What kernels note about data that only the device sees: indices into the device's 32-bit counters.
#pragma once

#include "deepwell/common.h"

namespace deepwell {

enum class Note : int {
  kLossyScale,  // scales that a power of two between 2^-127 and 2^127 could not express; see scale_layout.cuh for what became of them
  kCount,
};
static_assert(static_cast<int>(Note::kCount) <= kNoteCount);

DW_HD constexpr char const* name_of(Note note) {
  switch (note) {
    case Note::kLossyScale: return "lossy_scale";
    case Note::kCount: break;
  }
  return "?";
}

/// One sentence for people.
DW_HD constexpr char const* describe(Note note) {
  switch (note) {
    case Note::kLossyScale:
      return "FP32 scales that are no powers of two were rounded up while being packed to UE8M0";
    case Note::kCount: break;
  }
  return "?";
}

}  // namespace deepwell

// A ring of shared-memory stages between a load warp and math warps: which stage, and which phase of its barriers.
#pragma once

#include "deepwell/ptx/mbarrier.cuh"
#include "deepwell/ptx/sync.cuh"

namespace deepwell {

/// Position in a ring of kStages stages. `full[stage]` completes when the stage's bytes are there, `empty[stage]` when its
/// readers are done.
template <int kStages>
struct RingPosition {
  int stage = 0;
  uint32 phase = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      phase ^= 1;
    }
  }
  __device__ __forceinline__ void advance_by(int stages) {
    uint32 const to = stage + stages;
    stage = to % kStages;
    phase ^= to / kStages & 1;
  }
};

/// Releases a stage that the whole warp has read: lane 0 arrives after the warp has converged, or every lane by itself.
template <bool kEveryReaderArrives>
__device__ __forceinline__ void release_stage(SmemAddr empty) {
  if constexpr (kEveryReaderArrives) {
    mbarrier_arrive(empty);
  } else {
    warp_sync();
    if (lane_id() == 0) mbarrier_arrive(empty);
  }
}

}  // namespace deepwell

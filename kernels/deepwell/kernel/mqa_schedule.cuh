// The schedule of a paged call: entry i of [shares + 1, 2] is the unit and the tile in it where the i-th of equal shares of all tiles
// begins, the last one the end. One CTA an entry. Advisory: the logits kernel finds its shares from the lengths.
#pragma once

#include "deepwell/prim/mqa_work.cuh"

namespace deepwell {

struct MqaSchedule {
  static constexpr int kThreads = kMqaThreads;

  __device__ static void run(MqaScheduleArgs const& args) {
    extern __shared__ __align__(1024) unsigned char smem_bytes[];
    grid_dependency_wait();
    grid_launch_dependents();
    int const index = blockIdx.x, shares = gridDim.x - 1;
    uint32 clipped;
    MqaShare const share = mqa_find_share<true>(args.work, args.work.unit_rows, args.tile,
                                                smem_addr(smem_bytes), index, shares, clipped);
    if (threadIdx.x == 0) {
      store_global_u32(args.schedule + 2 * index, share.unit);
      store_global_u32(args.schedule + 2 * index + 1, share.tile);
    }
  }
};

}  // namespace deepwell

// Blocks of a cluster read each other's shared memory, through cooperative groups.
#include "corpus.h"
#if CORPUS_DEVICE
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
extern "C" __global__ void __cluster_dims__(4, 1, 1) kernel(u32 const* a, u32* out) {
  __shared__ u32 mine[64];
  cg::cluster_group const cluster = cg::this_cluster();
  u32 const t = threadIdx.x, rank = cluster.block_rank();
  mine[t] = a[thread_number()];
  cluster.sync();
  u32 sum = 0;
  for (u32 r = 0; r < cluster.num_blocks(); ++r)
    sum += cluster.map_shared_rank(mine, (rank + r) % 4)[(t + r) % 64] * (r + 1);
  cluster.sync();
  atomicAdd(cluster.map_shared_rank(mine, 0) + t, rank + 1);
  cluster.sync();
  if (rank == 0) sum += mine[t] - a[thread_number()];
  out[thread_number()] = sum + cluster.dim_blocks().x + cluster.thread_rank();
}
#else
CORPUS({.grid = {8}, .block = {64}, .cluster = {4}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(512));
  std::vector<u32> out;
  for (u32 b = 0; b < 8; ++b) {
    for (u32 t = 0; t < 64; ++t) {
      u32 sum = 4 + (b % 4) * 64 + t + (b % 4 == 0 ? 10 : 0);
      for (u32 r = 0; r < 4; ++r) sum += a[64 * (b / 4 * 4 + (b % 4 + r) % 4) + (t + r) % 64] * (r + 1);
      out.push_back(sum);
    }
  }
  data.out(out);
});
#endif

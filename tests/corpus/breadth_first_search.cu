// A search through a graph, level by level, with a queue that grows by atomics.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* first, u32 const* edges, u32* distance, u32 nodes) {
  __shared__ u32 queue[2][256], count[2];
  u32 const t = threadIdx.x;
  for (u32 n = t; n < nodes; n += blockDim.x) distance[n] = n == 0 ? 0 : ~0u;
  if (t == 0) queue[0][0] = 0, count[0] = 1, count[1] = 0;
  __syncthreads();
  for (u32 level = 0; count[level % 2] != 0; ++level) {
    u32 const now = level % 2, next = 1 - now;
    for (u32 k = t; k < count[now]; k += blockDim.x) {
      u32 const n = queue[now][k];
      for (u32 e = first[n]; e < first[n + 1]; ++e) {
        if (atomicCAS(&distance[edges[e]], ~0u, level + 1) == ~0u)
          queue[next][atomicAdd(&count[next], 1u)] = edges[e];
      }
    }
    __syncthreads();
    if (t == 0) count[now] = 0;
    __syncthreads();
  }
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  u32 const nodes = 200;
  std::vector<u32> first, edges;
  for (u32 n = 0; n < nodes; ++n) {
    first.push_back(static_cast<u32>(edges.size()));
    for (u32 k = 0; k < n % 4 + 1; ++k) edges.push_back(static_cast<u32>(data.bits() % nodes));
  }
  first.push_back(static_cast<u32>(edges.size()));
  data.in(first), data.in(edges);
  std::vector<u32> distance(nodes, ~0u), queue = {0};
  distance[0] = 0;
  for (std::size_t k = 0; k < queue.size(); ++k) {
    for (u32 e = first[queue[k]]; e < first[queue[k] + 1]; ++e) {
      if (distance[edges[e]] != ~0u) continue;
      distance[edges[e]] = distance[queue[k]] + 1;
      queue.push_back(edges[e]);
    }
  }
  data.out(distance), data.value(nodes);
});
#endif

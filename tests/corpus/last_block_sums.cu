// Blocks pass sums on through global memory: fences, a counter, and the last block adds up.
#include "corpus.h"
#if CORPUS_DEVICE
__device__ u32 arrived;
extern "C" __global__ void kernel(u32 const* a, u32* partial, u32* out) {
  __shared__ bool is_last;
  u32 sum = __reduce_add_sync(~0u, a[thread_number()]);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = sum;
    __threadfence();
    is_last = atomicInc(&arrived, gridDim.x - 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (is_last) {
    u32 const mine = threadIdx.x < gridDim.x ? static_cast<u32 volatile*>(partial)[threadIdx.x] : 0;
    sum = __reduce_add_sync(~0u, mine);
    if (threadIdx.x == 0) *out = sum;
  }
}
#else
CORPUS({.grid = {20}, .block = {32}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(640));
  u32 sum = 0;
  for (u32 const x : a) sum += x;
  data.scratch(80);
  data.out(std::vector<u32>{sum});
});
#endif

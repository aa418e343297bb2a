// A bitonic sort of a block's keys in shared memory.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32* keys) {
  __shared__ u32 shared[256];
  u32 const t = threadIdx.x;
  shared[t] = keys[thread_number()];
  for (u32 size = 2; size <= 256; size *= 2) {
    for (u32 stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      u32 const other = t ^ stride;
      if (other > t) {
        bool const up = (t & size) == 0;
        u32 const x = shared[t], y = shared[other];
        if ((x > y) == up) shared[t] = y, shared[other] = x;
      }
    }
  }
  __syncthreads();
  keys[thread_number()] = shared[t];
}
#else
CORPUS({.grid = {2}, .block = {256}}, [](Data& data) {
  auto const keys = data.random<u32>(512);
  auto sorted = keys;
  std::sort(sorted.begin(), sorted.begin() + 256), std::sort(sorted.begin() + 256, sorted.end());
  data.inout(keys, sorted);
});
#endif

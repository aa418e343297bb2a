// A histogram: atomics in shared memory, then in global memory.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u8 const* a, u32 count, u32* out) {
  __shared__ u32 bins[64];
  for (u32 k = threadIdx.x; k < 64; k += blockDim.x) bins[k] = 0;
  __syncthreads();
  for (u32 k = thread_number(); k < count; k += gridDim.x * blockDim.x) atomicAdd(&bins[a[k] / 4], 1u);
  __syncthreads();
  for (u32 k = threadIdx.x; k < 64; k += blockDim.x) {
    if (bins[k] != 0) atomicAdd(&out[k], bins[k]);
  }
}
#else
CORPUS({.grid = {4}, .block = {96}}, [](Data& data) {
  auto const a = data.in(data.random<u8>(5000));
  data.value(u32{5000});
  std::vector<u32> out(64);
  for (u8 const x : a) ++out[x / 4];
  data.inout(std::vector<u32>(64), out);
});
#endif

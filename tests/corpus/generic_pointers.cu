// One pointer that may name global, shared, local or constant memory; which, the CUDA functions tell.
#include "corpus.h"
#if CORPUS_DEVICE
__constant__ u32 fixed[4] = {11, 22, 33, 44};
__device__ __noinline__ u32 sum(u32 const* p) { return p[0] + 2 * p[1] + 3 * p[2]; }
extern "C" __global__ void kernel(u32 const* a, u32* out) {
  __shared__ u32 shared[4];
  u32 const t = threadIdx.x;
  if (t < 4) shared[t] = t + 100;
  __syncthreads();
  u32 local[4];
  for (u32 k = 0; k < 4; ++k) local[k] = t * k;
  u32 const* const choice[4] = {a, shared, local, fixed};
  u32 const* const p = choice[t % 4];
  out[t] = sum(p) | (__isGlobal(p) != 0) << 30 | static_cast<u32>(__isShared(p) != 0) << 31 |
           (__isLocal(p) != 0) << 29;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(std::vector<u32>{5, 6, 7, 8});
  std::vector<u32> out;
  for (u32 t = 0; t < 64; ++t) {
    u32 const sums[4] = {5 + 12 + 21, 100 + 202 + 306, 2 * t + 6 * t, 11 + 44 + 99};
    u32 const flags[4] = {1u << 30, 1u << 31, 1u << 29,
                          1u << 30};  // constant memory is part of global memory
    out.push_back(sums[t % 4] | flags[t % 4]);
  }
  (void)a;
  data.out(out);
});
#endif

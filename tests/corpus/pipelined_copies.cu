// Asynchronous copies into shared memory, two stages deep, by CUDA's pipeline functions.
#include "corpus.h"
#if CORPUS_DEVICE
#include <cuda_pipeline.h>
extern "C" __global__ void kernel(int4 const* a, int* out, int rounds) {
  __shared__ __align__(16) int4 stage[2][64];
  u32 const t = threadIdx.x;
  __pipeline_memcpy_async(&stage[0][t], &a[t], 16);
  __pipeline_commit();
  int sum = 0;
  for (int r = 0; r < rounds; ++r) {
    if (r + 1 < rounds) __pipeline_memcpy_async(&stage[(r + 1) % 2][t], &a[(r + 1) * 64 + t], 16);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    int4 const v = stage[r % 2][63 - t];
    sum += v.x - v.y + 2 * v.z - 3 * v.w;
    __syncthreads();
  }
  out[t] = sum;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  int const rounds = 5;
  auto const a = data.in(data.random<int>(64 * 4 * rounds, -1000, 1000));
  std::vector<int> out(64);
  for (int r = 0; r < rounds; ++r) {
    for (int t = 0; t < 64; ++t) {
      int const* const v = &a[4 * (r * 64 + 63 - t)];
      out[t] += v[0] - v[1] + 2 * v[2] - 3 * v[3];
    }
  }
  data.out(out), data.value(rounds);
});
#endif

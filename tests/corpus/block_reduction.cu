// The sum of many doubles, by shuffles inside warps and shared memory between them.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(double const* a, u32 count, double* out) {
  __shared__ double sums[32];
  double sum = 0;
  for (u32 k = thread_number(); k < count; k += gridDim.x * blockDim.x) sum += a[k];
  for (int d = 16; d > 0; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (u32 w = 1; w < blockDim.x / 32; ++w) sum += sums[w];
    out[blockIdx.x] = sum;
  }
}
#else
CORPUS({.grid = {3}, .block = {128}}, [](Data& data) {
  std::vector<double> a(1000);
  for (double& one : a) one = static_cast<double>(data.bits() % 1000);  // exact in any order
  data.in(a);
  data.value(u32{1000});
  std::vector<double> out(3);
  for (unsigned k = 0; k < 1000; ++k) out[k / 128 % 3] += a[k];
  data.out(out);
});
#endif

// A product of matrices in tiles of shared memory, with a two-dimensional grid.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(i32 const* a, i32 const* b, i32* c, int n) {
  __shared__ i32 left[16][16], right[16][17];
  int const row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
  i32 sum = 0;
  for (int k = 0; k < n; k += 16) {
    left[threadIdx.y][threadIdx.x] = a[row * n + k + threadIdx.x];
    right[threadIdx.y][threadIdx.x] = b[(k + threadIdx.y) * n + column];
    __syncthreads();
#pragma unroll 4
    for (int j = 0; j < 16; ++j) sum += left[threadIdx.y][j] * right[j][threadIdx.x];
    __syncthreads();
  }
  c[row * n + column] = sum;
}
#else
CORPUS({.grid = {3, 3}, .block = {16, 16}}, [](Data& data) {
  int const n = 48;
  auto const a = data.in(data.random<i32>(n * n, -99, 99)), b = data.in(data.random<i32>(n * n, -99, 99));
  std::vector<i32> c(n * n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      for (int k = 0; k < n; ++k) c[i * n + j] += a[i * n + k] * b[k * n + j];
    }
  }
  data.out(c), data.value(n);
});
#endif

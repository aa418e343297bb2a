// A matrix transposed through a tile of shared memory with a column to spare.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void __launch_bounds__(256) kernel(float const* a, float* out, int rows, int columns) {
  __shared__ float tile[32][33];
  int const x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) {
    if (x < columns && y + k < rows) tile[threadIdx.y + k][threadIdx.x] = a[(y + k) * columns + x];
  }
  __syncthreads();
  int const column = blockIdx.y * 32 + threadIdx.x, row = blockIdx.x * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) {
    if (column < rows && row + k < columns)
      out[(row + k) * rows + column] = tile[threadIdx.x][threadIdx.y + k];
  }
}
#else
CORPUS({.grid = {2, 2}, .block = {32, 8}}, [](Data& data) {
  int const rows = 50, columns = 45;
  auto const a = data.in(data.random<float>(rows * columns, -1, 1));
  std::vector<float> out(rows * columns);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) out[c * rows + r] = a[r * columns + c];
  }
  data.out(out), data.value(rows), data.value(columns);
});
#endif

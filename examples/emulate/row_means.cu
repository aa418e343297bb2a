// Means of the rows of a matrix, read in tiles of 8 rows and 32 columns by tensor copies (TMA): a CTA of 64 threads for 8 rows, 8
// threads for each. row_means_early is the same with a mistake: a thread lets the next copy overwrite the tile while others still read it.
//
//   nvcc -ptx -arch=sm_120a -lineinfo row_means.cu
#include <cuda.h>

#include <cstdint>

constexpr int kRows = 8, kColumns = 32;

__device__ uint32_t address_of(void const* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ void begin_copy(float* tile, CUtensorMap const* map, int column, int row, uint64_t* bar) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address_of(bar)),
               "r"(kRows * kColumns * 4)
               : "memory");
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cta.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
          address_of(tile)),
      "l"(map), "r"(column), "r"(row), "r"(address_of(bar))
      : "memory");
}

__device__ void wait(uint64_t* bar, int parity) {
  asm volatile(
      "{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra AGAIN;\n}" ::"r"(
          address_of(bar)),
      "r"(parity)
      : "memory");
}

template <bool kEarly>
__device__ void row_means_of(CUtensorMap const* map, float* means, int rows, int columns) {
  __shared__ alignas(128) float tile[kRows][kColumns];
  __shared__ alignas(8) uint64_t full;
  int const row = threadIdx.x / 8, part = threadIdx.x % 8, first_row = blockIdx.x * kRows;
  if (threadIdx.x == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(address_of(&full)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  float sum = 0;
  for (int column = 0, phase = 0; column < columns; column += kColumns, phase ^= 1) {
    if (threadIdx.x == 0) begin_copy(&tile[0][0], map, column, first_row, &full);
    wait(&full, phase);
    for (int i = part; i < kColumns; i += 8) sum += tile[row][i];  // outside of the matrix there are zeros
    if (!kEarly) __syncthreads();
  }
  for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step, 8);
  if (part == 0 && first_row + row < rows) means[first_row + row] = sum / columns;
}

extern "C" __global__ void row_means(__grid_constant__ CUtensorMap const map, float* means, int rows, int columns) {
  row_means_of<false>(&map, means, rows, columns);
}

extern "C" __global__ void row_means_early(__grid_constant__ CUtensorMap const map, float* means, int rows, int columns) {
  row_means_of<true>(&map, means, rows, columns);
}

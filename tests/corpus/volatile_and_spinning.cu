// Warps of a block wait for each other in loops on volatile shared memory.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32* out) {
  __shared__ u32 volatile turn;
  __shared__ u32 log[8];
  u32 const warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) turn = 0;
  __syncthreads();
  u32 const mine = (warp * 3) % 8;
  if (lane == 0) {
    while (turn != mine) __nanosleep(20);
    __threadfence_block();
    log[mine] = warp + (mine > 0 ? log[mine - 1] * 10 : 0);
    __threadfence_block();
    turn = mine + 1;
  }
  __syncthreads();
  if (threadIdx.x < 8) out[threadIdx.x] = log[threadIdx.x];
}
#else
CORPUS({.grid = {1}, .block = {256}}, [](Data& data) {
  std::vector<u32> out(8);
  for (u32 k = 0; k < 8; ++k) out[k] = k * 3 % 8 + (k > 0 ? out[k - 1] * 10 : 0);  // 3 is its own inverse
  data.out(out);
});
#endif

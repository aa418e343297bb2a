// Clocks run forward; special registers say where a thread is.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32* out) {
  u32 const t = threadIdx.x;
  long long const begin = clock64();
  u32 lane, warps, mask;
  u64 first, second;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(first));
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  asm volatile("mov.u32 %0, %%nwarpid;" : "=r"(warps));
  asm volatile("mov.u32 %0, %%lanemask_lt;" : "=r"(mask));
  __nanosleep(100);
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(second));
  out[t] = (clock64() >= begin) + 2 * (second >= first) + (lane == t % 32) * 4 +
           (mask == (1u << lane) - 1) * 8 + (warps >= 2) * 16 + blockIdx.y * 32 + gridDim.y * 64;
}
#else
CORPUS({.grid = {1, 1}, .block = {64}}, [](Data& data) { data.out(std::vector<u32>(64, 31 + 64)); });
#endif

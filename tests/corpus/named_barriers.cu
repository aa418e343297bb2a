// Half of a block produces, the other half consumes, with barriers of their own; then votes of whole blocks.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32* out) {
  __shared__ u32 buffer[2][64];
  u32 const t = threadIdx.x;
  for (u32 round = 0; round < 4; ++round) {
    u32 const half = round % 2;
    if (t < 64) {
      if (round >= 2) asm volatile("barrier.cta.sync %0, 128;" ::"r"(3 + half) : "memory");
      buffer[half][t] = a[round * 64 + t] * 3;
      asm volatile("barrier.cta.arrive %0, 128;" ::"r"(1 + half) : "memory");
    } else {
      asm volatile("barrier.cta.sync %0, 128;" ::"r"(1 + half) : "memory");
      out[round * 64 + t - 64] = buffer[half][127 - t];
      if (round < 2) asm volatile("barrier.cta.arrive %0, 128;" ::"r"(3 + half) : "memory");
    }
  }
  int const count = __syncthreads_count(a[t] & 1), any = __syncthreads_or(a[t] == 12345),
            all = __syncthreads_and(t < 128);
  if (t == 0) out[256] = static_cast<u32>(count * 4 + (any != 0) * 2 + (all != 0));
}
#else
CORPUS({.grid = {1}, .block = {128}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(256));
  std::vector<u32> out;
  for (int r = 0; r < 4; ++r) {
    for (int t = 0; t < 64; ++t) out.push_back(a[r * 64 + 63 - t] * 3);
  }
  u32 odd = 0;
  for (int t = 0; t < 128; ++t) odd += a[t] & 1;
  out.push_back(odd * 4 + 1);
  data.out(out);
});
#endif

// Inclusive prefix sums of a block's elements.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32* out) {
  __shared__ u32 totals[8];
  u32 const t = threadIdx.x, lane = t % 32, warp = t / 32;
  u32 x = a[thread_number()];
  for (u32 d = 1; d < 32; d *= 2) {
    u32 const other = __shfl_up_sync(~0u, x, d);
    if (lane >= d) x += other;
  }
  if (lane == 31) totals[warp] = x;
  __syncthreads();
  u32 before = 0;
  for (u32 w = 0; w < warp; ++w) before += totals[w];
  out[thread_number()] = x + before;
}
#else
CORPUS({.grid = {2}, .block = {256}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(512));
  std::vector<u32> out;
  for (int t = 0; t < 512; ++t) out.push_back(a[t] + (t % 256 == 0 ? 0 : out.back()));
  data.out(out);
});
#endif

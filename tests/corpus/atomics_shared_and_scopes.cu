// Atomics in shared memory, and those whose scope is the block or the system.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32* out) {
  __shared__ u32 words[4];
  __shared__ float most;
  u32 const t = threadIdx.x, x = a[thread_number()];
  if (t < 4) words[t] = t == 1 ? ~0u : 0;
  if (t == 4) most = 0;
  __syncthreads();
  atomicAdd(&words[0], x);
  atomicMin(&words[1], x);
  atomicAdd_block(&words[2], 1u);
  u32* const bits = reinterpret_cast<u32*>(&most);
  for (u32 old = *static_cast<u32 volatile*>(bits);;) {  // a maximum of positive floats by compare and swap
    float const mine = static_cast<float>(x >> 8);
    if (__uint_as_float(old) >= mine) break;
    u32 const seen = atomicCAS(bits, old, __float_as_uint(mine));
    if (seen == old) break;
    old = seen;
  }
  __syncthreads();
  if (t < 3) atomicAdd_system(&out[t], words[t]);
  if (t == 3) atomicMax(&out[3], __float_as_uint(most));
}
#else
CORPUS({.grid = {3}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(192));
  std::vector<u32> out(4);
  for (int b = 0; b < 3; ++b) {
    u32 least = ~0u;
    for (int t = 0; t < 64; ++t) {
      u32 const x = a[64 * b + t];
      out[0] += x, least = std::min(least, x), ++out[2];
      out[3] = std::max(out[3], std::bit_cast<u32>(static_cast<float>(x >> 8)));
    }
    out[1] += least;
  }
  data.inout(std::vector<u32>(4), out);
});
#endif

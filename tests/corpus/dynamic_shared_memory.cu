// Shared memory whose size the launch gives, cut into arrays of several types, also seen from a function.
#include "corpus.h"
#if CORPUS_DEVICE
extern __shared__ __align__(16) u8 pool[];
__device__ __noinline__ void put(u32 t, double x) { reinterpret_cast<double*>(pool)[t] = x; }
extern "C" __global__ void kernel(u32 const* a, double* out, int count) {
  __shared__ u32 before[7];
  u32 const t = threadIdx.x;
  u32* const words = reinterpret_cast<u32*>(pool + 8 * count);
  u16* const halves = reinterpret_cast<u16*>(words + count);
  if (t < 7) before[t] = t;
  put(t, 0.5 * a[t]);
  words[t] = a[t] + 1, halves[t] = static_cast<u16>(a[t]);
  __syncthreads();
  u32 const other = (t + 5) % count;
  out[t] = reinterpret_cast<double*>(pool)[other] + words[other] + halves[other] + before[t % 7];
}
#else
CORPUS({.grid = {1}, .block = {96}, .dynamic_smem_bytes = 96 * 14}, [](Data& data) {
  auto const a = data.in(data.random<u32>(96, 0, 1e6));
  std::vector<double> out;
  for (unsigned t = 0; t < 96; ++t) {
    u32 const x = a[(t + 5) % 96];
    out.push_back(0.5 * x + (x + 1) + static_cast<u16>(x) + t % 7);
  }
  data.out(out), data.value(96);
});
#endif

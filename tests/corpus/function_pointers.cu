// Functions chosen by pointer: from a table, from an argument, and by each lane differently.
#include "corpus.h"
#if CORPUS_DEVICE
using Operation = float (*)(float, float);
__device__ float plus(float a, float b) { return a + b; }
__device__ float times(float a, float b) { return a * b; }
__device__ float least(float a, float b) { return fminf(a, b); }
__device__ Operation const operations[3] = {plus, times, least};
__device__ __noinline__ float fold(Operation f, float const* a, int count) {
  float sum = a[0];
  for (int k = 1; k < count; ++k) sum = f(sum, a[k]);
  return sum;
}
extern "C" __global__ void kernel(float const* a, float* out) {
  u32 const t = threadIdx.x;
  out[t] = fold(operations[t % 3], a + t, 5 + static_cast<int>(t % 4));
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<float>(80, 0.5, 2));
  std::vector<float> out;
  for (unsigned t = 0; t < 64; ++t) {
    float sum = a[t];
    for (unsigned k = 1; k < 5 + t % 4; ++k) {
      float const x = a[t + k];
      sum = t % 3 == 0 ? sum + x : t % 3 == 1 ? sum * x : std::min(sum, x);
    }
    out.push_back(sum);
  }
  data.out(out);
});
#endif

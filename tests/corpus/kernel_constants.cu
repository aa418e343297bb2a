// A large structure of constants as a __grid_constant__ parameter, used in place; launch bounds.
#include "corpus.h"
struct Corpus_Constants {
  float weights[64];
  i32 offsets[32];
};
#if CORPUS_DEVICE
__device__ __noinline__ float weight(Corpus_Constants const& c, u32 k) { return c.weights[k] * 2; }
extern "C" __global__ void __launch_bounds__(64, 2)
    kernel(const __grid_constant__ Corpus_Constants constants, float* out) {
  u32 const t = threadIdx.x;
  float sum = 0;
  for (u32 k = 0; k < 8; ++k)
    sum += weight(constants, (t + k) % 64) + static_cast<float>(constants.offsets[(t * k) % 32]);
  out[t] = sum;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  Corpus_Constants c;
  for (int k = 0; k < 64; ++k) c.weights[k] = 0.25f * static_cast<float>(k);
  for (int k = 0; k < 32; ++k) c.offsets[k] = k * k - 100;
  data.value(c);
  std::vector<float> out;
  for (int t = 0; t < 64; ++t) {
    float sum = 0;
    for (int k = 0; k < 8; ++k)
      sum += c.weights[(t + k) % 64] * 2 + static_cast<float>(c.offsets[t * k % 32]);
    out.push_back(sum);
  }
  data.out(out);
});
#endif

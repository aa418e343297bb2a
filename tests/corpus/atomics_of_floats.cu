// Atomic sums of floats, doubles, f16 and bf16, alone and in vectors.
#include "corpus.h"
#if CORPUS_DEVICE
#include <cuda_bf16.h>
#include <cuda_fp16.h>
extern "C" __global__ void kernel(float const* a, float* floats, double* doubles, __half* halves,
                                  __nv_bfloat16* brains) {
  u32 const t = threadIdx.x;
  float const x = a[t];
  atomicAdd(&floats[0], x);
  atomicAdd(&doubles[0], 0.5 * x);
  atomicAdd(reinterpret_cast<float4*>(floats + 4), make_float4(x, 2 * x, 1, -x));
  atomicAdd(reinterpret_cast<float2*>(floats + 8), make_float2(x, 3));
  atomicAdd(reinterpret_cast<__half2*>(halves), __floats2half2_rn(1, x));
  atomicAdd(halves + 2, __float2half(2.0f));
  atomicAdd(reinterpret_cast<__nv_bfloat162*>(brains), __floats2bfloat162_rn(1, -1));
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  using namespace deepwell::corpus;
  std::vector<float> a(64), floats(10), out(10);
  for (int t = 0; t < 64; ++t) a[t] = static_cast<float>(t % 8);  // sums are exact in any order
  data.in(a);
  float sum = 0;
  for (float const x : a) sum += x;
  out[0] = sum, out[4] = sum, out[5] = 2 * sum, out[6] = 64, out[7] = -sum, out[8] = sum, out[9] = 192;
  data.inout(floats, out);
  data.inout(std::vector<double>{1}, {1 + 0.5 * sum});
  auto const half = [](double v) { return static_cast<u16>(encoded(v, kHalf)); };
  auto const brain = [](double v) { return static_cast<u16>(encoded(v, kBf16)); };
  data.inout(std::vector<u16>(4), {half(64), half(sum), half(128), 0});
  data.inout(std::vector<u16>(2), {brain(64), brain(-64)});
});
#endif

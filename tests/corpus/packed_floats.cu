// Two floats in one register: the packed instructions where the target has them.
#include "corpus.h"
#if CORPUS_DEVICE
__device__ u64 packed(float x, float y) {
  return static_cast<u64>(__float_as_uint(y)) << 32 | __float_as_uint(x);
}
__device__ u64 fused(u64 a, u64 b, u64 c) {
  u64 d;
#if __CUDA_ARCH__ >= 1000
  asm("fma.rn.f32x2 %0, %1, %2, %3;" : "=l"(d) : "l"(a), "l"(b), "l"(c));
#else
  auto const low = [](u64 v) { return __uint_as_float(static_cast<u32>(v)); };
  auto const high = [](u64 v) { return __uint_as_float(static_cast<u32>(v >> 32)); };
  d = packed(__fmaf_rn(low(a), low(b), low(c)), __fmaf_rn(high(a), high(b), high(c)));
#endif
  return d;
}
extern "C" __global__ void kernel(float const* a, float2* out) {
  u32 const t = threadIdx.x;
  u64 sum = packed(0.5f, -0.25f);
  for (u32 k = 0; k < 8; ++k) sum = fused(packed(a[t + k], a[t]), packed(a[k], 1.5f), sum);
  out[t] = make_float2(__uint_as_float(static_cast<u32>(sum)), __uint_as_float(static_cast<u32>(sum >> 32)));
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<float>(72, -2, 2));
  std::vector<float> out;
  for (int t = 0; t < 64; ++t) {
    float x = 0.5f, y = -0.25f;
    for (int k = 0; k < 8; ++k) x = std::fma(a[t + k], a[k], x), y = std::fma(a[t], 1.5f, y);
    out.push_back(x), out.push_back(y);
  }
  data.out(out);
});
#endif

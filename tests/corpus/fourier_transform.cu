// A radix-2 Fourier transform of complex floats in shared memory, with sincospif.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(float2 const* in, float2* out) {
  __shared__ float2 x[64];
  u32 const t = threadIdx.x;
  for (u32 k = t; k < 64; k += 32) x[__brev(k) >> 26] = in[k];
  for (u32 half = 1; half < 64; half *= 2) {
    __syncthreads();
    u32 const j = t % half, first = t / half * 2 * half + j;
    float s, c;
    sincospif(-static_cast<float>(j) / static_cast<float>(half), &s, &c);
    float2 const a = x[first], b = x[first + half];
    float2 const w = make_float2(b.x * c - b.y * s, b.x * s + b.y * c);
    x[first] = make_float2(a.x + w.x, a.y + w.y);
    x[first + half] = make_float2(a.x - w.x, a.y - w.y);
  }
  __syncthreads();
  for (u32 k = t; k < 64; k += 32) out[k] = x[k];
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  auto const in = data.in(data.random<float>(128, -1, 1));
  std::vector<float> out;
  for (int k = 0; k < 64; ++k) {
    double re = 0, im = 0;
    for (int n = 0; n < 64; ++n) {
      double const angle = -2 * std::acos(-1.0) * k * n / 64, s = std::sin(angle), c = std::cos(angle);
      re += in[2 * n] * c - in[2 * n + 1] * s, im += in[2 * n] * s + in[2 * n + 1] * c;
    }
    out.push_back(static_cast<float>(re)), out.push_back(static_cast<float>(im));
  }
  data.out(out, {.ulps = 0, .absolute = 1e-5});
});
#endif

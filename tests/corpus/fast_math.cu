// The approximate functions: sin, cos, exp2, log2, reciprocals, tanh.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(float const* a, float* out) {
  u32 const t = threadIdx.x;
  float const x = a[t];
  float* const to = out + 8 * t;
  to[0] = __sinf(x), to[1] = __cosf(x), to[2] = __expf(x), to[3] = __logf(x + 4), to[4] = __powf(x + 4, 1.5f),
  to[5] = __fdividef(x, 2.7f), to[6] = __frsqrt_rn(x + 4);
  float h;
  asm("tanh.approx.f32 %0, %1;" : "=f"(h) : "f"(x));
  to[7] = h;
}
#else
CORPUS({.grid = {1}, .block = {128}}, [](Data& data) {
  auto const a = data.in(data.random<float>(128, -3, 3));
  std::vector<float> out;
  for (float const f : a) {
    double const x = f, p = f + 4.0f;
    for (double const one : {std::sin(x), std::cos(x), std::exp(x), std::log(p), std::pow(p, 1.5),
                             x / static_cast<double>(2.7f), 1 / std::sqrt(p), std::tanh(x)})
      out.push_back(static_cast<float>(one));
  }
  data.out(out, {.ulps = 32, .absolute = 2e-6});
});
#endif

// Elementary functions of floats, within the errors that the CUDA programming guide gives.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(float const* a, float* out) {
  u32 const t = threadIdx.x;
  float const x = a[t];
  float* const to = out + 14 * t;
  to[0] = sinf(x), to[1] = cosf(x), to[2] = tanf(x), to[3] = expf(x), to[4] = exp2f(x), to[5] = exp10f(x / 4),
  to[6] = logf(fabsf(x));
  to[7] = log2f(fabsf(x)), to[8] = log10f(fabsf(x)), to[9] = powf(fabsf(x), 1.7f), to[10] = cbrtf(x),
  to[11] = rsqrtf(fabsf(x));
  float s, c;
  sincosf(x * 1000, &s, &c);
  to[12] = s + 2 * c, to[13] = sqrtf(fabsf(x)) / 3.0f;
}
#else
CORPUS({.grid = {1}, .block = {128}}, [](Data& data) {
  auto const a = data.in(data.random<float>(128, -20, 20));
  std::vector<float> out;
  for (float const f : a) {
    double const x = f, m = std::abs(x), far = f * 1000.f;
    for (double const one : {std::sin(x), std::cos(x), std::tan(x), std::exp(x), std::exp2(x),
                             std::pow(10.0, static_cast<double>(f / 4)), std::log(m), std::log2(m),
                             std::log10(m), std::pow(m, static_cast<double>(1.7f)), std::cbrt(x),
                             1 / std::sqrt(m), std::sin(far) + 2 * std::cos(far)})
      out.push_back(static_cast<float>(one));
    out.push_back(std::sqrt(std::abs(f)) / 3.0f);
  }
  data.out(out, {.ulps = 8, .absolute = 3e-7});
});
#endif

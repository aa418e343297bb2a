// Inverse, hyperbolic and special functions of floats.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(float const* a, float* out) {
  u32 const t = threadIdx.x;
  float const x = a[t];
  float* const to = out + 16 * t;
  to[0] = asinf(x), to[1] = acosf(x), to[2] = atanf(4 * x), to[3] = atan2f(x, 0.3f - x), to[4] = sinhf(3 * x),
  to[5] = coshf(3 * x);
  to[6] = tanhf(2 * x), to[7] = asinhf(x * 9), to[8] = acoshf(1.5f + x), to[9] = atanhf(x),
  to[10] = expm1f(x), to[11] = log1pf(x / 2);
  to[12] = erff(x * 2), to[13] = erfcf(x * 2), to[14] = hypotf(x, 2),
  to[15] = tgammaf(3 + x) + lgammaf(4 + x);
}
#else
CORPUS({.grid = {1}, .block = {128}}, [](Data& data) {
  auto a = data.random<float>(128, -0.49, 0.49);
  data.in(a);
  std::vector<float> out;
  for (float const f : a) {
    double const x = f;
    for (double const one :
         {std::asin(x), std::acos(x), std::atan(4 * x), std::atan2(x, static_cast<double>(0.3f - f)),
          std::sinh(static_cast<double>(3 * f)), std::cosh(static_cast<double>(3 * f)), std::tanh(2 * x),
          std::asinh(static_cast<double>(f * 9)), std::acosh(static_cast<double>(1.5f + f)), std::atanh(x),
          std::expm1(x), std::log1p(x / 2), std::erf(2 * x), std::erfc(2 * x), std::hypot(x, 2.0),
          std::tgamma(static_cast<double>(3 + f)) + std::lgamma(static_cast<double>(4 + f))})
      out.push_back(static_cast<float>(one));
  }
  data.out(out, {.ulps = 8, .absolute = 1e-7});
});
#endif

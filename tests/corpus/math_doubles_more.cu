// Inverse, hyperbolic and special functions of doubles.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(double const* a, double* out) {
  u32 const t = threadIdx.x;
  double const x = a[t];
  double* const to = out + 16 * t;
  to[0] = asin(x), to[1] = acos(x), to[2] = atan(4 * x), to[3] = atan2(x, 0.3 - x), to[4] = sinh(3 * x),
  to[5] = cosh(3 * x), to[6] = tanh(2 * x), to[7] = asinh(x * 9);
  to[8] = acosh(1.5 + x), to[9] = atanh(x), to[10] = expm1(x), to[11] = log1p(x), to[12] = erf(x * 2),
  to[13] = erfc(x * 2), to[14] = hypot(x, 2.0), to[15] = tgamma(3 + x);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<double>(64, -0.49, 0.49));
  std::vector<double> out;
  for (double const x : a) {
    for (double const one : {std::asin(x), std::acos(x), std::atan(4 * x), std::atan2(x, 0.3 - x),
                             std::sinh(3 * x), std::cosh(3 * x), std::tanh(2 * x), std::asinh(x * 9),
                             std::acosh(1.5 + x), std::atanh(x), std::expm1(x), std::log1p(x),
                             std::erf(x * 2), std::erfc(x * 2), std::hypot(x, 2.0), std::tgamma(3 + x)})
      out.push_back(one);
  }
  data.out(out, {.ulps = 12});
});
#endif

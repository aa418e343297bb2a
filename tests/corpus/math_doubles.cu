// Elementary functions of doubles.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(double const* a, double* out) {
  u32 const t = threadIdx.x;
  double const x = a[t], m = fabs(x);
  double* const to = out + 12 * t;
  to[0] = sin(x), to[1] = cos(x), to[2] = tan(x), to[3] = exp(x), to[4] = exp2(x), to[5] = log(m),
  to[6] = log2(m), to[7] = log10(m);
  to[8] = pow(m, 1.7), to[9] = cbrt(x), to[10] = rsqrt(m), to[11] = sqrt(m) / 3;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<double>(64, -20, 20));
  std::vector<double> out;
  for (double const x : a) {
    double const m = std::abs(x);
    for (double const one :
         {std::sin(x), std::cos(x), std::tan(x), std::exp(x), std::exp2(x), std::log(m), std::log2(m),
          std::log10(m), std::pow(m, 1.7), std::cbrt(x), 1 / std::sqrt(m), std::sqrt(m) / 3})
      out.push_back(one);
  }
  data.out(out, {.ulps = 4});
});
#endif

// Functions that give whole numbers, rests, exponents and neighbours.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(float const* a, double const* b, float* f, double* d) {
  u32 const t = threadIdx.x;
  float const x = a[t];
  double const y = b[t];
  float* const to = f + 12 * t;
  int exponent;
  float whole;
  to[0] = floorf(x), to[1] = ceilf(x), to[2] = truncf(x), to[3] = rintf(x), to[4] = roundf(x),
  to[5] = fmodf(x, 1.75f);
  to[6] = remainderf(x, 1.75f), to[7] = modff(x, &whole) + 10 * whole,
  to[8] = frexpf(x, &exponent) + exponent;
  to[9] = ldexpf(x, static_cast<int>(t) - 32), to[10] = nextafterf(x, 100.f),
  to[11] = static_cast<float>(lrintf(x) + ilogbf(x));
  d[4 * t] = floor(y) + ceil(y / 3), d[4 * t + 1] = fmod(y, 0.7), d[4 * t + 2] = round(y) + trunc(y / 7),
        d[4 * t + 3] = scalbn(y, 5) + logb(y);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<float>(64, -40, 40));
  auto const b = data.in(data.random<double>(64, -4000, 4000));
  std::vector<float> f;
  std::vector<double> d;
  for (int t = 0; t < 64; ++t) {
    float const x = a[t];
    double const y = b[t];
    int exponent = 0;
    float whole = 0;
    for (float const one : {std::floor(x), std::ceil(x), std::trunc(x), std::rint(x), std::round(x),
                            std::fmod(x, 1.75f), std::remainder(x, 1.75f)})
      f.push_back(one);
    float const part = std::modf(x, &whole);
    f.push_back(std::fma(10.0f, whole, part));
    float const mantissa = std::frexp(x, &exponent);
    f.push_back(mantissa + static_cast<float>(exponent));
    f.push_back(std::ldexp(x, t - 32));
    f.push_back(std::nextafter(x, 100.f));
    f.push_back(static_cast<float>(std::lrint(x) + std::ilogb(x)));
    d.push_back(std::floor(y) + std::ceil(y / 3));
    d.push_back(std::fmod(y, 0.7));
    d.push_back(std::round(y) + std::trunc(y / 7));
    d.push_back(std::scalbn(y, 5) + std::logb(y));
  }
  data.out(f), data.out(d);
});
#endif

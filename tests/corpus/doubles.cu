// Doubles: the four operations and fused ones, in every direction of rounding.
#include "corpus.h"
#if !CORPUS_DEVICE
#include <cfenv>
#endif
#if CORPUS_DEVICE
extern "C" __global__ void kernel(double const* a, double const* b, double* out) {
  u32 const t = threadIdx.x;
  double const x = a[t], y = b[t];
  double* const to = out + 14 * t;
  to[0] = __dadd_rn(x, y), to[1] = __dadd_rz(x, y), to[2] = __dadd_ru(x, y), to[3] = __dadd_rd(x, y);
  to[4] = __dmul_rn(x, y), to[5] = __dmul_rz(x, y), to[6] = __dmul_ru(x, y), to[7] = __dmul_rd(x, y);
  to[8] = __ddiv_rn(x, y), to[9] = __ddiv_rz(x, y), to[10] = __dsqrt_rd(fabs(x)), to[11] = x / y;
  to[12] = fma(x, y, 0.3), to[13] = x * 0.5 - y + sqrt(fabs(y));
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto a = data.random<double>(64, -1e9, 1e9), b = data.random<double>(64, -3, 3);
  a[0] = 1e-310, b[0] = 0.25, a[1] = 1e308, b[1] = 100, a[2] = 0;
  data.in(a), data.in(b);
  std::vector<double> out(64 * 14);
  int const modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_UPWARD, FE_DOWNWARD};
  for (int t = 0; t < 64; ++t) {
    double volatile x = a[t], y = b[t], r = 0;
    for (int m = 0; m < 4; ++m) {
      std::fesetround(modes[m]);
      r = x + y, out[14 * t + m] = r;
      r = x * y, out[14 * t + 4 + m] = r;
      if (m < 2) r = x / y, out[14 * t + 8 + m] = r;
      if (m == 3) r = std::sqrt(std::abs(static_cast<double>(x))), out[14 * t + 10] = r;
    }
    std::fesetround(FE_TONEAREST);
    out[14 * t + 11] = x / y;
    out[14 * t + 12] = std::fma(static_cast<double>(x), static_cast<double>(y), 0.3);
    double const root = std::sqrt(std::abs(static_cast<double>(y)));
    // Compilers for GPUs fuse x * 0.5 - y, which changes nothing: the product is exact.
    out[14 * t + 13] = (x * 0.5 - y) + root;
  }
  data.out(out);
});
#endif

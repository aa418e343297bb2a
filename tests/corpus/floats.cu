// Floats: the four operations and fused ones, in every direction of rounding.
#include "corpus.h"
#if !CORPUS_DEVICE
#include <cfenv>
#endif
#if CORPUS_DEVICE
extern "C" __global__ void kernel(float const* a, float const* b, float* out) {
  u32 const t = threadIdx.x;
  float const x = a[t], y = b[t];
  float* const to = out + 16 * t;
  to[0] = __fadd_rn(x, y), to[1] = __fadd_rz(x, y), to[2] = __fadd_ru(x, y), to[3] = __fadd_rd(x, y);
  to[4] = __fmul_rn(x, y), to[5] = __fmul_rz(x, y), to[6] = __fmul_ru(x, y), to[7] = __fmul_rd(x, y);
  to[8] = __fdiv_rn(x, y), to[9] = __fdiv_rz(x, y), to[10] = __fdiv_ru(x, y), to[11] = __fdiv_rd(x, y);
  to[12] = __fmaf_rn(x, y, 0.3f), to[13] = __fsqrt_rn(fabsf(x)), to[14] = __fsqrt_ru(fabsf(y)),
  to[15] = __frcp_rd(y);
}
#else
CORPUS({.grid = {1}, .block = {128}}, [](Data& data) {
  auto a = data.random<float>(128, -1000, 1000), b = data.random<float>(128, -3, 3);
  a[0] = 1e-42f, a[1] = 3e38f, a[2] = 0, a[3] = std::numeric_limits<float>::infinity(), b[1] = 5,
  a[4] = -1e-20f, b[4] = 1e-20f;
  data.in(a), data.in(b);
  std::vector<float> out(128 * 16);
  int const modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_UPWARD, FE_DOWNWARD};
  for (int t = 0; t < 128; ++t) {
    float volatile x = a[t], y = b[t], r = 0;
    for (int m = 0; m < 4; ++m) {
      std::fesetround(modes[m]);
      r = x + y, out[16 * t + m] = r;
      r = x * y, out[16 * t + 4 + m] = r;
      r = x / y, out[16 * t + 8 + m] = r;
      if (m == 0) r = std::fma(static_cast<float>(x), static_cast<float>(y), 0.3f), out[16 * t + 12] = r;
      if (m == 0) r = std::sqrt(std::abs(static_cast<float>(x))), out[16 * t + 13] = r;
      if (m == 2) r = std::sqrt(std::abs(static_cast<float>(y))), out[16 * t + 14] = r;
      if (m == 3) r = 1.0f / y, out[16 * t + 15] = r;
    }
    std::fesetround(FE_TONEAREST);
  }
  data.out(out);
});
#endif

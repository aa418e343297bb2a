// FP4 and FP6: every code to f16, and floats to codes, saturating.
#include "corpus.h"
#if CORPUS_DEVICE
#include <cuda_fp16.h>
#include <cuda_fp4.h>
#include <cuda_fp6.h>
extern "C" __global__ void kernel(float const* a, float* values, u8* codes) {
  u32 const t = threadIdx.x;
  __nv_fp4_e2m1 x;
  x.__x = static_cast<u8>(t & 15);
  __nv_fp6_e2m3 y;
  y.__x = static_cast<u8>(t);
  __nv_fp6_e3m2 z;
  z.__x = static_cast<u8>(t);
  values[3 * t] = static_cast<float>(x), values[3 * t + 1] = static_cast<float>(y),
             values[3 * t + 2] = static_cast<float>(z);
  codes[4 * t] = __nv_fp4_e2m1(a[t]).__x, codes[4 * t + 1] = __nv_fp6_e2m3(a[t]).__x,
            codes[4 * t + 2] = __nv_fp6_e3m2(a[t]).__x;
  codes[4 * t + 3] = __nv_fp4x2_e2m1(float2{a[t] / 2, a[t] * 2}).__x;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  using namespace deepwell::corpus;
  auto const a = data.in(data.random<float>(64, -9, 9));
  std::vector<float> values;
  std::vector<u8> codes;
  for (unsigned t = 0; t < 64; ++t) {
    values.push_back(static_cast<float>(decoded(t & 15, kE2m1)));
    values.push_back(static_cast<float>(decoded(t, kE2m3)));
    values.push_back(static_cast<float>(decoded(t, kE3m2)));
    auto const code = [](double v, Format f) { return static_cast<u8>(encoded(rounded(v, f, true), f)); };
    codes.push_back(code(a[t], kE2m1));
    codes.push_back(code(a[t], kE2m3));
    codes.push_back(code(a[t], kE3m2));
    codes.push_back(static_cast<u8>(code(static_cast<double>(a[t] / 2), kE2m1) |
                                    code(static_cast<double>(a[t] * 2), kE2m1) << 4));
  }
  data.out(values), data.out(codes);
});
#endif

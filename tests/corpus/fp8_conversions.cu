// FP8: every code to f16, and floats to both formats, saturating.
#include "corpus.h"
#if CORPUS_DEVICE
#include <cuda_fp16.h>
#include <cuda_fp8.h>
extern "C" __global__ void kernel(float const* a, float* decoded, u8* codes) {
  u32 const t = threadIdx.x;
  __nv_fp8_e4m3 x;
  x.__x = static_cast<u8>(t);
  __nv_fp8_e5m2 y;
  y.__x = static_cast<u8>(t);
  decoded[2 * t] = static_cast<float>(x), decoded[2 * t + 1] = static_cast<float>(y);
  codes[4 * t] = __nv_fp8_e4m3(a[t]).__x, codes[4 * t + 1] = __nv_fp8_e5m2(a[t]).__x;
  __nv_fp8x2_e4m3 const pair(float2{a[t] * 0.5f, -a[t]});
  codes[4 * t + 2] = static_cast<u8>(pair.__x), codes[4 * t + 3] = static_cast<u8>(pair.__x >> 8);
}
#else
CORPUS({.grid = {1}, .block = {256}}, [](Data& data) {
  using namespace deepwell::corpus;
  auto a = data.random<float>(256, -500, 500);
  for (int t = 0; t < 100; ++t) a[t] = static_cast<float>(data.uniform(-0.1, 0.1));
  a[0] = 1e6f, a[1] = -1e6f;
  data.in(a);
  std::vector<float> values;
  std::vector<u8> codes;
  for (unsigned t = 0; t < 256; ++t) {
    values.push_back(static_cast<float>(decoded(t, kE4m3)));
    values.push_back(static_cast<float>(decoded(t, kE5m2)));
    double const x = a[t];
    codes.push_back(static_cast<u8>(encoded(rounded(x, kE4m3, true), kE4m3)));
    codes.push_back(static_cast<u8>(encoded(rounded(x, kE5m2, true), kE5m2)));
    codes.push_back(static_cast<u8>(encoded(rounded(static_cast<double>(a[t] * 0.5f), kE4m3, true), kE4m3)));
    codes.push_back(static_cast<u8>(encoded(rounded(-x, kE4m3, true), kE4m3)));
  }
  data.out(values), data.out(codes);
});
#endif

// f16x2: two numbers in one register, with saturation, ReLU and comparisons.
#include "corpus.h"
#if CORPUS_DEVICE
#include <cuda_fp16.h>
__device__ u32 word(__half2 x) { return *reinterpret_cast<u32 const*>(&x); }
extern "C" __global__ void kernel(u32 const* a, u32 const* b, u32* out) {
  u32 const t = threadIdx.x;
  __half2 const x = reinterpret_cast<__half2 const*>(a)[t], y = reinterpret_cast<__half2 const*>(b)[t];
  u32* const to = out + 10 * t;
  to[0] = word(__hadd2(x, y)), to[1] = word(__hsub2(x, y)), to[2] = word(__hmul2_sat(x, y)),
  to[3] = word(__hfma2(x, y, x));
  to[4] = word(__hfma2_relu(x, y, x)), to[5] = word(__hmin2(x, y)), to[6] = word(__hneg2(__habs2(x)));
  to[7] = word(__hgt2(x, y)), to[8] = __hle2_mask(x, y),
  to[9] = word(__lows2half2(x, y)) ^ word(__halves2half2(__high2half(x), __low2half(y)));
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  using namespace deepwell::corpus;
  auto const code = [](double v) { return encoded(rounded(v, kHalf), kHalf); };
  std::vector<u32> a, b, out;
  for (int t = 0; t < 64; ++t) {
    a.push_back(code(data.uniform(-3, 3)) | code(data.uniform(-300, 300)) << 16);
    b.push_back(code(data.uniform(-3, 3)) | code(data.uniform(-300, 300)) << 16);
  }
  data.in(a), data.in(b);
  for (int t = 0; t < 64; ++t) {
    auto const both = [&](auto f) {
      u32 r = 0;
      for (int k = 0; k < 2; ++k)
        r |=
            (f(decoded(a[t] >> (16 * k) & 0xffff, kHalf), decoded(b[t] >> (16 * k) & 0xffff, kHalf)) & 0xffff)
            << (16 * k);
      return r;
    };
    out.push_back(both([&](double x, double y) { return code(x + y); }));
    out.push_back(both([&](double x, double y) { return code(x - y); }));
    out.push_back(both([&](double x, double y) { return code(std::max(0.0, std::min(1.0, x * y))); }));
    out.push_back(both([&](double x, double y) { return code(x * y + x); }));
    out.push_back(both([&](double x, double y) { return code(std::max(0.0, x * y + x)); }));
    out.push_back(both([&](double x, double y) { return code(std::min(x, y)); }));
    out.push_back(both([&](double x, double) { return code(-std::abs(x)); }));
    out.push_back(both([&](double x, double y) { return code(x > y ? 1 : 0); }));
    out.push_back(both([&](double x, double y) { return x <= y ? 0xffffu : 0u; }));
    out.push_back(((a[t] & 0xffff) | b[t] << 16) ^ (a[t] >> 16 | b[t] << 16));
  }
  data.out(out);
});
#endif

// bf16: single numbers and pairs.
#include "corpus.h"
#if CORPUS_DEVICE
#include <cuda_bf16.h>
__device__ u16 code(__nv_bfloat16 x) { return __bfloat16_as_ushort(x); }
extern "C" __global__ void kernel(u16 const* a, u16 const* b, u16* out, u32* pairs) {
  u32 const t = threadIdx.x;
  __nv_bfloat16 const x = __ushort_as_bfloat16(a[t]), y = __ushort_as_bfloat16(b[t]);
  u16* const to = out + 8 * t;
  to[0] = code(__hadd(x, y)), to[1] = code(__hmul(x, y)), to[2] = code(__hfma(x, y, x)),
  to[3] = code(__hdiv(x, y));
  to[4] = code(__float2bfloat16(__bfloat162float(x) * 3.3f)), to[5] = code(__hmin(x, y)),
  to[6] = code(__hneg(x)), to[7] = __hgt(x, y) | __hne(x, y) << 1;
  __nv_bfloat162 const p = __halves2bfloat162(x, y), q = __floats2bfloat162_rn(1.7f, __bfloat162float(x));
  __nv_bfloat162 const r = __hfma2(p, q, q);
  pairs[t] = *reinterpret_cast<u32 const*>(&r);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  using namespace deepwell::corpus;
  auto const code = [](double v) { return static_cast<u16>(encoded(rounded(v, kBf16), kBf16)); };
  std::vector<u16> a, b, out;
  std::vector<u32> pairs;
  for (int t = 0; t < 64; ++t)
    a.push_back(code(data.uniform(-30, 30))), b.push_back(code(data.uniform(-4, 4)));
  data.in(a), data.in(b);
  for (int t = 0; t < 64; ++t) {
    double const x = decoded(a[t], kBf16), y = decoded(b[t], kBf16);
    for (double const one : {x + y, x * y, x * y + x, x / y,
                             static_cast<double>(static_cast<float>(x) * 3.3f), std::min(x, y), -x})
      out.push_back(code(one));
    out.push_back(static_cast<u16>((x > y) | (x != y) << 1));
    double const first = rounded(static_cast<double>(1.7f), kBf16);
    pairs.push_back(code(x * first + first) | static_cast<u32>(code(y * x + x)) << 16);
  }
  data.out(out), data.out(pairs);
});
#endif

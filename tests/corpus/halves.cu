// f16: arithmetic, comparison and conversion of single numbers.
#include "corpus.h"
#if CORPUS_DEVICE
#include <cuda_fp16.h>
extern "C" __global__ void kernel(u16 const* a, u16 const* b, u16* out, float* floats) {
  u32 const t = threadIdx.x;
  __half const x = __ushort_as_half(a[t]), y = __ushort_as_half(b[t]);
  u16* const to = out + 10 * t;
  to[0] = __half_as_ushort(__hadd(x, y)), to[1] = __half_as_ushort(__hsub(x, y)),
  to[2] = __half_as_ushort(__hmul(x, y));
  to[3] = __half_as_ushort(__hfma(x, y, x)), to[4] = __half_as_ushort(__hdiv(x, y)),
  to[5] = __half_as_ushort(hsqrt(__habs(x)));
  to[6] = __half_as_ushort(__hadd_sat(x, y)), to[7] = __half_as_ushort(__hmax(x, y)),
  to[8] = __half_as_ushort(__float2half_rz(__half2float(x) * 1.1f));
  to[9] = __hlt(x, y) | __hge(x, y) << 1 | __heq(x, x) << 2 | static_cast<u16>(__half2int_rn(y) & 0xff) << 8;
  floats[t] = __half2float(x);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  using namespace deepwell::corpus;
  auto const code = [](double v) { return static_cast<u16>(encoded(rounded(v, kHalf), kHalf)); };
  std::vector<u16> a, b, out;
  std::vector<float> floats;
  for (int t = 0; t < 64; ++t)
    a.push_back(code(data.uniform(-30, 30))), b.push_back(code(data.uniform(-4, 4)));
  a[0] = 0x0003, a[1] = 0x7bff, b[1] = 0x4400;
  data.in(a), data.in(b);
  for (int t = 0; t < 64; ++t) {
    double const x = decoded(a[t], kHalf), y = decoded(b[t], kHalf);
    for (double const one : {x + y, x - y, x * y, x * y + x, x / y, std::sqrt(std::abs(x)),
                             std::clamp(x + y, 0.0, 1.0), std::max(x, y)})
      out.push_back(code(one));
    double const scaled = static_cast<double>(static_cast<float>(x) * 1.1f);
    double toward_zero = rounded(scaled, kHalf);
    if (std::isinf(toward_zero)) toward_zero = std::copysign(65504.0, scaled);
    u16 cut = code(toward_zero);
    if (std::abs(toward_zero) > std::abs(scaled)) --cut;
    out.push_back(cut);
    out.push_back(
        static_cast<u16>((x < y) | (x >= y) << 1 | 4 | (static_cast<int>(std::nearbyint(y)) & 0xff) << 8));
    floats.push_back(static_cast<float>(x));
  }
  data.out(out), data.out(floats);
});
#endif

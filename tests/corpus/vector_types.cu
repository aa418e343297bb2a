// Vectors of two, three and four elements of every size; loads of 16 bytes.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(float4 const* f, uchar4 const* b, double2 const* d, short3 const* s,
                                  longlong2* out, float3* more) {
  u32 const t = threadIdx.x;
  float4 const x = f[t];
  uchar4 const y = b[t];
  double2 const z = __ldg(&d[t]);
  short3 const w = s[t];
  out[t] = make_longlong2(static_cast<i64>(x.x * 100) + y.x * y.y, static_cast<i64>(z.x) + w.x * w.z);
  more[t] = make_float3(x.y + x.z, x.w * static_cast<float>(y.z),
                        static_cast<float>(z.y) - static_cast<float>(w.y + y.w));
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const f = data.in(data.random<float>(256, -9, 9));
  auto const b = data.in(data.random<u8>(256));
  auto const d = data.in(data.random<double>(128, -1e6, 1e6));
  auto const s = data.in(data.random<i16>(192));
  std::vector<i64> out;
  std::vector<float> more;
  for (int t = 0; t < 64; ++t) {
    float const* const x = &f[4 * t];
    u8 const* const y = &b[4 * t];
    out.push_back(static_cast<i64>(x[0] * 100) + y[0] * y[1]);
    out.push_back(static_cast<i64>(d[2 * t]) + s[3 * t] * s[3 * t + 2]);
    more.push_back(x[1] + x[2]);
    more.push_back(x[3] * y[2]);
    more.push_back(static_cast<float>(d[2 * t + 1]) - static_cast<float>(s[3 * t + 1] + y[3]));
  }
  data.out(out), data.out(more);
});
#endif

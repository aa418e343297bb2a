// Conversions between floats, doubles and integers, in every direction of rounding; what does not fit saturates.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(float const* a, double const* b, i64* out) {
  u32 const t = threadIdx.x;
  float const x = a[t];
  double const y = b[t];
  i64* const to = out + 12 * t;
  to[0] = __float2int_rn(x), to[1] = __float2int_rz(x), to[2] = __float2int_ru(x), to[3] = __float2int_rd(x);
  to[4] = __float2uint_rn(x), to[5] = __float2ll_rd(x), to[6] = static_cast<i64>(__float2ull_rz(x));
  to[7] = __double2int_rn(y), to[8] = __double2ll_ru(y), to[9] = __double2uint_rz(y);
  to[10] = static_cast<i64>(static_cast<i8>(static_cast<int>(fminf(fmaxf(x, -100.f), 100.f))));
  to[11] = static_cast<i64>(__double2ull_rn(y));
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto a = data.random<float>(64, -50, 50);
  auto b = data.random<double>(64, -1e5, 1e5);
  a[0] = 1e20f, a[1] = -1e20f, a[2] = 2.5f, a[3] = 3.5f, a[4] = -0.5f, a[5] = 3e9f, b[0] = 1e300,
  b[1] = -1e300, b[2] = 0.5, b[3] = 1.5;
  data.in(a), data.in(b);
  std::vector<i64> out;
  for (int t = 0; t < 64; ++t) {
    double const x = a[t], y = b[t];
    auto const s32 = [](double v) { return static_cast<i64>(std::clamp(v, -2147483648.0, 2147483647.0)); };
    auto const u32_of = [](double v) { return static_cast<i64>(std::clamp(v, 0.0, 4294967295.0)); };
    auto const s64 = [](double v) {
      return v >= 0x1p63    ? std::numeric_limits<i64>::max()
             : v <= -0x1p63 ? std::numeric_limits<i64>::min()
                            : static_cast<i64>(v);
    };
    auto const u64_of = [](double v) {
      return static_cast<i64>(v >= 0x1p64 ? ~u64{0} : v <= 0 ? u64{0} : static_cast<u64>(v));
    };
    out.push_back(s32(std::nearbyint(x)));
    out.push_back(s32(std::trunc(x)));
    out.push_back(s32(std::ceil(x)));
    out.push_back(s32(std::floor(x)));
    out.push_back(u32_of(std::nearbyint(x)));
    out.push_back(s64(std::floor(x)));
    out.push_back(u64_of(std::trunc(x)));
    out.push_back(s32(std::nearbyint(y)));
    out.push_back(s64(std::ceil(y)));
    out.push_back(u32_of(std::trunc(y)));
    out.push_back(static_cast<i64>(std::trunc(std::clamp(x, -100.0, 100.0))));
    out.push_back(u64_of(std::nearbyint(y)));
  }
  data.out(out);
});
#endif

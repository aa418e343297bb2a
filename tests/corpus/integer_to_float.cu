// Integers to floats and doubles, rounded in every direction, and between the two.
#include "corpus.h"
#if !CORPUS_DEVICE
#include <cfenv>
#endif
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u64 const* a, float* f, double* d) {
  u32 const t = threadIdx.x;
  u64 const x = a[t];
  f[8 * t] = __int2float_rn(static_cast<i32>(x)), f[8 * t + 1] = __int2float_rz(static_cast<i32>(x));
  f[8 * t + 2] = __uint2float_ru(static_cast<u32>(x)), f[8 * t + 3] = __ll2float_rd(static_cast<i64>(x));
  f[8 * t + 4] = __ull2float_rn(x), f[8 * t + 5] = static_cast<float>(static_cast<i8>(x));
  d[4 * t] = static_cast<double>(static_cast<i32>(x)), d[4 * t + 1] = __ll2double_rz(static_cast<i64>(x));
  d[4 * t + 2] = __ull2double_ru(x), d[4 * t + 3] = static_cast<double>(f[8 * t + 4]);
  f[8 * t + 6] = __double2float_rn(d[4 * t + 2] * 1.1), f[8 * t + 7] = __double2float_rd(d[4 * t + 2] * 1.1);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u64>(64));
  std::vector<float> f(512);
  std::vector<double> d(256);
  for (int t = 0; t < 64; ++t) {
    u64 volatile x = a[t];
    auto const in_mode = [&](int mode, auto g) {
      std::fesetround(mode);
      auto volatile const r = g();
      std::fesetround(FE_TONEAREST);
      return r;
    };
    f[8 * t] = static_cast<float>(static_cast<i32>(x));
    f[8 * t + 1] = in_mode(FE_TOWARDZERO, [&] { return static_cast<float>(static_cast<i32>(x)); });
    f[8 * t + 2] = in_mode(FE_UPWARD, [&] { return static_cast<float>(static_cast<u32>(x)); });
    f[8 * t + 3] = in_mode(FE_DOWNWARD, [&] { return static_cast<float>(static_cast<i64>(x)); });
    f[8 * t + 4] = static_cast<float>(u64{x});
    f[8 * t + 5] = static_cast<float>(static_cast<i8>(x));
    d[4 * t] = static_cast<double>(static_cast<i32>(x));
    d[4 * t + 1] = in_mode(FE_TOWARDZERO, [&] { return static_cast<double>(static_cast<i64>(x)); });
    double const up = static_cast<double>(u64{x});
    d[4 * t + 2] = static_cast<unsigned __int128>(up) < u64{x} ? std::nextafter(up, 1e30) : up;
    d[4 * t + 3] = static_cast<double>(f[8 * t + 4]);
    double volatile const product = d[4 * t + 2] * 1.1;
    f[8 * t + 6] = static_cast<float>(product);
    f[8 * t + 7] = in_mode(FE_DOWNWARD, [&] { return static_cast<float>(product); });
  }
  data.out(f), data.out(d);
});
#endif

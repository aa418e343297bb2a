// Comparisons, minima and signs of floats with NaN, infinities and zeros of both signs.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(float const* a, float const* b, u32* out) {
  u32 const t = threadIdx.x;
  float const x = a[t / 8], y = b[t % 8];
  u32 flags = 0;
  flags |= (x < y) | (x <= y) << 1 | (x == y) << 2 | (x != y) << 3 | (x > y) << 4 | (x >= y) << 5;
  flags |= isnan(x) << 6 | isinf(y) << 7 | isfinite(x) << 8 | signbit(x) << 9 | (isnan(x) || isnan(y)) << 10 |
           (!(x < y)) << 11;
  flags |= (x < y || x > y) << 12;
  out[4 * t] = flags;
  out[4 * t + 1] = __float_as_uint(fminf(x, y));
  out[4 * t + 2] = __float_as_uint(fmaxf(x, y));
  out[4 * t + 3] = __float_as_uint(copysignf(x, y)) & (isnan(x) ? 0x80000000u : ~0u);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  float const inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> const values = {0.0f, -0.0f, 1.5f, -2.25f, inf, -inf, nan, 1e-42f};
  auto const a = data.in(values), b = data.in(values);
  std::vector<u32> out;
  for (int t = 0; t < 64; ++t) {
    float const x = a[t / 8], y = b[t % 8];
    bool const either = std::isnan(x) || std::isnan(y);
    u32 flags = (x < y) | (x <= y) << 1 | (x == y) << 2 | (x != y) << 3 | (x > y) << 4 | (x >= y) << 5;
    flags |= std::isnan(x) << 6 | std::isinf(y) << 7 | std::isfinite(x) << 8 | std::signbit(x) << 9 |
             either << 10 | (!(x < y)) << 11;
    flags |= (x < y || x > y) << 12;
    out.push_back(flags);
    // The smaller zero is the negative one; a NaN loses against a number.
    auto const least = [&](bool larger) {
      if (std::isnan(x) && std::isnan(y)) return 0x7fffffffu;
      float r = std::isnan(x) ? y : std::isnan(y) ? x : (larger ? std::max(x, y) : std::min(x, y));
      if (x == 0 && y == 0)
        r = (larger ? std::signbit(x) && std::signbit(y) : std::signbit(x) || std::signbit(y)) ? -0.0f : 0.0f;
      return std::bit_cast<u32>(r);
    };
    out.push_back(least(false));
    out.push_back(least(true));
    out.push_back(std::bit_cast<u32>(std::copysign(x, y)) & (std::isnan(x) ? 0x80000000u : ~0u));
  }
  data.out(out);
});
#endif

// Several small integers in one word: CUDA's functions for four bytes and two halfwords.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32 const* b, u32* out) {
  u32 const t = threadIdx.x, x = a[t], y = b[t];
  u32* const to = out + 10 * t;
  to[0] = __vadd4(x, y);
  to[1] = __vsub2(x, y);
  to[2] = __vabsdiffu4(x, y);
  to[3] = __vmaxs2(x, y);
  to[4] = __vminu4(x, y);
  to[5] = __vcmpgtu4(x, y);
  to[6] = __vaddss2(x, y);
  to[7] = __vavgu4(x, y);
  to[8] = __vsadu4(x, y);
  to[9] = __viaddmax_s32_relu(static_cast<i32>(x), static_cast<i32>(y >> 3), -7) ^ __vimax3_u32(x, y, 77);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(64)), b = data.in(data.random<u32>(64));
  std::vector<u32> out;
  for (int t = 0; t < 64; ++t) {
    u32 const x = a[t], y = b[t];
    auto const bytes = [&](auto f) {
      u32 r = 0;
      for (int k = 0; k < 4; ++k)
        r |=
            (static_cast<u32>(f(static_cast<int>(x >> (8 * k) & 255), static_cast<int>(y >> (8 * k) & 255))) &
             255)
            << (8 * k);
      return r;
    };
    auto const halves = [&](auto f) {
      u32 r = 0;
      for (int k = 0; k < 2; ++k)
        r |=
            (static_cast<u32>(f(int{static_cast<i16>(x >> (16 * k))}, int{static_cast<i16>(y >> (16 * k))})) &
             0xffff)
            << (16 * k);
      return r;
    };
    out.push_back(bytes([](int p, int q) { return p + q; }));
    out.push_back(halves([](int p, int q) { return p - q; }));
    out.push_back(bytes([](int p, int q) { return std::abs(p - q); }));
    out.push_back(halves([](int p, int q) { return std::max(p, q); }));
    out.push_back(bytes([](int p, int q) { return std::min(p, q); }));
    out.push_back(bytes([](int p, int q) { return p > q ? 255 : 0; }));
    out.push_back(halves([](int p, int q) { return std::clamp(p + q, -32768, 32767); }));
    out.push_back(bytes([](int p, int q) { return (p + q + 1) / 2; }));
    u32 sum = 0;
    for (int k = 0; k < 4; ++k)
      sum += static_cast<u32>(
          std::abs(static_cast<int>(x >> (8 * k) & 255) - static_cast<int>(y >> (8 * k) & 255)));
    out.push_back(sum);
    i32 const added = static_cast<i32>(x + (y >> 3));
    out.push_back(static_cast<u32>(std::max(0, std::max(added, -7))) ^ std::max({x, y, 77u}));
  }
  data.out(out);
});
#endif

// Counting, reversing, finding and permuting bits and bytes; funnel shifts.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u64 const* b, u32* out) {
  u32 const t = threadIdx.x;
  u32 const x = a[t] >> (t % 32), y = a[t];
  u64 const z = b[t] >> (t % 64);
  u32* const to = out + 10 * t;
  to[0] = __popc(x) * 100 + __popcll(z);
  to[1] = __clz(x) * 100 + __clzll(z);
  to[2] = __brev(x);
  to[3] = static_cast<u32>(__brevll(z) >> 16);
  to[4] = __ffs(x) * 100 + __ffsll(z);
  to[5] = __byte_perm(x, y, y & 0x7777);
  to[6] = __funnelshift_l(x, y, t) ^ __funnelshift_lc(x, y, t);
  to[7] = __funnelshift_r(x, y, t) ^ __funnelshift_rc(x, y, t);
  to[8] = __sad(static_cast<i32>(x), static_cast<i32>(y >> 1), 5u) + __usad(x, y, 7u);
  to[9] = __hadd(static_cast<i32>(x), static_cast<i32>(y)) ^ __urhadd(x, y) ^ (x & ~y) ^ (x | (y ^ x));
}
#else
CORPUS({.grid = {1}, .block = {96}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(96));
  auto const b = data.in(data.random<u64>(96));
  std::vector<u32> out;
  for (unsigned t = 0; t < 96; ++t) {
    u32 const x = a[t] >> (t % 32), y = a[t];
    u64 const z = b[t] >> (t % 64);
    auto const reversed = [](u64 v, int bits) {
      u64 r = 0;
      for (int k = 0; k < bits; ++k) r |= (v >> k & 1) << (bits - 1 - k);
      return r;
    };
    out.push_back(static_cast<u32>(std::popcount(x) * 100 + std::popcount(z)));
    out.push_back(static_cast<u32>(std::countl_zero(x) * 100 + std::countl_zero(z)));
    out.push_back(static_cast<u32>(reversed(x, 32)));
    out.push_back(static_cast<u32>(reversed(z, 64) >> 16));
    out.push_back(static_cast<u32>((x == 0 ? 0 : std::countr_zero(x) + 1) * 100 +
                                   (z == 0 ? 0 : std::countr_zero(z) + 1)));
    u32 permuted = 0;
    u64 const both = x | u64{y} << 32;
    for (int k = 0; k < 4; ++k)
      permuted |= static_cast<u32>(both >> (8 * (y >> (4 * k) & 7)) & 0xff) << (8 * k);
    out.push_back(permuted);
    u64 const pair = u64{y} << 32 | x;
    u32 const wrap = t % 32, clamp = std::min(t, 32u);
    out.push_back(static_cast<u32>((pair << wrap) >> 32) ^
                  (clamp == 32 ? x : static_cast<u32>((pair << clamp) >> 32)));
    out.push_back(static_cast<u32>(pair >> wrap) ^ (clamp == 32 ? y : static_cast<u32>(pair >> clamp)));
    i64 const distance = i64{static_cast<i32>(x)} - i64{static_cast<i32>(y >> 1)};
    out.push_back(static_cast<u32>(std::abs(distance)) + 5u + (x > y ? x - y : y - x) + 7u);
    i64 const half = (i64{static_cast<i32>(x)} + i64{static_cast<i32>(y)}) >> 1;
    out.push_back(static_cast<u32>(half) ^ static_cast<u32>((u64{x} + y + 1) >> 1) ^ (x & ~y) ^
                  (x | (y ^ x)));
  }
  data.out(out);
});
#endif

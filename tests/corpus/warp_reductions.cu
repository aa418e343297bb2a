// redux: sums, extremes and bitwise operations over a warp, also over some of its lanes.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32* out) {
  u32 const t = threadIdx.x, x = a[t];
  u32* const to = out + 8 * t;
  to[0] = __reduce_add_sync(~0u, x);
  to[1] = __reduce_min_sync(~0u, x);
  to[2] = static_cast<u32>(__reduce_max_sync(~0u, static_cast<i32>(x)));
  to[3] = __reduce_and_sync(~0u, x | 0xff);
  to[4] = __reduce_or_sync(~0u, x & 0x10101);
  to[5] = __reduce_xor_sync(~0u, x);
  u32 const half = t % 32 < 16 ? 0xffffu : 0xffff0000u;
  to[6] = __reduce_add_sync(half, x);
  float f = static_cast<float>(x >> 12);
  for (int d = 16; d > 0; d /= 2) f += __shfl_xor_sync(~0u, f, d);
  to[7] = __float_as_uint(f);
}
#else
CORPUS({.grid = {1}, .block = {96}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(96));
  std::vector<u32> out;
  for (unsigned t = 0; t < 96; ++t) {
    u32 sum = 0, least = ~0u, all = ~0u, any = 0, odd = 0, part = 0;
    i32 most = std::numeric_limits<i32>::min();
    std::vector<float> f;
    for (unsigned l = 0; l < 32; ++l) {
      u32 const x = a[(t & ~31u) + l];
      sum += x, least = std::min(least, x), most = std::max(most, static_cast<i32>(x)), all &= x | 0xff,
                any |= x & 0x10101, odd ^= x;
      if (l / 16 == t % 32 / 16) part += x;
      f.push_back(static_cast<float>(x >> 12));
    }
    for (unsigned d = 16; d > 0; d /= 2) {
      auto const before = f;
      for (unsigned l = 0; l < 32; ++l) f[l] = before[l] + before[l ^ d];
    }
    for (u32 const one :
         {sum, least, static_cast<u32>(most), all, any, odd, part, std::bit_cast<u32>(f[t % 32])})
      out.push_back(one);
  }
  data.out(out);
});
#endif

// Products of bytes and halfwords summed in one instruction: dp4a, dp2a.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32 const* b, u32* out) {
  u32 const t = threadIdx.x;
  i32 const x = static_cast<i32>(a[t]), y = static_cast<i32>(b[t]);
  u32* const to = out + 6 * t;
  to[0] = static_cast<u32>(__dp4a(x, y, 100));
  to[1] = __dp4a(a[t], b[t], 200u);
  to[2] = static_cast<u32>(__dp2a_lo(x, y, -5));
  to[3] = static_cast<u32>(__dp2a_hi(x, y, -5));
  to[4] = __dp2a_lo(a[t], b[t], 9u);
  to[5] = __dp2a_hi(a[t], b[t], 9u);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(64)), b = data.in(data.random<u32>(64));
  std::vector<u32> out;
  for (int t = 0; t < 64; ++t) {
    i32 s4 = 100, sl = -5, sh = -5;
    u32 u4 = 200, ul = 9, uh = 9;
    for (int k = 0; k < 4; ++k) {
      s4 += static_cast<i8>(a[t] >> (8 * k)) * static_cast<i8>(b[t] >> (8 * k));
      u4 += static_cast<u8>(a[t] >> (8 * k)) * static_cast<u8>(b[t] >> (8 * k));
    }
    for (int k = 0; k < 2; ++k) {
      sl += static_cast<i16>(a[t] >> (16 * k)) * static_cast<i8>(b[t] >> (8 * k));
      sh += static_cast<i16>(a[t] >> (16 * k)) * static_cast<i8>(b[t] >> (8 * k + 16));
      ul += u32{static_cast<u16>(a[t] >> (16 * k))} * static_cast<u8>(b[t] >> (8 * k));
      uh += u32{static_cast<u16>(a[t] >> (16 * k))} * static_cast<u8>(b[t] >> (8 * k + 16));
    }
    for (u32 const one : {static_cast<u32>(s4), u4, static_cast<u32>(sl), static_cast<u32>(sh), ul, uh})
      out.push_back(one);
  }
  data.out(out);
});
#endif

// Integers of 8 and 16 bits: they wrap at their own width, and division rounds toward zero.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u8 const* a, i16 const* b, i32* out) {
  u32 const t = threadIdx.x;
  u8 const x = a[t];
  i8 const y = static_cast<i8>(a[t + 1]);
  i16 const z = b[t];
  i32* const to = out + 6 * t;
  to[0] = static_cast<u8>(x * 7 + y);
  to[1] = static_cast<i8>(x + y);
  to[2] = static_cast<i16>(z * y);
  to[3] = y == 0 ? 0 : z / y;
  to[4] = x == 0 ? 0 : static_cast<u16>(z) % x;
  to[5] = static_cast<i16>(z << 3) >> 2;
}
#else
CORPUS({.grid = {1}, .block = {96}}, [](Data& data) {
  auto const a = data.in(data.random<u8>(97));
  auto const b = data.in(data.random<i16>(96));
  std::vector<i32> out;
  for (int t = 0; t < 96; ++t) {
    u8 const x = a[t];
    i8 const y = static_cast<i8>(a[t + 1]);
    i16 const z = b[t];
    out.push_back(static_cast<u8>(x * 7 + y));
    out.push_back(static_cast<i8>(x + y));
    out.push_back(static_cast<i16>(z * y));
    out.push_back(y == 0 ? 0 : z / y);
    out.push_back(x == 0 ? 0 : static_cast<u16>(z) % x);
    out.push_back(static_cast<i16>(z << 3) >> 2);
  }
  data.out(out);
});
#endif

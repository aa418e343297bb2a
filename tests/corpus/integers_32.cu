// 32-bit integers: sums, products, quotients and remainders, of both signs.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32 const* b, u32* out) {
  u32 const t = thread_number();
  u32 const x = a[t], y = b[t] | 1;
  i32 const s = static_cast<i32>(x), r = static_cast<i32>(y);
  u32* const to = out + 8 * t;
  to[0] = x + y * 3 - (x >> 3);
  to[1] = x * y;
  to[2] = x / y;
  to[3] = x % y;
  to[4] = static_cast<u32>(r == -1 ? 0 : s / r);
  to[5] = static_cast<u32>(r == -1 ? 0 : s % r);
  to[6] = __umulhi(x, y) + static_cast<u32>(__mulhi(s, r));
  to[7] = static_cast<u32>(min(s, r)) ^ max(x, y) ^ static_cast<u32>(abs(s / 2));
}
#else
CORPUS({.grid = {2}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(128)), b = data.in(data.random<u32>(128));
  std::vector<u32> out;
  for (int t = 0; t < 128; ++t) {
    u32 const x = a[t], y = b[t] | 1;
    i32 const s = static_cast<i32>(x), r = static_cast<i32>(y);
    out.push_back(x + y * 3 - (x >> 3));
    out.push_back(x * y);
    out.push_back(x / y);
    out.push_back(x % y);
    out.push_back(static_cast<u32>(r == -1 ? 0 : s / r));
    out.push_back(static_cast<u32>(r == -1 ? 0 : s % r));
    out.push_back(static_cast<u32>((u64{x} * y) >> 32) + static_cast<u32>((i64{s} * r) >> 32));
    out.push_back(static_cast<u32>(std::min(s, r)) ^ std::max(x, y) ^ static_cast<u32>(std::abs(s / 2)));
  }
  data.out(out);
});
#endif

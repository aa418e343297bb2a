// 64-bit integers: products of 128 bits, quotients, shifts by variable amounts.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u64 const* a, u64 const* b, u64* out) {
  u32 const t = thread_number();
  u64 const x = a[t], y = (b[t] >> (t % 60)) | 1;
  i64 const s = static_cast<i64>(x), r = static_cast<i64>(y);
  u64* const to = out + 8 * t;
  to[0] = x * y + (x ^ y);
  to[1] = __umul64hi(x, y);
  to[2] = static_cast<u64>(__mul64hi(s, r));
  to[3] = x / y;
  to[4] = x % y;
  to[5] = static_cast<u64>(r == -1 ? 0 : s / r);
  to[6] = (x << (t % 64)) | (x >> (63 - t % 64));
  to[7] = static_cast<u64>(s >> (t % 64));
}
#else
CORPUS({.grid = {1}, .block = {128}}, [](Data& data) {
  auto const a = data.in(data.random<u64>(128)), b = data.in(data.random<u64>(128));
  std::vector<u64> out;
  for (unsigned t = 0; t < 128; ++t) {
    u64 const x = a[t], y = (b[t] >> (t % 60)) | 1;
    i64 const s = static_cast<i64>(x), r = static_cast<i64>(y);
    out.push_back(x * y + (x ^ y));
    out.push_back(static_cast<u64>((static_cast<unsigned __int128>(x) * y) >> 64));
    out.push_back(static_cast<u64>((static_cast<__int128>(s) * r) >> 64));
    out.push_back(x / y);
    out.push_back(x % y);
    out.push_back(static_cast<u64>(r == -1 ? 0 : s / r));
    out.push_back((x << (t % 64)) | (x >> (63 - t % 64)));
    out.push_back(static_cast<u64>(s >> (t % 64)));
  }
  data.out(out);
});
#endif

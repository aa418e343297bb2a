// 128-bit integers: carries, products, shifts and division, which compilers build out of smaller ones.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u64 const* a, u64 const* b, u64* out) {
  u32 const t = threadIdx.x;
  using Wide = unsigned __int128;
  Wide const x = (static_cast<Wide>(a[t]) << 64) | b[t];
  Wide const y = (static_cast<Wide>(b[t] >> (t % 64)) << (t % 50)) | 3;
  Wide const sum = x + y, product = x * y, quotient = x / y, rest = x % y, shifted = x >> (t * 3 % 128);
  u64* const to = out + 10 * t;
  to[0] = static_cast<u64>(sum), to[1] = static_cast<u64>(sum >> 64);
  to[2] = static_cast<u64>(product), to[3] = static_cast<u64>(product >> 64);
  to[4] = static_cast<u64>(quotient), to[5] = static_cast<u64>(quotient >> 64);
  to[6] = static_cast<u64>(rest), to[7] = static_cast<u64>(rest >> 64);
  to[8] = static_cast<u64>(shifted), to[9] = static_cast<u64>(x < y) + 2 * static_cast<u64>(-x > y);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u64>(64)), b = data.in(data.random<u64>(64));
  std::vector<u64> out;
  using Wide = unsigned __int128;
  for (unsigned t = 0; t < 64; ++t) {
    Wide const x = (static_cast<Wide>(a[t]) << 64) | b[t];
    Wide const y = (static_cast<Wide>(b[t] >> (t % 64)) << (t % 50)) | 3;
    for (Wide const one : {x + y, x * y, x / y, x % y}) {
      out.push_back(static_cast<u64>(one));
      out.push_back(static_cast<u64>(one >> 64));
    }
    out.push_back(static_cast<u64>(x >> (t * 3 % 128)));
    out.push_back(static_cast<u64>(x < y) + 2 * static_cast<u64>(-x > y));
  }
  data.out(out);
});
#endif

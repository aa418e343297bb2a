// Shuffles of all four kinds, with widths, of words, doubles and 64-bit integers.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32* out, double* doubles) {
  u32 const t = threadIdx.x, x = a[t];
  u32* const to = out + 7 * t;
  to[0] = __shfl_sync(~0u, x, static_cast<int>(x & 31));
  to[1] = __shfl_up_sync(~0u, x, 3);
  to[2] = __shfl_down_sync(~0u, x, 5, 16);
  to[3] = __shfl_xor_sync(~0u, x, 9);
  to[4] = __shfl_sync(~0u, x, 13, 8);
  to[5] = __shfl_up_sync(~0u, x, 2, 4);
  u64 const wide = __shfl_xor_sync(~0u, static_cast<u64>(x) << 20, 1);
  to[6] = static_cast<u32>(wide >> 16);
  doubles[t] = __shfl_down_sync(~0u, 0.5 * x, 7);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(64));
  std::vector<u32> out;
  std::vector<double> doubles;
  for (unsigned t = 0; t < 64; ++t) {
    unsigned const first = t & ~31u, lane = t & 31;
    auto const at = [&](unsigned l) { return a[first + l]; };
    out.push_back(at(a[t] & 31));
    out.push_back(lane < 3 ? a[t] : at(lane - 3));
    out.push_back(lane % 16 + 5 < 16 ? at(lane + 5) : a[t]);
    out.push_back(at(lane ^ 9));
    out.push_back(at((lane & ~7u) + 5));
    out.push_back(lane % 4 < 2 ? a[t] : at(lane - 2));
    out.push_back(static_cast<u32>((u64{at(lane ^ 1)} << 20) >> 16));
    doubles.push_back(0.5 * (lane + 7 < 32 ? at(lane + 7) : a[t]));
  }
  data.out(out), data.out(doubles);
});
#endif

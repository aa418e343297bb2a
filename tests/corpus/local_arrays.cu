// Arrays in local memory, indexed by values that are known only when the kernel runs.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u8 const* a, u32* out) {
  u32 const t = threadIdx.x;
  u32 counts[16], order[16];
  double weights[16];
  for (int k = 0; k < 16; ++k) counts[k] = 0, weights[k] = 0.25 * k;
  for (int k = 0; k < 32; ++k) ++counts[a[32 * t + k] & 15];
  u32 used = 0;
  for (u32 k = 0; k < 16; ++k) {
    if (counts[k] > 1) order[used++] = k;
  }
  u32 sum = 0;
  double total = 0;
  for (u32 k = 0; k < used; ++k) sum = sum * 17 + order[k], total += weights[order[k]];
  out[2 * t] = sum, out[2 * t + 1] = static_cast<u32>(total * 4);
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u8>(64 * 32));
  std::vector<u32> out;
  for (int t = 0; t < 64; ++t) {
    u32 counts[16] = {}, sum = 0, total = 0;
    for (int k = 0; k < 32; ++k) ++counts[a[32 * t + k] & 15];
    for (u32 k = 0; k < 16; ++k) {
      if (counts[k] > 1) sum = sum * 17 + k, total += k;
    }
    out.push_back(sum), out.push_back(total);
  }
  data.out(out);
});
#endif

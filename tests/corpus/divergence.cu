// Loops that end at different times, break, continue, goto, nested conditions, early returns.
#include "corpus.h"
#if CORPUS_DEVICE
__device__ __noinline__ u32 collatz(u64 n) {
  u32 steps = 0;
  while (n != 1) {
    n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    if (++steps > 500) return ~0u;
  }
  return steps;
}
extern "C" __global__ void kernel(u32 const* a, u32* out) {
  u32 const t = threadIdx.x;
  u32 sum = collatz(t + 1);
  for (u32 k = 0; k < 40; ++k) {
    if (a[(t + k) % 64] % 7 == 0) continue;
    if (k > t % 32) break;
    for (u32 j = k;; j += 3) {
      if (j > 20) goto next;
      sum += a[j] & 15;
      if (sum % 11 == 0) break;
    }
    sum += 1000;
  next:;
  }
  if (t % 2 == 1) {
    out[t] = sum;
    return;
  }
  do {
    sum = sum * 5 + 1;
  } while (sum % 4 != 0);
  out[t] = sum;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(64));
  std::vector<u32> out;
  for (u32 t = 0; t < 64; ++t) {
    u32 sum = 0;
    for (u64 n = t + 1; n != 1; ++sum) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    for (u32 k = 0; k < 40; ++k) {
      if (a[(t + k) % 64] % 7 == 0) continue;
      if (k > t % 32) break;
      bool broke = false;
      for (u32 j = k; j <= 20 && !broke; j += 3) sum += a[j] & 15, broke = sum % 11 == 0;
      if (broke) sum += 1000;
    }
    if (t % 2 == 0) {
      do sum = sum * 5 + 1;
      while (sum % 4 != 0);
    }
    out.push_back(sum);
  }
  data.out(out);
});
#endif

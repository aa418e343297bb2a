// Functions that call themselves and each other, as deep as each thread wants.
#include "corpus.h"
#if CORPUS_DEVICE
__device__ __noinline__ u32 ackermann(u32 m, u32 n) {
  if (m == 0) return n + 1;
  if (n == 0) return ackermann(m - 1, 1);
  return ackermann(m - 1, ackermann(m, n - 1));
}
__device__ __noinline__ bool odd(u32 n);
__device__ __noinline__ bool even(u32 n) { return n == 0 || odd(n - 1); }
__device__ bool odd(u32 n) { return n != 0 && even(n - 1); }
__device__ __noinline__ void quicksort(i32* first, i32* last) {
  if (last - first < 2) return;
  i32 const pivot = first[(last - first) / 2];
  i32 *low = first, *high = last - 1;
  while (low <= high) {
    while (*low < pivot) ++low;
    while (*high > pivot) --high;
    if (low <= high) {
      i32 const x = *low;
      *low++ = *high, *high-- = x;
    }
  }
  quicksort(first, high + 1);
  quicksort(low, last);
}
extern "C" __global__ void kernel(i32* values, u32* out) {
  u32 const t = threadIdx.x;
  out[t] = ackermann(t % 3, t % 5) * 2 + even(t);
  i32 mine[20];
  for (int k = 0; k < 20; ++k) mine[k] = values[20 * t + k];
  quicksort(mine, mine + 20);
  for (int k = 0; k < 20; ++k) values[20 * t + k] = mine[k];
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  auto const values = data.random<i32>(640, -1000, 1000);
  auto sorted = values;
  std::vector<u32> out;
  for (unsigned t = 0; t < 32; ++t) {
    unsigned const n = t % 5;
    u32 const ack = t % 3 == 0 ? n + 1 : t % 3 == 1 ? n + 2 : 2 * n + 3;
    out.push_back(ack * 2 + (t % 2 == 0));
    std::sort(sorted.begin() + 20 * t, sorted.begin() + 20 * (t + 1));
  }
  data.inout(values, sorted), data.out(out);
});
#endif

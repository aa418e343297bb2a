// printf: all conversions, widths and precisions, texts, several lanes in order, and what it returns.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(int* out) {
  u32 const t = threadIdx.x;
  if (t >= 3) return;
  char const* const names[3] = {"zero", "one", "two"};
  int n = printf("%u: %s|%5d|%-5d|%05d|%+i\n", t, names[t], -static_cast<int>(t), static_cast<int>(t), 42, 7);
  if (t == 1) {
    n += printf("%x %X %#o %llu %lld %c%%\n", 255u, 255u, 8u, 1ull << 40, -(1ll << 40), 'q');
    n += printf("%f %.2f %e %g %8.3f|%-9.1f|%*d\n", 1.5, 2.0f / 3, 12345.678, 0.0001, 3.14159, 2.25, 6, 17);
    n += printf("nothing\n");
  }
  out[t] = n;
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  data.out(std::vector<int>{6, 6 + 6 + 8, 6});
  data.prints(
      "0: zero|    0|0    |00042|+7\n"
      "1: one|   -1|1    |00042|+7\n"
      "2: two|   -2|2    |00042|+7\n"
      "ff FF 010 1099511627776 -1099511627776 q%\n"
      "1.500000 0.67 1.234568e+04 0.0001    3.142|2.2      |    17\n"
      "nothing\n");
});
#endif

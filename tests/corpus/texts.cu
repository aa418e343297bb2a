// Texts: length, comparison, numbers to digits and back.
#include "corpus.h"
#if CORPUS_DEVICE
__device__ char const* const words[4] = {"emulator", "emulate", "zebra", ""};
__device__ __noinline__ int length(char const* s) {
  int n = 0;
  while (s[n] != 0) ++n;
  return n;
}
__device__ __noinline__ int compare(char const* a, char const* b) {
  for (; *a != 0 && *a == *b; ++a) ++b;
  return *a - *b;
}
extern "C" __global__ void kernel(i32 const* a, i32* out) {
  u32 const t = threadIdx.x;
  char digits[12];
  int n = 0;
  u32 rest = static_cast<u32>(abs(a[t]));
  do digits[n++] = static_cast<char>('0' + rest % 10);
  while ((rest /= 10) != 0);
  i32 back = 0;
  while (n > 0) back = back * 10 + (digits[--n] - '0');
  out[2 * t] = back;
  out[2 * t + 1] = length(words[t % 4]) * 1000 + compare(words[t % 4], words[t / 4 % 4]);
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  auto const a = data.in(data.random<i32>(32, -2e9, 2e9));
  char const* const words[4] = {"emulator", "emulate", "zebra", ""};
  std::vector<i32> out;
  for (int t = 0; t < 32; ++t) {
    std::string const x = words[t % 4], y = words[t / 4 % 4];
    std::size_t k = 0;
    while (k < x.size() && k < y.size() && x[k] == y[k]) ++k;
    out.push_back(std::abs(a[t]));
    out.push_back(static_cast<i32>(x.size()) * 1000 + (k < x.size() ? x[k] : 0) - (k < y.size() ? y[k] : 0));
  }
  data.out(out);
});
#endif

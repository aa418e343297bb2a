// alloca: memory of the stack whose size each thread knows only when it runs.
#include "corpus.h"
#if CORPUS_DEVICE
#if defined(__CUDACC_RTC__)  // has no alloca
__device__ __forceinline__ void* alloca(u64 bytes) {
  u64 address;
  asm volatile("{ .reg .u64 a; alloca.u64 a, %1, 8; cvta.local.u64 %0, a; }" : "=l"(address) : "l"(bytes));
  return reinterpret_cast<void*>(address);
}
#else
#include <alloca.h>
#endif
__device__ __noinline__ u32 sum_of_squares(u32 n) {
  u32* const squares = static_cast<u32*>(alloca(4 * n + 4));
  for (u32 k = 0; k <= n; ++k) squares[k] = k * k;
  u32 sum = 0;
  for (u32 k = n + 1; k-- > 0;) sum = sum * 3 + squares[k];
  return n == 0 ? sum : sum + sum_of_squares(n / 2);
}
extern "C" __global__ void kernel(u32* out) { out[threadIdx.x] = sum_of_squares(threadIdx.x); }
#else
CORPUS({.grid = {1}, .block = {48}}, [](Data& data) {
  std::vector<u32> out;
  for (u32 t = 0; t < 48; ++t) {
    u32 total = 0;
    for (u32 n = t;; n /= 2) {
      u32 sum = 0;
      for (u32 k = n + 1; k-- > 0;) sum = sum * 3 + k * k;
      total += sum;
      if (n == 0) break;
    }
    out.push_back(total);
  }
  data.out(out);
});
#endif

// Structures given to kernels and functions by value, and returned.
#include "corpus.h"
struct Corpus_Big {
  double d[3];
  i16 s;
  u8 c[5];
  float f;
};
#if CORPUS_DEVICE
struct Pair {
  u32 a;
  u64 b;
};
__device__ __noinline__ Pair swap(Pair p) { return {static_cast<u32>(p.b), p.a}; }
__device__ __noinline__ Corpus_Big change(Corpus_Big b, u32 t) {
  b.d[t % 3] *= 2;
  b.c[t % 5] += 1;
  b.s = static_cast<i16>(-b.s);
  return b;
}
extern "C" __global__ void kernel(Corpus_Big const big, u8 flag, double* out, u64* pairs) {
  u32 const t = threadIdx.x;
  Corpus_Big const b = change(change(big, t), t + 1);
  out[t] = b.d[0] + b.d[1] + b.d[2] + b.s + b.c[0] + b.c[1] * 2 + b.c[2] * 3 + b.c[3] * 4 + b.c[4] * 5 +
           static_cast<double>(b.f) + flag;
  Pair const p = swap({t, t * 1000ull + 1});
  pairs[t] = p.b << 32 | p.a;
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  Corpus_Big big;
  std::memset(static_cast<void*>(&big), 0, sizeof big);
  big = {{1.5, 2.5, 3.5}, -7, {1, 2, 3, 4, 5}, 0.25f};
  data.value(big), data.value(u8{9});
  std::vector<double> out;
  std::vector<u64> pairs;
  for (unsigned t = 0; t < 32; ++t) {
    double d[3] = {1.5, 2.5, 3.5}, sum = -7 + 0.25 + 9;
    int c[5] = {1, 2, 3, 4, 5};
    d[t % 3] *= 2, d[(t + 1) % 3] *= 2, ++c[t % 5], ++c[(t + 1) % 5];
    for (int k = 0; k < 5; ++k) sum += c[k] * (k + 1);
    out.push_back(sum + d[0] + d[1] + d[2]);
    pairs.push_back(u64{t} << 32 | (t * 1000 + 1));
  }
  data.out(out), data.out(pairs);
});
#endif

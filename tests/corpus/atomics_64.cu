// Atomic operations on 64-bit words.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u64 const* a, u64* words) {
  u64 const x = a[threadIdx.x];
  atomicAdd(&words[0], x);
  atomicMin(&words[1], x);
  atomicMax(reinterpret_cast<i64*>(&words[2]), static_cast<i64>(x));
  atomicAnd(&words[3], x | 0xff00ff);
  atomicOr(&words[4], x & 0x100010001);
  atomicXor(&words[5], x);
  u64 old = *const_cast<u64 volatile*>(&words[6]), seen;
  do {
    seen = old;
    old = atomicCAS(&words[6], seen, seen * 3 + 1);
  } while (old != seen);
  atomicExch(&words[7], 99ull);
}
#else
CORPUS({.grid = {1}, .block = {96}}, [](Data& data) {
  auto const a = data.in(data.random<u64>(96));
  std::vector<u64> words = {1, ~0ull, 1ull << 63, ~0ull, 0, 0, 1, 0}, after = words;
  for (u64 const x : a) {
    after[0] += x, after[1] = std::min(after[1], x), after[3] &= x | 0xff00ff, after[4] |= x & 0x100010001,
                   after[5] ^= x;
    after[2] = static_cast<u64>(std::max(static_cast<i64>(after[2]), static_cast<i64>(x)));
    after[6] = after[6] * 3 + 1;
  }
  after[7] = 99;
  data.inout(words, after);
});
#endif

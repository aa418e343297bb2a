// Compare-and-swap and exchange of 128 bits.
#include "corpus.h"
#if CORPUS_DEVICE
struct __align__(16) Pair {
  u64 count, sum;
};
extern "C" __global__ void kernel(u64 const* a, Pair* pair, u32* exchanged) {
  Pair seen{0, 0}, next;
  for (;;) {
    next = {seen.count + 1, seen.sum + a[threadIdx.x]};
    Pair const old = atomicCAS(pair, seen, next);
    if (old.count == seen.count && old.sum == seen.sum) break;
    seen = old;
  }
  Pair const before = atomicExch(pair + 1, Pair{threadIdx.x, 7});
  atomicAdd(exchanged, static_cast<u32>(before.sum));
}
#else
CORPUS({.grid = {1}, .block = {48}}, [](Data& data) {
  auto const a = data.in(data.random<u64>(48));
  u64 sum = 0;
  for (u64 const x : a) sum += x;
  data.inout(std::vector<u64>(4), {48, sum, 0, 0});
  data.parameters.back().expected.resize(16);  // who came last is open
  data.inout(std::vector<u32>{0}, {7 * 47});
});
#endif

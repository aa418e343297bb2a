// Every atomic operation on 32-bit words of global memory.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32* words, u32* claimed) {
  u32 const t = thread_number(), x = a[t];
  atomicAdd(&words[0], x);
  atomicSub(&words[1], x);
  atomicMin(&words[2], x);
  atomicMax(reinterpret_cast<i32*>(&words[3]), static_cast<i32>(x));
  atomicAnd(&words[4], x | 0xf0);
  atomicOr(&words[5], x & 0x11111);
  atomicXor(&words[6], x);
  u32 const inc = atomicInc(&words[7], 36);
  atomicAdd(&claimed[inc], 1u);
  atomicDec(&words[8], 50);
  if (atomicCAS(&words[9], 7u, t) == 7u) atomicExch(&words[10], 1u);
}
#else
CORPUS({.grid = {2}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(128));
  std::vector<u32> words = {1, 2, ~0u, 0x80000000u, ~0u, 0, 0, 0, 30, 8, 5}, after = words, claimed(37);
  for (u32 t = 0; t < 128; ++t) {
    u32 const x = a[t];
    after[0] += x, after[1] -= x, after[2] = std::min(after[2], x), after[4] &= x | 0xf0,
                                  after[5] |= x & 0x11111, after[6] ^= x;
    after[3] = static_cast<u32>(std::max(static_cast<i32>(after[3]), static_cast<i32>(x)));
    ++claimed[after[7]];
    after[7] = after[7] >= 36 ? 0 : after[7] + 1;
    after[8] = after[8] == 0 || after[8] > 50 ? 50 : after[8] - 1;
  }
  data.inout(words, after);
  data.inout(std::vector<u32>(37), claimed);
});
#endif

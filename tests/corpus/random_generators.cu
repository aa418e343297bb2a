// Random numbers: linear congruences, xorshift and Philox.
#include "corpus.h"
#if CORPUS_DEVICE
__device__ uint4 philox(uint4 c, uint2 k) {
  for (int r = 0; r < 10; ++r) {
    u32 const h0 = __umulhi(0xD2511F53u, c.x), l0 = 0xD2511F53u * c.x, h1 = __umulhi(0xCD9E8D57u, c.z),
              l1 = 0xCD9E8D57u * c.z;
    c = make_uint4(h1 ^ c.y ^ k.x, l1, h0 ^ c.w ^ k.y, l0);
    k.x += 0x9E3779B9u, k.y += 0xBB67AE85u;
  }
  return c;
}
extern "C" __global__ void kernel(u64* out, uint4* words) {
  u32 const t = threadIdx.x;
  u64 lcg = t, shift = t * 77 + 1;
  for (int k = 0; k < 20; ++k) {
    lcg = lcg * 6364136223846793005ull + 1442695040888963407ull;
    shift ^= shift << 13, shift ^= shift >> 7, shift ^= shift << 17;
  }
  out[t] = lcg ^ shift;
  words[t] = philox(make_uint4(t, 1, 2, 3), make_uint2(t * t, 5));
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  std::vector<u64> out;
  std::vector<u32> words;
  for (u32 t = 0; t < 64; ++t) {
    u64 lcg = t, shift = t * 77 + 1;
    for (int k = 0; k < 20; ++k) {
      lcg = lcg * 6364136223846793005ull + 1442695040888963407ull;
      shift ^= shift << 13, shift ^= shift >> 7, shift ^= shift << 17;
    }
    out.push_back(lcg ^ shift);
    u32 c[4] = {t, 1, 2, 3}, k[2] = {t * t, 5};
    for (int r = 0; r < 10; ++r) {
      u64 const p = u64{0xD2511F53u} * c[0], q = u64{0xCD9E8D57u} * c[2];
      u32 const next[4] = {static_cast<u32>(q >> 32) ^ c[1] ^ k[0], static_cast<u32>(q),
                           static_cast<u32>(p >> 32) ^ c[3] ^ k[1], static_cast<u32>(p)};
      std::copy_n(next, 4, c);
      k[0] += 0x9E3779B9u, k[1] += 0xBB67AE85u;
    }
    words.insert(words.end(), c, c + 4);
  }
  data.out(out), data.out(words);
});
#endif

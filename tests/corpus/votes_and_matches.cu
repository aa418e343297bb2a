// Votes, matches and the active mask, also of part of a warp.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32* out) {
  u32 const t = threadIdx.x, x = a[t];
  u32* const to = out + 7 * t;
  to[0] = __ballot_sync(~0u, x & 1);
  to[1] = __any_sync(~0u, (x & 0xff) == 0) | __all_sync(~0u, x != 0) << 1;
  to[2] = __match_any_sync(~0u, x % 5);
  int same = 0;
  to[3] = __match_all_sync(~0u, x >> 31 ? 1u : 1u, &same);
  to[3] ^= static_cast<u32>(same) << 4;
  to[4] = __match_any_sync(~0u, static_cast<u64>(x % 3) << 40);
  to[5] = to[6] = 0;
  if (t % 3 == 1) {
    to[5] = __popc(__activemask());
    u32 const mask = __ballot_sync(__activemask(), true);
    to[6] = __ballot_sync(mask, x & 2);
  }
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(64));
  std::vector<u32> out;
  for (unsigned t = 0; t < 64; ++t) {
    unsigned const first = t & ~31u;
    auto const ballot = [&](auto f) {
      u32 r = 0;
      for (unsigned l = 0; l < 32; ++l) r |= u32{f(first + l)} << l;
      return r;
    };
    out.push_back(ballot([&](unsigned k) { return (a[k] & 1) != 0; }));
    u32 const zero = ballot([&](unsigned k) { return (a[k] & 0xff) == 0; }),
              all = ballot([&](unsigned k) { return a[k] != 0; });
    out.push_back((zero != 0) | (all == ~0u) << 1);
    out.push_back(ballot([&](unsigned k) { return a[k] % 5 == a[t] % 5; }));
    out.push_back(~0u ^ 16u);
    out.push_back(ballot([&](unsigned k) { return a[k] % 3 == a[t] % 3; }));
    u32 const third = ballot([](unsigned k) { return k % 3 == 1; });
    bool const in = t % 3 == 1;
    out.push_back(in ? static_cast<u32>(std::popcount(third)) : 0);
    out.push_back(in ? ballot([&](unsigned k) { return k % 3 == 1 && (a[k] & 2) != 0; }) : 0);
  }
  data.out(out);
});
#endif

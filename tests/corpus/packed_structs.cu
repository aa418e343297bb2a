// Structures without padding, copied byte by byte, with memcpy and memset.
#include "corpus.h"
#if CORPUS_DEVICE
struct __attribute__((packed)) Packet {
  u8 tag;
  u32 length;
  u16 port;
  u64 key;
};
extern "C" __global__ void kernel(u8 const* bytes, u64* out, u8* back) {
  u32 const t = threadIdx.x;
  Packet p;
  memcpy(&p, bytes + 15 * t, sizeof p);
  out[t] = p.tag + p.length * 3ull + p.port * 5ull + p.key;
  p.length += p.tag;
  u8 copy[24];
  memset(copy, 0xab, sizeof copy);
  memcpy(copy + 5, &p, sizeof p);
  for (int k = 0; k < 24; ++k) back[24 * t + k] = copy[k];
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  auto const bytes = data.in(data.random<u8>(480));
  std::vector<u64> out;
  std::vector<u8> back;
  for (int t = 0; t < 32; ++t) {
    u8 p[15];
    std::copy_n(&bytes[15 * t], 15, p);
    auto const number = [&](int at, int count) {
      u64 r = 0;
      for (int k = 0; k < count; ++k) r |= u64{p[at + k]} << (8 * k);
      return r;
    };
    out.push_back(p[0] + number(1, 4) * 3 + number(5, 2) * 5 + number(7, 8));
    u32 const length = static_cast<u32>(number(1, 4)) + p[0];
    for (int k = 0; k < 4; ++k) p[1 + k] = static_cast<u8>(length >> (8 * k));
    for (int k = 0; k < 24; ++k) back.push_back(k < 5 || k >= 20 ? 0xab : p[k - 5]);
  }
  data.out(out), data.out(back);
});
#endif

// CRC-32 with a table made at compile time, and SHA-256 of short texts.
#include "corpus.h"
#if CORPUS_DEVICE
struct Table {
  u32 at[256];
};
__device__ constexpr Table make_table() {
  Table t{};
  for (u32 k = 0; k < 256; ++k) {
    u32 c = k;
    for (int b = 0; b < 8; ++b) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
    t.at[k] = c;
  }
  return t;
}
__constant__ Table const table = make_table();
__device__ u32 rotated(u32 x, int n) { return __funnelshift_r(x, x, n); }
extern "C" __global__ void kernel(u8 const* text, u32* crc, u32 const* constants, u32* sha) {
  u32 const t = threadIdx.x;
  u32 c = ~0u;
  for (u32 k = 0; k < 32; ++k) c = table.at[(c ^ text[t + k]) & 255] ^ (c >> 8);
  crc[t] = ~c;
  u32 w[64], s[8];
  for (u32 k = 0; k < 8; ++k) s[k] = constants[64 + k];
  for (u32 k = 0; k < 8; ++k)
    w[k] = text[t + 4 * k] << 24 | text[t + 4 * k + 1] << 16 | text[t + 4 * k + 2] << 8 | text[t + 4 * k + 3];
  w[8] = 0x80000000u;
  for (u32 k = 9; k < 15; ++k) w[k] = 0;
  w[15] = 256;
  for (u32 k = 16; k < 64; ++k)
    w[k] = w[k - 16] + (rotated(w[k - 15], 7) ^ rotated(w[k - 15], 18) ^ (w[k - 15] >> 3)) + w[k - 7] +
           (rotated(w[k - 2], 17) ^ rotated(w[k - 2], 19) ^ (w[k - 2] >> 10));
  u32 a = s[0], b = s[1], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7], cc = s[2];
  for (u32 k = 0; k < 64; ++k) {
    u32 const x =
        h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) + constants[k] + w[k];
    u32 const y = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & cc) ^ (b & cc));
    h = g, g = f, f = e, e = d + x, d = cc, cc = b, b = a, a = x + y;
  }
  u32 const end[8] = {a, b, cc, d, e, f, g, h};
  for (u32 k = 0; k < 8; ++k) sha[8 * t + k] = s[k] + end[k];
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  auto const text = data.in(data.random<u8>(64));
  std::vector<u32> crc, sha, constants;
  for (int t = 0; t < 32; ++t) {
    u32 c = ~0u;
    for (int k = 0; k < 32; ++k) {
      c ^= text[t + k];
      for (int b = 0; b < 8; ++b) c = (c >> 1) ^ (c & 1 ? 0xEDB88320u : 0u);
    }
    crc.push_back(~c);
  }
  data.out(crc);
  // The constants are the first bits behind the point of cube roots and square roots of primes.
  int primes[64], count = 0;
  for (int p = 2; count < 64; ++p) {
    bool prime = true;
    for (int q = 2; q < p; ++q) prime = prime && p % q != 0;
    if (prime) primes[count++] = p;
  }
  auto const bits = [](long double root) {
    return static_cast<u32>(static_cast<u64>((root - std::floor(root)) * 4294967296.0L));
  };
  for (int k = 0; k < 64; ++k) constants.push_back(bits(std::cbrt(static_cast<long double>(primes[k]))));
  for (int k = 0; k < 8; ++k) constants.push_back(bits(std::sqrt(static_cast<long double>(primes[k]))));
  data.in(constants);
  for (int t = 0; t < 32; ++t) {
    std::vector<u32> w, s(constants.begin() + 64, constants.end());
    for (int k = 0; k < 8; ++k)
      w.push_back(u32{text[t + 4 * k]} << 24 | u32{text[t + 4 * k + 1]} << 16 |
                  u32{text[t + 4 * k + 2]} << 8 | text[t + 4 * k + 3]);
    w.push_back(0x80000000u), w.resize(15), w.push_back(256);
    for (unsigned k = 16; k < 64; ++k)
      w.push_back(w[k - 16] + (std::rotr(w[k - 15], 7) ^ std::rotr(w[k - 15], 18) ^ w[k - 15] >> 3) +
                  w[k - 7] + (std::rotr(w[k - 2], 17) ^ std::rotr(w[k - 2], 19) ^ w[k - 2] >> 10));
    auto v = s;
    for (unsigned k = 0; k < 64; ++k) {
      u32 const x = v[7] + (std::rotr(v[4], 6) ^ std::rotr(v[4], 11) ^ std::rotr(v[4], 25)) +
                    ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[k] + w[k];
      u32 const y = (std::rotr(v[0], 2) ^ std::rotr(v[0], 13) ^ std::rotr(v[0], 22)) +
                    ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      v = {x + y, v[0], v[1], v[2], v[3] + x, v[4], v[5], v[6]};
    }
    for (int k = 0; k < 8; ++k) sha.push_back(s[k] + v[k]);
  }
  data.out(sha);
});
#endif

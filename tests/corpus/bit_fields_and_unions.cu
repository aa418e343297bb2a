// Bit fields, unions, enumerations and bytes of floats.
#include "corpus.h"
#if CORPUS_DEVICE
struct Fields {
  u32 a : 3;
  i32 b : 7;
  u32 c : 22;
  u64 d : 40;
  u64 e : 24;
};
union Number {
  float f;
  u32 u;
  u8 bytes[4];
};
enum class Kind : u8 { kOne = 1, kTwo = 2 };
extern "C" __global__ void kernel(u64 const* a, u64* out) {
  u32 const t = threadIdx.x;
  Fields f;
  f.a = static_cast<u32>(a[t]), f.b = static_cast<i32>(a[t] >> 3), f.c = static_cast<u32>(a[t] >> 10),
  f.d = a[t] * 5, f.e = a[t] >> 5;
  f.c += 1, f.b = f.b / 2, f.d ^= f.e;
  Number n;
  n.f = static_cast<float>(t) + 0.5f;
  n.bytes[0] = static_cast<u8>(t), n.bytes[3] ^= 0x80;
  Kind const kind = t % 2 ? Kind::kOne : Kind::kTwo;
  u64* const to = out + 4 * t;
  to[0] = f.a | static_cast<u64>(f.c) << 8, to[1] = static_cast<u64>(static_cast<i64>(f.b)),
  to[2] = f.d + f.e, to[3] = n.u + static_cast<u64>(kind);
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  auto const a = data.in(data.random<u64>(32));
  std::vector<u64> out;
  for (u32 t = 0; t < 32; ++t) {
    u64 const x = a[t];
    i64 const b = static_cast<i64>((x >> 3 & 127) ^ 64) - 64;
    u64 const e = x >> 5 & 0xffffff, d = (x * 5 & 0xffffffffffu) ^ e;
    out.push_back((x & 7) | (((x >> 10) + 1) & 0x3fffff) << 8);
    out.push_back(static_cast<u64>(b / 2));
    out.push_back(d + e);
    u32 const bits = std::bit_cast<u32>(static_cast<float>(t) + 0.5f);
    out.push_back(u64{((bits & 0xffffff00u) | t) ^ 0x80000000u} + (t % 2 ? 1 : 2));
  }
  data.out(out);
});
#endif

// Inline assembly: logic of three inputs, bit fields, carries, predicates inside braces, vectors.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u32 const* a, u32 const* b, u32* out) {
  u32 const t = threadIdx.x, x = a[t], y = b[t];
  u32 logic, field, inserted, low, high, chosen, found, permuted;
  asm("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(logic) : "r"(x), "r"(y), "r"(t));
  asm("bfe.s32 %0, %1, %2, 9;" : "=r"(field) : "r"(x), "r"(t % 24));
  asm("bfi.b32 %0, %1, %2, 5, 11;" : "=r"(inserted) : "r"(x), "r"(y));
  asm("mad.lo.cc.u32 %0, %2, %3, %4; madc.hi.u32 %1, %2, %3, 0;"
      : "=r"(low), "=r"(high)
      : "r"(x), "r"(y), "r"(t * 0x1000000u));
  asm("{ .reg .pred p, q; setp.lt.u32 p|q, %1, %2; @p mov.u32 %0, 1; @q mov.u32 %0, 2; }"
      : "=r"(chosen)
      : "r"(x), "r"(y));
  asm("bfind.shiftamt.u32 %0, %1;" : "=r"(found) : "r"(x >> (t % 32)));
  asm("{\n.reg.b8 l0,l1,l2,l3;\n mov.b32 {l0,l1,l2,l3}, %1;\n mov.b32 %0, {l3,l2,l1,l0};\n}"
      : "=r"(permuted)
      : "r"(x));
  u32* const to = out + 8 * t;
  to[0] = logic, to[1] = field, to[2] = inserted, to[3] = low, to[4] = high, to[5] = chosen, to[6] = found,
  to[7] = permuted;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(64)), b = data.in(data.random<u32>(64));
  std::vector<u32> out;
  for (u32 t = 0; t < 64; ++t) {
    u32 const x = a[t], y = b[t];
    out.push_back(x ^ y ^ t);
    out.push_back(static_cast<u32>(static_cast<i32>(x << (32 - 9 - t % 24)) >> 23));
    u32 const mask = ((1u << 11) - 1) << 5;
    out.push_back((y & ~mask) | ((x << 5) & mask));
    u64 const wide = u64{x} * y + t * 0x1000000u;
    out.push_back(static_cast<u32>(wide)), out.push_back(static_cast<u32>(wide >> 32));
    out.push_back(x < y ? 1 : 2);
    u32 const shifted = x >> (t % 32);
    out.push_back(shifted == 0 ? ~0u : static_cast<u32>(std::countl_zero(shifted)));
    out.push_back(x >> 24 | (x >> 8 & 0xff00) | (x << 8 & 0xff0000) | x << 24);
  }
  data.out(out);
});
#endif

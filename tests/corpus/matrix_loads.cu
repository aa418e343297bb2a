// ldmatrix, also transposed, and stmatrix: eight by eight halfwords spread over a warp.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u16 const* a, u32* out, u16* stored) {
  __shared__ __align__(16) u16 tile[32][8];
  __shared__ __align__(16) u16 back[16][8];
  u32 const t = threadIdx.x;
  for (u32 k = t; k < 256; k += 32) tile[k / 8][k % 8] = a[k];
  __syncwarp();
  u32 const at = static_cast<u32>(__cvta_generic_to_shared(&tile[t][0]));
  u32 r0, r1, r2, r3, s0, s1;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(at)
               : "memory");
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(s0), "=r"(s1)
               : "r"(at)
               : "memory");
  u32* const to = out + 6 * t;
  to[0] = r0, to[1] = r1, to[2] = r2, to[3] = r3, to[4] = s0, to[5] = s1;
  u32 const where = static_cast<u32>(__cvta_generic_to_shared(&back[t % 16][0]));
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(where), "r"(r0), "r"(r3)
               : "memory");
  __syncwarp();
  for (u32 k = t; k < 128; k += 32) stored[k] = back[k / 8][k % 8];
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  auto const a = data.in(data.random<u16>(256));
  std::vector<u32> out;
  auto const at = [&](unsigned m, unsigned row, unsigned column) {
    return u32{a[64 * m + 8 * row + column]};
  };
  for (unsigned t = 0; t < 32; ++t) {
    unsigned const row = t / 4, column = 2 * (t % 4);
    for (unsigned m = 0; m < 4; ++m) out.push_back(at(m, row, column) | at(m, row, column + 1) << 16);
    for (unsigned m = 0; m < 2; ++m) out.push_back(at(m, column, row) | at(m, column + 1, row) << 16);
  }
  data.out(out);
  std::vector<u16> stored(128);
  for (unsigned r = 0; r < 8; ++r) {
    for (unsigned c = 0; c < 8; ++c)
      stored[8 * r + c] = a[8 * c + r], stored[64 + 8 * r + c] = a[192 + 8 * c + r];
  }
  data.out(stored);
});
#endif

// Constant memory: arrays, structures, and pointers into it, read uniformly and by each thread alone.
#include "corpus.h"
#if CORPUS_DEVICE
struct Row {
  i16 a;
  float b;
  u8 c[3];
};
__constant__ Row rows[3] = {{-1, 0.5f, {1, 2, 3}}, {2, -1.5f, {4, 5, 6}}, {-3, 2.5f, {7, 8, 9}}};
__constant__ u64 table[5] = {1, 1ull << 33, 3, 1ull << 60, 5};
__constant__ char const text[] = "constant";
extern "C" __global__ void kernel(u64* out, float* floats) {
  u32 const t = threadIdx.x;
  Row const& row = rows[t % 3];
  out[t] = table[t % 5] + static_cast<u64>(row.a * row.c[t % 2 + 1]) + static_cast<u64>(text[t % 8]);
  floats[t] = rows[1].b + row.b;
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  std::vector<u64> out;
  std::vector<float> floats;
  u64 const table[5] = {1, 1ull << 33, 3, 1ull << 60, 5};
  int const a[3] = {-1, 2, -3}, c[3][3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};
  float const b[3] = {0.5f, -1.5f, 2.5f};
  for (unsigned t = 0; t < 32; ++t) {
    out.push_back(table[t % 5] + static_cast<u64>(static_cast<i64>(a[t % 3] * c[t % 3][t % 2 + 1])) +
                  static_cast<u64>("constant"[t % 8]));
    floats.push_back(-1.5f + b[t % 3]);
  }
  data.out(out), data.out(floats);
});
#endif

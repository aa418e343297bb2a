// A sorting network in a thread's registers, and an insertion sort in its local memory.
#include "corpus.h"
#if CORPUS_DEVICE
__device__ void exchange(i32& a, i32& b) {
  i32 const low = min(a, b);
  b = max(a, b);
  a = low;
}
extern "C" __global__ void kernel(i32 const* in, i32* out, i32 const* more, i32* sorted, int count) {
  u32 const t = threadIdx.x;
  int4 v = reinterpret_cast<int4 const*>(in)[t];
  exchange(v.x, v.y), exchange(v.z, v.w), exchange(v.x, v.z), exchange(v.y, v.w), exchange(v.y, v.z);
  reinterpret_cast<int4*>(out)[t] = v;
  i32 local[24];
  for (int k = 0; k < count; ++k) {
    i32 const x = more[count * t + k];
    int at = k;
    for (; at > 0 && local[at - 1] > x; --at) local[at] = local[at - 1];
    local[at] = x;
  }
  for (int k = 0; k < count; ++k) sorted[count * t + k] = local[k];
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const in = data.in(data.random<i32>(256));
  auto out = in;
  for (int t = 0; t < 64; ++t) std::sort(out.begin() + 4 * t, out.begin() + 4 * t + 4);
  data.out(out);
  int const count = 17;
  auto const more = data.in(data.random<i32>(64 * count, -50, 50));
  auto sorted = more;
  for (int t = 0; t < 64; ++t) std::sort(sorted.begin() + count * t, sorted.begin() + count * (t + 1));
  data.out(sorted), data.value(count);
});
#endif

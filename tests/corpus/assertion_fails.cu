// An assertion that fails in one thread ends the launch with a report in CUDA's words.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(int const* a, int* out) {
  u32 const t = thread_number();
  assert(a[t] != 77);
  out[t] = a[t];
}
#else
CORPUS({.grid = {2}, .block = {32}}, [](Data& data) {
  std::vector<int> a(64);
  a[37] = 77;
  data.in(a);
  data.scratch(256);
  data.fails("block: [1,0,0], thread: [5,0,0] Assertion `a[t] != 77` failed.");
});
#endif

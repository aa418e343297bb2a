// __trap ends the launch.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(int limit, int* out) {
  if (static_cast<int>(threadIdx.x) > limit) __trap();
  out[threadIdx.x] = 1;
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  data.value(20);
  data.scratch(128);
  data.fails("trap");
});
#endif

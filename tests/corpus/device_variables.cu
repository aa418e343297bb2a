// Variables of the module: initialised, zero, static inside a function, with pointers to each other.
#include "corpus.h"
#if CORPUS_DEVICE
__device__ u32 numbers[4] = {3, 1, 4, 1};
__device__ u32* pointer = &numbers[2];
__device__ u32 counter;
struct Node {
  Node const* next;
  u32 value;
};
__device__ Node const last{nullptr, 30};
__device__ Node const middle{&last, 20}, first{&middle, 10};
__device__ u32 next_number() {
  static __device__ u32 calls = 100;
  return atomicAdd(&calls, 1u);
}
extern "C" __global__ void kernel(u32* out) {
  u32 const t = threadIdx.x;
  u32 sum = 0;
  for (Node const* n = &first; n != nullptr; n = n->next) sum = sum * 2 + n->value;
  out[t] = sum + pointer[1] * 1000 + *(pointer - 2);
  atomicAdd(&counter, next_number());
  __syncthreads();
  if (t == 0) out[64] = counter, counter = 0;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  std::vector<u32> out(64, (10 * 2 + 20) * 2 + 30 + 1000 + 3);
  u32 sum = 0;
  for (u32 k = 0; k < 64; ++k) sum += 100 + k;
  out.push_back(sum);
  data.out(out);
});
#endif

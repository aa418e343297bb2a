// malloc, free, new and delete in kernels: lists that each thread builds, and one block for all threads.
#include "corpus.h"
#if CORPUS_DEVICE
struct Node {
  Node* next;
  u32 value;
};
extern "C" __global__ void kernel(u32* out) {
  __shared__ u32* shared;
  u32 const t = threadIdx.x;
  Node* list = nullptr;
  for (u32 k = 0; k <= t % 7; ++k) list = new Node{list, t + k * k};
  if (t == 0) shared = static_cast<u32*>(malloc(4 * blockDim.x));
  __syncthreads();
  shared[t] = t * 3;
  __syncthreads();
  u32 sum = shared[(t + 1) % blockDim.x];
  for (Node* n = list; n != nullptr;) {
    sum = sum * 5 + n->value;
    Node* const next = n->next;
    delete n;
    n = next;
  }
  __syncthreads();
  if (t == 0) free(shared);
  out[t] = sum;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  std::vector<u32> out;
  for (u32 t = 0; t < 64; ++t) {
    u32 sum = (t + 1) % 64 * 3;
    for (u32 k = t % 7 + 1; k-- > 0;) sum = sum * 5 + t + k * k;
    out.push_back(sum);
  }
  data.out(out);
});
#endif

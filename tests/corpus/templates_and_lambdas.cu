// Templates, lambdas that capture by value and by reference, folds, constexpr functions.
#include "corpus.h"
#if CORPUS_DEVICE
template <int kCount, class F>
__device__ u32 repeat(F const& f) {
  u32 sum = 0;
#pragma unroll
  for (int k = 0; k < kCount; ++k) sum += f(k);
  return sum;
}
template <class... T>
__device__ u32 total(T... x) {
  return (static_cast<u32>(x) + ... + 0u);
}
__device__ constexpr u32 power(u32 base, u32 n) { return n == 0 ? 1 : base * power(base, n - 1); }
struct Adder {
  u32 t;
  template <class T>
  __device__ auto operator()(T x) const {
    return x + static_cast<T>(t);
  }
};
template <class T>
struct Ring {
  T value;
  __device__ Ring operator*(Ring other) const { return {static_cast<T>(value * other.value % 1009)}; }
};
extern "C" __global__ void kernel(u32* out) {
  u32 const t = threadIdx.x;
  u32 calls = 0;
  u32 const sum = repeat<7>([&](int k) {
    ++calls;
    return t * static_cast<u32>(k) + power(3, 4);
  });
  Adder const add{t};
  Ring<u64> ring{t + 2};
  for (int k = 0; k < 5; ++k) ring = ring * ring;
  out[t] = total(sum, calls, add(1.5f) * 2, add(u8{3}), static_cast<u32>(ring.value));
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  std::vector<u32> out;
  for (u32 t = 0; t < 32; ++t) {
    u64 ring = t + 2;
    for (int k = 0; k < 5; ++k) ring = ring * ring % 1009;
    out.push_back(t * 21 + 7 * 81 + 7 + static_cast<u32>((1.5f + static_cast<float>(t)) * 2) + 3 + t +
                  static_cast<u32>(ring));
  }
  data.out(out);
});
#endif

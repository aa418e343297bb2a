// Objects with virtual functions, multiple bases, and destructors that count.
#include "corpus.h"
#if CORPUS_DEVICE
struct Shape {
  __device__ virtual ~Shape() {}
  __device__ virtual float area() const = 0;
  __device__ virtual int corners() const { return 0; }
};
struct Named {
  __device__ virtual int name() const { return 1; }
};
struct Circle : Shape {
  float r;
  u32* ended;
  __device__ Circle(float r, u32* ended) : r(r), ended(ended) {}
  __device__ ~Circle() override { atomicAdd(ended, 1u); }
  __device__ float area() const override { return 3 * r * r; }
};
struct Box : Shape, Named {
  float a, b;
  __device__ Box(float a, float b) : a(a), b(b) {}
  __device__ float area() const override { return a * b; }
  __device__ int corners() const override { return 4; }
  __device__ int name() const override { return 40 + static_cast<int>(a); }
};
__device__ __noinline__ float measure(Shape const& s) { return s.area() + 100 * s.corners(); }
__device__ __noinline__ int name_of(Named const& n) { return n.name(); }
extern "C" __global__ void kernel(float* out, u32* ended) {
  u32 const t = threadIdx.x;
  Circle const circle(static_cast<float>(t), ended);
  Box const box(static_cast<float>(t), 2);
  Named const plain;
  Shape const& shape = t % 2 == 0 ? static_cast<Shape const&>(circle) : box;
  out[t] = measure(shape) + static_cast<float>(name_of(t % 3 == 0 ? static_cast<Named const&>(box) : plain));
}
#else
CORPUS({.grid = {1}, .block = {48}}, [](Data& data) {
  std::vector<float> out;
  for (int t = 0; t < 48; ++t) {
    float const x = static_cast<float>(t);
    out.push_back((t % 2 == 0 ? 3 * x * x : 2 * x + 400) + static_cast<float>(t % 3 == 0 ? 40 + t : 1));
  }
  data.out(out);
  data.inout(std::vector<u32>{0}, {48});
});
#endif

// Points of the Mandelbrot set in doubles: lanes leave the loop at different times.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u16* out, int width) {
  int const x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  double const cr = __dadd_rn(-2, __dmul_rn(3.0 / 32, x)), ci = __dadd_rn(-1, __dmul_rn(2.0 / 16, y));
  double r = 0, i = 0;
  int n = 0;
  for (; n < 100; ++n) {
    double const rr = __dmul_rn(r, r), ii = __dmul_rn(i, i);
    if (__dadd_rn(rr, ii) > 4) break;
    i = __dadd_rn(__dmul_rn(2 * r, i), ci);
    r = __dadd_rn(__dsub_rn(rr, ii), cr);
  }
  out[y * width + x] = static_cast<u16>(n);
}
#else
CORPUS({.grid = {2, 2}, .block = {16, 8}}, [](Data& data) {
  std::vector<u16> out;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 32; ++x) {
      double const volatile cr = -2 + 3.0 / 32 * x, ci = -1 + 2.0 / 16 * y;
      double volatile r = 0, i = 0;
      int n = 0;
      for (; n < 100; ++n) {
        double const volatile rr = r * r, ii = i * i;
        if (rr + ii > 4) break;
        double volatile const p = 2 * r * i;
        i = p + ci;
        double volatile const q = rr - ii;
        r = q + cr;
      }
      out.push_back(static_cast<u16>(n));
    }
  }
  data.out(out), data.value(32);
});
#endif

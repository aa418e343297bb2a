// mma.h: 16 by 16 by 16 of f16 with float and f16 sums, both layouts.
#include "corpus.h"
#if CORPUS_DEVICE
#include <mma.h>
using namespace nvcuda;
extern "C" __global__ void kernel(__half const* a, __half const* b, float const* c, float* d, __half* e) {
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> x;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> y;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> z;
  wmma::load_matrix_sync(x, a, 16);
  wmma::load_matrix_sync(y, b, 16);
  wmma::load_matrix_sync(z, c, 16, wmma::mem_row_major);
  wmma::mma_sync(z, x, y, z);
  for (int k = 0; k < z.num_elements; ++k) z.x[k] *= 2;
  wmma::store_matrix_sync(d, z, 16, wmma::mem_col_major);
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> w;
  wmma::load_matrix_sync(w, b, 16);
  wmma::fragment<wmma::accumulator, 16, 16, 16, __half> s;
  wmma::fill_fragment(s, __float2half(1.0f));
  wmma::mma_sync(s, x, w, s);
  wmma::store_matrix_sync(e, s, 16, wmma::mem_row_major);
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  using namespace deepwell::corpus;
  // Small whole numbers: every sum is exact.
  auto const whole = [&](double limit) { return std::floor(data.uniform(-limit, limit + 1)); };
  std::vector<double> a(256), b(256), c(256);
  for (int k = 0; k < 256; ++k) a[k] = whole(4), b[k] = whole(4), c[k] = whole(50);
  auto const halves = [](std::vector<double> const& v) {
    std::vector<u16> r;
    for (double const x : v) r.push_back(static_cast<u16>(encoded(x, kHalf)));
    return r;
  };
  data.in(halves(a)), data.in(halves(b)), data.in(std::vector<float>(c.begin(), c.end()));
  std::vector<float> d(256);
  std::vector<double> e(256, 1.0);
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) {
      double sum = c[16 * i + j];
      for (int k = 0; k < 16; ++k)
        sum += a[16 * i + k] * b[16 * j + k], e[16 * i + j] += a[16 * i + k] * b[16 * k + j];
      d[16 * j + i] = static_cast<float>(2 * sum);
    }
  }
  data.out(d), data.out(halves(e));
});
#endif

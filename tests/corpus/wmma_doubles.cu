// mma.h: doubles, 8 by 8 by 4.
#include "corpus.h"
#if CORPUS_DEVICE
#include <mma.h>
using namespace nvcuda;
extern "C" __global__ void kernel(double const* a, double const* b, double* d) {
  wmma::fragment<wmma::matrix_a, 8, 8, 4, double, wmma::row_major> x;
  wmma::fragment<wmma::matrix_b, 8, 8, 4, double, wmma::col_major> y;
  wmma::fragment<wmma::accumulator, 8, 8, 4, double> z;
  wmma::load_matrix_sync(x, a, 4);
  wmma::load_matrix_sync(y, b, 4);
  wmma::load_matrix_sync(z, d, 8, wmma::mem_row_major);
  wmma::mma_sync(z, x, y, z);
  wmma::store_matrix_sync(d, z, 8, wmma::mem_row_major);
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  std::vector<double> a(32), b(32), c(64);
  for (auto* const v : {&a, &b, &c}) {
    for (double& x : *v) x = std::floor(data.uniform(-1000, 1000));
  }
  data.in(a), data.in(b);
  auto d = c;
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 8; ++j) {
      for (int k = 0; k < 4; ++k) d[8 * i + j] += a[4 * i + k] * b[4 * j + k];
    }
  }
  data.inout(c, d);
});
#endif

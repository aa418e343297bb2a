// mma.h: signed and unsigned bytes with 32-bit sums, wrapping and saturating.
#include "corpus.h"
#if CORPUS_DEVICE
#include <mma.h>
using namespace nvcuda;
extern "C" __global__ void kernel(i8 const* a, i8 const* b, int* d, u8 const* p, u8 const* q, int* r) {
  wmma::fragment<wmma::matrix_a, 16, 16, 16, signed char, wmma::row_major> x;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, signed char, wmma::col_major> y;
  wmma::fragment<wmma::accumulator, 16, 16, 16, int> z;
  wmma::fill_fragment(z, 2147483000);
  wmma::load_matrix_sync(x, a, 16);
  wmma::load_matrix_sync(y, b, 16);
  wmma::mma_sync(z, x, y, z, true);
  wmma::store_matrix_sync(d, z, 16, wmma::mem_row_major);
  wmma::fragment<wmma::matrix_a, 8, 32, 16, unsigned char, wmma::col_major> u;
  wmma::fragment<wmma::matrix_b, 8, 32, 16, unsigned char, wmma::row_major> v;
  wmma::fragment<wmma::accumulator, 8, 32, 16, int> w;
  wmma::fill_fragment(w, 3);
  wmma::load_matrix_sync(u, p, 16);
  wmma::load_matrix_sync(v, q, 32);
  wmma::mma_sync(w, u, v, w);
  wmma::store_matrix_sync(r, w, 32, wmma::mem_row_major);
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  auto const a = data.in(data.random<i8>(256)), b = data.in(data.random<i8>(256));
  std::vector<int> d, r;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) {
      i64 sum = 2147483000;
      for (int k = 0; k < 16; ++k) sum += a[16 * i + k] * b[16 * j + k];
      d.push_back(static_cast<int>(std::min<i64>(sum, 2147483647)));
    }
  }
  data.out(d);
  auto p = data.random<u8>(256), q = data.random<u8>(512);
  data.in(p), data.in(q);
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 32; ++j) {
      int sum = 3;
      for (int k = 0; k < 16; ++k) sum += p[16 * k + i] * q[32 * k + j];
      r.push_back(sum);
    }
  }
  data.out(r);
});
#endif

// mma.h: bf16 in 32 by 8 by 16, tf32 in 16 by 16 by 8.
#include "corpus.h"
#if CORPUS_DEVICE
#include <mma.h>
using namespace nvcuda;
extern "C" __global__ void kernel(__nv_bfloat16 const* a, __nv_bfloat16 const* b, float* d, float const* p,
                                  float const* q, float* r) {
  wmma::fragment<wmma::matrix_a, 32, 8, 16, __nv_bfloat16, wmma::row_major> x;
  wmma::fragment<wmma::matrix_b, 32, 8, 16, __nv_bfloat16, wmma::row_major> y;
  wmma::fragment<wmma::accumulator, 32, 8, 16, float> z;
  wmma::fill_fragment(z, 0.5f);
  wmma::load_matrix_sync(x, a, 16);
  wmma::load_matrix_sync(y, b, 8);
  wmma::mma_sync(z, x, y, z);
  wmma::store_matrix_sync(d, z, 8, wmma::mem_row_major);
  wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, wmma::col_major> u;
  wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, wmma::col_major> v;
  wmma::fragment<wmma::accumulator, 16, 16, 8, float> w;
  wmma::fill_fragment(w, 0.0f);
  wmma::load_matrix_sync(u, p, 16);
  wmma::load_matrix_sync(v, q, 8);
  for (int k = 0; k < u.num_elements; ++k) u.x[k] = wmma::__float_to_tf32(u.x[k]);
  wmma::mma_sync(w, u, v, w);
  wmma::store_matrix_sync(r, w, 16, wmma::mem_row_major);
}
#else
CORPUS({.grid = {1}, .block = {32}}, [](Data& data) {
  using namespace deepwell::corpus;
  auto const whole = [&](double limit) { return std::floor(data.uniform(-limit, limit + 1)); };
  std::vector<u16> a(512), b(128);
  for (u16& x : a) x = static_cast<u16>(encoded(whole(9), kBf16));
  for (u16& x : b) x = static_cast<u16>(encoded(whole(9), kBf16));
  data.in(a), data.in(b);
  std::vector<float> d(256, 0.5f), p(128), q(128), r(256);
  for (int i = 0; i < 32; ++i) {
    for (int j = 0; j < 8; ++j) {
      for (int k = 0; k < 16; ++k)
        d[8 * i + j] += static_cast<float>(decoded(a[16 * i + k], kBf16) * decoded(b[8 * k + j], kBf16));
    }
  }
  data.out(d);
  for (float& x : p) x = static_cast<float>(whole(30));
  for (float& x : q) x = static_cast<float>(whole(30));
  data.in(p), data.in(q);
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) {
      for (int k = 0; k < 8; ++k) r[16 * i + j] += p[16 * k + i] * q[8 * j + k];
    }
  }
  data.out(r);
});
#endif

// The slow, obviously right answer: scaled FP8 and FP4 products in double precision, from operands in host memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_pool.hpp"
#include "deepwell/common.h"

namespace deepwell::ref {

enum class ScaleFormat {
  kF32,     // floats, taken as they are
  kUe8m0,   // exponent bytes: 2^(byte - 127), 255 is NaN
  kPacked,  // 32-bit words of four exponent bytes along k, the first in the low byte
};
char const* name_of(ScaleFormat format);

/// Scales of one operand: [batch, ceil(rows / gran_mn), ceil(k / gran_k)] values, or that many packed into words along k.
/// Strides are in elements of the format (floats, bytes, words); `k_stride` is per scale, or per word when packed.
struct Scales {
  ScaleFormat format = ScaleFormat::kUe8m0;
  int gran_mn = 1, gran_k = 128;
  std::byte const* data = nullptr;
  std::int64_t row_stride = 0, k_stride = 1, batch_stride = 0;
};

/// [batch, rows, k] elements of kE4m3, or of kE2m1 packed two a byte with the even element in the low nibble.
struct Operand {
  Dtype dtype = Dtype::kE4m3;
  std::byte const* data = nullptr;
  std::int64_t rows = 0, k = 0;
  std::int64_t pitch = 0, batch_stride = 0;  // bytes
  Scales scales;
};

/// The scale of element k of a row.
double scale_at(Scales const& scales, std::int64_t batch, std::int64_t row, std::int64_t k);

/// The k elements of one row without their scales.
void decode_row(Operand const& operand, std::int64_t batch, std::int64_t row, double* out);

/// The k elements of one row with their scales; exact for UE8M0, rounded once to double for FP32.
void dequantise_row(Operand const& operand, std::int64_t batch, std::int64_t row, double* out);

struct Product {
  std::vector<double> d;          // [batch, m, n] sum of a b, plus c
  std::vector<double> magnitude;  // [batch, m, n] sum of |a b|
};

/// d[z] = a[z] b[z]^T (+ c[z]). Sums of a scale group are exact, sums of groups are rounded to double. `c` is [batch, m, n]
/// or null. Throws Error (kBadArgument) when the operands' k differ or a granularity is no multiple of 32.
Product gemm(Operand const& a, Operand const& b, std::int64_t batch, double const* c, ThreadPool& pool);

}  // namespace deepwell::ref

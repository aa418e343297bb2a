// What `deepwell check` runs: one operation on operands of given shapes, formats and layouts, with one kind of data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "deepwell/common.h"
#include "ref/gemm.hpp"

namespace deepwell::check {

enum class Op { kGemm, kEinsum };
enum class DataKind {
  kExact,    // sparse values and scales of few bits: every partial sum is exact, d is compared bit for bit
  kRandom,   // quantised heavy-tailed numbers, as trained weights and their activations are
  kHostile,  // scales near both ends of their range (their products are not), zero rows, zero scales
};
enum class Pitch {
  kContiguous,
  kPadded,  // rows farther apart, by a multiple of 16 bytes
  kOdd,     // rows farther apart, by one element (two in packed formats)
};
enum class ScaleLayout {
  kRows,        // k fastest
  kColumns,     // rows fastest, columns a multiple of 16 bytes apart
  kOddColumns,  // rows fastest, columns anything apart
};
enum class CMode { kNone, kSame, kOther };

char const* name_of(Op op);
char const* name_of(DataKind kind);

struct OperandCase {
  Dtype dtype = Dtype::kE4m3;
  ref::ScaleFormat scale = ref::ScaleFormat::kPacked;
  int gran_mn = 1, gran_k = 128;
  Pitch pitch = Pitch::kContiguous;
  ScaleLayout layout = ScaleLayout::kColumns;
  bool powers = false;  // FP32 scales are powers of two
};

/// kGemm: a [m, k], b [n, k], d [m, n]. kEinsum ("bhr,hdr->bhd"): b = m, h = batch, d = n, r = k.
struct Case {
  Op op = Op::kGemm;
  DataKind data = DataKind::kRandom;
  std::int64_t m = 1, n = 1, k = 32, batch = 1;
  OperandCase a, b;
  Dtype d = Dtype::kBf16;
  CMode c = CMode::kNone;
  Pitch d_pitch = Pitch::kContiguous;
  bool default_recipe = false;  // the call says nothing about granularities
  bool token_major = true;      // einsum: a is [b, h, r] in memory, else [h, b, r]
  bool flat_weights = false;    // einsum: weights are passed as [h * d, r]
  std::string label;            // where the shape comes from: a tensor's name

  /// One line that says all of the above; the seed is made from it.
  std::string name() const;
  /// "a e4m3 [4, 4096] x b e2m1 [4096, 4096]" for tables.
  std::string tensors() const;
};

/// Products of k elements: m n k batch.
double multiplications(Case const& c);

/// The built-in cases. `quick`: a few of each kind. Sizes are of V4-Flash and of the corners.
std::vector<Case> builtin_cases(bool quick);

}  // namespace deepwell::check

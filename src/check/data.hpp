// Operands of a case in host memory, as a device will see them: pitches, guard bands, poison, and the exact answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "check/case.hpp"
#include "ref/gemm.hpp"

namespace deepwell::check {

inline constexpr std::int64_t kGuardBytes = 256;

/// A tensor's memory with a guard band on both sides. Bytes that belong to no element are a pattern: NaN for a kernel that
/// reads them (inputs), and what must still be there afterwards (outputs).
struct Buffer {
  std::vector<std::byte> bytes;
  std::int64_t start = 0;  // of the first element
  std::byte const* data() const { return bytes.data() + start; }
  std::byte* data() { return bytes.data() + start; }
};

/// The bits that an output element has before the call; no arithmetic makes this NaN.
std::uint32_t poison_bits(Dtype dtype);

struct OperandData {
  OperandCase how;
  std::int64_t rows = 0, k = 0;
  std::int64_t pitch = 0, batch_stride = 0;     // bytes
  std::int64_t scale_rows = 0, scale_cols = 0;  // of one batch; columns are words when packed
  std::int64_t scale_row_stride = 0, scale_k_stride = 0, scale_batch_stride = 0;  // elements of the format
  Buffer data, scale;

  ref::Operand view() const;  // of host memory; valid while this object is
};

struct CaseData {
  Case what;
  OperandData a, b;
  Buffer d, c;  // d as it is before the call; c only for CMode::kOther
  std::int64_t d_pitch = 0, d_batch_stride = 0, c_pitch = 0, c_batch_stride = 0;  // elements
  std::vector<double> c_values;                                                   // [batch, m, n] or empty
  std::vector<double> exact;                                                      // [batch, m, n]

  double const* c_pointer() const { return c_values.empty() ? nullptr : c_values.data(); }
};

/// Weights of a checkpoint instead of generated ones: dense codes [batch * n, k] (or [batch * n, k / 2]) and scale bytes
/// [batch * ceil(n / gran_mn), ceil(k / gran_k)].
struct GivenWeights {
  std::span<std::byte const> codes, scales;
};

/// Makes the data of a case; the same for the same case and seed. Throws Error (kInternal) if data of kind kExact are not
/// such that every partial sum is exact.
CaseData make_data(Case const& what, std::uint64_t seed, ThreadPool& pool,
                   GivenWeights const* weights = nullptr);

/// What must hold for kExact: all sums of |a b| stay below 2^24 units of the smallest product's last place.
double exact_quantum(Case const& what);

/// Recomputes `exact` from the operands as they are now (after a mutation).
void refresh_exact(CaseData& data, ThreadPool& pool);

double load_element(Dtype dtype, std::byte const* from);
void store_element(Dtype dtype, std::byte* to, double value);  // nearest even

}  // namespace deepwell::check

// Mutations of outputs and inputs.
#include "check/mutate.hpp"

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "num/formats.hpp"

namespace deepwell::check {
namespace {

using ref::ScaleFormat;

/// Calls f(memory, index) for every element of d; the index counts [batch, m, n].
template <class F>
void for_each_element(CaseData const& data, std::vector<std::byte>& memory, F&& f) {
  Case const& what = data.what;
  std::int64_t const size = bits_of(what.d) / 8;
  std::int64_t index = 0;
  for (std::int64_t z = 0; z < what.batch; ++z) {
    for (std::int64_t i = 0; i < what.m; ++i) {
      for (std::int64_t j = 0; j < what.n; ++j, ++index)
        f(memory.data() + data.d.start + (z * data.d_batch_stride + i * data.d_pitch + j) * size, index);
    }
  }
}

std::vector<std::byte> elements_of(CaseData const& data, std::vector<std::byte> memory) {
  std::size_t const size = static_cast<std::size_t>(bits_of(data.what.d) / 8);
  std::vector<std::byte> out(static_cast<std::size_t>(data.what.batch * data.what.m * data.what.n) * size);
  for_each_element(data, memory, [&](std::byte* at, std::int64_t index) {
    std::memcpy(out.data() + static_cast<std::size_t>(index) * size, at, size);
  });
  return out;
}

std::vector<std::byte> reordered(CaseData const& data, std::vector<std::byte> memory) {
  std::int64_t const m = data.what.m, n = data.what.n;
  std::size_t const size = static_cast<std::size_t>(bits_of(data.what.d) / 8);
  std::vector<std::byte> const elements = elements_of(data, memory);
  for_each_element(data, memory, [&](std::byte* at, std::int64_t index) {
    std::int64_t const z = index / (m * n), i = index / n % m, j = index % n;
    std::int64_t const from = m == n ? j * n + i : m > 1 ? (i + 1) % m * n + j : (j + 1) % n;
    std::memcpy(at, elements.data() + static_cast<std::size_t>(z * m * n + from) * size, size);
  });
  return memory;
}

/// Doubles the scale of one group in the middle of the operand's first batch.
void double_scale(OperandData& operand) {
  std::int64_t const row = operand.scale_rows / 2, group = ceil_div(operand.k, operand.how.gran_k) / 2;
  bool const packed = operand.how.scale == ScaleFormat::kPacked;
  std::int64_t const element =
      row * operand.scale_row_stride + (packed ? group / 4 : group) * operand.scale_k_stride;
  if (operand.how.scale == ScaleFormat::kF32) {
    float value;
    std::memcpy(&value, operand.scale.data() + 4 * element, 4);
    value *= 2;
    std::memcpy(operand.scale.data() + 4 * element, &value, 4);
  } else {
    std::byte& byte = operand.scale.data()[packed ? 4 * element + group % 4 : element];
    byte = std::byte{static_cast<std::uint8_t>(std::to_integer<int>(byte) + 1)};
  }
}

void for_each_row(CaseData& data, OperandData& operand, std::function<void(std::byte*)> const& f) {
  for (std::int64_t z = 0; z < data.what.batch; ++z) {
    for (std::int64_t row = 0; row < operand.rows; ++row)
      f(operand.data.data() + z * operand.batch_stride + row * operand.pitch);
  }
}

void swap_nibbles(CaseData& data, OperandData& operand) {
  for_each_row(data, operand, [&](std::byte* row) {
    for (std::int64_t i = 0; i < operand.k / 2; ++i) row[i] = row[i] << 4 | row[i] >> 4;
  });
}

void drop_last_group(CaseData& data) {
  std::int64_t const bits = bits_of(data.a.how.dtype);
  for_each_row(data, data.a, [&](std::byte* row) {
    std::fill(row + (data.a.k - 32) * bits / 8, row + data.a.k * bits / 8, std::byte{0});
  });
}

}  // namespace

char const* name_of(Mutation mutation) {
  switch (mutation) {
    case Mutation::kZero: return "zero d";
    case Mutation::kStale: return "stale d";
    case Mutation::kReordered: return "transposed or reordered d";
    case Mutation::kHalfWritten: return "half-written d";
    case Mutation::kScaleA: return "one wrong scale of a";
    case Mutation::kScaleB: return "one wrong scale of b";
    case Mutation::kNibblesA: return "swapped nibbles of a";
    case Mutation::kNibblesB: return "swapped nibbles of b";
    case Mutation::kLastGroup: return "last k group dropped";
    case Mutation::kDropC: return "c dropped";
  }
  return "?";
}

std::vector<Mutation> mutations_of(Case const& what) {
  std::vector<Mutation> out{Mutation::kZero,        Mutation::kStale,  Mutation::kReordered,
                            Mutation::kHalfWritten, Mutation::kScaleA, Mutation::kScaleB,
                            Mutation::kLastGroup};
  if (what.a.dtype == Dtype::kE2m1) out.push_back(Mutation::kNibblesA);
  if (what.b.dtype == Dtype::kE2m1) out.push_back(Mutation::kNibblesB);
  if (what.c != CMode::kNone) out.push_back(Mutation::kDropC);
  return out;
}

std::vector<std::byte> mutated_output(CaseData const& data, Mutation mutation, std::uint64_t other_seed,
                                      Producer const& produce, ThreadPool& pool) {
  std::size_t const size = static_cast<std::size_t>(bits_of(data.what.d) / 8);
  auto const of_mutated = [&](auto&& change) {
    CaseData copy = data;
    change(copy);
    refresh_exact(copy, pool);
    return produce(copy);
  };
  switch (mutation) {
    case Mutation::kZero: {
      std::vector<std::byte> out = data.d.bytes;
      for_each_element(data, out, [&](std::byte* at, std::int64_t) { std::memset(at, 0, size); });
      return out;
    }
    case Mutation::kStale:
    case Mutation::kHalfWritten: {
      CaseData other = make_data(data.what, other_seed, pool);
      std::vector<std::byte> const stale = elements_of(data, produce(other));
      std::vector<std::byte> out = produce(data);
      std::int64_t const total = data.what.batch * data.what.m * data.what.n;
      std::int64_t const first = mutation == Mutation::kStale ? 0 : total / 2;
      for_each_element(data, out, [&](std::byte* at, std::int64_t index) {
        if (index >= first) std::memcpy(at, stale.data() + static_cast<std::size_t>(index) * size, size);
      });
      return out;
    }
    case Mutation::kReordered: return reordered(data, produce(data));
    case Mutation::kScaleA: return of_mutated([](CaseData& copy) { double_scale(copy.a); });
    case Mutation::kScaleB: return of_mutated([](CaseData& copy) { double_scale(copy.b); });
    case Mutation::kNibblesA: return of_mutated([](CaseData& copy) { swap_nibbles(copy, copy.a); });
    case Mutation::kNibblesB: return of_mutated([](CaseData& copy) { swap_nibbles(copy, copy.b); });
    case Mutation::kLastGroup: return of_mutated([](CaseData& copy) { drop_last_group(copy); });
    case Mutation::kDropC:
      return of_mutated([](CaseData& copy) {
        copy.what.c = CMode::kNone;
        copy.c_values.clear();
      });
  }
  throw Error(ErrorCode::kInternal, "mutation out of range");
}

std::vector<MutationOutcome> mutate_case(Case const& what, Arithmetic const& arithmetic, std::uint64_t seed,
                                         Producer const& produce, ThreadPool& pool) {
  CaseData const data = make_data(what, seed, pool);
  std::vector<double> const limits = bounds(data.a.view(), data.b.view(), what.batch, data.c_pointer(),
                                            data.exact, what.d, arithmetic, pool);
  std::vector<MutationOutcome> out;
  auto const add = [&](std::string mutation, std::vector<std::byte> const& after) {
    Verdict const verdict = judge(data, limits, after);
    out.push_back({what.name(), name_of(what.op), std::move(mutation), !verdict.pass, verdict.reason});
  };
  add("none", produce(data));
  for (Mutation mutation : mutations_of(what))
    add(name_of(mutation), mutated_output(data, mutation, seed + 1, produce, pool));
  return out;
}

std::vector<Case> mutation_cases() {
  std::vector<Case> out;
  for (DataKind kind : {DataKind::kExact, DataKind::kRandom}) {
    for (int variant = 0; variant < 6; ++variant) {
      Case c;
      c.data = kind;
      c.k = variant % 2 == 0 ? 352 : 1024;
      c.n = 72;
      c.m = variant % 3 == 0 ? 72 : variant % 3 == 1 ? 4 : 1;
      c.a.dtype = variant == 3 || variant == 4 ? Dtype::kE2m1 : Dtype::kE4m3;
      c.b.dtype = variant % 2 == 0 ? Dtype::kE4m3 : Dtype::kE2m1;
      c.a.scale = variant == 2 || variant == 5 ? ScaleFormat::kF32 : ScaleFormat::kPacked;
      c.a.gran_k = variant == 4 ? 32 : 128;
      c.b.scale = variant == 5 ? ScaleFormat::kF32 : ScaleFormat::kUe8m0;
      c.b.layout = ScaleLayout::kRows;
      c.b.gran_k = c.b.dtype == Dtype::kE2m1 ? 32 : 128;
      c.b.gran_mn = variant == 0 ? 128 : 1;
      c.d = variant % 2 == 0 ? Dtype::kBf16 : Dtype::kF32;
      c.c = variant % 3 == 0 ? CMode::kNone : variant % 3 == 1 ? CMode::kSame : CMode::kOther;
      out.push_back(c);
    }
    for (std::int64_t h : {2, 1}) {
      Case c;
      c.op = Op::kEinsum;
      c.data = kind;
      c.batch = h, c.m = 3, c.n = 136, c.k = 512;
      c.b.dtype = h == 1 ? Dtype::kE2m1 : Dtype::kE4m3;
      c.b.gran_k = h == 1 ? 32 : 128;
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace deepwell::check

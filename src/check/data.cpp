// Generators of operands.
#include "check/data.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "checkpoint/quantise.hpp"
#include "num/formats.hpp"

namespace deepwell::check {
namespace {

using ref::ScaleFormat;

std::int64_t bytes_of_scale(ScaleFormat format) { return format == ScaleFormat::kUe8m0 ? 1 : 4; }

Buffer make_buffer(std::int64_t bytes, std::byte pattern) {
  Buffer out;
  out.start = kGuardBytes;
  out.bytes.assign(static_cast<std::size_t>(bytes + 2 * kGuardBytes), pattern);
  return out;
}

std::int64_t with_pitch(std::int64_t row, Pitch pitch, std::int64_t unit) {
  switch (pitch) {
    case Pitch::kContiguous: return row;
    case Pitch::kPadded: return align_up(row, unit) + 2 * unit;
    case Pitch::kOdd: return row % 2 == 0 ? row + 1 : row + 2;
  }
  return row;
}

/// Sizes and strides; `across_rows`: batches lie inside a row ([b, h, r] in memory), else one after the other.
OperandData lay_out(OperandCase const& how, std::int64_t rows, std::int64_t k, std::int64_t batch,
                    bool across_rows, bool flat) {
  OperandData out;
  out.how = how;
  out.rows = rows, out.k = k;
  std::int64_t const row_bytes = k * bits_of(how.dtype) / 8;
  std::int64_t const unit = with_pitch(row_bytes, how.pitch, 16);
  out.pitch = across_rows ? unit * batch : unit;
  out.batch_stride = across_rows ? unit : rows * unit;
  std::byte const data_pattern{static_cast<std::uint8_t>(how.dtype == Dtype::kE2m1 ? 0x77 : 0x7f)};
  out.data = make_buffer(rows * batch * unit, data_pattern);

  std::int64_t const groups = ceil_div(k, how.gran_k);
  out.scale_rows = ceil_div(rows, how.gran_mn);
  out.scale_cols = how.scale == ScaleFormat::kPacked ? ceil_div(groups, 4) : groups;
  std::int64_t elements = 0;
  if (how.layout == ScaleLayout::kRows) {
    out.scale_k_stride = 1;
    out.scale_row_stride = across_rows ? batch * out.scale_cols : out.scale_cols;
    out.scale_batch_stride = across_rows ? out.scale_cols : out.scale_rows * out.scale_cols;
    elements = out.scale_rows * out.scale_cols * batch;
  } else {
    std::int64_t const height = flat ? out.scale_rows * batch : out.scale_rows;
    std::int64_t const align = 16 / bytes_of_scale(how.scale);
    out.scale_row_stride = 1;
    out.scale_k_stride =
        how.layout == ScaleLayout::kColumns ? align_up(height, align) : height + 1 + height % 2;
    out.scale_batch_stride = flat ? out.scale_rows : out.scale_k_stride * out.scale_cols;
    elements = out.scale_k_stride * out.scale_cols * (flat ? 1 : batch);
  }
  out.scale = make_buffer(elements * bytes_of_scale(how.scale), std::byte{0xff});
  return out;
}

/// Values of one batch before they are laid out: dense codes, and one byte and one float per scale.
struct Dense {
  std::vector<std::byte> codes, scale_bytes;
  std::vector<float> scale_floats;
};

std::uint8_t encode(Dtype dtype, float value) {
  return dtype == Dtype::kE4m3 ? fast_e4m3(value) : fast_e2m1(value);
}

/// Half the values are zero, the others among those that both formats hold with three bits.
void fill_sparse(OperandCase const& how, Random& random, std::vector<std::byte>& codes) {
  constexpr float kValues[8] = {0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, 1.0f};
  auto const code = [&]() -> std::uint8_t {
    std::uint64_t const bits = random.next();
    if ((bits & 1) == 0) return 0;
    float const value = kValues[bits >> 1 & 7];
    return encode(how.dtype, (bits & 16) != 0 ? -value : value);
  };
  if (how.dtype == Dtype::kE4m3) {
    for (std::byte& byte : codes) byte = std::byte{code()};
  } else {
    for (std::byte& byte : codes) {
      std::uint8_t const low = code();
      byte = std::byte{static_cast<std::uint8_t>(low | code() << 4)};
    }
  }
}

Dense make_dense(Case const& what, OperandCase const& how, bool is_a, std::int64_t rows, std::int64_t k,
                 std::uint64_t seed, ThreadPool& pool) {
  Dense out;
  std::int64_t const count = ceil_div(rows, how.gran_mn) * ceil_div(k, how.gran_k);
  out.codes.resize(static_cast<std::size_t>(rows * k * bits_of(how.dtype) / 8));
  out.scale_bytes.resize(static_cast<std::size_t>(count));
  out.scale_floats.resize(out.scale_bytes.size());
  Random random(seed);
  if (what.data == DataKind::kExact) {
    fill_sparse(how, random, out.codes);
    constexpr float kScales[5] = {0.5f, 0.75f, 1.0f, 1.5f, 2.0f};
    for (std::size_t i = 0; i < out.scale_bytes.size(); ++i) {
      out.scale_bytes[i] = std::byte{static_cast<std::uint8_t>(126 + random.below(3))};
      out.scale_floats[i] =
          how.powers ? std::ldexp(1.0f, static_cast<int>(random.below(3)) - 1) : kScales[random.below(5)];
    }
    return out;
  }
  Quantisation const quantisation{how.dtype, how.gran_mn, how.gran_k};
  fill_quantised(quantisation, rows, k, is_a ? 1.0f : 0.02f, seed, out.codes, out.scale_bytes, pool);
  if (what.data == DataKind::kHostile) {
    // The first row of a is zero; scales of a lie at the lower end, those of b at the upper one.
    constexpr int kLow = 4, kHigh = 242;
    if (is_a) std::fill_n(out.codes.begin(), k * bits_of(how.dtype) / 8, std::byte{0});
    for (std::byte& byte : out.scale_bytes) {
      std::uint64_t const offset = random.below(9);
      bool const end = random.below(8) == 0;
      byte = std::byte{static_cast<std::uint8_t>(is_a ? (end ? offset % 2 : kLow + offset)
                                                      : (end ? kHigh + 9 : kHigh + offset))};
    }
  }
  for (std::size_t i = 0; i < out.scale_floats.size(); ++i) {
    float const power = num::ue8m0_to_float(std::to_integer<std::uint8_t>(out.scale_bytes[i]));
    out.scale_floats[i] = how.powers ? power : power * (1.0f + random.uniform());
    if (what.data == DataKind::kHostile && is_a && random.below(16) == 0) out.scale_floats[i] = 0.0f;
  }
  return out;
}

void place(OperandData& to, std::int64_t batch, Dense const& from) {
  std::int64_t const row_bytes = to.k * bits_of(to.how.dtype) / 8;
  for (std::int64_t row = 0; row < to.rows; ++row) {
    std::memcpy(to.data.data() + batch * to.batch_stride + row * to.pitch,
                from.codes.data() + row * row_bytes, static_cast<std::size_t>(row_bytes));
  }
  std::int64_t const groups = ceil_div(to.k, to.how.gran_k);
  for (std::int64_t row = 0; row < to.scale_rows; ++row) {
    for (std::int64_t group = 0; group < groups; ++group) {
      std::size_t const source = static_cast<std::size_t>(row * groups + group);
      bool const packed = to.how.scale == ScaleFormat::kPacked;
      std::int64_t const element = batch * to.scale_batch_stride + row * to.scale_row_stride +
                                   (packed ? group / 4 : group) * to.scale_k_stride;
      if (to.how.scale == ScaleFormat::kF32) {
        std::memcpy(to.scale.data() + 4 * element, &from.scale_floats[source], 4);
      } else {
        to.scale.data()[packed ? 4 * element + group % 4 : element] = from.scale_bytes[source];
      }
    }
  }
}

void fill_operand(CaseData& data, OperandData& operand, bool is_a, std::uint64_t seed, ThreadPool& pool) {
  for (std::int64_t z = 0; z < data.what.batch; ++z) {
    std::uint64_t const batch_seed = seed_of(is_a ? "a" : "b", seed + static_cast<std::uint64_t>(z));
    place(operand, z, make_dense(data.what, operand.how, is_a, operand.rows, operand.k, batch_seed, pool));
  }
}

void place_weights(CaseData& data, GivenWeights const& weights) {
  OperandData& b = data.b;
  std::int64_t const groups = ceil_div(b.k, b.how.gran_k);
  std::size_t const code_bytes = static_cast<std::size_t>(b.rows * b.k * bits_of(b.how.dtype) / 8);
  std::size_t const scale_bytes = static_cast<std::size_t>(b.scale_rows * groups);
  std::size_t const batch = static_cast<std::size_t>(data.what.batch);
  DW_CHECK(weights.codes.size() == code_bytes * batch && weights.scales.size() == scale_bytes * batch,
           kInternal, "{} and {} bytes of weights for {}", weights.codes.size(), weights.scales.size(),
           data.what.name());
  for (std::size_t z = 0; z < batch; ++z) {
    Dense dense;
    std::span const codes = weights.codes.subspan(z * code_bytes, code_bytes);
    std::span const scales = weights.scales.subspan(z * scale_bytes, scale_bytes);
    dense.codes.assign(codes.begin(), codes.end());
    dense.scale_bytes.assign(scales.begin(), scales.end());
    for (std::byte byte : scales)
      dense.scale_floats.push_back(num::ue8m0_to_float(std::to_integer<std::uint8_t>(byte)));
    place(b, static_cast<std::int64_t>(z), dense);
  }
}

Buffer make_output(Case const& what, std::int64_t elements) {
  std::uint32_t const poison = poison_bits(what.d);
  std::int64_t const size = bits_of(what.d) / 8;
  Buffer out = make_buffer(elements * size, std::byte{0});
  for (std::size_t i = 0; i + static_cast<std::size_t>(size) <= out.bytes.size();
       i += static_cast<std::size_t>(size))
    std::memcpy(out.bytes.data() + i, &poison, static_cast<std::size_t>(size));
  return out;
}

void fill_c(CaseData& data, std::uint64_t seed, double typical) {
  Case const& what = data.what;
  Random random(seed_of("c", seed));
  data.c_values.resize(data.exact.size());
  Buffer& to = what.c == CMode::kSame ? data.d : data.c;
  std::int64_t const pitch = what.c == CMode::kSame ? data.d_pitch : data.c_pitch;
  std::int64_t const batch_stride = what.c == CMode::kSame ? data.d_batch_stride : data.c_batch_stride;
  std::int64_t const size = bits_of(what.d) / 8;
  for (std::int64_t z = 0; z < what.batch; ++z) {
    for (std::int64_t i = 0; i < what.m; ++i) {
      for (std::int64_t j = 0; j < what.n; ++j) {
        double const value = what.data == DataKind::kExact
                                 ? 0.25 * (static_cast<double>(random.below(65)) - 32.0)
                                 : typical * static_cast<double>(random.normal());
        std::byte* const at = to.data() + (z * batch_stride + i * pitch + j) * size;
        store_element(what.d, at, value);
        data.c_values[static_cast<std::size_t>((z * what.m + i) * what.n + j)] = load_element(what.d, at);
      }
    }
  }
}

void check_exact(CaseData const& data, std::vector<double> const& magnitude) {
  double const quantum = exact_quantum(data.what);
  double largest = 0;
  for (std::size_t i = 0; i < magnitude.size(); ++i) {
    double const c = data.c_values.empty() ? 0.0 : std::fabs(data.c_values[i]);
    largest = std::max(largest, magnitude[i] + c);
  }
  DW_CHECK(largest < quantum * 0x1p24, kInternal, "{}: sums reach {}, beyond 2^24 units of {}",
           data.what.name(), largest, quantum);
}

}  // namespace

std::uint32_t poison_bits(Dtype dtype) { return dtype == Dtype::kBf16 ? 0x7fa5u : 0x7fa5a5a5u; }

double load_element(Dtype dtype, std::byte const* from) {
  if (dtype == Dtype::kBf16) {
    std::uint16_t code;
    std::memcpy(&code, from, 2);
    return num::bf16_to_float(code);
  }
  float value;
  std::memcpy(&value, from, 4);
  return value;
}

void store_element(Dtype dtype, std::byte* to, double value) {
  if (dtype == Dtype::kBf16) {
    std::uint16_t const code = static_cast<std::uint16_t>(num::encode(num::Format::kBf16, value));
    std::memcpy(to, &code, 2);
  } else {
    float const rounded = static_cast<float>(value);
    std::memcpy(to, &rounded, 4);
  }
}

ref::Operand OperandData::view() const {
  return {.dtype = how.dtype,
          .data = data.data(),
          .rows = rows,
          .k = k,
          .pitch = pitch,
          .batch_stride = batch_stride,
          .scales = {.format = how.scale,
                     .gran_mn = how.gran_mn,
                     .gran_k = how.gran_k,
                     .data = scale.data(),
                     .row_stride = scale_row_stride,
                     .k_stride = scale_k_stride,
                     .batch_stride = scale_batch_stride}};
}

double exact_quantum(Case const& what) {
  auto const unit = [](OperandCase const& o) {
    return o.scale == ScaleFormat::kF32 && !o.powers ? 0.25 : 0.5;
  };
  return 0.25 * unit(what.a) * unit(what.b);
}

void refresh_exact(CaseData& data, ThreadPool& pool) {
  data.exact = ref::gemm(data.a.view(), data.b.view(), data.what.batch, data.c_pointer(), pool).d;
}

CaseData make_data(Case const& what, std::uint64_t seed, ThreadPool& pool, GivenWeights const* weights) {
  CaseData data;
  data.what = what;
  std::uint64_t const case_seed = seed_of(what.name(), seed);
  bool const einsum = what.op == Op::kEinsum;
  data.a = lay_out(what.a, what.m, what.k, what.batch, einsum && what.token_major, false);
  data.b = lay_out(what.b, what.n, what.k, what.batch, false, einsum && what.flat_weights);
  fill_operand(data, data.a, true, case_seed, pool);
  if (weights != nullptr) {
    place_weights(data, *weights);
  } else {
    fill_operand(data, data.b, false, case_seed, pool);
  }
  std::int64_t const unit = with_pitch(what.n, what.d_pitch, 16 * 8 / bits_of(what.d));
  data.d_pitch = unit * what.batch, data.d_batch_stride = unit;
  data.d = make_output(what, what.m * data.d_pitch);

  ref::Product product = ref::gemm(data.a.view(), data.b.view(), what.batch, nullptr, pool);
  data.exact = std::move(product.d);
  if (what.c != CMode::kNone) {
    if (what.c == CMode::kOther) {
      data.c_pitch = (what.n + 3) * what.batch, data.c_batch_stride = what.n + 3;
      data.c = make_output(what, what.m * data.c_pitch);
    }
    double square = 0;
    for (double value : data.exact) square += value * value;
    fill_c(data, case_seed, std::sqrt(square / static_cast<double>(data.exact.size())));
    for (std::size_t i = 0; i < data.exact.size(); ++i) data.exact[i] += data.c_values[i];
  }
  if (what.data == DataKind::kExact) check_exact(data, product.magnitude);
  return data;
}

}  // namespace deepwell::check

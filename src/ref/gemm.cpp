// Double-precision products of scaled operands.
#include "ref/gemm.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.hpp"
#include "num/formats.hpp"

namespace deepwell::ref {
namespace {

constexpr std::int64_t kLanes = 8;  // rows of b that are worked on together

std::array<double, 256> const& table_of(Dtype dtype) {
  static auto const make = [](num::Format format, int codes) {
    std::array<double, 256> table{};
    for (int code = 0; code < codes; ++code) table[code] = num::decode(format, code);
    return table;
  };
  static std::array<double, 256> const e4m3 = make(num::Format::kE4m3, 256);
  static std::array<double, 256> const e2m1 = make(num::Format::kE2m1, 16);
  switch (dtype) {
    case Dtype::kE4m3: return e4m3;
    case Dtype::kE2m1: return e2m1;
    default: throw bad_argument("dtype", name_of(dtype), "e4m3 or e2m1");
  }
}

template <class T>
T load(std::byte const* from, std::int64_t index) {
  T value;
  std::memcpy(&value, from + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

void check(Operand const& operand, char const* name) {
  {
    int const gran = operand.scales.gran_k;
    if (gran <= 0 || gran % 32 != 0) {
      throw bad_argument(fmt::format("{}.gran_k", name), fmt::format("{}", gran), "a multiple of 32");
    }
  }
  if (operand.scales.gran_mn <= 0) {
    throw bad_argument(fmt::format("{}.gran_mn", name), fmt::format("{}", operand.scales.gran_mn),
                       "at least 1");
  }
}

/// One scale per group of `group` elements of k.
void group_scales(Operand const& operand, std::int64_t batch, std::int64_t row, std::int64_t group,
                  double* out) {
  for (std::int64_t k = 0; k < operand.k; k += group)
    out[k / group] = scale_at(operand.scales, batch, row, k);
}

}  // namespace

char const* name_of(ScaleFormat format) {
  switch (format) {
    case ScaleFormat::kF32: return "f32";
    case ScaleFormat::kUe8m0: return "ue8m0";
    case ScaleFormat::kPacked: return "packed";
  }
  return "?";
}

double scale_at(Scales const& scales, std::int64_t batch, std::int64_t row, std::int64_t k) {
  std::int64_t const group = k / scales.gran_k;
  std::int64_t const start = batch * scales.batch_stride + row / scales.gran_mn * scales.row_stride;
  switch (scales.format) {
    case ScaleFormat::kF32: return load<float>(scales.data, start + group * scales.k_stride);
    case ScaleFormat::kUe8m0:
      return num::decode(num::Format::kUe8m0,
                         load<std::uint8_t>(scales.data, start + group * scales.k_stride));
    case ScaleFormat::kPacked: {
      std::uint32_t const word = load<std::uint32_t>(scales.data, start + group / 4 * scales.k_stride);
      return num::decode(num::Format::kUe8m0, word >> (8 * (group % 4)) & 0xff);
    }
  }
  throw Error(ErrorCode::kInternal, "scale format out of range");
}

void decode_row(Operand const& operand, std::int64_t batch, std::int64_t row, double* out) {
  std::array<double, 256> const& table = table_of(operand.dtype);
  auto const* bytes = reinterpret_cast<std::uint8_t const*>(operand.data) + batch * operand.batch_stride +
                      row * operand.pitch;
  if (operand.dtype == Dtype::kE4m3) {
    for (std::int64_t i = 0; i < operand.k; ++i) out[i] = table[bytes[i]];
  } else {
    for (std::int64_t i = 0; i < operand.k; ++i)
      out[i] = table[num::packed_e2m1(bytes, static_cast<std::size_t>(i))];
  }
}

void dequantise_row(Operand const& operand, std::int64_t batch, std::int64_t row, double* out) {
  decode_row(operand, batch, row, out);
  for (std::int64_t i = 0; i < operand.k; ++i) out[i] *= scale_at(operand.scales, batch, row, i);
}

Product gemm(Operand const& a, Operand const& b, std::int64_t batch, double const* c, ThreadPool& pool) {
  if (a.k != b.k) throw bad_argument("b.k", fmt::format("{}", b.k), fmt::format("{}, as in a", a.k));
  check(a, "a");
  check(b, "b");
  std::int64_t const m = a.rows, n = b.rows, k = a.k;
  std::int64_t const group = std::gcd(a.scales.gran_k, b.scales.gran_k);
  std::int64_t const groups = (k + group - 1) / group;
  Product out;
  out.d.resize(static_cast<std::size_t>(batch * m * n));
  out.magnitude.resize(out.d.size());

  std::int64_t const strips = (n + kLanes - 1) / kLanes;
  for (std::int64_t z = 0; z < batch; ++z) {
    std::vector<double> a_values(static_cast<std::size_t>(m * k)),
        a_scales(static_cast<std::size_t>(m * groups));
    for (std::int64_t i = 0; i < m; ++i) {
      decode_row(a, z, i, a_values.data() + i * k);
      group_scales(a, z, i, group, a_scales.data() + i * groups);
    }
    pool.parallel_for(static_cast<std::size_t>(strips), [&](std::size_t strip) {
      std::int64_t const first = static_cast<std::int64_t>(strip) * kLanes;
      std::int64_t const lanes = std::min(kLanes, n - first);
      std::vector<double> b_values(static_cast<std::size_t>(k * kLanes)),
          b_scales(static_cast<std::size_t>(groups * kLanes));
      std::vector<double> row(static_cast<std::size_t>(std::max(k, groups)));
      for (std::int64_t j = 0; j < lanes; ++j) {
        decode_row(b, z, first + j, row.data());
        for (std::int64_t i = 0; i < k; ++i) b_values[i * kLanes + j] = row[i];
        group_scales(b, z, first + j, group, row.data());
        for (std::int64_t g = 0; g < groups; ++g) b_scales[g * kLanes + j] = row[g];
      }
      for (std::int64_t i = 0; i < m; ++i) {
        double sum[kLanes] = {}, magnitude[kLanes] = {};
        double const* const x = a_values.data() + i * k;
        for (std::int64_t g = 0; g < groups; ++g) {
          double part[kLanes] = {}, part_magnitude[kLanes] = {};
          std::int64_t const end = std::min(k, (g + 1) * group);
          for (std::int64_t at = g * group; at < end; ++at) {
            double const* const y = b_values.data() + at * kLanes;
            for (std::int64_t j = 0; j < kLanes; ++j) {
              double const product = x[at] * y[j];
              part[j] += product;
              part_magnitude[j] += std::fabs(product);
            }
          }
          for (std::int64_t j = 0; j < kLanes; ++j) {
            double const scale = a_scales[i * groups + g] * b_scales[g * kLanes + j];
            sum[j] += part[j] * scale;
            magnitude[j] += part_magnitude[j] * std::fabs(scale);
          }
        }
        std::int64_t const at = (z * m + i) * n + first;
        for (std::int64_t j = 0; j < lanes; ++j) {
          out.d[at + j] = sum[j] + (c != nullptr ? c[at + j] : 0.0);
          out.magnitude[at + j] = magnitude[j];
        }
      }
    });
  }
  return out;
}

}  // namespace deepwell::ref

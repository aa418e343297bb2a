// The verdict on one output.
#include "check/verdict.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/error.hpp"

namespace deepwell::check {
namespace {

struct Worst {
  double ratio = -1, error = 0, bound = 0;
  std::int64_t batch = 0, row = 0, col = 0;
};

/// The value that `dtype` holds for `exact`.
double rounded(Dtype dtype, double exact) {
  std::array<std::byte, 4> bits{};
  store_element(dtype, bits.data(), exact);
  return load_element(dtype, bits.data());
}

bool is_poison(Dtype dtype, std::byte const* at) {
  std::uint32_t const poison = poison_bits(dtype);
  return std::memcmp(at, &poison, static_cast<std::size_t>(bits_of(dtype) / 8)) == 0;
}

/// The first byte that belongs to no element and changed, or -1.
std::int64_t touched_outside(CaseData const& data, std::span<std::byte const> after) {
  Case const& what = data.what;
  std::int64_t const size = bits_of(what.d) / 8;
  std::vector<bool> inside(after.size(), false);
  for (std::int64_t z = 0; z < what.batch; ++z) {
    for (std::int64_t i = 0; i < what.m; ++i) {
      std::int64_t const first = data.d.start + (z * data.d_batch_stride + i * data.d_pitch) * size;
      std::fill_n(inside.begin() + first, what.n * size, true);
    }
  }
  for (std::size_t i = 0; i < after.size(); ++i) {
    if (!inside[i] && after[i] != data.d.bytes[i]) return static_cast<std::int64_t>(i);
  }
  return -1;
}

}  // namespace

Verdict judge(CaseData const& data, std::span<double const> bounds, std::span<std::byte const> after) {
  Case const& what = data.what;
  DW_CHECK(after.size() == data.d.bytes.size() && bounds.size() == data.exact.size(), kInternal,
           "d of {} bytes and {} bounds for {}", after.size(), bounds.size(), what.name());
  std::int64_t const size = bits_of(what.d) / 8;
  Worst worst;
  std::int64_t wrong = 0, unwritten = 0, total = 0;
  for (std::int64_t z = 0; z < what.batch; ++z) {
    for (std::int64_t i = 0; i < what.m; ++i) {
      std::byte const* const row =
          after.data() + data.d.start + (z * data.d_batch_stride + i * data.d_pitch) * size;
      for (std::int64_t j = 0; j < what.n; ++j, ++total) {
        double const exact = data.exact[static_cast<std::size_t>(total)];
        bool const bitwise = what.data == DataKind::kExact;
        double const bound = bitwise ? 0.0 : bounds[static_cast<std::size_t>(total)];
        double const error =
            std::fabs(load_element(what.d, row + j * size) - (bitwise ? rounded(what.d, exact) : exact));
        bool const bad = !(error <= bound);
        wrong += bad;
        unwritten += is_poison(what.d, row + j * size);
        double ratio = std::isnan(error) ? HUGE_VAL : bound > 0 ? error / bound : error > 0 ? HUGE_VAL : 0.0;
        if (bad) ratio += 1e9;  // a wrong element is shown before any right one
        if (ratio > worst.ratio || worst.ratio < 0) worst = {ratio, error, bound, z, i, j};
      }
    }
  }
  Verdict out{.pass = wrong == 0 && unwritten == 0, .error = worst.error, .bound = worst.bound, .reason = {}};
  if (unwritten > 0) {
    out.reason = fmt::format("{} of {} elements were not written", unwritten, total);
  } else if (wrong > 0) {
    std::byte const* const at =
        after.data() + data.d.start +
        (worst.batch * data.d_batch_stride + worst.row * data.d_pitch + worst.col) * size;
    std::string const where = what.batch > 1 ? fmt::format("[{}, {}, {}]", worst.batch, worst.row, worst.col)
                                             : fmt::format("[{}, {}]", worst.row, worst.col);
    double const exact =
        data.exact[static_cast<std::size_t>((worst.batch * what.m + worst.row) * what.n + worst.col)];
    out.reason = fmt::format("{} of {} elements are wrong; at {} got {:.9g}, exact {:.9g}{}", wrong, total,
                             where, load_element(what.d, at), exact,
                             what.data == DataKind::kExact ? " (bits must agree)" : "");
  }
  if (std::int64_t const byte = touched_outside(data, after); byte >= 0) {
    out.pass = false;
    std::string const touched =
        fmt::format("byte {} from the start of d, which is no element, was written", byte - data.d.start);
    out.reason = out.reason.empty() ? touched : out.reason + "; " + touched;
  }
  return out;
}

std::vector<std::byte> reference_output(CaseData const& data) {
  std::vector<std::byte> out = data.d.bytes;
  Case const& what = data.what;
  std::int64_t const size = bits_of(what.d) / 8;
  std::size_t at = 0;
  for (std::int64_t z = 0; z < what.batch; ++z) {
    for (std::int64_t i = 0; i < what.m; ++i) {
      std::byte* const row = out.data() + data.d.start + (z * data.d_batch_stride + i * data.d_pitch) * size;
      for (std::int64_t j = 0; j < what.n; ++j) store_element(what.d, row + j * size, data.exact[at++]);
    }
  }
  return out;
}

}  // namespace deepwell::check

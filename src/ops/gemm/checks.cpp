// Checks of arguments that GEMM and einsum share.
#include "ops/gemm/checks.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

namespace deepwell::checks {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

/// a * b for factors >= 0, or -1 when it does not fit.
std::int64_t product(std::int64_t a, std::int64_t b) {
  if (a < 0 || b < 0) return -1;
  return b != 0 && a > kMax / b ? -1 : a * b;
}

std::int64_t sum(std::int64_t a, std::int64_t b) {
  if (a < 0 || b < 0) return -1;
  return a > kMax - b ? -1 : a + b;
}

/// Bytes of one element as views count them: e2m1 counts packed bytes.
int element_bytes(Dtype dtype) { return dtype == Dtype::kE2m1 ? 1 : bits_of(dtype) / 8; }

}  // namespace

std::string shape_text(std::initializer_list<std::int64_t> sizes) {
  return fmt::format("[{}]", fmt::join(sizes.begin(), sizes.end(), ", "));
}

Range check_view(std::string_view name, TensorView const& view, int rank) {
  if (view.rank != rank) {
    throw bad_argument(fmt::format("{}.rank", name), fmt::format("{}", view.rank), fmt::format("{}", rank));
  }
  int const bytes = element_bytes(view.dtype);
  std::int64_t elements = 1;
  std::int64_t last = 0;  // offset of the last element
  bool empty = false;
  for (int i = 0; i < rank; ++i) {
    if (view.shape[i] < 0)
      throw bad_argument(fmt::format("{}.shape", name), describe(view), "sizes that are not negative");
    if (view.shape[i] == 0) empty = true;
  }
  for (int i = 0; i < rank && !empty; ++i) {
    if (view.strides[i] < 0)
      throw bad_argument(fmt::format("{}.strides", name), describe(view), "strides that are not negative");
    elements = product(elements, view.shape[i]);
    if (view.shape[i] > 1) last = sum(last, product(view.shape[i] - 1, view.strides[i]));
  }
  Range range{.name = name, .begin = view.data};
  if (empty) return range;
  range.bytes = product(sum(last, 1), bytes);
  if (product(elements, bytes) < 0 || range.bytes < 0 ||
      view.data > std::numeric_limits<DeviceAddress>::max() - static_cast<DeviceAddress>(range.bytes)) {
    throw bad_argument(fmt::format("{}.shape", name), describe(view),
                       "a tensor that fits into 64-bit addresses");
  }
  if (view.data == 0)
    throw bad_argument(fmt::format("{}.data", name), fmt::format("null for {}", describe(view)),
                       "an address");
  if (view.data % static_cast<unsigned>(bytes) != 0) {
    throw bad_argument(fmt::format("{}.data", name), fmt::format("{:#x}", view.data),
                       fmt::format("a multiple of {} bytes, the size of {}", bytes, name_of(view.dtype)));
  }
  if (rank == 2 && (view.strides[1] == 1 || view.shape[1] == 1)) {
    range.pitch = product(view.shape[0] > 1 ? view.strides[0] : 0, bytes);
    range.row_bytes = product(view.shape[1], bytes);
  }
  return range;
}

void check_apart(Range const& written, Range const& other) {
  if (written.bytes == 0 || other.bytes == 0) return;
  if (written.begin + static_cast<DeviceAddress>(written.bytes) <= other.begin ||
      other.begin + static_cast<DeviceAddress>(other.bytes) <= written.begin) {
    return;
  }
  // Column slices of one matrix: same pitch, different columns.
  if (written.pitch > 0 && written.pitch == other.pitch) {
    auto const pitch = static_cast<DeviceAddress>(written.pitch);
    DeviceAddress const shift = other.begin >= written.begin
                                    ? (other.begin - written.begin) % pitch
                                    : (pitch - (written.begin - other.begin) % pitch) % pitch;
    if (shift >= static_cast<DeviceAddress>(written.row_bytes) &&
        shift + static_cast<DeviceAddress>(other.row_bytes) <= pitch)
      return;
  }
  throw bad_argument(std::string(written.name),
                     fmt::format("{:#x} to {:#x}, which overlaps {} at {:#x} to {:#x}", written.begin,
                                 written.begin + static_cast<DeviceAddress>(written.bytes), other.name,
                                 other.begin, other.begin + static_cast<DeviceAddress>(other.bytes)),
                     fmt::format("memory apart from {}", other.name));
}

bool is_e2m1_bytes(Dtype dtype) {
  return dtype == Dtype::kI8 || dtype == Dtype::kU8 || dtype == Dtype::kE2m1;
}

Dtype operand_dtype(std::string_view name, TensorView const& view) {
  if (view.dtype == Dtype::kE4m3) return Dtype::kE4m3;
  if (is_e2m1_bytes(view.dtype)) return Dtype::kE2m1;
  throw bad_argument(fmt::format("{}.dtype", name), name_of(view.dtype),
                     "e4m3, or packed e2m1 as i8, u8 or e2m1");
}

std::int64_t logical_k(TensorView const& view) {
  std::int64_t const size = view.shape[static_cast<std::size_t>(view.rank - 1)];
  if (!is_e2m1_bytes(view.dtype)) return size;
  return size > kMax / 2 ? kMax : 2 * size;
}

void check_output(std::string_view name, TensorView const& view) {
  if (view.dtype != Dtype::kBf16 && view.dtype != Dtype::kF32) {
    throw bad_argument(fmt::format("{}.dtype", name), name_of(view.dtype), "bf16 or f32");
  }
  int const last = view.rank - 1;
  if (view.elements() == 0) return;
  if (view.shape[last] > 1 && view.strides[last] != 1) {
    throw bad_argument(fmt::format("{}.strides", name), describe(view), "a last stride of 1");
  }
  // Axes by stride: each must step over all that the smaller ones span.
  std::vector<std::pair<std::int64_t, std::int64_t>> axes;  // stride, size
  for (int i = 0; i < last; ++i) {
    if (view.shape[i] > 1) axes.emplace_back(view.strides[i], view.shape[i]);
  }
  std::sort(axes.begin(), axes.end());
  std::int64_t span = view.shape[last];
  for (auto const& [stride, size] : axes) {
    if (stride < span)
      throw bad_argument(fmt::format("{}.strides", name), describe(view), "rows that do not overlap");
    span += stride * (size - 1);
  }
}

void check_addend(TensorView const& c, Range const& c_range, TensorView const& d, Range const& d_range) {
  if (c.dtype != d.dtype)
    throw bad_argument("c.dtype", name_of(c.dtype), fmt::format("{}, d's", name_of(d.dtype)));
  for (int i = 0; i < d.rank; ++i) {
    if (c.shape[i] != d.shape[i])
      throw bad_argument("c.shape", describe(c), fmt::format("d's: {}", describe(d)));
  }
  if (d.elements() == 0) return;
  int const last = d.rank - 1;
  if (c.shape[last] > 1 && c.strides[last] != 1)
    throw bad_argument("c.strides", describe(c), "a last stride of 1");
  if (c.data == d.data) {
    for (int i = 0; i < d.rank; ++i) {
      if (d.shape[i] > 1 && c.strides[i] != d.strides[i]) {
        throw bad_argument("c.strides", describe(c), fmt::format("d's, whose memory it is: {}", describe(d)));
      }
    }
    return;
  }
  check_apart(d_range, c_range);
}

ScaleForm scale_form(std::string_view name, TensorView const& view) {
  switch (view.dtype) {
    case Dtype::kF32: return ScaleForm::kF32;
    case Dtype::kUe8m0:
    case Dtype::kU8: return ScaleForm::kBytes;
    case Dtype::kI32: return ScaleForm::kPacked;
    default: break;
  }
  throw bad_argument(fmt::format("{}.dtype", name), name_of(view.dtype),
                     "f32, ue8m0 (or u8), or i32 with four ue8m0 each");
}

void check_size(std::string_view name, std::int64_t size) {
  if (size > kMaxSize)
    throw bad_argument(std::string(name), fmt::format("{}", size), fmt::format("at most {}", kMaxSize));
}

void check_k(std::int64_t k) {
  if (k % kStepK != 0) throw bad_argument("k", fmt::format("{}", k), fmt::format("a multiple of {}", kStepK));
}

}  // namespace deepwell::checks

// Helpers of TensorView.
#include "tensor/tensor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <span>

namespace deepwell {

std::int64_t TensorView::elements() const {
  std::int64_t count = 1;
  for (int i = 0; i < rank; ++i) count *= shape[i];
  return count;
}

bool TensorView::contiguous() const {
  std::int64_t expected = 1;
  for (int i = rank - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

TensorView contiguous_view(std::uint64_t data, Dtype dtype, std::initializer_list<std::int64_t> shape) {
  TensorView view{
      .data = data, .dtype = dtype, .rank = static_cast<int>(shape.size()), .shape = {}, .strides = {}};
  int axis = 0;
  for (std::int64_t extent : shape) view.shape[axis++] = extent;
  std::int64_t stride = 1;
  for (int i = view.rank - 1; i >= 0; --i) {
    view.strides[i] = stride;
    stride *= view.shape[i];
  }
  return view;
}

std::string describe(TensorView const& view) {
  auto shape = std::span(view.shape).first(view.rank);
  auto strides = std::span(view.strides).first(view.rank);
  return fmt::format("[{}] {}, strides ({})", fmt::join(shape, ", "), name_of(view.dtype),
                     fmt::join(strides, ", "));
}

}  // namespace deepwell

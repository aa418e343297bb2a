// A view of a tensor in some device's memory: address, element type, shape, strides. Owns nothing.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "deepwell/common.h"

namespace deepwell {

inline constexpr int kMaxRank = 4;

/// Strides are in elements of `dtype`, except for e2m1, where shape and strides count *bytes* along the packed axis as
/// callers hold it (an [m, k] e2m1 matrix is viewed as [m, k/2]); `logical_k()` style helpers live with the operation.
struct TensorView {
  std::uint64_t data = 0;  // device address (the backend's)
  Dtype dtype = Dtype::kU8;
  int rank = 0;
  std::array<std::int64_t, kMaxRank> shape{};
  std::array<std::int64_t, kMaxRank> strides{};

  bool present() const { return rank > 0; }
  std::int64_t elements() const;
  bool contiguous() const;
};

/// A contiguous (row-major) view.
TensorView contiguous_view(std::uint64_t data, Dtype dtype, std::initializer_list<std::int64_t> shape);

/// "[4, 4096] e4m3, strides (4096, 1)".
std::string describe(TensorView const& view);

}  // namespace deepwell

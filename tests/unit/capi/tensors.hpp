// DLPack tensors for tests of the C interface.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "deepwell/deepwell.h"

namespace deepwell::testing {

struct Tensor {
  std::vector<std::int64_t> shape, strides;
  dw_tensor tensor{};
  /// On an emulated (or null) device unless `device` says otherwise; no strides: row-major.
  Tensor(void* data, int code, int bits, std::vector<std::int64_t> sizes,
         std::vector<std::int64_t> steps = {}, int device = DW_DEVICE_EXTENSION)
      : shape(std::move(sizes)), strides(std::move(steps)) {
    tensor.data = data;
    tensor.device = {device, 0};
    tensor.ndim = static_cast<std::int32_t>(shape.size());
    tensor.dtype = {static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(bits),
                    static_cast<std::uint16_t>(bits == 4 ? 2 : 1)};
    tensor.shape = shape.data();
    tensor.strides = strides.empty() ? nullptr : strides.data();
  }
  Tensor(std::uintptr_t data, int code, int bits, std::vector<std::int64_t> sizes,
         std::vector<std::int64_t> steps = {})
      : Tensor(reinterpret_cast<void*>(data), code, bits, std::move(sizes), std::move(steps)) {}
  Tensor(Tensor const&) = delete;
};

}  // namespace deepwell::testing

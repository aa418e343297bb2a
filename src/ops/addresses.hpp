// Device addresses and strides as kernels' arguments and tensor maps take them.
#pragma once

#include <cstdint>

#include "backend/backend.hpp"

namespace deepwell {

/// An address as a kernel's argument holds it. The host never follows it.
template <class T>
T* pointer(DeviceAddress address) {
  return reinterpret_cast<T*>(static_cast<std::uintptr_t>(address));
}

/// Whether a tensor map takes a stride of so many bytes between rows or matrices (CUDA driver API, cuTensorMapEncodeTiled).
constexpr bool tma_stride(std::int64_t bytes) {
  return bytes > 0 && bytes % 16 == 0 && bytes < std::int64_t{1} << 40;
}

}  // namespace deepwell

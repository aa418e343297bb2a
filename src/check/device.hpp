// Operands of cases in a device's memory.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <vector>

#include "backend/backend.hpp"
#include "check/data.hpp"
#include "tensor/tensor.hpp"

namespace deepwell::check {

/// Device memory until the end of a scope, with a buffer's bytes at first.
class DeviceBuffer {
 public:
  DeviceBuffer(Backend& backend, Buffer const& from);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer const&) = delete;
  DeviceBuffer& operator=(DeviceBuffer const&) = delete;

  /// Where the buffer's first element is.
  DeviceAddress tensor() const { return address_ + static_cast<DeviceAddress>(start_); }
  /// All bytes, guard bands included.
  std::vector<std::byte> read() const;

 private:
  Backend& backend_;
  DeviceAddress address_ = 0;
  std::int64_t start_;
  std::size_t size_;
};

/// Throws Error kDevice if the memory is no longer what it was made from.
void check_unchanged(DeviceBuffer const& device, Buffer const& host, char const* name);

/// A tensor at `data` with these strides, in elements.
TensorView strided_view(DeviceAddress data, Dtype dtype, std::initializer_list<std::int64_t> shape,
                        std::initializer_list<std::int64_t> strides);

/// Packed e2m1 is passed as i8.
Dtype stored_dtype(Dtype operand);
Dtype scale_dtype(ref::ScaleFormat format);

/// Bytes of a row's elements.
std::int64_t row_bytes(OperandData const& operand);

}  // namespace deepwell::check

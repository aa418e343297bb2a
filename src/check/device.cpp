// Copies to a device and back.
#include "check/device.hpp"

#include <algorithm>
#include <exception>

#include "base/error.hpp"
#include "base/log.hpp"

namespace deepwell::check {

DeviceBuffer::DeviceBuffer(Backend& backend, Buffer const& from)
    : backend_(backend), start_(from.start), size_(from.bytes.size()) {
  if (size_ == 0) return;
  address_ = backend.allocate(size_);
  backend.copy_to_device(address_, from.bytes, nullptr);
}

DeviceBuffer::~DeviceBuffer() {
  if (address_ == 0) return;
  try {
    backend_.release(address_);
  } catch (std::exception const& error) {  // launches that waited may report here
    log_error("release of a case's memory: {}", error.what());
  }
}

std::vector<std::byte> DeviceBuffer::read() const {
  std::vector<std::byte> out(size_);
  if (size_ != 0) backend_.copy_to_host(out, address_, nullptr);
  return out;
}

void check_unchanged(DeviceBuffer const& device, Buffer const& host, char const* name) {
  DW_CHECK(device.read() == host.bytes, kDevice, "{} or the memory around it was written", name);
}

TensorView strided_view(DeviceAddress data, Dtype dtype, std::initializer_list<std::int64_t> shape,
                        std::initializer_list<std::int64_t> strides) {
  TensorView out = contiguous_view(data, dtype, shape);
  std::copy(strides.begin(), strides.end(), out.strides.begin());
  return out;
}

Dtype stored_dtype(Dtype operand) { return operand == Dtype::kE2m1 ? Dtype::kI8 : operand; }

Dtype scale_dtype(ref::ScaleFormat format) {
  switch (format) {
    case ref::ScaleFormat::kF32: return Dtype::kF32;
    case ref::ScaleFormat::kUe8m0: return Dtype::kUe8m0;
    case ref::ScaleFormat::kPacked: return Dtype::kI32;
  }
  throw Error(ErrorCode::kInternal, "scale format out of range");
}

std::int64_t row_bytes(OperandData const& operand) { return operand.k * bits_of(operand.how.dtype) / 8; }

}  // namespace deepwell::check

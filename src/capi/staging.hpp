// Tensors in host memory, for operations of an emulated device: their bytes go to emulated memory before the operation, and what
// it may write comes back after it.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "ops/context.hpp"
#include "tensor/tensor.hpp"

namespace deepwell {

/// One tensor of a call.
struct HostTensor {
  std::string_view name;
  TensorView* view = nullptr;  // at its address on the host until it is staged
  bool written = false;        // by the operation
};

/// Areas of emulated memory, one for all tensors whose bytes overlap; they hold every byte between a tensor's first and last
/// element. Distances within an area, overlaps and addresses modulo 256 are as on the host, and an area ends where its last
/// tensor does, so that accesses past it are found.
class Staging {
 public:
  Staging(Context& context, Stream stream) : context_(context), stream_(stream) {}
  ~Staging();
  Staging(Staging const&) = delete;
  Staging& operator=(Staging const&) = delete;

  /// Copies the bytes of `tensors` to the device and moves their views there; views without elements stay as they are. Throws
  /// Error kBadArgument as checks::check_view does.
  void copy_in(std::vector<HostTensor> const& tensors);
  /// Waits for the device and copies the elements of written tensors to the host, nothing between them. Host memory is
  /// untouched when this throws.
  void copy_back();
  /// "a at 0x700000000, d at 0x700010100": where the tensors are on the device.
  std::string describe() const;

 private:
  struct Area {
    DeviceAddress host = 0;  // the first byte
    std::size_t bytes = 0;
    DeviceAddress allocation = 0, device = 0;  // `device` is where the first byte is
  };
  struct Staged {
    HostTensor tensor;
    DeviceAddress host = 0;
    std::size_t bytes = 0;
  };
  void allocate(Area& area);

  Context& context_;
  Stream stream_;
  std::vector<Area> areas_;
  std::vector<Staged> staged_;  // by address
};

}  // namespace deepwell

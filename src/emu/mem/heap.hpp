// The heap of an emulated device, from which malloc of device code takes its memory. One for each Memory, in one allocation.
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

namespace deepwell::emu {

/// As large as CUDA's is unless it is told otherwise.
inline constexpr std::uint64_t kHeapBytes = 8 * 1024 * 1024;

class DeviceHeap {
 public:
  explicit DeviceHeap(std::uint64_t base) : base_(base) {}
  /// Address of a new block, a multiple of 16 and apart from others; 0 where there is no room.
  std::uint64_t allocate(std::uint64_t bytes);
  /// Bytes of the block that begins there, which is given back; 0: there is none.
  std::uint64_t release(std::uint64_t address);
  /// The range lies inside one block.
  bool holds(std::uint64_t address, std::uint64_t bytes) const;

 private:
  static constexpr std::uint64_t kGap = 16;
  std::uint64_t base_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> blocks_;  // address, bytes
};

}  // namespace deepwell::emu

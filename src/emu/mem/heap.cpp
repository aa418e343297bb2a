// The heap of an emulated device.
#include "emu/mem/heap.hpp"

#include <algorithm>

namespace deepwell::emu {

std::uint64_t DeviceHeap::allocate(std::uint64_t bytes) {
  if (bytes > kHeapBytes) return 0;
  bytes = std::max<std::uint64_t>(1, bytes);
  std::scoped_lock const lock(mutex_);
  std::uint64_t at = base_;
  for (auto const& [address, size] : blocks_) {  // the first gap that is large enough
    if (address - at >= bytes + kGap) break;
    at = (address + size + kGap + 15) / 16 * 16;
  }
  if (at + bytes > base_ + kHeapBytes) return 0;
  blocks_.emplace(at, bytes);
  return at;
}

std::uint64_t DeviceHeap::release(std::uint64_t address) {
  std::scoped_lock const lock(mutex_);
  auto const found = blocks_.find(address);
  if (found == blocks_.end()) return 0;
  std::uint64_t const bytes = found->second;
  blocks_.erase(found);
  return bytes;
}

bool DeviceHeap::holds(std::uint64_t address, std::uint64_t bytes) const {
  std::scoped_lock const lock(mutex_);
  auto after = blocks_.upper_bound(address);
  if (after == blocks_.begin()) return false;
  --after;
  return address - after->first <= after->second && bytes <= after->second - (address - after->first);
}

}  // namespace deepwell::emu

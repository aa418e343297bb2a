// Global memory of an emulated device: allocations, their shadow, and the immutable snapshot that a launch works on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "emu/emu.hpp"

namespace deepwell::emu {

/// The bytes of one allocation. `shadow` is null for mapped host memory and variables, which count as initialised.
struct Block {
  std::byte* data = nullptr;
  std::uint8_t* shadow = nullptr;
  bool owned = false;
  Block() = default;
  Block(Block const&) = delete;
  Block& operator=(Block const&) = delete;
  ~Block();
};

struct Allocation {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
  std::string label;
  bool read_only = false;  // .const variables
  std::shared_ptr<Block> block;
};

/// All allocations at one moment, sorted by base. Immutable; keeps the blocks alive.
struct GlobalView {
  std::vector<Allocation> allocations;
  mutable std::mutex wide_atomics;  // 128-bit atomics are not atomic on every host
  GlobalView() = default;
  GlobalView(GlobalView const& other) : allocations(other.allocations) {}
  /// The allocation that holds `address`, or null. `hint` is the index that was found last.
  Allocation const* find(std::uint64_t address, int& hint) const;
  /// "0x700000100, 16 bytes after the end of "weights" [0x700000000, 240 bytes]".
  std::string describe(std::uint64_t address) const;
};

struct Memory::Impl {
  mutable std::mutex mutex;
  std::shared_ptr<GlobalView const> view = std::make_shared<GlobalView>();
  std::uint64_t next = 0;
  std::uint64_t limit = 0, used = 0;  // bytes
  /// Addresses of the variables of modules that were launched on this memory. The key keeps the module's token alive.
  std::map<std::shared_ptr<void const>, std::vector<std::uint64_t>> variables;

  std::shared_ptr<GlobalView const> snapshot() const {
    std::scoped_lock lock(mutex);
    return view;
  }
  std::uint64_t add(Allocation allocation);  // caller holds the lock; fills in base
  /// Throws Error kDevice where `bytes` more are not to be had.
  void require(std::uint64_t bytes) const;
};

std::shared_ptr<Block> make_block(std::size_t bytes, bool initialised);

}  // namespace deepwell::emu

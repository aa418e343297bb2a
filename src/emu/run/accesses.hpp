// What one memory instruction does, for the race checker and the counters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "emu/instr/instr.hpp"

namespace deepwell::emu {

/// Order and scope of a memory instruction, read off its modifiers once, when it is decoded. Fits Instr::aux as bits.
struct MemoryOrder {
  std::uint16_t kind = 0;  // kStrong, kNonCoherent and the scope of race::Kind
  bool acquire = false, release = false;
  std::uint32_t bits() const { return kind | std::uint32_t{acquire} << 16 | std::uint32_t{release} << 17; }
  static MemoryOrder from_bits(std::uint32_t bits) {
    return {static_cast<std::uint16_t>(bits), (bits >> 16 & 1) != 0, (bits >> 17 & 1) != 0};
  }
};

/// `places[lane]` of `bytes` each, for the lanes of `mask`; constant and parameter memory does not count, nor local memory for
/// races. `values`: what a store writes, per lane `count` elements.
struct LaneAccesses {
  Mask mask = 0;
  Place const* places = nullptr;  // [kLanes]
  std::size_t bytes = 0;
  std::uint16_t kind = 0;  // race::kRead, race::kWrite or both
  MemoryOrder order;
  std::vector<Value> const* values = nullptr;
  Mask wrote = kFullMask;      // of an atomic: the lanes that changed memory (a failed compare does not)
  Mask unchanged = 0;          // of a store: the lanes whose bytes had the stored value before
  bool result_is_used = true;  // red has none: it acquires nothing
};

}  // namespace deepwell::emu

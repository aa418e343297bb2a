// Who touched which bytes: records of accesses beside every 16 bytes of shared and global memory.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "emu/race/clock.hpp"

namespace deepwell::emu::race {

/// Properties of an access, as bits.
enum Kind : std::uint16_t {
  kRead = 1,
  kWrite = 2,
  kStrong =
      4,  // relaxed, acquire, release, volatile or atomic: races with no other strong access in its scope
  kAsyncProxy = 8,    // by the unit that does bulk copies
  kNonCoherent = 16,  // ld.global.nc: the bytes must not change during the launch
  kDelayed = 32,      // by an operation that completes later: `who` names it
  kMbarrierInit = 64,
  kTensorMap = 128,  // of a tensor map, by the unit that does bulk copies
  kScopeShift = 8,   // 2 bits: Scope
};
enum class Scope : std::uint8_t { kCta, kCluster, kGpu, kSystem };
inline Scope scope_of(std::uint16_t kind) { return static_cast<Scope>(kind >> kScopeShift & 3); }
inline std::uint16_t scope_bits(Scope scope) {
  return static_cast<std::uint16_t>(static_cast<std::uint16_t>(scope) << kScopeShift);
}

/// An instruction of a launch of the list, in one word.
inline constexpr std::uint32_t kPositionBits = 20;
inline constexpr std::uint32_t kMaxLaunches = 1u << (32 - kPositionBits),
                               kMaxInstructions = 1u << kPositionBits;
inline std::uint32_t site_of(std::uint32_t launch, std::uint32_t position) {
  return launch << kPositionBits | position;
}
inline std::uint32_t position_of(std::uint32_t site) { return site & (kMaxInstructions - 1); }

inline constexpr std::uint32_t kOperationBit = 1u << 31;
inline constexpr std::uint32_t kMaxTeams = 1u << 22, kMaxWarps = 1u << 9;

/// One access to some of 16 bytes. All zero: none.
struct Record {
  std::uint32_t who = 0;     // 1 + warp + team * kMaxWarps, or an operation's number with kOperationBit
  Epoch epoch = 0;           // of the warp
  std::uint32_t lanes = 0;   // of the warp (for an operation: the lane that asked for these bytes)
  std::uint32_t site = 0;    // the instruction, see site_of
  std::uint32_t serial = 0;  // of its execution
  std::uint16_t bytes = 0;   // of the 16
  std::uint16_t kind = 0;
};

inline constexpr std::uint32_t kCellBytes = 16;
/// The accesses that still matter: no later one by somebody who knew of them covers them.
struct Cell {
  Record first;
  std::uint32_t more = 0;  // 1 + index in Records::lists
};

/// Records beyond the first of a cell.
struct Records {
  std::vector<std::vector<Record>> lists;
};

/// Shadow of a CTA's shared memory.
struct SharedShadow {
  std::vector<Cell> cells;
  Records records;
};

/// Shadow of global memory, made page by page as it is touched.
class GlobalShadow {
 public:
  static constexpr std::uint64_t kPageBytes = 4096;
  Cell* page(std::uint64_t address) {
    std::uint64_t const number = address / kPageBytes;
    if (number != last_number_) {
      auto& page = pages_[number];
      if (page == nullptr) page = std::make_unique<Cell[]>(kPageBytes / kCellBytes);
      last_ = page.get();
      last_number_ = number;
    }
    return last_;
  }
  Records records;

 private:
  std::unordered_map<std::uint64_t, std::unique_ptr<Cell[]>> pages_;
  std::uint64_t last_number_ = ~std::uint64_t{0};
  Cell* last_ = nullptr;
};

}  // namespace deepwell::emu::race

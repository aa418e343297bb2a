// How many sectors of global memory and how many turns at the banks of shared memory one request takes. Pure functions; the
// models are described in docs/emulator.md.
#pragma once

#include <cstdint>
#include <span>

namespace deepwell::emu {

inline constexpr std::uint64_t kSectorBytes = 32;
inline constexpr int kBanks = 32;  // of four bytes

/// A range of bytes.
struct ByteRange {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
};

struct Transactions {
  std::uint64_t needed = 0;
  std::uint64_t ideal = 0;
  bool operator==(Transactions const&) const = default;
};

/// Sectors that the ranges touch, each counted once, and the least that could hold as many distinct bytes. Sorts the ranges.
Transactions sectors_of(std::span<ByteRange> ranges);

/// Wavefronts of one request to shared memory. `ranges[lane]` has no bytes where a lane takes no part; all others have
/// the same size, 1 to 16 bytes. Lanes are served 32 at a time up to four bytes each, 16 at a time up to eight, 8 at a time up
/// to sixteen; in each of these passes different words of one bank come one after the other. A word that several lanes ask
/// for is served once, except where `each_lane_counts` (atomics).
Transactions wavefronts_of(std::span<ByteRange const> ranges, bool each_lane_counts);

}  // namespace deepwell::emu

// Sectors and bank conflicts.
#include "emu/run/transactions.hpp"

#include <algorithm>
#include <array>

namespace deepwell::emu {
namespace {

/// The longest queue at a bank for the words of one pass.
std::uint64_t longest_queue(std::span<ByteRange const> ranges, bool each_lane_counts) {
  constexpr std::size_t kMost = 64;  // words of 32 lanes that straddle two each
  std::uint64_t words[kBanks][kMost];
  std::array<std::size_t, kBanks> lengths{};
  for (ByteRange const& range : ranges) {
    if (range.bytes == 0) continue;
    for (std::uint64_t word = range.address / 4; word <= (range.address + range.bytes - 1) / 4; ++word) {
      std::size_t const bank = word % kBanks;
      std::uint64_t* const queue = words[bank];
      std::size_t& length = lengths[bank];
      if (each_lane_counts || std::find(queue, queue + length, word) == queue + length)
        queue[length++] = word;
    }
  }
  return *std::max_element(lengths.begin(), lengths.end());
}

}  // namespace

Transactions sectors_of(std::span<ByteRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](ByteRange const& a, ByteRange const& b) { return a.address < b.address; });
  Transactions out;
  std::uint64_t bytes = 0, end = 0;  // distinct bytes so far, and where they end
  std::uint64_t next_sector = 0;     // sectors below it are counted
  for (ByteRange const& range : ranges) {
    if (range.bytes == 0) continue;
    std::uint64_t const stop = range.address + range.bytes;
    std::uint64_t const from = std::max(range.address, end);
    if (stop > from) bytes += stop - from;
    end = std::max(end, stop);
    std::uint64_t const first = std::max(range.address / kSectorBytes, next_sector);
    std::uint64_t const last = (stop - 1) / kSectorBytes;
    if (last + 1 > first) {
      out.needed += last + 1 - first;
      next_sector = last + 1;
    }
  }
  out.ideal = (bytes + kSectorBytes - 1) / kSectorBytes;
  return out;
}

Transactions wavefronts_of(std::span<ByteRange const> ranges, bool each_lane_counts) {
  std::uint64_t widest = 0;
  for (ByteRange const& range : ranges) widest = std::max(widest, range.bytes);
  std::size_t const lanes = widest <= 4 ? 32 : widest <= 8 ? 16 : 8;
  Transactions out;
  for (std::size_t first = 0; first < ranges.size(); first += lanes) {
    std::uint64_t const queue =
        longest_queue(ranges.subspan(first, std::min(lanes, ranges.size() - first)), each_lane_counts);
    out.needed += queue;
    out.ideal += queue != 0 ? 1 : 0;
  }
  return out;
}

}  // namespace deepwell::emu

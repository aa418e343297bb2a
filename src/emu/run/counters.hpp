// Counts what the instructions of a running launch do to memory and at barriers. One object for each host thread; sums do not
// depend on who counted what.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "emu/instr/kind.hpp"
#include "emu/run/accesses.hpp"
#include "emu/run/machine.hpp"
#include "emu/run/transactions.hpp"
#include "emu/statistics.hpp"

namespace deepwell::emu {

class Counters {
 public:
  explicit Counters(Launch const& launch);

  /// Loads, stores and atomics of all spaces, ldmatrix and stmatrix.
  void access(Instr const& instr, LaneAccesses const& accesses);
  /// cp.async; ranges by lane, without bytes where a lane copies nothing.
  void cp_async(Instr const& instr, std::span<ByteRange> reads, std::span<ByteRange const> writes);

  /// An asynchronous operation begins; what it touches follows, before the next one begins. All but bulk copies are ignored.
  void start_bulk(Instr const& instr);
  void bulk_global(std::uint64_t address, std::size_t bytes, std::uint16_t race_kind);
  void bulk_shared(std::size_t bytes, std::uint16_t race_kind);

  void merge(Counters& other);
  void add_to(Statistics& out) const;

  SyncCounts sync;

 private:
  /// Of one instruction.
  struct Site {
    MemoryCounts global, shared, local;
    BulkCounts bulk;
    AccessKind access = AccessKind::kLoad;
  };
  std::size_t position_of(Instr const& instr) const;
  Site& site_of(Instr const& instr) { return sites_[position_of(instr)]; }
  void finish_bulk();
  std::vector<HotLine> hot_lines(std::span<MemoryCounts const> counts) const;

  Launch const& launch_;
  std::vector<Site> sites_;                // by instruction of the launch's function
  std::optional<std::size_t> bulk_;        // instruction of the bulk operation that goes on
  std::vector<ByteRange> read_, written_;  // its global memory
};

}  // namespace deepwell::emu

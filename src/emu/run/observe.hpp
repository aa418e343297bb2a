// Tells the race checker and the counters what instructions do: every access, release, acquisition and copy of a running
// program goes through these functions. They do nothing in a run without checks and counters.
#pragma once

#include <cstdint>

#include "emu/instr/instr.hpp"
#include "emu/mem/tma.hpp"
#include "emu/race/checker.hpp"
#include "emu/run/accesses.hpp"
#include "emu/run/counters.hpp"

namespace deepwell::emu {

/// `atomic`: atom and red are relaxed at GPU scope unless they say otherwise; ld and st are weak.
MemoryOrder memory_order(Instr const& instr, bool atomic);
race::Scope scope_named(Instr const& instr, race::Scope otherwise);

inline bool observed(Warp const& warp) { return warp.launch->race != nullptr; }
inline Counters* counters_of(Warp const& warp) { return warp.cta->cluster->counters; }
race::Actor actor_of(Warp const& warp, Instr const& instr, Mask lanes);
race::Location location_of(Place const& place);
/// Of a 32-bit shared address.
race::Location shared_location(Cta const& cta, std::uint32_t address);

void observe_slow(Warp& warp, Instr const& instr, LaneAccesses const& accesses);
inline void observe(Warp& warp, Instr const& instr, LaneAccesses const& accesses) {
  if (Counters* const counters = counters_of(warp)) counters->access(instr, accesses);
  if (observed(warp)) observe_slow(warp, instr, accesses);
}
/// One access of one lane.
void observe_one(Warp& warp, Instr const& instr, int lane, Place const& place, std::size_t bytes,
                 std::uint16_t kind);

/// An asynchronous operation from its issue on. Copies freely; empty in a run without checks and counters.
class ObservedOperation {
 public:
  ObservedOperation() = default;
  /// `lanes` ask for it; by the bulk copy unit (`async_proxy`) or by cp.async.
  ObservedOperation(Warp& warp, Instr const& instr, Mask lanes, bool async_proxy);
  /// Whether anybody wants to know what it touches.
  bool watched() const { return warp_ != nullptr || counters_ != nullptr; }

  void global(int lane, std::uint64_t address, std::size_t bytes, std::uint16_t kind) const;
  void shared(int lane, Cta const& cta, std::uint32_t address, std::size_t bytes, std::uint16_t kind) const;
  void place(int lane, Place const& place, std::size_t bytes, std::uint16_t kind) const;
  void tensor_map(int lane, Place const& map) const;
  void signals(int lane, Cta const& cta, std::uint32_t mbarrier) const;
  /// Completed in the current phase of the mbarrier; for all lanes, or those given.
  void done_in_phase(Cta const& cta, std::uint32_t mbarrier, Mask lanes = kFullMask) const;
  /// Lanes of its warp have waited for it, at `instr`.
  void waited(Warp& warp, Instr const& instr, Mask lanes, bool altogether) const;

 private:
  Counters* counters_ = nullptr;
  Warp* warp_ = nullptr;  // null without a race checker
  Instr const* instr_ = nullptr;
  std::uint32_t number_ = 0;
};

/// A memory for Tile that moves nothing and tells an operation which bytes it would move.
class ObservingMemory : public BulkMemory {
 public:
  ObservingMemory(ObservedOperation const& operation, int lane, Cta& cta)
      : operation_(operation), lane_(lane), cta_(cta) {}
  void read_global(std::uint64_t address, std::span<std::byte> data, std::span<std::uint8_t>) override {
    operation_.global(lane_, address, data.size(), race::kRead);
  }
  void write_global(std::uint64_t address, std::span<std::byte const> data,
                    std::span<std::uint8_t const>) override {
    operation_.global(lane_, address, data.size(), race::kWrite);
  }
  void update_global(std::uint64_t address, std::size_t bytes,
                     std::function<void(std::span<std::byte>)> const&) override {
    operation_.global(lane_, address, bytes,
                      race::kRead | race::kWrite | race::kStrong | race::scope_bits(race::Scope::kGpu));
  }
  void read_shared(std::uint32_t address, std::span<std::byte> data, std::span<std::uint8_t> valid) override {
    std::fill(valid.begin(), valid.end(), std::uint8_t{1});
    operation_.shared(lane_, cta_, address, data.size(), race::kRead);
  }
  void write_shared(std::uint32_t address, std::span<std::byte const> data,
                    std::span<std::uint8_t const>) override {
    operation_.shared(lane_, cta_, address, data.size(), race::kWrite);
  }

 private:
  ObservedOperation const& operation_;
  int lane_;
  Cta& cta_;
};

// mbarriers; `address` is a 32-bit shared address, maybe of another CTA of the cluster.
void observe_mbarrier_init(Warp& warp, Instr const& instr, int lane, std::uint32_t address);
void observe_mbarrier_invalidate(Warp& warp, Instr const& instr, int lane, std::uint32_t address);
/// Before an arrival, a wait or a change of the byte count.
void observe_mbarrier_use(Warp& warp, Instr const& instr, int lane, std::uint32_t address, bool writes);
void observe_mbarrier_arrive(Warp& warp, Instr const& instr, int lane, std::uint32_t address);
void observe_mbarrier_waited(Warp& warp, Instr const& instr, Mask lanes, std::uint32_t address);

/// The last thread of a CTA has ended: accesses of its cluster's other CTAs to its shared memory must be over.
void observe_end(Cta& cta);
/// Throws a Report for bulk loads into the CTA's shared memory that nobody waited for.
void check_unwaited_loads(Cta& cta);

}  // namespace deepwell::emu

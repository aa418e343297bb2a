// What the asynchronous families share: mbarrier objects in a running CTA, bulk-copy access to its memories, per-lane copy
// groups, and error reports for work that completes after its instruction.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emu/instr/instr.hpp"
#include "emu/mem/mbarrier.hpp"
#include "emu/mem/tma.hpp"
#include "emu/run/observe.hpp"

namespace deepwell::emu {

/// Runs `body`; an Error that is not a Report becomes one about this instruction and lane.
template <class Body>
auto reported(Warp& warp, Instr const& instr, int lane, Body const& body) {
  std::string message;
  Finding finding = Finding::kProgram;
  try {
    return body();
  } catch (Report const&) {
    throw;
  } catch (Fault const& fault) {
    message = fault.what();
    finding = fault.finding();
  } catch (Error const& error) {
    message = error.what();
  }
  fail(warp, instr, lane, message, finding);
}

/// The space that a family's `.shared`, `.shared::cta`, `.shared::cluster` or missing modifier names: shared or generic.
Space shared_space_of(Instr const& instr);

/// A shared-memory address as 32 bits (own CTA or, above kClusterStride, another one of the cluster), from an address in
/// `space` (kShared or kGeneric). Throws Error when it does not lie in shared memory.
std::uint32_t shared_address(Space space, std::uint64_t address, char const* what);

// mbarrier objects. `address` is a shared address as above; all throw Error.
void mbarrier_init(Cta& cta, std::uint32_t address, std::uint64_t count);
void mbarrier_invalidate(Cta& cta, std::uint32_t address);
Mbarrier mbarrier_read(Cta& cta, std::uint32_t address);
/// Reads the object, lets `change` work on it, writes it back, and lets waiting warps look again.
void mbarrier_change(Cta& cta, std::uint32_t address, std::function<void(Mbarrier&)> const& change);

/// Global and shared memory of a running CTA for bulk copies.
class CtaBulkMemory : public BulkMemory {
 public:
  explicit CtaBulkMemory(Cta& cta) : cta_(cta) {}
  void read_global(std::uint64_t address, std::span<std::byte> data, std::span<std::uint8_t> valid) override;
  void write_global(std::uint64_t address, std::span<std::byte const> data,
                    std::span<std::uint8_t const> valid) override;
  void update_global(std::uint64_t address, std::size_t bytes,
                     std::function<void(std::span<std::byte>)> const& update) override;
  void read_shared(std::uint32_t address, std::span<std::byte> data, std::span<std::uint8_t> valid) override;
  void write_shared(std::uint32_t address, std::span<std::byte const> data,
                    std::span<std::uint8_t const> valid) override;

 private:
  Cta& cta_;
};

/// One asynchronous copy of a thread, or of several threads of one warp instruction.
struct AsyncCopy {
  Instr const* instr = nullptr;
  ObservedOperation observed;
  bool source_read = false;
  bool done = false;
  Mask waited = 0, read_waited = 0;          // lanes whose wait_group has covered it, or its reads
  Mask signalled = 0;                        // lanes whose cp.async.mbarrier.arrive has covered it
  std::vector<std::function<void()>> after;  // run once, when it is done; must not own a copy
};
using AsyncCopyPtr = std::shared_ptr<AsyncCopy>;

/// The copies of one lane, in the order of its commits.
struct CopyGroups {
  std::vector<AsyncCopyPtr> open;
  std::deque<std::vector<AsyncCopyPtr>> committed;
  std::uint64_t dropped = 0;  // groups that were in `committed` before its first one
  /// Copies that are done and no longer in a list above, with their group's number from the CTA's start (ascending), for
  /// a wait that is yet to cover all they do.
  std::deque<std::pair<std::uint64_t, AsyncCopyPtr>> retired;

  /// Closes the open group. Leading groups that are done and that the lane has waited for are dropped.
  void commit(int lane);
  /// Copies of retired groups but the latest `pending` of all groups; they are forgotten.
  std::vector<AsyncCopyPtr> take_retired(std::size_t pending);
  /// Whether all groups but the latest `pending` are done (or have read their source).
  bool done(std::size_t pending, bool only_read) const;
  /// Calls f(copy) for the copies of those groups.
  template <class F>
  void for_each(std::size_t pending, F const& f) const {
    std::size_t const last = committed.size() > pending ? committed.size() - pending : 0;
    for (std::size_t i = 0; i < last; ++i) {
      for (AsyncCopyPtr const& copy : committed[i]) f(copy);
    }
  }
  /// Copies that no cp.async.mbarrier.arrive of the lane has covered before; they count as covered from now on.
  std::vector<ObservedOperation> not_signalled(int lane);
  /// Copies that are not done, committed or not.
  std::vector<AsyncCopyPtr> unfinished() const;

 private:
  void retire(std::uint64_t group, AsyncCopyPtr const& copy, int lane);
};

/// Per warp; cp.async and bulk copies have groups of their own.
struct WarpCopies {
  std::array<CopyGroups, kLanes> plain, bulk;
};

/// The warp's copies. On first use it is arranged that a CTA that ends with a bulk store nobody waited for is reported.
WarpCopies& copies_of(Warp& warp);

/// Queues `run` for later, with errors reported against the instruction and lane that started it.
void post_copy(Warp& warp, Instr const& instr, int lane, char const* what, std::function<void()> run);
/// Marks a copy done and runs what waits for it.
void finish(AsyncCopy& copy);

}  // namespace deepwell::emu

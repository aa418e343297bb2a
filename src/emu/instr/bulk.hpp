// What the families of bulk and tensor copies share.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "emu/instr/async.hpp"

namespace deepwell::emu {

/// Where a copy into shared memory goes: one place, or the same offset in several CTAs of the cluster.
struct Destination {
  std::uint32_t address = 0, mbarrier = 0;
};
/// The places that a copy's destination and mbarrier name; with a CTA mask (aux[2]), the same offsets in each CTA of it. Throws a
/// Fault unless each pair lies in one CTA of the cluster and the mbarrier is alive.
std::vector<Destination> destinations(Warp& warp, Instr const& instr, int lane, std::uint32_t address,
                                      std::uint32_t mbarrier);

/// The size operand of one lane: a multiple of 16 below 2^20, else a Fault. Each executing lane starts its own copy.
std::size_t bulk_size(Warp& warp, Value const& value, int lane);
void check_aligned(std::uint64_t address, std::uint64_t multiple, char const* what);
std::uint64_t in_global(std::uint64_t address, char const* what);

/// For bind(). aux[2]: operand index of the CTA mask, 0 without multicast.
void bind_multicast(Instr& instr, std::uint32_t first_extra);
void bind_cache_hint(Instr& instr, std::size_t operands);
/// aux[4]: reduction + 1, 0 for a store.
void bind_reduction(Instr& instr);

/// A copy in the lane's open bulk group.
AsyncCopyPtr bulk_copy(Warp& warp, Instr const& instr, int lane);
/// How a store or reduction (aux[4]) touches global memory, for the race checker: a reduction is atomic per element.
std::uint16_t write_kind(Instr const& instr);
/// Queues the two halves of a store: `gather` reads shared memory, `apply` changes global memory.
void post_store(Warp& warp, Instr const& instr, int lane, AsyncCopyPtr const& copy,
                std::function<std::vector<GlobalPiece>()> gather,
                std::function<void(std::vector<GlobalPiece> const&)> apply);
/// What changes global memory: a store or the reduction of aux[4] on elements of `type`.
std::function<void(std::vector<GlobalPiece> const&)> applier(Cta* cta, Instr const& instr,
                                                             TensorMapType type);

}  // namespace deepwell::emu

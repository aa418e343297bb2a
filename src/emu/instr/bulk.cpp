// What bulk and tensor copies share: destinations in a cluster, stores in two halves, reductions.
#include "emu/instr/bulk.hpp"

#include <algorithm>

namespace deepwell::emu {

namespace {

std::uint32_t rank_in(Cta const& cta, std::uint32_t shared) {
  return shared < kClusterStride ? cta.rank : shared / kClusterStride - 1;
}

}  // namespace

/// A value that all lanes of the mask agree on is not needed: each executing lane starts its own copy.
std::size_t bulk_size(Warp& warp, Value const& value, int lane) {
  std::uint64_t const bytes = warp.lane_of(value, lane);
  DW_REQUIRE(bytes % 16 == 0 && bytes < (1u << 20), kCopy,
             "the size of a bulk copy is {}; a multiple of 16 below 2^20 is possible", bytes);
  return static_cast<std::size_t>(bytes);
}

void check_aligned(std::uint64_t address, std::uint64_t multiple, char const* what) {
  DW_REQUIRE(address % multiple == 0, kCopy, "{} {:#x} is not a multiple of {}", what, address, multiple);
}

std::uint64_t in_global(std::uint64_t address, char const* what) {
  DW_REQUIRE(space_of(address) == Space::kGlobal, kCopy, "{} {:#x} is not in global memory", what, address);
  return address;
}

std::vector<Destination> destinations(Warp& warp, Instr const& instr, int lane, std::uint32_t address,
                                      std::uint32_t mbarrier) {
  Cta& cta = *warp.cta;
  std::vector<Destination> out;
  if (instr.aux[2] == 0) {
    DW_REQUIRE(rank_in(cta, address) == rank_in(cta, mbarrier), kBarrier,
               "the destination {:#x} and its mbarrier {:#x} are in different CTAs of the cluster", address,
               mbarrier);
    out.push_back({address, mbarrier});
  } else {
    std::uint64_t const ctas = warp.lane_of(instr.v(static_cast<int>(instr.aux[2])), lane) & 0xffff;
    DW_REQUIRE(ctas != 0 && ctas >> cta.cluster->ctas.size() == 0, kCopy,
               "the multicast mask is {:#x} but the cluster has {} CTAs", ctas, cta.cluster->ctas.size());
    for (std::uint32_t rank = 0; ctas >> rank != 0; ++rank) {
      if ((ctas >> rank & 1) == 0) continue;
      std::uint32_t const window = (rank + 1) * kClusterStride;
      out.push_back({window + address % kClusterStride, window + mbarrier % kClusterStride});
    }
  }
  for (Destination const& to : out) mbarrier_read(cta, to.mbarrier);
  return out;
}

void bind_multicast(Instr& instr, std::uint32_t first_extra) {
  bool const multicast = instr.has(".multicast::cluster");
  std::size_t const extras = std::size_t{multicast} + instr.has(".L2::cache_hint");
  if (instr.ops.size() != first_extra + extras)
    throw unsupported(instr, "operands and modifiers do not fit together");
  instr.aux[2] = multicast ? first_extra : 0;
}

void bind_cache_hint(Instr& instr, std::size_t operands) {
  if (instr.ops.size() != operands + instr.has(".L2::cache_hint")) {
    throw unsupported(instr, "operands and modifiers do not fit together");
  }
}

AsyncCopyPtr bulk_copy(Warp& warp, Instr const& instr, int lane) {
  auto copy = std::make_shared<AsyncCopy>();
  copy->instr = &instr;
  copy->observed = ObservedOperation(warp, instr, Mask{1} << lane, true);
  copies_of(warp).bulk[static_cast<std::size_t>(lane)].open.push_back(copy);
  return copy;
}

void post_store(Warp& warp, Instr const& instr, int lane, AsyncCopyPtr const& copy,
                std::function<std::vector<GlobalPiece>()> gather,
                std::function<void(std::vector<GlobalPiece> const&)> apply) {
  post_copy(warp, instr, lane, "bulk store (reading shared memory)", [=, &warp, &instr] {
    auto const pieces = std::make_shared<std::vector<GlobalPiece>>(gather());
    copy->source_read = true;
    ++warp.cta->cluster->progress;
    post_copy(warp, instr, lane, "bulk store (writing global memory)", [copy, pieces, apply] {
      apply(*pieces);
      finish(*copy);
    });
  });
}

/// A reduction is atomic per element.
std::uint16_t write_kind(Instr const& instr) {
  if (instr.aux[4] == 0) return race::kWrite;
  return static_cast<std::uint16_t>(race::kRead | race::kWrite | race::kStrong |
                                    race::scope_bits(race::Scope::kGpu));
}

// aux[4]: reduction + 1, 0 for a store; aux[5]: element type.
std::function<void(std::vector<GlobalPiece> const&)> applier(Cta* cta, Instr const& instr,
                                                             TensorMapType type) {
  std::uint32_t const reduction = instr.aux[4];
  return [=](std::vector<GlobalPiece> const& pieces) {
    CtaBulkMemory memory(*cta);
    if (reduction == 0) {
      store_pieces(memory, pieces);
    } else {
      reduce_pieces(memory, pieces, static_cast<ReduceOp>(reduction - 1), type);
    }
  };
}

void bind_reduction(Instr& instr) {
  static constexpr char const* kOps[] = {".add", ".min", ".max", ".inc", ".dec", ".and", ".or", ".xor"};
  for (std::uint32_t i = 0; i < std::size(kOps); ++i) {
    if (instr.has(kOps[i])) instr.aux[4] = i + 1;
  }
}

}  // namespace deepwell::emu

// Instruction family: cp.async, cp.async.bulk and their tensor forms. A copy completes at a seeded later time: a load reads
// global memory and writes shared memory then; a store reads shared memory at one time and writes global memory at another.
#include <algorithm>
#include <cstring>

#include "emu/instr/async.hpp"

namespace deepwell::emu {

void CtaBulkMemory::read_global(std::uint64_t address, std::span<std::byte> data,
                                std::span<std::uint8_t> valid) {
  Place const place = resolve_global(cta_, address, data.size(), Access::kRead, "bulk copy");
  std::memcpy(data.data(), place.data, data.size());
  if (place.shadow != nullptr) {
    std::memcpy(valid.data(), place.shadow, data.size());
  } else {
    std::fill(valid.begin(), valid.end(), std::uint8_t{1});
  }
}

void CtaBulkMemory::write_global(std::uint64_t address, std::span<std::byte const> data,
                                 std::span<std::uint8_t const> valid) {
  Place const place = resolve_global(cta_, address, data.size(), Access::kWrite, "bulk copy");
  if (cta_.launch->options.check) {
    auto const bad = std::find(valid.begin(), valid.end(), std::uint8_t{0});
    DW_REQUIRE(
        bad == valid.end(), kPoison,
        "a bulk store writes global memory at {:#x} from shared memory that was never written (byte {} "
        "of {})",
        address, bad - valid.begin(), data.size());
  }
  std::memcpy(place.data, data.data(), data.size());
  place.mark(data.size(), true);
}

void CtaBulkMemory::update_global(std::uint64_t address, std::size_t bytes,
                                  std::function<void(std::span<std::byte>)> const& update) {
  Place const place = resolve_global(cta_, address, bytes, Access::kReadWrite, "bulk reduction");
  DW_REQUIRE(address % bytes == 0, kCopy, "a bulk reduction at {:#x}, not a multiple of {}", address, bytes);
  DW_REQUIRE(!cta_.launch->options.check || place.initialised(bytes), kPoison,
             "a bulk reduction adds to global memory at {:#x} that was never written", address);
  auto exchange = [&]<class T>(T* at) {
    T seen = __atomic_load_n(at, __ATOMIC_ACQUIRE);
    T next;
    do {
      next = seen;
      update(std::span(reinterpret_cast<std::byte*>(&next), sizeof next));
    } while (!__atomic_compare_exchange_n(at, &seen, next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
  };
  switch (bytes) {
    case 2: return exchange(reinterpret_cast<std::uint16_t*>(place.data));
    case 4: return exchange(reinterpret_cast<std::uint32_t*>(place.data));
    case 8: return exchange(reinterpret_cast<std::uint64_t*>(place.data));
    default:
      throw Error(ErrorCode::kInternal, fmt::format("a bulk reduction of elements of {} bytes", bytes));
  }
}

void CtaBulkMemory::read_shared(std::uint32_t address, std::span<std::byte> data,
                                std::span<std::uint8_t> valid) {
  Place const place = resolve_shared(cta_, address, data.size(), "bulk copy");
  std::memcpy(data.data(), place.data, data.size());
  if (place.shadow != nullptr) {
    std::memcpy(valid.data(), place.shadow, data.size());
  } else {
    std::fill(valid.begin(), valid.end(), std::uint8_t{1});
  }
}

void CtaBulkMemory::write_shared(std::uint32_t address, std::span<std::byte const> data,
                                 std::span<std::uint8_t const> valid) {
  Place const place = resolve_shared(cta_, address, data.size(), "bulk copy");
  std::memcpy(place.data, data.data(), data.size());
  if (place.shadow != nullptr) std::memcpy(place.shadow, valid.data(), data.size());
}

void CopyGroups::commit() {
  while (!committed.empty() &&
         std::all_of(committed.front().begin(), committed.front().end(),
                     [](AsyncCopyPtr const& copy) { return copy->done && copy->waited != 0; })) {
    committed.pop_front();
  }
  committed.push_back(std::move(open));
  open.clear();
}

bool CopyGroups::done(std::size_t pending, bool only_read) const {
  bool all = true;
  for_each(pending,
           [&](AsyncCopyPtr const& copy) { all = all && (only_read ? copy->source_read : copy->done); });
  return all;
}

std::vector<AsyncCopyPtr> CopyGroups::unfinished() const {
  std::vector<AsyncCopyPtr> out;
  for (auto const& group : committed) {
    for (AsyncCopyPtr const& copy : group) {
      if (!copy->done) out.push_back(copy);
    }
  }
  for (AsyncCopyPtr const& copy : open) {
    if (!copy->done) out.push_back(copy);
  }
  return out;
}

std::vector<AsyncCopyPtr> CopyGroups::not_signalled(int lane) {
  Mask const bit = Mask{1} << lane;
  std::vector<AsyncCopyPtr> out;
  auto const take = [&](AsyncCopyPtr const& copy) {
    if ((copy->signalled & bit) == 0) {
      copy->signalled |= bit;
      out.push_back(copy);
    }
  };
  // What was signalled before and is done need not be looked at again.
  std::erase_if(open, [&](AsyncCopyPtr const& copy) { return copy->done && (copy->signalled & bit) != 0; });
  for_each(0, take);
  for (AsyncCopyPtr const& copy : open) take(copy);
  return out;
}

void post_copy(Warp& warp, Instr const& instr, int lane, char const* what, std::function<void()> run) {
  warp.cta->cluster->post(fmt::format("{} of warp {}, PTX line {}", what, warp.id, instr.info->line),
                          [&warp, &instr, lane, run = std::move(run)] { reported(warp, instr, lane, run); });
}

void finish(AsyncCopy& copy) {
  copy.source_read = copy.done = true;
  for (auto const& after : std::exchange(copy.after, {})) after();
}

namespace {

std::vector<std::uint8_t> all_valid(std::size_t bytes) { return std::vector<std::uint8_t>(bytes, 1); }

/// The warp's copies. On first use it is arranged that a CTA that ends with a bulk store nobody waited for is reported.
WarpCopies& copies_of(Warp& warp) {
  if (WarpCopies* const found = warp.state.find<WarpCopies>()) return *found;
  WarpCopies& made = warp.state.get<WarpCopies>();
  if (warp.check) {
    warp.cta->at_end.push_back([&warp](Cta&) {
      WarpCopies& copies = *warp.state.find<WarpCopies>();
      for (int lane = 0; lane < kLanes; ++lane) {
        CopyGroups const& groups = copies.bulk[static_cast<std::size_t>(lane)];
        auto check = [&](std::vector<AsyncCopyPtr> const& group) {
          for (AsyncCopyPtr const& copy : group) {
            if ((copy->waited | copy->read_waited) == 0) {
              fail(warp, *copy->instr, lane,
                   "the CTA ended without waiting (cp.async.bulk.wait_group[.read]) until this copy had read "
                   "shared memory",
                   Finding::kCopy);
            }
          }
        };
        for (auto const& group : groups.committed) check(group);
        check(groups.open);
      }
    });
  }
  return made;
}

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

/// Where a copy into shared memory goes: one place, or the same offset in several CTAs of the cluster.
struct Destination {
  std::uint32_t address = 0, mbarrier = 0;
};

std::uint32_t rank_in(Cta const& cta, std::uint32_t shared) {
  return shared < kClusterStride ? cta.rank : shared / kClusterStride - 1;
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

/// aux[2]: operand index of the CTA mask, 0 without multicast.
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

// ---- cp.async ----

struct PlainPiece {
  Place to, from;
  std::uint32_t read = 0;  // bytes from the source, the rest is zero
};

void count_cp_async(Warp& warp, Instr const& instr, Mask mask, std::uint32_t bytes,
                    std::vector<PlainPiece> const& pieces) {
  std::array<ByteRange, kLanes> reads, writes;
  std::size_t next = 0;
  for_lanes(mask, [&](int lane) {
    PlainPiece const& piece = pieces[next++];
    reads[static_cast<std::size_t>(lane)] = {piece.from.address, piece.read};
    writes[static_cast<std::size_t>(lane)] = {piece.to.address, bytes};
  });
  counters_of(warp)->cp_async(instr, reads, writes);
}

// Operands: shared address, global address, size, then source size or ignore-src. aux[0] size, aux[1] index of operand 3 or 0.
Outcome exec_cp_async(Warp& warp, Instr const& instr, Mask mask) {
  std::uint32_t const bytes = instr.aux[0];
  std::uint64_t to[kLanes], from[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  if (instr.aux[1] != 0) warp.require_defined(instr, instr.v(3), mask, "the source size");
  std::vector<PlainPiece> pieces;
  int first = -1;
  for_lanes(mask, [&](int lane) {
    PlainPiece piece;
    piece.read = bytes;
    if (instr.aux[1] != 0) {
      std::uint64_t const value = warp.lane_of(instr.v(3), lane);
      if (instr.v(3).bits == 1) {
        piece.read = value != 0 ? 0 : bytes;
      } else {
        if (value > bytes)
          fail(warp, instr, lane,
               fmt::format("the source size {} exceeds the copy's {} bytes", value, bytes));
        piece.read = static_cast<std::uint32_t>(value);
      }
    }
    piece.to = resolve(warp, instr, lane, Space::kShared, to[lane], bytes, bytes, Access::kWrite);
    if (piece.read != 0) {
      piece.from = resolve(warp, instr, lane, Space::kGlobal, from[lane], piece.read, 1, Access::kRead);
      if (from[lane] % bytes != 0) {
        fail(warp, instr, lane,
             fmt::format("the source address {:#x} is not a multiple of {}", from[lane], bytes));
      }
    }
    pieces.push_back(piece);
    if (first < 0) first = lane;
  });
  if (counters_of(warp) != nullptr) count_cp_async(warp, instr, mask, bytes, pieces);
  auto const copy = std::make_shared<AsyncCopy>();
  copy->instr = &instr;
  copy->observed = ObservedOperation(warp, instr, mask, false);
  WarpCopies& copies = copies_of(warp);
  std::size_t next = 0;
  for_lanes(mask, [&](int lane) {
    copies.plain[static_cast<std::size_t>(lane)].open.push_back(copy);
    PlainPiece const& piece = pieces[next++];
    if (piece.read != 0) copy->observed.place(lane, piece.from, piece.read, race::kRead);
    copy->observed.place(lane, piece.to, bytes, race::kWrite);
  });
  post_copy(warp, instr, first, "cp.async", [copy, bytes, pieces = std::move(pieces)] {
    for (PlainPiece const& piece : pieces) {
      std::memset(piece.to.data, 0, bytes);
      piece.to.mark(bytes, true);
      if (piece.read == 0) continue;
      std::memcpy(piece.to.data, piece.from.data, piece.read);
      if (piece.to.shadow != nullptr && piece.from.shadow != nullptr) {
        std::memcpy(piece.to.shadow, piece.from.shadow, piece.read);
      }
    }
    finish(*copy);
  });
  return Outcome::kNext;
}

Exec bind_cp_async(Instr& instr, BindContext const&) {
  bool const cg = instr.has(".cg");
  std::int64_t const bytes = instr.ops[2].is_immediate ? instr.ops[2].immediate : 0;
  bool const ok = cg ? bytes == 16 : bytes == 4 || bytes == 8 || bytes == 16;
  if (!ok)
    throw unsupported(instr,
                      cg ? "the size must be the constant 16" : "the size must be a constant 4, 8 or 16");
  instr.aux[0] = static_cast<std::uint32_t>(bytes);
  std::size_t const extras = instr.ops.size() - 3;
  std::size_t const hint = instr.has(".L2::cache_hint");
  if (extras < hint || extras > hint + 1)
    throw unsupported(instr, "operands and modifiers do not fit together");
  instr.aux[1] = extras > hint ? 3 : 0;
  return exec_cp_async;
}

template <bool kBulk>
Outcome exec_commit(Warp& warp, Instr const&, Mask mask) {
  WarpCopies& copies = copies_of(warp);
  for_lanes(mask,
            [&](int lane) { (kBulk ? copies.bulk : copies.plain)[static_cast<std::size_t>(lane)].commit(); });
  return Outcome::kNext;
}

/// The lanes have waited for these copies: for all they do, or until they had read their source.
class Waits {
 public:
  Waits(Warp& warp, Instr const& instr, bool only_read) : warp_(warp), instr_(instr), only_read_(only_read) {}
  void add(AsyncCopyPtr const& copy, int lane) {
    Mask const bit = Mask{1} << lane;
    Mask& waited = only_read_ ? copy->read_waited : copy->waited;
    if ((waited & bit) != 0) return;
    waited |= bit;
    for (auto& [known, lanes] : lanes_of_) {
      if (known == copy.get()) {
        lanes |= bit;
        return;
      }
    }
    lanes_of_.emplace_back(copy.get(), bit);
  }
  void tell() const {
    for (auto const& [copy, lanes] : lanes_of_) copy->observed.waited(warp_, instr_, lanes, !only_read_);
  }

 private:
  Warp& warp_;
  Instr const& instr_;
  bool only_read_;
  std::vector<std::pair<AsyncCopy*, Mask>> lanes_of_;
};

// aux[0]: groups that may be pending; aux[1]: .read.
template <bool kBulk>
Outcome exec_wait_group(Warp& warp, Instr const& instr, Mask mask) {
  WarpCopies& copies = copies_of(warp);
  auto const groups = [&](int lane) -> CopyGroups& {
    return (kBulk ? copies.bulk : copies.plain)[static_cast<std::size_t>(lane)];
  };
  bool const only_read = instr.aux[1] != 0;
  bool done = true;
  for_lanes(mask, [&](int lane) { done = done && groups(lane).done(instr.aux[0], only_read); });
  if (!done) {
    warp.wait_for(kBulk ? "its bulk copy groups, all but {0}" : "its cp.async groups, all but {0}",
                  instr.aux[0]);
    return Outcome::kBlocked;
  }
  Waits waits(warp, instr, only_read);
  for_lanes(mask, [&](int lane) {
    groups(lane).for_each(instr.aux[0], [&](AsyncCopyPtr const& copy) { waits.add(copy, lane); });
  });
  waits.tell();
  return Outcome::kNext;
}

template <bool kBulk>
Exec bind_wait_group(Instr& instr, BindContext const&) {
  if (!instr.ops[0].is_immediate || instr.ops[0].immediate < 0)
    throw unsupported(instr, "the count must be a constant");
  instr.aux[0] = static_cast<std::uint32_t>(instr.ops[0].immediate);
  instr.aux[1] = instr.has(".read");
  return exec_wait_group<kBulk>;
}

Outcome exec_wait_all(Warp& warp, Instr const& instr, Mask mask) {
  WarpCopies& copies = copies_of(warp);
  bool done = true;
  for_lanes(mask, [&](int lane) {
    done = done && copies.plain[static_cast<std::size_t>(lane)].unfinished().empty();
  });
  if (!done) {
    warp.wait_for("all its cp.async copies");
    return Outcome::kBlocked;
  }
  exec_commit<false>(warp, instr, mask);
  Waits waits(warp, instr, false);
  for_lanes(mask, [&](int lane) {
    copies.plain[static_cast<std::size_t>(lane)].for_each(
        0, [&](AsyncCopyPtr const& copy) { waits.add(copy, lane); });
  });
  waits.tell();
  return Outcome::kNext;
}

// Operand: the mbarrier. The arrival happens when all earlier cp.async of the lane are done; without .noinc it is counted
// in beforehand, so that the pending count is the same after it.
Outcome exec_copy_arrive(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t at[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, at);
  WarpCopies& copies = copies_of(warp);
  Space const space = static_cast<Space>(instr.aux[0]);
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::uint32_t const barrier = shared_address(space, at[lane], "the mbarrier");
      Cta* const cta = warp.cta;
      mbarrier_read(*cta, barrier);
      observe_mbarrier_use(warp, instr, lane, barrier, true);
      if (instr.aux[1] == 0) mbarrier_change(*cta, barrier, [](Mbarrier& object) { object.add_pending(); });
      auto& groups = copies.plain[static_cast<std::size_t>(lane)];
      auto const covered = groups.not_signalled(lane);
      auto arrive = [&warp, &instr, lane, cta, barrier, covered] {
        post_copy(warp, instr, lane, "cp.async.mbarrier.arrive", [cta, barrier, covered, lane] {
          for (AsyncCopyPtr const& copy : covered)
            copy->observed.done_in_phase(*cta, barrier, Mask{1} << lane);
          mbarrier_change(*cta, barrier, [](Mbarrier& object) { object.arrive(1); });
        });
      };
      auto const unfinished = groups.unfinished();
      auto const left = std::make_shared<std::size_t>(unfinished.size());
      if (unfinished.empty()) arrive();
      for (AsyncCopyPtr const& copy : unfinished) {
        copy->after.push_back([left, arrive] {
          if (--*left == 0) arrive();
        });
      }
    });
  });
  return Outcome::kNext;
}

Exec bind_copy_arrive(Instr& instr, BindContext const&) {
  instr.aux[0] = static_cast<std::uint32_t>(shared_space_of(instr));
  instr.aux[1] = instr.has(".noinc");
  return exec_copy_arrive;
}

// ---- cp.async.bulk ----

AsyncCopyPtr bulk_copy(Warp& warp, Instr const& instr, int lane) {
  auto copy = std::make_shared<AsyncCopy>();
  copy->instr = &instr;
  copy->observed = ObservedOperation(warp, instr, Mask{1} << lane, true);
  copies_of(warp).bulk[static_cast<std::size_t>(lane)].open.push_back(copy);
  return copy;
}

// Operands: shared destination, global source (or shared::cta when aux[3]), size, mbarrier, CTA mask.
Outcome exec_bulk_load(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t to[kLanes], from[kLanes], barrier[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  addresses_of(warp, instr, instr.ops[3], mask, barrier);
  warp.require_defined(instr, instr.v(2), mask, "the size");
  Cta* const cta = warp.cta;
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::size_t const bytes = bulk_size(warp, instr.v(2), lane);
      std::uint32_t const at = shared_address(Space::kShared, to[lane], "the destination");
      check_aligned(at, 16, "the destination");
      check_aligned(from[lane], 16, "the source");
      auto const targets =
          destinations(warp, instr, lane, at, shared_address(Space::kShared, barrier[lane], "the mbarrier"));
      std::uint64_t const source = from[lane];
      bool const shared_source = instr.aux[3] != 0;
      if (!shared_source) in_global(source, "the source");
      ObservedOperation const observed(warp, instr, Mask{1} << lane, true);
      if (shared_source) {
        observed.shared(lane, *cta, shared_address(Space::kShared, source, "the source"), bytes, race::kRead);
      } else {
        observed.global(lane, source, bytes, race::kRead);
      }
      for (Destination const& target : targets) {
        observed.shared(lane, *cta, target.address, bytes, race::kWrite);
        observed.signals(lane, *cta, target.mbarrier);
      }
      post_copy(warp, instr, lane, "cp.async.bulk", [=] {
        CtaBulkMemory memory(*cta);
        std::vector<std::byte> data(bytes);
        std::vector<std::uint8_t> valid(bytes);
        if (shared_source) {
          memory.read_shared(shared_address(Space::kShared, source, "the source"), data, valid);
        } else {
          memory.read_global(source, data, valid);
        }
        for (Destination const& target : targets) {
          memory.write_shared(target.address, data, valid);
          observed.done_in_phase(*cta, target.mbarrier);
          mbarrier_change(*cta, target.mbarrier, [&](Mbarrier& object) { object.complete_tx(bytes); });
        }
      });
    });
  });
  return Outcome::kNext;
}

Exec bind_bulk_load(Instr& instr, BindContext const&) {
  bind_multicast(instr, 4);
  instr.aux[3] = !instr.has(".global");
  return exec_bulk_load;
}

/// Queues the two halves of a store: `gather` reads shared memory, `apply` changes global memory.
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

// Operands: global destination, shared source, size, then a 16-bit byte mask with .cp_mask (aux[2] is its index).
Outcome exec_bulk_store(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t to[kLanes], from[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  warp.require_defined(instr, instr.v(2), mask, "the size");
  Cta* const cta = warp.cta;
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::size_t const bytes = bulk_size(warp, instr.v(2), lane);
      std::uint32_t const at = shared_address(Space::kShared, from[lane], "the source");
      std::uint64_t const target = in_global(to[lane], "the destination");
      check_aligned(at, 16, "the source");
      check_aligned(target, 16, "the destination");
      std::uint64_t const byte_mask =
          instr.aux[2] != 0 ? warp.lane_of(instr.v(static_cast<int>(instr.aux[2])), lane) : 0xffff;
      AsyncCopyPtr const copy = bulk_copy(warp, instr, lane);
      copy->observed.shared(lane, *cta, at, bytes, race::kRead);
      for (std::size_t i = 0; i < bytes; i += byte_mask == 0xffff ? bytes : 1) {
        if (byte_mask != 0xffff && (byte_mask >> (i % 16) & 1) == 0) continue;
        copy->observed.global(lane, target + i, byte_mask == 0xffff ? bytes : 1, write_kind(instr));
      }
      post_store(
          warp, instr, lane, copy,
          [=] {
            CtaBulkMemory memory(*cta);
            GlobalPiece whole{target, std::vector<std::byte>(bytes), all_valid(bytes),
                              "cp.async.bulk to global memory"};
            memory.read_shared(at, whole.data, whole.valid);
            std::vector<GlobalPiece> pieces;
            if (byte_mask == 0xffff) {
              pieces.push_back(std::move(whole));
              return pieces;
            }
            for (std::size_t i = 0; i < bytes; ++i) {
              if ((byte_mask >> (i % 16) & 1) == 0) continue;
              pieces.push_back({target + i, {whole.data[i]}, {whole.valid[i]}, whole.where});
            }
            return pieces;
          },
          applier(cta, instr, static_cast<TensorMapType>(instr.aux[5])));
    });
  });
  return Outcome::kNext;
}

Exec bind_bulk_store(Instr& instr, BindContext const&) {
  bool const cp_mask = instr.has(".cp_mask");
  std::size_t const hint = instr.has(".L2::cache_hint");
  if (instr.ops.size() != 3 + hint + std::size_t{cp_mask})
    throw unsupported(instr, "operands and modifiers do not fit together");
  instr.aux[2] = cp_mask ? static_cast<std::uint32_t>(3 + hint) : 0;
  return exec_bulk_store;
}

void bind_reduction(Instr& instr) {
  static constexpr char const* kOps[] = {".add", ".min", ".max", ".inc", ".dec", ".and", ".or", ".xor"};
  for (std::uint32_t i = 0; i < std::size(kOps); ++i) {
    if (instr.has(kOps[i])) instr.aux[4] = i + 1;
  }
}

TensorMapType element_type(Instr const& instr) {
  std::string const& type = instr.info->parts.back();
  if (type == ".u32" || type == ".b32") return TensorMapType::kU32;
  if (type == ".s32") return TensorMapType::kS32;
  if (type == ".u64" || type == ".b64") return TensorMapType::kU64;
  if (type == ".s64") return TensorMapType::kS64;
  if (type == ".f16") return TensorMapType::kF16;
  if (type == ".bf16") return TensorMapType::kBf16;
  if (type == ".f32") return TensorMapType::kF32;
  return TensorMapType::kF64;
}

void bind_element(Instr& instr) {
  bind_reduction(instr);
  TensorMapType const type = element_type(instr);
  instr.aux[5] = static_cast<std::uint32_t>(type);
  check_reduce(static_cast<ReduceOp>(instr.aux[4] - 1), type);
}

Exec bind_bulk_reduce(Instr& instr, BindContext const&) {
  bind_cache_hint(instr, 3);
  bind_element(instr);
  return exec_bulk_store;
}

// cp.reduce.async.bulk into the shared memory of a CTA of the cluster. Operands: destination, source, size, mbarrier.
Outcome exec_bulk_reduce_shared(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t to[kLanes], from[kLanes], barrier[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  addresses_of(warp, instr, instr.ops[3], mask, barrier);
  warp.require_defined(instr, instr.v(2), mask, "the size");
  Cta* const cta = warp.cta;
  auto const op = static_cast<ReduceOp>(instr.aux[4] - 1);
  auto const type = static_cast<TensorMapType>(instr.aux[5]);
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::size_t const bytes = bulk_size(warp, instr.v(2), lane);
      std::uint32_t const at = shared_address(Space::kShared, to[lane], "the destination");
      std::uint32_t const source = shared_address(Space::kShared, from[lane], "the source");
      check_aligned(at, 16, "the destination");
      check_aligned(source, 16, "the source");
      auto const target = destinations(warp, instr, lane, at,
                                       shared_address(Space::kShared, barrier[lane], "the mbarrier"))[0];
      ObservedOperation const observed(warp, instr, Mask{1} << lane, true);
      observed.shared(lane, *cta, source, bytes, race::kRead);
      observed.shared(lane, *cta, target.address, bytes,
                      race::kRead | race::kWrite | race::kStrong | race::scope_bits(race::Scope::kCluster));
      observed.signals(lane, *cta, target.mbarrier);
      post_copy(warp, instr, lane, "cp.reduce.async.bulk", [=] {
        CtaBulkMemory memory(*cta);
        std::vector<std::byte> data(bytes), with(bytes);
        std::vector<std::uint8_t> valid(bytes), with_valid(bytes);
        memory.read_shared(target.address, data, valid);
        memory.read_shared(source, with, with_valid);
        reduce_elements(op, type, data, with);
        for (std::size_t i = 0; i < bytes; ++i) valid[i] = valid[i] && with_valid[i];
        memory.write_shared(target.address, data, valid);
        observed.done_in_phase(*cta, target.mbarrier);
        mbarrier_change(*cta, target.mbarrier, [&](Mbarrier& object) { object.complete_tx(bytes); });
      });
    });
  });
  return Outcome::kNext;
}

Exec bind_bulk_reduce_shared(Instr& instr, BindContext const&) {
  bind_element(instr);
  return exec_bulk_reduce_shared;
}

// ---- cp.async.bulk.tensor ----

struct TensorOperand {
  TensorMapSpec map;
  std::vector<std::int32_t> coordinates;
  Place place;
};

/// The tensor map and coordinates that `[map, {c0, ...}]` names. Reports through fail() by itself.
TensorOperand tensor_operand(Warp& warp, Instr const& instr, Operand const& operand, std::uint64_t address,
                             int lane) {
  Place const place = resolve(warp, instr, lane, Space::kGeneric, address, 128, 64, Access::kRead);
  TensorOperand out;
  out.place = place;
  if (warp.check && !place.initialised(128)) {
    fail(warp, instr, lane,
         fmt::format("the tensor map at {} was never written completely",
                     describe_address(*warp.cta, Space::kGeneric, address)),
         Finding::kTensorMap);
  }
  out.map = reported(warp, instr, lane, [&] { return unpack_tensor_map(std::span(place.data, 128)); });
  for (Value const& element : operand.elements) {
    out.coordinates.push_back(
        static_cast<std::int32_t>(static_cast<std::uint32_t>(warp.lane_of(element, lane))));
  }
  return out;
}

void require_coordinates(Warp& warp, Instr const& instr, Operand const& operand, Mask mask) {
  for (Value const& element : operand.elements) warp.require_defined(instr, element, mask, "a coordinate");
}

void bind_dimensions(Instr& instr, std::size_t operand) {
  std::size_t const dimensions = static_cast<std::size_t>(instr.choice[0]) + 1;
  if (instr.ops[operand].elements.size() != dimensions) {
    throw unsupported(instr, fmt::format("{} coordinates are needed, got {}", dimensions,
                                         instr.ops[operand].elements.size()));
  }
}

// Operands: shared destination, [map, coordinates], mbarrier, CTA mask.
Outcome exec_tensor_load(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t to[kLanes], map[kLanes], barrier[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, map);
  addresses_of(warp, instr, instr.ops[2], mask, barrier);
  require_coordinates(warp, instr, instr.ops[1], mask);
  Cta* const cta = warp.cta;
  for_lanes(mask, [&](int lane) {
    TensorOperand const from = tensor_operand(warp, instr, instr.ops[1], map[lane], lane);
    reported(warp, instr, lane, [&] {
      std::uint32_t const at = shared_address(Space::kShared, to[lane], "the destination");
      auto const targets =
          destinations(warp, instr, lane, at, shared_address(Space::kShared, barrier[lane], "the mbarrier"));
      for (Destination const& target : targets) {
        Tile const tile = instr.aux[3] != 0 ? Tile::gather4(from.map, from.coordinates, target.address)
                                            : Tile(from.map, from.coordinates, target.address);
        ObservedOperation const observed(warp, instr, Mask{1} << lane, true);
        if (observed.watched()) {
          observed.tensor_map(lane, from.place);
          ObservingMemory effects(observed, lane, *cta);
          tile.load(effects);
          observed.signals(lane, *cta, target.mbarrier);
        }
        post_copy(warp, instr, lane, "cp.async.bulk.tensor load", [cta, tile, target, observed] {
          CtaBulkMemory memory(*cta);
          tile.load(memory);
          observed.done_in_phase(*cta, target.mbarrier);
          mbarrier_change(*cta, target.mbarrier,
                          [&](Mbarrier& object) { object.complete_tx(tile.transaction_bytes()); });
        });
      }
    });
  });
  return Outcome::kNext;
}

Exec bind_gather4(Instr& instr, BindContext const&) {
  if (instr.ops[1].elements.size() != 5) throw unsupported(instr, "tile::gather4 needs 5 coordinates");
  bind_multicast(instr, 3);
  instr.aux[3] = 1;
  return exec_tensor_load;
}

Exec bind_tensor_load(Instr& instr, BindContext const&) {
  bind_dimensions(instr, 1);
  bind_multicast(instr, 3);
  return exec_tensor_load;
}

// Operands: [map, coordinates], shared source.
Outcome exec_tensor_store(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t map[kLanes], from[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, map);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  require_coordinates(warp, instr, instr.ops[0], mask);
  Cta* const cta = warp.cta;
  for_lanes(mask, [&](int lane) {
    TensorOperand const to = tensor_operand(warp, instr, instr.ops[0], map[lane], lane);
    reported(warp, instr, lane, [&] {
      Tile const tile(to.map, to.coordinates, shared_address(Space::kShared, from[lane], "the source"));
      auto const type = static_cast<TensorMapType>(to.map.data_type);
      if (instr.aux[4] != 0) check_reduce(static_cast<ReduceOp>(instr.aux[4] - 1), type);
      AsyncCopyPtr const copy = bulk_copy(warp, instr, lane);
      if (copy->observed.watched()) {
        copy->observed.tensor_map(lane, to.place);
        ObservingMemory effects(copy->observed, lane, *cta);
        for (GlobalPiece const& piece : tile.gather(effects))
          copy->observed.global(lane, piece.address, piece.data.size(), write_kind(instr));
      }
      post_store(
          warp, instr, lane, copy,
          [cta, tile] {
            CtaBulkMemory memory(*cta);
            return tile.gather(memory);
          },
          applier(cta, instr, type));
    });
  });
  return Outcome::kNext;
}

Exec bind_tensor_store(Instr& instr, BindContext const&) {
  bind_dimensions(instr, 0);
  bind_cache_hint(instr, 2);
  return exec_tensor_store;
}

Exec bind_tensor_reduce(Instr& instr, BindContext const&) {
  bind_dimensions(instr, 0);
  bind_cache_hint(instr, 2);
  bind_reduction(instr);
  return exec_tensor_store;
}

// A prefetch moves nothing that a program can see; the map must be one, the buffer need not exist.
Outcome exec_tensor_prefetch(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t map[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, map);
  require_coordinates(warp, instr, instr.ops[0], mask);
  for_lanes(mask, [&](int lane) {
    TensorOperand const from = tensor_operand(warp, instr, instr.ops[0], map[lane], lane);
    reported(warp, instr, lane, [&] { Tile(from.map, from.coordinates, 0); });
  });
  return Outcome::kNext;
}

Exec bind_tensor_prefetch(Instr& instr, BindContext const&) {
  bind_dimensions(instr, 0);
  bind_cache_hint(instr, 1);
  return exec_tensor_prefetch;
}

// Operands: global address, size.
Outcome exec_bulk_prefetch(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t from[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, from);
  warp.require_defined(instr, instr.v(1), mask, "the size");
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::uint64_t const bytes = warp.lane_of(instr.v(1), lane);
      DW_REQUIRE(bytes % 16 == 0, kCopy, "the size of a bulk prefetch is {}; a multiple of 16 is needed",
                 bytes);
      check_aligned(in_global(from[lane], "the source"), 16, "the source");
    });
  });
  return Outcome::kNext;
}

Exec bind_bulk_prefetch(Instr& instr, BindContext const&) {
  bind_cache_hint(instr, 2);
  return exec_bulk_prefetch;
}

constexpr std::string_view kAsync = "9.7.9.25.3.1 cp.async",
                           kAsyncCommit = "9.7.9.25.3.2 cp.async.commit_group",
                           kAsyncWait = "9.7.9.25.3.3 cp.async.wait_group/cp.async.wait_all",
                           kAsyncArrive = "9.7.13.15.15 cp.async.mbarrier.arrive",
                           kBulk = "9.7.9.25.4.1 cp.async.bulk",
                           kBulkReduce = "9.7.9.25.4.2 cp.reduce.async.bulk",
                           kBulkPrefetch = "9.7.9.25.4.3 cp.async.bulk.prefetch",
                           kTensor = "9.7.9.25.5.2 cp.async.bulk.tensor",
                           kTensorReduce = "9.7.9.25.5.3 cp.reduce.async.bulk.tensor",
                           kTensorPrefetch = "9.7.9.25.5.4 cp.async.bulk.prefetch.tensor",
                           kBulkCommit = "9.7.9.25.6.1 cp.async.bulk.commit_group",
                           kBulkWait = "9.7.9.25.6.2 cp.async.bulk.wait_group";

// clang-format off
constexpr Row kRows[] = {
    {.pattern = "cp .async (.ca|.cg) (.shared|.shared::cta) .global [.L2::cache_hint] [.L2::64B|.L2::128B|.L2::256B]", .operands = "a, a, s32, ?x, x", .ptx = 70, .needs = Needs::kSm80, .section = kAsync, .bind = bind_cp_async},
    {.pattern = "cp .async .commit_group", .operands = "", .ptx = 70, .needs = Needs::kSm80, .section = kAsyncCommit, .exec = exec_commit<false>},
    {.pattern = "cp .async .wait_group", .operands = "s32", .ptx = 70, .needs = Needs::kSm80, .section = kAsyncWait, .bind = bind_wait_group<false>},
    {.pattern = "cp .async .wait_all", .operands = "", .ptx = 70, .needs = Needs::kSm80, .section = kAsyncWait, .exec = exec_wait_all},
    {.pattern = "cp .async .mbarrier .arrive [.noinc] [.shared|.shared::cta] .b64", .operands = "a", .ptx = 70, .needs = Needs::kSm80, .section = kAsyncArrive, .bind = bind_copy_arrive},

    {.pattern = "cp .async .bulk (.shared::cluster|.shared::cta) .global .mbarrier::complete_tx::bytes [.multicast::cluster] [.L2::cache_hint]", .operands = "a, a, s32, a, ?x, x", .ptx = 80, .needs = Needs::kSm90, .section = kBulk, .bind = bind_bulk_load},
    {.pattern = "cp .async .bulk .shared::cluster .shared::cta .mbarrier::complete_tx::bytes", .operands = "a, a, s32, a", .ptx = 80, .needs = Needs::kSm90, .section = kBulk, .bind = bind_bulk_load},
    {.pattern = "cp .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint]", .operands = "a, a, s32, ?x", .ptx = 80, .needs = Needs::kSm90, .section = kBulk, .bind = bind_bulk_store},
    {.pattern = "cp .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint] .cp_mask", .operands = "a, a, s32, ?x, x", .ptx = 86, .needs = Needs::kSm100, .section = kBulk, .bind = bind_bulk_store},
    {.pattern = "cp .reduce .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint] (.add|.min|.max|.inc|.dec|.and|.or|.xor) [.noftz] (.f16|.bf16|.b32|.u32|.s32|.b64|.u64|.s64|.f32|.f64)", .operands = "a, a, s32, ?x", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce},
    {.pattern = "cp .reduce .async .bulk .shared::cluster .shared::cta .mbarrier::complete_tx::bytes (.add|.min|.max|.inc|.dec|.and|.or|.xor) (.b32|.u32|.s32|.u64)", .operands = "a, a, s32, a", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce_shared},
    {.pattern = "cp .async .bulk .prefetch .L2 .global [.L2::cache_hint]", .operands = "a, s32, ?x", .ptx = 80, .needs = Needs::kSm90, .section = kBulkPrefetch, .bind = bind_bulk_prefetch},
    {.pattern = "cp .async .bulk .commit_group", .operands = "", .ptx = 80, .needs = Needs::kSm90, .section = kBulkCommit, .exec = exec_commit<true>},
    {.pattern = "cp .async .bulk .wait_group [.read]", .operands = "s32", .ptx = 80, .needs = Needs::kSm90, .section = kBulkWait, .bind = bind_wait_group<true>},

    {.pattern = "cp .async .bulk .tensor (.1d|.2d|.3d|.4d|.5d) (.shared::cluster|.shared::cta) .global [.tile] .mbarrier::complete_tx::bytes [.multicast::cluster] [.L2::cache_hint]", .operands = "a, ac, a, ?x, x", .ptx = 80, .needs = Needs::kSm90, .section = kTensor, .bind = bind_tensor_load},
    {.pattern = "cp .async .bulk .tensor .2d .shared::cta .global .tile::gather4 .mbarrier::complete_tx::bytes [.L2::cache_hint]", .operands = "a, ac, a, ?x", .ptx = 86, .needs = Needs::kSm100, .section = kTensor, .bind = bind_gather4},
    {.pattern = "cp .async .bulk .tensor (.1d|.2d|.3d|.4d|.5d) .global .shared::cta [.tile] .bulk_group [.L2::cache_hint]", .operands = "ac, a, ?x", .ptx = 80, .needs = Needs::kSm90, .section = kTensor, .bind = bind_tensor_store},
    {.pattern = "cp .reduce .async .bulk .tensor (.1d|.2d|.3d|.4d|.5d) .global .shared::cta (.add|.min|.max|.inc|.dec|.and|.or|.xor) [.tile] .bulk_group [.L2::cache_hint]", .operands = "ac, a, ?x", .ptx = 80, .needs = Needs::kSm90, .section = kTensorReduce, .bind = bind_tensor_reduce},
    {.pattern = "cp .async .bulk .prefetch .tensor (.1d|.2d|.3d|.4d|.5d) .L2 .global [.tile] [.L2::cache_hint]", .operands = "ac, ?x", .ptx = 80, .needs = Needs::kSm90, .section = kTensorPrefetch, .bind = bind_tensor_prefetch},
};
// clang-format on

}  // namespace

std::span<Row const> async_copy_rows() { return kRows; }

}  // namespace deepwell::emu

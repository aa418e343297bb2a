// Instruction family: cp.async, and the groups of cp.async and of bulk copies. A copy completes at a seeded later time: it reads
// global memory and writes shared memory then.
#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "emu/instr/async.hpp"

namespace deepwell::emu {
namespace {

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
    // Of lanes that copy the same bytes to one place, one stands for all.
    auto const same = [&](PlainPiece const& other) {
      return other.to.data == piece.to.data && other.read == piece.read &&
             (piece.read == 0 || other.from.data == piece.from.data);
    };
    auto const end = pieces.begin() + static_cast<std::ptrdiff_t>(next - 1);
    if (copy->observed.watched() && std::find_if(pieces.begin(), end, same) != end) return;
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
  for_lanes(mask, [&](int lane) {
    (kBulk ? copies.bulk : copies.plain)[static_cast<std::size_t>(lane)].commit(lane);
  });
  return Outcome::kNext;
}

/// The lanes have waited for these copies: for all they do, or until they had read their source.
class Waits {
 public:
  Waits(Warp& warp, Instr const& instr, bool only_read) : warp_(warp), instr_(instr), only_read_(only_read) {}
  /// All groups of the lane but the latest `pending`.
  void add(CopyGroups& groups, std::size_t pending, int lane) {
    if (!only_read_) {
      for (AsyncCopyPtr const& copy : groups.take_retired(pending)) add(copy, lane);
    }
    groups.for_each(pending, [&](AsyncCopyPtr const& copy) { add(copy, lane); });
  }
  void tell() const {
    for (auto const& [operation, lanes] : lanes_of_) operation.waited(warp_, instr_, lanes, !only_read_);
  }

 private:
  void add(AsyncCopyPtr const& copy, int lane) {
    Mask const bit = Mask{1} << lane;
    Mask& waited = only_read_ ? copy->read_waited : copy->waited;
    if ((waited & bit) != 0) return;
    waited |= bit;
    auto const [at, is_new] = index_of_.emplace(copy.get(), lanes_of_.size());
    if (is_new) lanes_of_.emplace_back(copy->observed, Mask{0});
    lanes_of_[at->second].second |= bit;
  }

  Warp& warp_;
  Instr const& instr_;
  bool only_read_;
  std::vector<std::pair<ObservedOperation, Mask>> lanes_of_;
  std::unordered_map<AsyncCopy const*, std::size_t> index_of_;  // in lanes_of_
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
  for_lanes(mask, [&](int lane) { waits.add(groups(lane), instr.aux[0], lane); });
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
  for_lanes(mask, [&](int lane) { waits.add(copies.plain[static_cast<std::size_t>(lane)], 0, lane); });
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
          for (ObservedOperation const& copy : covered) copy.done_in_phase(*cta, barrier, Mask{1} << lane);
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

constexpr std::string_view kAsync = "9.7.9.25.3.1 cp.async",
                           kAsyncCommit = "9.7.9.25.3.2 cp.async.commit_group",
                           kAsyncWait = "9.7.9.25.3.3 cp.async.wait_group/cp.async.wait_all",
                           kAsyncArrive = "9.7.13.15.15 cp.async.mbarrier.arrive",
                           kBulkCommit = "9.7.9.25.6.1 cp.async.bulk.commit_group",
                           kBulkWait = "9.7.9.25.6.2 cp.async.bulk.wait_group";

// clang-format off
constexpr Row kRows[] = {
    {.pattern = "cp .async (.ca|.cg) (.shared|.shared::cta) .global [.L2::cache_hint] [.L2::64B|.L2::128B|.L2::256B]", .operands = "a, a, si32, ?xi, xi", .ptx = 70, .needs = Needs::kSm80, .section = kAsync, .bind = bind_cp_async},
    {.pattern = "cp .async .commit_group", .operands = "", .ptx = 70, .needs = Needs::kSm80, .section = kAsyncCommit, .exec = exec_commit<false>},
    {.pattern = "cp .async .wait_group", .operands = "si32", .ptx = 70, .needs = Needs::kSm80, .section = kAsyncWait, .bind = bind_wait_group<false>},
    {.pattern = "cp .async .wait_all", .operands = "", .ptx = 70, .needs = Needs::kSm80, .section = kAsyncWait, .exec = exec_wait_all},
    {.pattern = "cp .async .mbarrier .arrive [.noinc] [.shared|.shared::cta] .b64", .operands = "a", .ptx = 70, .needs = Needs::kSm80, .section = kAsyncArrive, .bind = bind_copy_arrive},
    {.pattern = "cp .async .bulk .commit_group", .operands = "", .ptx = 80, .needs = Needs::kSm90, .section = kBulkCommit, .exec = exec_commit<true>},
    {.pattern = "cp .async .bulk .wait_group [.read]", .operands = "si32", .ptx = 80, .needs = Needs::kSm90, .section = kBulkWait, .bind = bind_wait_group<true>},
};
// clang-format on

}  // namespace

std::span<Row const> async_copy_rows() { return kRows; }

}  // namespace deepwell::emu

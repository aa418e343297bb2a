// What asynchronous copies share: access to the memories, groups of copies, completions.
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

void CopyGroups::retire(std::uint64_t group, AsyncCopyPtr const& copy, int lane) {
  bool const waited = ((copy->waited >> lane) & 1) != 0;
  if (!waited && copy->observed.watched()) retired.emplace_back(group, copy);
}

void CopyGroups::commit(int lane) {
  // A copy may be one of several lanes: only what this lane waited for counts.
  auto const over = [&](AsyncCopyPtr const& copy) {
    return copy->done && (((copy->waited | copy->read_waited) >> lane) & 1) != 0;
  };
  while (!committed.empty() && std::all_of(committed.front().begin(), committed.front().end(), over)) {
    for (AsyncCopyPtr const& copy : committed.front()) retire(dropped, copy, lane);
    committed.pop_front();
    ++dropped;
  }
  committed.push_back(std::move(open));
  open.clear();
}

std::vector<AsyncCopyPtr> CopyGroups::take_retired(std::size_t pending) {
  std::vector<AsyncCopyPtr> out;
  while (!retired.empty() && retired.front().first + pending < dropped + committed.size()) {
    out.push_back(std::move(retired.front().second));
    retired.pop_front();
  }
  return out;
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

std::vector<ObservedOperation> CopyGroups::not_signalled(int lane) {
  Mask const bit = Mask{1} << lane;
  std::vector<ObservedOperation> out;
  auto const take = [&](AsyncCopyPtr const& copy) {
    if ((copy->signalled & bit) == 0) {
      copy->signalled |= bit;
      out.push_back(copy->observed);
    }
  };
  // What was signalled before and is done need not be looked at again, but by a wait for the group to come.
  std::erase_if(open, [&](AsyncCopyPtr const& copy) {
    bool const over = copy->done && (copy->signalled & bit) != 0;
    if (over) retire(dropped + committed.size(), copy, lane);
    return over;
  });
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

}  // namespace deepwell::emu

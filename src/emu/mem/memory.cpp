// Global memory of an emulated device: allocation, host access, snapshots.
#include "emu/mem/memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "emu/mem/spaces.hpp"

namespace deepwell::emu {
namespace {

constexpr std::uint64_t kAlignment = 256;
constexpr std::uint64_t kGuardBytes = 64 * 1024;
constexpr std::uint64_t kGlobalEnd = std::uint64_t{1} << 46;  // of addresses that callers choose

std::string expected_address(std::uint64_t least) {
  return fmt::format("a multiple of {} from {:#x} to {:#x}", kAlignment, least, kGlobalEnd);
}

struct Range {
  std::byte* data;
  std::uint8_t* shadow;
};

Range host_range(GlobalView const& view, std::uint64_t address, std::size_t bytes, char const* what) {
  int hint = 0;
  Allocation const* const found = view.find(address, hint);
  if (found == nullptr || bytes > found->bytes - (address - found->base)) {
    throw Error(ErrorCode::kBadArgument,
                fmt::format("{}: {} bytes at {} do not lie inside one allocation", what, bytes,
                            view.describe(address)),
                "address", fmt::format("{:#x}", address), "a range inside one allocation");
  }
  std::uint64_t const offset = address - found->base;
  return {found->block->data + offset,
          found->block->shadow == nullptr ? nullptr : found->block->shadow + offset};
}

}  // namespace

Block::~Block() {
  if (owned) {
    std::free(data);
    std::free(shadow);
  }
}

std::shared_ptr<Block> make_block(std::size_t bytes, bool initialised) {
  auto block = std::make_shared<Block>();
  block->owned = true;
  // calloc leaves large blocks untouched until they are used: memory is proportional to what a program touches.
  block->data = static_cast<std::byte*>(std::calloc(std::max<std::size_t>(bytes, 1), 1));
  if (!initialised)
    block->shadow = static_cast<std::uint8_t*>(std::calloc(std::max<std::size_t>(bytes, 1), 1));
  if (block->data == nullptr || (block->shadow == nullptr && !initialised)) {
    throw Error(ErrorCode::kDevice, fmt::format("emulated memory: the host has no {} bytes left", bytes),
                "bytes", std::to_string(bytes), "an allocation that fits host memory");
  }
  return block;
}

Allocation const* GlobalView::find(std::uint64_t address, int& hint) const {
  auto const holds = [&](Allocation const& a) { return address - a.base < a.bytes && address >= a.base; };
  auto const index = static_cast<std::size_t>(hint);
  if (index < allocations.size() && holds(allocations[index])) return &allocations[index];
  auto const after =
      std::upper_bound(allocations.begin(), allocations.end(), address,
                       [](std::uint64_t value, Allocation const& a) { return value < a.base; });
  if (after == allocations.begin()) return nullptr;
  Allocation const& candidate = *(after - 1);
  if (!holds(candidate)) return nullptr;
  hint = static_cast<int>(after - 1 - allocations.begin());
  return &candidate;
}

std::string GlobalView::describe(std::uint64_t address) const {
  auto const name = [](Allocation const& a) {
    return fmt::format("{}[{:#x}, {} bytes]",
                       a.label.empty() ? std::string("an allocation ") : fmt::format("\"{}\" ", a.label),
                       a.base, a.bytes);
  };
  auto const after =
      std::upper_bound(allocations.begin(), allocations.end(), address,
                       [](std::uint64_t value, Allocation const& a) { return value < a.base; });
  Allocation const* best = nullptr;
  std::uint64_t distance = ~std::uint64_t{0};
  bool before_begin = false;
  if (after != allocations.begin()) {
    best = &*(after - 1);
    if (address - best->base < best->bytes) {
      return fmt::format("{:#x}, byte {} of {}", address, address - best->base, name(*best));
    }
    distance = address - (best->base + best->bytes);
  }
  if (after != allocations.end() && after->base - address < distance) {
    best = &*after;
    distance = best->base - address;
    before_begin = true;
  }
  if (best == nullptr) return fmt::format("{:#x} (there are no allocations)", address);
  return fmt::format("{:#x}, {} bytes {} {}", address, distance, before_begin ? "before" : "after the end of",
                     name(*best));
}

std::uint64_t Memory::Impl::add(Allocation allocation) {
  if (next == 0) next = kGlobalBase;
  allocation.base = next;
  std::uint64_t const base = next;
  used += allocation.bytes;
  next += (allocation.bytes + kGuardBytes + kAlignment - 1) / kAlignment * kAlignment;
  auto changed = std::make_shared<GlobalView>(*view);
  changed->allocations.push_back(std::move(allocation));  // bases only grow: still sorted
  view = std::move(changed);
  return base;
}

void Memory::Impl::require(std::uint64_t bytes) const {
  if (bytes <= limit && used <= limit - bytes) return;
  throw Error(ErrorCode::kDevice,
              fmt::format("emulated memory: {} bytes wanted, {} of {} are in use", bytes, used, limit),
              "bytes", std::to_string(bytes), fmt::format("at most {} bytes in all", limit));
}

std::shared_ptr<DeviceHeap> Memory::Impl::device_heap() {
  std::scoped_lock lock(mutex);
  if (heap != nullptr) return heap;
  require(kHeapBytes);
  std::uint64_t const base = add({.base = 0,
                                  .bytes = kHeapBytes,
                                  .label = "the heap of malloc",
                                  .read_only = false,
                                  .block = make_block(kHeapBytes, false)});
  heap = std::make_shared<DeviceHeap>(base);
  auto changed = std::make_shared<GlobalView>(*view);
  changed->allocations.back().heap = heap;
  view = std::move(changed);
  return heap;
}

Memory::Memory(std::uint64_t limit_bytes) : impl_(std::make_unique<Impl>()) { impl_->limit = limit_bytes; }
Memory::~Memory() = default;

std::uint64_t Memory::allocate(std::size_t bytes, std::string label) {
  {
    std::scoped_lock lock(impl_->mutex);
    impl_->require(bytes);
  }
  auto block = make_block(bytes, false);
  std::scoped_lock lock(impl_->mutex);
  return impl_->add(
      {.base = 0, .bytes = bytes, .label = std::move(label), .read_only = false, .block = std::move(block)});
}

void Memory::allocate_at(std::uint64_t address, std::size_t bytes, std::string label) {
  {
    std::scoped_lock lock(impl_->mutex);
    impl_->require(bytes);
    std::uint64_t const least = std::max(impl_->next, kGlobalBase);
    if (address % kAlignment != 0 || address < least || address > kGlobalEnd) {
      throw Error(ErrorCode::kBadArgument,
                  fmt::format("address: got {:#x}, expected {}", address, expected_address(least)), "address",
                  fmt::format("{:#x}", address), expected_address(least));
    }
  }
  auto block = make_block(bytes, false);
  std::scoped_lock lock(impl_->mutex);
  impl_->next = address;
  impl_->add(
      {.base = 0, .bytes = bytes, .label = std::move(label), .read_only = false, .block = std::move(block)});
}

std::uint64_t Memory::map(std::span<std::byte> host, std::string label) {
  auto block = std::make_shared<Block>();
  block->data = host.data();
  std::scoped_lock lock(impl_->mutex);
  impl_->require(host.size());
  return impl_->add({.base = 0,
                     .bytes = host.size(),
                     .label = std::move(label),
                     .read_only = false,
                     .block = std::move(block)});
}

void Memory::release(std::uint64_t address) {
  std::scoped_lock lock(impl_->mutex);
  auto changed = std::make_shared<GlobalView>(*impl_->view);
  auto const found = std::find_if(changed->allocations.begin(), changed->allocations.end(),
                                  [&](Allocation const& a) { return a.base == address; });
  if (found == changed->allocations.end()) {
    throw Error(ErrorCode::kBadArgument,
                fmt::format("release: {} is not the start of an allocation", changed->describe(address)),
                "address", fmt::format("{:#x}", address), "an address that allocate or map returned");
  }
  impl_->used -= found->bytes;
  changed->allocations.erase(found);
  impl_->view = std::move(changed);
}

void Memory::write(std::uint64_t address, std::span<std::byte const> bytes) {
  if (bytes.empty()) return;
  auto const view = impl_->snapshot();
  Range const range = host_range(*view, address, bytes.size(), "write");
  std::memcpy(range.data, bytes.data(), bytes.size());
  if (range.shadow != nullptr) std::memset(range.shadow, 1, bytes.size());
}

void Memory::read(std::uint64_t address, std::span<std::byte> bytes) const {
  if (bytes.empty()) return;
  auto const view = impl_->snapshot();
  std::memcpy(bytes.data(), host_range(*view, address, bytes.size(), "read").data, bytes.size());
}

void Memory::read_written(std::uint64_t address, std::span<std::uint8_t> written) const {
  if (written.empty()) return;
  auto const view = impl_->snapshot();
  Range const range = host_range(*view, address, written.size(), "read");
  for (std::size_t i = 0; i < written.size(); ++i)
    written[i] = range.shadow == nullptr || range.shadow[i] != 0 ? 1 : 0;
}

void Memory::fill(std::uint64_t address, std::size_t bytes, std::byte value) {
  if (bytes == 0) return;
  auto const view = impl_->snapshot();
  Range const range = host_range(*view, address, bytes, "fill");
  std::memset(range.data, std::to_integer<int>(value), bytes);
  if (range.shadow != nullptr) std::memset(range.shadow, 1, bytes);
}

void Memory::poison(std::uint64_t address, std::size_t bytes) {
  if (bytes == 0) return;
  auto const view = impl_->snapshot();
  Range const range = host_range(*view, address, bytes, "poison");
  DW_CHECK(range.shadow != nullptr, kBadArgument,
           "poison: {} is mapped host memory, which counts as initialised", view->describe(address));
  std::memset(range.shadow, 0, bytes);
}

}  // namespace deepwell::emu

// The context: default workspace from the device, counters, per-operation state.
#include "ops/context.hpp"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/log.hpp"

namespace deepwell {
namespace {

constexpr std::size_t kCounterChunkBytes = std::size_t{1} << 20;
constexpr std::size_t kMinCounters = 64;

class BackendAllocator : public Allocator {
 public:
  explicit BackendAllocator(Backend& backend) : backend_(backend) {}
  DeviceAddress allocate(std::size_t bytes, Stream stream) override {
    return backend_.allocate_async(bytes, stream);
  }
  void release(DeviceAddress address, Stream stream) override { backend_.release_async(address, stream); }

 private:
  Backend& backend_;
};

std::unique_ptr<Backend> present(std::unique_ptr<Backend> backend) {
  if (backend == nullptr) throw bad_argument("backend", "null", "a backend");
  return backend;
}

}  // namespace

Workspace::~Workspace() {
  if (address_ == 0) return;
  try {
    allocator_.release(address_, stream_);
  } catch (std::exception const& error) {
    log_error("workspace could not be released: {}", error.what());
  }
}

Context::Context(std::unique_ptr<Backend> backend, ContextOptions options)
    : backend_(present(std::move(backend))),
      allocator_(options.allocator != nullptr ? std::move(options.allocator)
                                              : std::make_shared<BackendAllocator>(*backend_)),
      kernels_(*backend_, std::move(options.kernels)),
      pdl_(options.pdl) {}

Context::Context(std::string_view device, ContextOptions options)
    : Context(make_backend(device), std::move(options)) {}

Context::~Context() {
  try {
    log_notes();
  } catch (std::exception const&) {
    // A log sink that throws must not end the process from here.
  }
  for (State& state : states_) {
    if (void* const object = state.object.load(std::memory_order_acquire)) state.destroy(object);
  }
  for (CounterChunk const& chunk : counter_chunks_) {
    try {
      backend_->release(chunk.address);
    } catch (Error const&) {
      // The device failed earlier; its memory goes with the process.
    }
  }
}

std::size_t Context::CounterKeyHash::operator()(CounterKey const& key) const {
  return std::hash<std::uint64_t>()(key.capture * 0x9e3779b97f4a7c15u ^ key.stream);
}

void Context::log_note(int index) {
  if (note_logged_[static_cast<std::size_t>(index)].exchange(true)) return;
  Note const note = static_cast<Note>(index);
  log_warning("{}: {} ({} so far, note \"{}\"; told once)", device().id, describe(note),
              backend_->read_note(index), name_of(note));
}

void Context::raise_note(int index, std::uint32_t count) {
  Note const note = static_cast<Note>(index);
  throw Error(
      ErrorCode::kBadArgument,
      fmt::format("{}: {} ({} so far, note \"{}\")", device().id, describe(note), count, name_of(note)),
      name_of(note), fmt::format("{} so far", count), "none");
}

DeviceAddress Context::counters(std::size_t count, Stream stream) {
  // The driver refuses to name a stream that is being captured; within one capture handles tell streams apart.
  std::uint64_t const capture = backend_->capture_id(stream);
  CounterKey const key{capture,
                       capture != 0 ? reinterpret_cast<std::uintptr_t>(stream) : backend_->stream_id(stream)};
  std::lock_guard const lock(counters_mutex_);
  CounterSlot& slot = counter_slots_[key];
  if (slot.count < count || slot.address == 0) {
    // Powers of two, so that the slots a stream outgrows stay below the one it has.
    std::size_t const grown = std::bit_ceil(std::max(count, kMinCounters));
    slot.address = take_counter_bytes(grown * sizeof(std::uint32_t));
    slot.count = grown;
  }
  return slot.address;
}

DeviceAddress Context::take_counter_bytes(std::size_t bytes) {
  for (CounterChunk& chunk : counter_chunks_) {
    if (chunk.bytes - chunk.used >= bytes) {
      DeviceAddress const address = chunk.address + chunk.used;
      chunk.used += bytes;
      return address;
    }
  }
  std::size_t const chunk_bytes = std::max(bytes, kCounterChunkBytes);
  counter_chunks_.push_back(
      {.address = backend_->allocate_zeroed(chunk_bytes), .used = bytes, .bytes = chunk_bytes});
  return counter_chunks_.back().address;
}

std::size_t Context::next_state_index() {
  static std::atomic<std::size_t> next{0};
  std::size_t const index = next.fetch_add(1);
  DW_CHECK(index < kMaxStates, kInternal, "more than {} kinds of per-context state", kMaxStates);
  return index;
}

void* Context::make_state(std::size_t index, void* (*create)(), void (*destroy)(void*)) {
  std::lock_guard const lock(states_mutex_);
  State& state = states_[index];
  if (void* const known = state.object.load(std::memory_order_acquire)) return known;
  void* const object = create();
  state.destroy = destroy;
  state.object.store(object, std::memory_order_release);
  return object;
}

}  // namespace deepwell

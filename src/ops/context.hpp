// What operations run in: one device, its kernels, the workspace, and the settings that callers may change. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "backend/backend.hpp"
#include "deepwell/notes.h"
#include "ops/kernel_store.hpp"

namespace deepwell {

/// Where operations take their workspace. Addresses are multiples of 256. Thread-safe.
struct Allocator {
  virtual ~Allocator() = default;
  /// At least `bytes` that work put on `stream` from now on may use; contents are unspecified. Called during stream
  /// capture too: then the memory must stay valid as long as the graph is replayed.
  virtual DeviceAddress allocate(std::size_t bytes, Stream stream) = 0;
  /// Work put on `stream` later may get the memory; work put there before may still use it.
  virtual void release(DeviceAddress address, Stream stream) = 0;
};

/// Memory of an Allocator until the end of a scope.
class Workspace {
 public:
  Workspace(Allocator& allocator, std::size_t bytes, Stream stream)
      : allocator_(allocator),
        stream_(stream),
        address_(bytes == 0 ? 0 : allocator.allocate(bytes, stream)) {}
  /// What release() throws is logged: the call that used the memory has succeeded, or is about to report the same failure.
  ~Workspace();
  Workspace(Workspace const&) = delete;
  Workspace& operator=(Workspace const&) = delete;
  DeviceAddress address() const { return address_; }  // 0 when no bytes were asked for

 private:
  Allocator& allocator_;
  Stream stream_;
  DeviceAddress address_;
};

struct ContextOptions {
  KernelStoreOptions kernels;
  bool pdl = false;                      // programmatic dependent launch
  std::shared_ptr<Allocator> allocator;  // null: the device's own stream-ordered memory
};

class Context {
 public:
  explicit Context(std::unique_ptr<Backend> backend, ContextOptions options = {});
  /// make_backend(device) and a context on it.
  explicit Context(std::string_view device, ContextOptions options = {});
  ~Context();
  Context(Context const&) = delete;
  Context& operator=(Context const&) = delete;

  Backend& backend() { return *backend_; }
  DeviceInfo const& device() const { return backend_->device(); }
  Arch const& arch() const { return backend_->device().arch; }
  KernelStore& kernels() { return kernels_; }

  /// `given`, or the context's own when that is null.
  Allocator& allocator(Allocator* given = nullptr) { return given != nullptr ? *given : *allocator_; }

  bool pdl() const { return pdl_.load(std::memory_order_relaxed); }
  void set_pdl(bool on) { pdl_.store(on, std::memory_order_relaxed); }

  /// Address of at least `count` 32-bit counters that are zero, for kernels that leave them zero. Work on one stream shares
  /// them, work on two streams never does; each graph capture gets its own, which live as long as the context, so that a
  /// graph may be replayed beside other work. (Two executable graphs made from one capture must not run at the same time.)
  DeviceAddress counters(std::size_t count, Stream stream);

  /// Launches `kernel` with `args` as its one by-value parameter; programmatic dependent launch as the context says.
  template <class Args>
  void launch(LoadedKernel const& kernel, LaunchSpec spec, Args const& args) {
    static_assert(std::is_trivially_copyable_v<Args>);
    log_notes();
    spec.programmatic_dependent_launch = pdl();
    backend_->launch(kernel, spec, std::as_bytes(std::span(&args, 1)));
  }

  /// Throws Error kBadArgument (argument: the note's name, got: how often) when kernels have noted something since the last
  /// call, once for what has come since then. For callers that want an error where the library only counts and logs. Never
  /// waits for the device: synchronise first to hear of work that is still running.
  void raise_notes() {
    for (int i = 0; i < static_cast<int>(Note::kCount); ++i) {
      std::uint32_t const count = backend_->read_note(i);
      if (note_raised_[i].exchange(count, std::memory_order_relaxed) != count) raise_note(i, count);
    }
  }

  /// Logs each kind of note that kernels have made, once for each context, without waiting for the device: at every launch
  /// what earlier ones noted, and at the end of the context.
  void log_notes() {
    for (int i = 0; i < static_cast<int>(Note::kCount); ++i) {
      if (!note_logged_[i].load(std::memory_order_relaxed) && backend_->read_note(i) != 0) log_note(i);
    }
  }

  /// The context's one T, made on first use: where an operation keeps what it remembers (such as choices already made). T
  /// must be default constructible and thread-safe.
  template <class T>
  T& state() {
    std::size_t const index = state_index<T>();
    if (void* const known = states_[index].object.load(std::memory_order_acquire))
      return *static_cast<T*>(known);
    return *static_cast<T*>(make_state(
        index, [] { return static_cast<void*>(new T()); },
        [](void* object) { delete static_cast<T*>(object); }));
  }

 private:
  static constexpr std::size_t kMaxStates = 64;
  struct State {
    std::atomic<void*> object{nullptr};
    void (*destroy)(void*) = nullptr;
  };
  static std::size_t next_state_index();
  template <class T>
  static std::size_t state_index() {
    static std::size_t const index = next_state_index();
    return index;
  }
  void* make_state(std::size_t index, void* (*create)(), void (*destroy)(void*));

  struct CounterKey {
    std::uint64_t capture, stream;
    bool operator==(CounterKey const&) const = default;
  };
  struct CounterKeyHash {
    std::size_t operator()(CounterKey const& key) const;
  };
  struct CounterSlot {
    DeviceAddress address = 0;
    std::size_t count = 0;
  };
  struct CounterChunk {
    DeviceAddress address = 0;
    std::size_t used = 0, bytes = 0;
  };
  DeviceAddress take_counter_bytes(std::size_t bytes);
  void log_note(int index);
  void raise_note(int index, std::uint32_t count);

  std::unique_ptr<Backend> backend_;
  std::shared_ptr<Allocator> allocator_;
  KernelStore kernels_;
  std::atomic<bool> pdl_;
  std::array<std::atomic<std::uint32_t>, static_cast<std::size_t>(Note::kCount)>
      note_raised_{};  // counts told
  std::array<std::atomic<bool>, static_cast<std::size_t>(Note::kCount)> note_logged_{};

  std::mutex counters_mutex_;
  std::unordered_map<CounterKey, CounterSlot, CounterKeyHash> counter_slots_;
  std::vector<CounterChunk> counter_chunks_;

  std::mutex states_mutex_;
  std::array<State, kMaxStates> states_;
};

}  // namespace deepwell

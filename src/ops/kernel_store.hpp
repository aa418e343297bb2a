// From a plan's key to a kernel that is ready to run: memory, archives, the disk cache, the compiler. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/backend.hpp"
#include "base/thread_pool.hpp"
#include "jit/archive.hpp"
#include "jit/jit.hpp"

namespace deepwell {

/// What a kernel is made from; only made when the kernel is not in memory.
struct KernelRequest {
  std::string name;                      // readable; part of the cache folder's name and of errors
  std::string entry;                     // the extern "C" kernel
  std::string source;                    // generated text
  std::uint32_t dynamic_smem_bytes = 0;  // the most that launches will ask for
};

struct KernelStoreOptions {
  std::string compiler;                         // "nvrtc", "nvcc" or "" (nvrtc, else nvcc)
  std::string cache_folders;                    // "writable[:read-only...]"; empty: the option's default
  std::string archives;                         // "FILE[:FILE...]"; empty: option DEEPWELL_KERNELS
  bool line_info = false;                       // also by option DEEPWELL_LINE_INFO
  bool load_during_capture = true;              // false: a kernel first seen under stream capture is an error
  int threads = 0;                              // for background builds; 0: option DEEPWELL_COMPILE_THREADS
  std::shared_ptr<jit::Compiler> use_compiler;  // instead of looking for one (tests)
};

/// Where a kernel came from. kMemory: it was loaded already, or its device needs no code.
enum class KernelSource { kMemory, kArchive, kDisk, kCompiler };
char const* name_of(KernelSource source);

/// What happens when a call needs a kernel that is not in memory although the warm-up is over.
enum class LateBuilds { kOff, kWarn, kError };
/// Of option DEEPWELL_AFTER_WARMUP. Throws Error kBadArgument naming it.
LateBuilds late_builds_option();

class KernelStore {
 public:
  using Describe = std::function<KernelRequest()>;
  struct Item {
    std::uint64_t key = 0;
    Describe describe;
  };

  /// `backend` must outlive the store.
  explicit KernelStore(Backend& backend, KernelStoreOptions options = {});
  ~KernelStore();
  KernelStore(KernelStore const&) = delete;
  KernelStore& operator=(KernelStore const&) = delete;

  /// The kernel of `key`, a 64-bit hash of all that the kernel is made from, target aside. `describe()` -> KernelRequest is
  /// called only when the kernel is not in memory; one build per key runs at a time, others wait for it. The reference
  /// holds as long as the store. Throws what the compiler, the cache or the backend throws, with the kernel's name in
  /// front; a later call tries again. `stream` is where it will run: under capture a missing kernel is loaded if the
  /// options allow it, else Error kUnsupported says what to warm.
  template <class DescribeFn>
  LoadedKernel const& get(std::uint64_t key, Stream stream, DescribeFn&& describe) {
    if (LoadedKernel const* kernel = find(key)) return *kernel;
    return build(key, stream, Describe(std::forward<DescribeFn>(describe)));
  }

  /// The kernel if it is in memory, else null: one hash lookup without a lock.
  LoadedKernel const* find(std::uint64_t key) const {
    Table const* const table = table_.load(std::memory_order_acquire);
    for (std::size_t at = slot_of(key) & table->mask;; at = (at + 1) & table->mask) {
      LoadedKernel const* const kernel = table->slots[at].kernel.load(std::memory_order_acquire);
      if (kernel == nullptr) return nullptr;
      if (table->slots[at].key == key) return kernel;
    }
  }

  /// Starts building what is not in memory on background threads. A build that fails is logged; the get() that needs it
  /// tries again and throws.
  void build_in_background(std::vector<Item> items);
  /// Returns when nothing is being built in the background.
  void wait();

  struct BuildProgress {
    std::size_t done = 0, total = 0;
    std::string const& name;
    KernelSource source = KernelSource::kMemory;
    double seconds = 0;  // to compile or to read
  };
  /// Called after each kernel on the thread that called build_all, one call at a time. False: no further kernel is begun.
  using ProgressFunction = std::function<bool(BuildProgress const&)>;
  struct BuildSummary {
    std::size_t kernels = 0;  // different keys
    std::size_t in_memory = 0, from_archives = 0, from_disk = 0, compiled = 0;
    double seconds = 0;  // from begin to end
    std::size_t& count(KernelSource source);
  };
  /// Builds and loads what is not in memory, on `threads` threads (0: the store's option), and returns when all is loaded.
  /// Processes that do so at the same time with one cache folder share the work: a kernel that another one is compiling is
  /// left for last, and then waited for. Kernels that fail do not stop the others; then the first one's error is thrown. When
  /// `progress` returns false, Error kBadArgument ("progress") is thrown; what it throws is passed on.
  BuildSummary build_all(std::vector<Item> items, int threads = 0, ProgressFunction const& progress = {});

  /// From now on a get() that has to build is logged with the kernel's name (kWarn), or is Error kInternal (kError), and
  /// is counted. build_all never is.
  void after_warm_up(LateBuilds late) {
    late_.store(late, std::memory_order_relaxed);
    warmed_up_.store(true, std::memory_order_relaxed);
  }

  struct Counts {
    std::uint64_t compiled = 0;  // by a compiler
    std::uint64_t from_disk = 0;
    std::uint64_t from_archives = 0;
    std::uint64_t loaded = 0;  // kernels in memory
    std::uint64_t late = 0;    // built although the warm-up was over, whatever after_warm_up() was told
    double seconds = 0;        // spent in compiling and reading
  };
  Counts counts() const;

  /// The compiler that is used; looked for on first need. Throws Error kToolchain when there is none.
  jit::Compiler const& compiler();

 private:
  struct Slot {
    std::uint64_t key = 0;  // written before kernel is published
    std::atomic<LoadedKernel const*> kernel{nullptr};
  };
  struct Table {
    explicit Table(std::size_t capacity) : mask(capacity - 1), slots(std::make_unique<Slot[]>(capacity)) {}
    std::size_t mask;
    std::unique_ptr<Slot[]> slots;
  };

  static std::size_t slot_of(std::uint64_t key) {
    return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15u) >> 20);
  }
  enum class Cause { kCall, kBackground, kWarmUp };
  /// What a build gave. `kernel` is null where it would have waited for another process.
  struct Outcome {
    LoadedKernel const* kernel = nullptr;
    KernelSource source = KernelSource::kMemory;
    double seconds = 0;
  };
  struct Made {
    std::shared_ptr<LoadedKernel> kernel;
    KernelSource source = KernelSource::kMemory;
    double seconds = 0;
  };

  static void insert(Table& table, std::uint64_t key, LoadedKernel const* kernel);
  LoadedKernel const& build(std::uint64_t key, Stream stream, Describe const& describe);
  /// With `wait` there is a kernel.
  Outcome build_or_wait(std::uint64_t key, Describe const& describe, Cause cause, bool wait);
  Made make(KernelRequest const& request, bool wait);
  std::optional<Made> from_archives(KernelRequest const& request, jit::CompileRequest const& compile);
  /// From the disk cache or a compiler; nullopt where that would wait.
  std::optional<jit::Compiled> from_tools(jit::CompileRequest const& compile, bool wait);
  void refuse_late(Describe const& describe) const;
  void note_late(std::string const& name, Outcome const& outcome, Cause cause);
  struct Batch;
  void work_on(Batch& batch);
  template <class Handle>
  void run(Batch& batch, int threads, Handle const& handle);
  jit::KernelCache& cache();
  void publish(std::uint64_t key, std::shared_ptr<LoadedKernel> kernel);

  Backend& backend_;
  KernelStoreOptions options_;
  bool line_info_;
  std::atomic<Table*> table_;
  std::atomic<LateBuilds> late_{LateBuilds::kOff};
  std::atomic<bool> warmed_up_{false};
  std::atomic<bool> closing_{false};  // background builds that have not begun are dropped

  mutable std::mutex mutex_;                    // everything below
  std::vector<std::unique_ptr<Table>> tables_;  // the last is current; older ones may still be read
  std::vector<std::shared_ptr<LoadedKernel>> kernels_;
  std::unordered_map<std::uint64_t, std::shared_future<LoadedKernel const*>> in_progress_;
  std::vector<std::future<void>> background_;
  Counts counts_;

  std::mutex tools_mutex_;  // the three below are made on first need
  std::shared_ptr<jit::Compiler> compiler_;
  std::unique_ptr<jit::KernelCache> cache_;
  std::unique_ptr<jit::KernelArchives> archives_;

  std::unique_ptr<ThreadPool> pool_;  // last: joined first
};

}  // namespace deepwell

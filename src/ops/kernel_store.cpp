// Building kernels once per key, publishing them for lock-free lookup, and building sets in the background.
#include "ops/kernel_store.hpp"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "base/log.hpp"
#include "base/options.hpp"
#include "jit/parallel.hpp"

namespace deepwell {
namespace {

constexpr std::size_t kFirstCapacity = 256;

}  // namespace

char const* name_of(KernelSource source) {
  switch (source) {
    case KernelSource::kMemory: return "memory";
    case KernelSource::kArchive: return "an archive";
    case KernelSource::kDisk: return "the cache";
    case KernelSource::kCompiler: return "the compiler";
  }
  return "?";
}

LateBuilds late_builds_option() {
  std::string const text = option_text(Option::kAfterWarmup);
  if (text == "off") return LateBuilds::kOff;
  if (text == "warn") return LateBuilds::kWarn;
  if (text == "error") return LateBuilds::kError;
  throw bad_argument(std::string(option_row(Option::kAfterWarmup).name), text, "warn, error or off");
}

KernelStore::KernelStore(Backend& backend, KernelStoreOptions options)
    : backend_(backend),
      options_(std::move(options)),
      line_info_(options_.line_info || option_flag(Option::kLineInfo)),
      compiler_(options_.use_compiler) {
  if (options_.threads < 0)
    throw bad_argument("threads", std::to_string(options_.threads), "0 (all cores) or more");
  tables_.push_back(std::make_unique<Table>(kFirstCapacity));
  table_.store(tables_.back().get(), std::memory_order_release);
}

KernelStore::~KernelStore() { closing_.store(true, std::memory_order_relaxed); }

void KernelStore::insert(Table& table, std::uint64_t key, LoadedKernel const* kernel) {
  std::size_t at = slot_of(key) & table.mask;
  while (table.slots[at].kernel.load(std::memory_order_relaxed) != nullptr) at = (at + 1) & table.mask;
  table.slots[at].key = key;
  table.slots[at].kernel.store(kernel, std::memory_order_release);
}

void KernelStore::publish(std::uint64_t key, std::shared_ptr<LoadedKernel> kernel) {
  std::lock_guard const lock(mutex_);
  kernels_.push_back(std::move(kernel));
  Table* current = tables_.back().get();
  if (kernels_.size() * 2 > current->mask + 1) {
    auto grown = std::make_unique<Table>((current->mask + 1) * 2);
    for (std::size_t at = 0; at <= current->mask; ++at) {
      if (LoadedKernel const* const old = current->slots[at].kernel.load(std::memory_order_relaxed)) {
        insert(*grown, current->slots[at].key, old);
      }
    }
    insert(*grown, key, kernels_.back().get());
    tables_.push_back(std::move(grown));
    table_.store(tables_.back().get(), std::memory_order_release);
  } else {
    insert(*current, key, kernels_.back().get());
  }
  counts_.loaded = kernels_.size();
}

LoadedKernel const& KernelStore::build(std::uint64_t key, Stream stream, Describe const& describe) {
  if (!options_.load_during_capture && backend_.capturing(stream)) {
    std::string const name = describe().name;
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format(
            "kernel {}: it is not loaded yet and its stream is being captured into a graph; run the same "
            "shapes once before the capture",
            name),
        "stream", "capturing", "a kernel that ran before the capture");
  }
  if (warmed_up_.load(std::memory_order_relaxed)) refuse_late(describe);
  return *build_or_wait(key, describe, Cause::kCall, true).kernel;
}

KernelStore::Outcome KernelStore::build_or_wait(std::uint64_t key, Describe const& describe, Cause cause,
                                                bool wait) {
  std::promise<LoadedKernel const*> promise;
  std::shared_future<LoadedKernel const*> other;
  {
    std::lock_guard const lock(mutex_);
    if (LoadedKernel const* const kernel = find(key)) return {.kernel = kernel};
    auto const [at, mine] = in_progress_.try_emplace(key);
    if (mine) {
      at->second = promise.get_future().share();
    } else {
      other = at->second;
    }
  }
  if (other.valid()) {
    LoadedKernel const* const kernel = other.get();
    // It was left to another process, and this call is one that waits for that.
    return kernel == nullptr && wait ? build_or_wait(key, describe, cause, wait) : Outcome{.kernel = kernel};
  }

  auto const finish = [&] {
    std::lock_guard const lock(mutex_);
    in_progress_.erase(key);
  };
  Outcome outcome;
  try {
    KernelRequest const request = describe();
    bool const is_late = warmed_up_.load(std::memory_order_relaxed) && cause != Cause::kWarmUp;
    try {
      Made made = make(request, wait);
      outcome = {.kernel = made.kernel.get(), .source = made.source, .seconds = made.seconds};
      if (made.kernel != nullptr) publish(key, std::move(made.kernel));
      if (is_late) note_late(request.name, outcome, cause);
    } catch (Error const& error) {
      throw with_context(error, fmt::format("while preparing kernel {}", request.name));
    } catch (std::system_error const& error) {  // files of the compiler or of a checkout
      throw Error(ErrorCode::kToolchain,
                  fmt::format("while preparing kernel {}: {}", request.name, error.what()), request.name,
                  error.what(), "a compiler that can read and write its files");
    }
  } catch (...) {
    finish();
    promise.set_exception(std::current_exception());
    throw;
  }
  finish();
  promise.set_value(outcome.kernel);
  return outcome;
}

void KernelStore::refuse_late(Describe const& describe) const {
  if (late_.load(std::memory_order_relaxed) != LateBuilds::kError) return;
  std::string const name = describe().name;
  // Of a code that no caller takes as a hint to go elsewhere: another library would compile.
  throw Error(
      ErrorCode::kInternal,
      fmt::format(
          "kernel {}: it is not loaded, and {} is error: after the warm-up nothing is compiled or loaded; "
          "warm up for the sizes of this call",
          name, option_row(Option::kAfterWarmup).name),
      std::string(option_row(Option::kAfterWarmup).name), "error", "a kernel of the warm-up");
}

void KernelStore::note_late(std::string const& name, Outcome const& outcome, Cause cause) {
  {
    std::lock_guard const lock(mutex_);
    ++counts_.late;
  }
  if (late_.load(std::memory_order_relaxed) == LateBuilds::kOff) return;
  log_warning("{}: kernel {} is not part of the warm-up: {} in {:.0f} ms {}", backend_.device().id, name,
              outcome.source == KernelSource::kCompiler
                  ? "compiled"
                  : fmt::format("loaded from {}", name_of(outcome.source)),
              outcome.seconds * 1e3, cause == Cause::kCall ? "during a call" : "in the background");
}

std::optional<KernelStore::Made> KernelStore::from_archives(KernelRequest const& request,
                                                            jit::CompileRequest const& compile) {
  jit::KernelArchives const* archives = nullptr;
  {
    std::lock_guard const lock(tools_mutex_);
    if (archives_ == nullptr) {
      archives_ = std::make_unique<jit::KernelArchives>(
          options_.archives.empty() ? option_text(Option::kKernels) : options_.archives);
    }
    archives = archives_.get();
  }
  std::optional<jit::Compiled> compiled = archives->find(compile);
  if (!compiled) return std::nullopt;
  try {
    KernelImage const image{.entry = request.entry,
                            .target = compile.target,
                            .cubin = std::move(compiled->cubin),
                            .ptx = std::move(compiled->ptx)};
    Made made{.kernel = backend_.load(image, request.dynamic_smem_bytes),
              .source = KernelSource::kArchive,
              .seconds = compiled->seconds};
    std::lock_guard const lock(mutex_);
    ++counts_.from_archives;
    counts_.seconds += made.seconds;
    return made;
  } catch (Error const& error) {
    // Such as code of a compiler that is newer than the driver. What this host compiles itself may work.
    log_warning("kernel {} of an archive is not used: {}", request.name, error.what());
    return std::nullopt;
  }
}

std::optional<jit::Compiled> KernelStore::from_tools(jit::CompileRequest const& compile, bool wait) {
  jit::Compiler const* used = nullptr;
  try {
    used = &compiler();
  } catch (Error const& error) {
    if (error.code() != ErrorCode::kToolchain) throw;
    if (std::optional<jit::Compiled> compiled = cache().find_any(compile)) return compiled;
    throw;
  }
  return wait ? cache().get(compile, *used) : cache().get_unless_busy(compile, *used);
}

KernelStore::Made KernelStore::make(KernelRequest const& request, bool wait) {
  KernelImage image{
      .entry = request.entry, .target = std::string(backend_.device().arch.target), .cubin = {}, .ptx = {}};
  Made made;
  if (backend_.needs_code()) {
    jit::CompileRequest const compile{.name = request.name,
                                      .source = request.source,
                                      .target = image.target,
                                      .entry = request.entry,
                                      .line_info = line_info_};
    if (std::optional<Made> ready = from_archives(request, compile)) return std::move(*ready);
    std::optional<jit::Compiled> compiled = from_tools(compile, wait);
    if (!compiled) return {};
    made.source = compiled->from_cache ? KernelSource::kDisk : KernelSource::kCompiler;
    made.seconds = compiled->seconds;
    {
      std::lock_guard const lock(mutex_);
      ++(compiled->from_cache ? counts_.from_disk : counts_.compiled);
      counts_.seconds += compiled->seconds;
    }
    image.cubin = std::move(compiled->cubin);
    image.ptx = std::move(compiled->ptx);
  }
  made.kernel = backend_.load(image, request.dynamic_smem_bytes);
  return made;
}

jit::KernelCache& KernelStore::cache() {
  std::lock_guard const lock(tools_mutex_);
  if (cache_ == nullptr) cache_ = std::make_unique<jit::KernelCache>(options_.cache_folders);
  return *cache_;
}

jit::Compiler const& KernelStore::compiler() {
  std::lock_guard const lock(tools_mutex_);
  if (compiler_ == nullptr) compiler_ = jit::make_compiler(options_.compiler, backend_.device().arch.target);
  return *compiler_;
}

void KernelStore::build_in_background(std::vector<Item> items) {
  std::erase_if(items, [this](Item const& item) { return find(item.key) != nullptr; });
  if (items.empty()) return;
  std::lock_guard const lock(mutex_);
  if (pool_ == nullptr) pool_ = std::make_unique<ThreadPool>(jit::compile_threads(options_.threads));
  std::erase_if(background_, [](std::future<void> const& task) {
    return task.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  for (Item& item : items) {
    background_.push_back(pool_->submit([this, item = std::move(item)] {
      if (closing_.load(std::memory_order_relaxed)) return;
      try {
        build_or_wait(item.key, item.describe, Cause::kBackground, true);
      } catch (std::exception const& error) {
        // The get() that needs this kernel builds it again and throws.
        log_warning("building in the background: {}", error.what());
      }
    }));
  }
}

void KernelStore::wait() {
  std::vector<std::future<void>> tasks;
  {
    std::lock_guard const lock(mutex_);
    tasks.swap(background_);
  }
  for (std::future<void>& task : tasks) task.wait();
}

KernelStore::Counts KernelStore::counts() const {
  std::lock_guard const lock(mutex_);
  return counts_;
}

}  // namespace deepwell

// Building a set of kernels at once and waiting for all of them: KernelStore::build_all.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <thread>
#include <unordered_set>
#include <utility>

#include "jit/parallel.hpp"
#include "ops/kernel_store.hpp"

namespace deepwell {

/// One call of build_all: what its workers share.
struct KernelStore::Batch {
  struct Event {
    std::size_t index = 0;
    Outcome outcome;
    bool busy = false;  // another process is compiling it
    std::exception_ptr failure;
  };

  Batch(std::vector<Item> const& all, std::vector<std::size_t> indices, bool waits)
      : items(all), todo(std::move(indices)), wait(waits) {}

  std::vector<Item> const& items;
  std::vector<std::size_t> const todo;  // indices of items, of this round
  bool const wait;                      // for other processes
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Event> events;  // under mutex
  std::size_t working = 0;   // workers that have not returned; under mutex

  void tell(Event event) {
    std::lock_guard const lock(mutex);
    events.push_back(std::move(event));
    changed.notify_one();
  }
};

std::size_t& KernelStore::BuildSummary::count(KernelSource source) {
  switch (source) {
    case KernelSource::kMemory: return in_memory;
    case KernelSource::kArchive: return from_archives;
    case KernelSource::kDisk: return from_disk;
    case KernelSource::kCompiler: break;
  }
  return compiled;
}

void KernelStore::work_on(Batch& batch) {
  for (;;) {
    std::size_t const at = batch.next.fetch_add(1, std::memory_order_relaxed);
    if (at >= batch.todo.size() || batch.stop.load(std::memory_order_relaxed)) break;
    Batch::Event event{.index = batch.todo[at], .outcome = {}, .busy = false, .failure = nullptr};
    Item const& item = batch.items[event.index];
    try {
      event.outcome = build_or_wait(item.key, item.describe, Cause::kWarmUp, batch.wait);
      event.busy = event.outcome.kernel == nullptr;
    } catch (...) {
      event.failure = std::current_exception();
    }
    batch.tell(std::move(event));
  }
  std::lock_guard const lock(batch.mutex);
  --batch.working;
  batch.changed.notify_one();
}

// Calls `handle` with each event on the calling thread; when it throws, no further kernel is begun.
template <class Handle>
void KernelStore::run(Batch& batch, int threads, Handle const& handle) {
  batch.working = std::min(batch.todo.size(), static_cast<std::size_t>(threads));
  // Its destructor waits for the workers, whatever happens here.
  std::vector<std::jthread> workers;
  for (std::size_t i = 0, count = batch.working; i < count; ++i)
    workers.emplace_back([&] { work_on(batch); });
  for (;;) {
    Batch::Event event;
    {
      std::unique_lock lock(batch.mutex);
      batch.changed.wait(lock, [&] { return !batch.events.empty() || batch.working == 0; });
      if (batch.events.empty()) return;
      event = std::move(batch.events.front());
      batch.events.pop_front();
    }
    try {
      handle(event);
    } catch (...) {
      batch.stop.store(true, std::memory_order_relaxed);
      throw;
    }
  }
}

KernelStore::BuildSummary KernelStore::build_all(std::vector<Item> items, int threads,
                                                 ProgressFunction const& progress) {
  auto const start = std::chrono::steady_clock::now();
  std::unordered_set<std::uint64_t> seen;
  std::erase_if(items, [&](Item const& item) { return !seen.insert(item.key).second; });
  BuildSummary summary;
  summary.kernels = items.size();
  std::size_t done = 0, failed = 0, first_failed = items.size();
  std::exception_ptr failure;
  std::vector<std::size_t> todo(items.size()), busy;
  for (std::size_t i = 0; i < todo.size(); ++i) todo[i] = i;

  auto const handle = [&](Batch::Event const& event) {
    if (event.busy) {
      busy.push_back(event.index);
      return;
    }
    if (event.failure) {
      ++failed;
      if (event.index < first_failed) {
        first_failed = event.index;
        failure = event.failure;
      }
      return;
    }
    ++done;
    ++summary.count(event.outcome.source);
    if (!progress) return;
    std::string const name = items[event.index].describe().name;
    bool const go_on = progress({.done = done,
                                 .total = items.size(),
                                 .name = name,
                                 .source = event.outcome.source,
                                 .seconds = event.outcome.seconds});
    if (!go_on) {
      throw bad_argument("progress", fmt::format("a wish to stop after {} of {} kernels", done, items.size()),
                         "none");
    }
  };
  int const workers = jit::compile_threads(threads > 0 ? threads : options_.threads);
  Batch first(items, std::move(todo), false);
  run(first, workers, handle);
  Batch rest(items, std::move(busy), true);
  run(rest, workers, handle);

  if (failure) {
    try {
      std::rethrow_exception(failure);
    } catch (Error const& error) {
      throw with_context(error, fmt::format("{} of {} kernels could not be prepared, the first of them",
                                            failed, items.size()));
    }
  }
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return summary;
}

}  // namespace deepwell

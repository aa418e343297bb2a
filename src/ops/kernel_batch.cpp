// Building a set of kernels at once and waiting for all of them: KernelStore::build_all.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <thread>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "base/options.hpp"
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

KernelStore::BuildSummary KernelStore::build_all(std::vector<Item> items, int threads,
                                                 ProgressFunction const& progress) {
  auto const start = std::chrono::steady_clock::now();
  std::unordered_set<std::uint64_t> seen;
  std::erase_if(items, [&](Item const& item) { return !seen.insert(item.key).second; });
  BuildSummary summary;
  summary.kernels = items.size();
  std::size_t done = 0, failed = 0, first_failed = items.size();
  std::exception_ptr failure;

  auto const report = [&](Batch::Event const& event) {
    switch (event.outcome.source) {
      case KernelSource::kMemory: ++summary.in_memory; break;
      case KernelSource::kArchive: ++summary.from_archives; break;
      case KernelSource::kDisk: ++summary.from_disk; break;
      case KernelSource::kCompiler: ++summary.compiled; break;
    }
    ++done;
    if (!progress) return true;
    std::string const name = items[event.index].describe().name;
    return progress({.done = done,
                     .total = items.size(),
                     .name = name,
                     .source = event.outcome.source,
                     .seconds = event.outcome.seconds});
  };

  std::vector<std::size_t> todo(items.size());
  for (std::size_t i = 0; i < todo.size(); ++i) todo[i] = i;
  for (bool wait : {false, true}) {
    if (todo.empty()) break;
    Batch batch(items, std::exchange(todo, {}), wait);
    std::size_t const workers =
        std::min(batch.todo.size(),
                 static_cast<std::size_t>(jit::compile_threads(threads > 0 ? threads : options_.threads)));
    batch.working = workers;
    std::exception_ptr stopped;
    {
      // Its destructor waits for the workers, whatever happens here.
      std::vector<std::jthread> pool;
      for (std::size_t i = 0; i < workers; ++i) pool.emplace_back([&] { work_on(batch); });
      for (std::unique_lock lock(batch.mutex);;) {
        batch.changed.wait(lock, [&] { return !batch.events.empty() || batch.working == 0; });
        if (batch.events.empty()) break;
        Batch::Event const event = std::move(batch.events.front());
        batch.events.pop_front();
        lock.unlock();
        if (event.busy) {
          todo.push_back(event.index);
        } else if (event.failure) {
          ++failed;
          if (event.index < first_failed)
            std::tie(first_failed, failure) = std::pair(event.index, event.failure);
        } else if (!stopped) {
          try {
            if (!report(event)) {
              throw bad_argument("progress",
                                 fmt::format("a wish to stop after {} of {} kernels", done, items.size()),
                                 "none");
            }
          } catch (...) {
            stopped = std::current_exception();
            batch.stop.store(true, std::memory_order_relaxed);
          }
        }
        lock.lock();
      }
    }
    if (stopped) std::rethrow_exception(stopped);
  }
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

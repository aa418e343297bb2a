// Worker threads: a queue of tasks, and loops whose indices are handed out by a counter.
#include "base/thread_pool.hpp"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <string>

#include "base/error.hpp"

namespace deepwell {

int hardware_threads() {
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    int const allowed = CPU_COUNT(&set);
    if (allowed > 0) return allowed;
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// One loop in flight. Helpers that come late find no index left and never touch `context`.
struct ThreadPool::Loop {
  std::size_t count;
  void* context;
  Call call;
  std::atomic<std::size_t> next{0};
  std::atomic<std::size_t> finished{0};
  std::atomic<std::size_t> lowest_failed{std::numeric_limits<std::size_t>::max()};
  std::mutex mutex;
  std::condition_variable done;
  std::exception_ptr failure;  // of lowest_failed; under mutex

  void take_part() {
    for (;;) {
      std::size_t const index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= count) return;
      // All indices below a failed one have been handed out already, so skipping only above keeps the report the same.
      if (index < lowest_failed.load(std::memory_order_relaxed)) {
        try {
          call(context, index);
        } catch (...) {
          std::lock_guard const lock(mutex);
          if (index < lowest_failed.load(std::memory_order_relaxed)) {
            lowest_failed.store(index, std::memory_order_relaxed);
            failure = std::current_exception();
          }
        }
      }
      if (finished.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
        std::lock_guard const lock(mutex);
        done.notify_all();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) {
  if (threads < 0) throw bad_argument("threads", std::to_string(threads), "0 (all cores) or more");
  size_ = threads == 0 ? hardware_threads() : threads;
  int const workers = std::max(1, size_ - 1);
  workers_.reserve(static_cast<std::size_t>(workers));
  for (int i = 0; i < workers; ++i) {
    workers_.emplace_back([this](std::stop_token stop) { work(std::move(stop)); });
  }
}

ThreadPool::~ThreadPool() {
  for (std::jthread& worker : workers_) worker.request_stop();
  workers_.clear();
}

void ThreadPool::work(std::stop_token stop) {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, stop, [this] { return !tasks_.empty(); });
      if (tasks_.empty()) return;  // asked to stop, and nothing is left
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

void ThreadPool::post(std::function<void()> task) {
  {
    std::lock_guard const lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

std::future<void> ThreadPool::submit(std::function<void()> task) {
  auto packaged = std::make_shared<std::packaged_task<void()>>(std::move(task));
  std::future<void> future = packaged->get_future();
  post([packaged] { (*packaged)(); });
  return future;
}

void ThreadPool::run_loop(std::size_t count, void* context, Call call) {
  if (size_ == 1 || count <= 1) {
    for (std::size_t index = 0; index < count; ++index) call(context, index);
    return;
  }
  auto loop = std::make_shared<Loop>();
  loop->count = count;
  loop->context = context;
  loop->call = call;
  std::size_t const helpers = std::min<std::size_t>(static_cast<std::size_t>(size_ - 1), count - 1);
  for (std::size_t i = 0; i < helpers; ++i) {
    post([loop] { loop->take_part(); });
  }
  loop->take_part();
  std::unique_lock lock(loop->mutex);
  loop->done.wait(lock, [&] { return loop->finished.load(std::memory_order_acquire) == count; });
  if (loop->failure) std::rethrow_exception(loop->failure);
}

}  // namespace deepwell

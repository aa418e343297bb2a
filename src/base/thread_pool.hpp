// A fixed set of worker threads with a parallel loop that carries exceptions over. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <vector>

namespace deepwell {

/// Threads the machine offers to this process (its CPU affinity counts), at least 1.
int hardware_threads();

class ThreadPool {
 public:
  /// `threads`: how many may work at once in a parallel loop, the calling thread included; 0 means hardware_threads().
  /// Throws Error (kBadArgument) when negative.
  explicit ThreadPool(int threads = 0);
  /// Runs what was submitted to its end, then joins.
  ~ThreadPool();
  ThreadPool(ThreadPool const&) = delete;
  ThreadPool& operator=(ThreadPool const&) = delete;

  /// Threads that share a parallel loop, the calling one included.
  int size() const { return size_; }

  /// Calls body(i) once for each i in [0, count) and returns when all are done; the calling thread takes part, so loops
  /// may be nested and may be called from a task. Indices are handed out in ascending order. When bodies throw, the loop
  /// rethrows the exception of the lowest index that threw, whatever the timing; higher indices may then not run.
  template <class Body>
  void parallel_for(std::size_t count, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run_loop(count, const_cast<void*>(static_cast<void const*>(std::addressof(body))),
             [](void* context, std::size_t index) { (*static_cast<Plain*>(context))(index); });
  }

  /// Runs `task` on a worker some time; its exception is in the future. A pool of size 1 has one worker for tasks too.
  std::future<void> submit(std::function<void()> task);

 private:
  using Call = void (*)(void* context, std::size_t index);
  struct Loop;
  void run_loop(std::size_t count, void* context, Call call);
  void post(std::function<void()> task);
  void work(std::stop_token stop);

  int size_ = 1;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::jthread> workers_;  // last: joined before the queue goes
};

}  // namespace deepwell

// Letting other Python threads run during a call, and what happens to threads that come back when the process ends.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>

namespace deepwell::python {

/// Whether Python is shutting down. The function is part of the interpreter since 3.13, and was there under another name before.
inline bool is_finalizing() {
  using Ask = int (*)();
  static Ask const ask = [] {
    void* found = dlsym(RTLD_DEFAULT, "Py_IsFinalizing");
    if (found == nullptr) found = dlsym(RTLD_DEFAULT, "_Py_IsFinalizing");
    return reinterpret_cast<Ask>(found);
  }();
  return ask != nullptr && ask() != 0;
}

/// What close() and threads that come back from a call know of each other.
struct Exit {
  std::atomic<int> inside{0};     // calls that may use contexts
  std::atomic<int> returning{0};  // calls that wait for the GIL
  std::atomic<bool> closing{false};
  pthread_t closer{};  // set before closing
};
inline Exit at_exit;

/// Lets other Python threads run during a scope. A daemon thread that calls after close() has begun, or comes back then, stays here
/// until the process ends: contexts are gone, and Python before 3.13 ends threads by unwinding them, which frames of another C++
/// runtime do not survive.
class WithoutGil {
 public:
  WithoutGil() : thread_(PyEval_SaveThread()) {
    ++at_exit.inside;  // before the question: close() asks the other way round
    if (closes_elsewhere()) {
      --at_exit.inside;
      while (true) pause();
    }
  }
  ~WithoutGil() {
    --at_exit.inside;
    ++at_exit.returning;
    if (closes_elsewhere()) {
      --at_exit.returning;
      wait_for_the_end();
      ++at_exit.returning;
    }
    PyEval_RestoreThread(thread_);
    --at_exit.returning;
  }
  WithoutGil(WithoutGil const&) = delete;

 private:
  static bool closes_elsewhere() {
    return at_exit.closing && pthread_equal(pthread_self(), at_exit.closer) == 0;
  }

  /// Between close() and the shutdown others' exit handlers run. One that waits for this thread gets it after a while.
  static void wait_for_the_end() {
    constexpr int kMilliseconds = 2000;
    for (int i = 0; i < kMilliseconds && !is_finalizing(); ++i) usleep(1000);
    while (is_finalizing()) pause();
  }

  PyThreadState* thread_;
};

}  // namespace deepwell::python

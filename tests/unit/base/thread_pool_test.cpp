// The thread pool: every index once, the right exception, nesting, tasks finished before the pool goes.
#include "base/thread_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.hpp"

namespace deepwell {
namespace {

TEST(ThreadPool, RunsEachIndexOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (std::size_t count : {0, 1, 2, 3, 1000}) {
      std::vector<std::atomic<int>> seen(count);
      pool.parallel_for(count, [&](std::size_t i) { seen[i].fetch_add(1); });
      for (auto const& times : seen) EXPECT_EQ(times.load(), 1);
    }
  }
}

TEST(ThreadPool, ZeroMeansAllCores) {
  ThreadPool pool;
  EXPECT_EQ(pool.size(), hardware_threads());
  EXPECT_GE(pool.size(), 1);
}

TEST(ThreadPool, NegativeSizeIsAnError) {
  try {
    ThreadPool pool(-2);
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), "threads");
    EXPECT_EQ(error.got(), "-2");
  }
}

TEST(ThreadPool, ReportsTheLowestIndexThatThrew) {
  ThreadPool pool(4);
  for (int round = 0; round < 50; ++round) {
    try {
      pool.parallel_for(200, [&](std::size_t i) {
        if (i == 7) std::this_thread::sleep_for(std::chrono::microseconds(200));
        if (i == 7 || i == 9 || i == 150) throw std::runtime_error(std::to_string(i));
      });
      FAIL() << "no exception";
    } catch (std::runtime_error const& error) {
      EXPECT_STREQ(error.what(), "7");
    }
  }
}

TEST(ThreadPool, UsesSeveralThreads) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  std::atomic<int> inside{0};
  // Each of three bodies waits until all three run: only possible on three threads.
  pool.parallel_for(3, [&](std::size_t) {
    inside.fetch_add(1);
    while (inside.load() < 3) std::this_thread::yield();
    std::lock_guard const lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_TRUE(ids.contains(std::this_thread::get_id()));
}

TEST(ThreadPool, LoopsNest) {
  ThreadPool pool(3);
  std::atomic<int> sum{0};
  pool.parallel_for(8, [&](std::size_t) { pool.parallel_for(8, [&](std::size_t) { sum.fetch_add(1); }); });
  EXPECT_EQ(sum.load(), 64);
}

TEST(ThreadPool, TasksFinishBeforeThePoolGoesAndCarryExceptions) {
  std::atomic<int> ran{0};
  std::future<void> bad;
  {
    ThreadPool pool(2);
    for (int i = 0; i < 20; ++i) {
      pool.submit([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ran.fetch_add(1);
      });
    }
    bad = pool.submit([] { throw std::runtime_error("task"); });
  }
  EXPECT_EQ(ran.load(), 20);
  EXPECT_THROW(bad.get(), std::runtime_error);
}

TEST(ThreadPool, ALoopCalledFromATaskEnds) {
  ThreadPool pool(1);
  std::atomic<int> sum{0};
  pool.submit([&] { pool.parallel_for(10, [&](std::size_t i) { sum.fetch_add(static_cast<int>(i)); }); })
      .get();
  EXPECT_EQ(sum.load(), 45);
}

}  // namespace
}  // namespace deepwell

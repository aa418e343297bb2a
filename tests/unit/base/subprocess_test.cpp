// Child processes: output, exit codes, time limits, folders, environments.
#include "base/subprocess.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"

namespace deepwell {
namespace {

using namespace std::chrono_literals;

SubprocessRequest shell(std::string script) {
  SubprocessRequest request;
  request.argv = {"/bin/sh", "-c", std::move(script)};
  return request;
}

TEST(Subprocess, CollectsBothStreamsAndTheExitCode) {
  SubprocessResult const result = run_subprocess(shell("echo out; echo err >&2; exit 7"));
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_FALSE(result.timed_out);
}

TEST(Subprocess, ArgumentsAreNotInterpreted) {
  SubprocessRequest request;
  request.argv = {"printf", "%s|", "a b", "$HOME", "*", "';\""};
  EXPECT_EQ(run_subprocess(request).out, "a b|$HOME|*|';\"|");
}

TEST(Subprocess, LargeOutputOnBothStreamsDoesNotBlock) {
  SubprocessResult const result = run_subprocess(
      shell("i=0; while [ $i -lt 3000 ]; do printf '%0100d' 0; printf '%0100d' 0 >&2; i=$((i+1)); done"));
  EXPECT_EQ(result.out.size(), 300000u);
  EXPECT_EQ(result.err.size(), 300000u);
}

TEST(Subprocess, InputIsGivenAndMayBeIgnored) {
  SubprocessRequest request;
  request.argv = {"cat"};
  request.input = std::string(1 << 20, 'z');
  EXPECT_EQ(run_subprocess(request).out, request.input);
  request.argv = {"true"};
  EXPECT_EQ(run_subprocess(request).exit_code, 0);
  request.input.clear();
  request.argv = {"cat"};
  EXPECT_EQ(run_subprocess(request).out, "");
}

TEST(Subprocess, ATimeLimitEndsTheWholeGroup) {
  SubprocessRequest request = shell("sleep 30 & sleep 30");
  request.timeout = 200ms;
  auto const start = std::chrono::steady_clock::now();
  SubprocessResult const result = run_subprocess(request);
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.exit_code, 128 + 9);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

TEST(Subprocess, AGrandchildThatKeepsThePipesDoesNotKeepUs) {
  auto const start = std::chrono::steady_clock::now();
  SubprocessResult const result = run_subprocess(shell("sleep 20 & echo done"));
  EXPECT_EQ(result.out, "done\n");
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

TEST(Subprocess, SignalsBecomeCodes) {
  EXPECT_EQ(run_subprocess(shell("kill -TERM $$")).exit_code, 128 + 15);
}

TEST(Subprocess, FolderAndEnvironmentAreTheCallers) {
  TemporaryFolder const folder;
  SubprocessRequest request = shell("pwd; echo \"$ONE-$HOME\"");
  request.folder = folder.path();
  request.environment = std::vector<std::string>{"ONE=1"};
  EXPECT_EQ(run_subprocess(request).out, folder.path().string() + "\n1-\n");
}

TEST(Subprocess, WhatCannotStartIsAnError) {
  SubprocessRequest request;
  request.argv = {"/nonexistent/program"};
  try {
    run_subprocess(request);
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kToolchain);
  }
}

TEST(Subprocess, ManyThreadsAtOnce) {
  std::vector<std::string> outs(8);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < outs.size(); ++i) {
      threads.emplace_back([&outs, i] {
        for (int round = 0; round < 5; ++round)
          outs[i] += run_subprocess(shell("echo " + std::to_string(i))).out;
      });
    }
  }
  for (std::size_t i = 0; i < outs.size(); ++i) {
    std::string expected;
    for (int round = 0; round < 5; ++round) expected += std::to_string(i) + "\n";
    EXPECT_EQ(outs[i], expected);
  }
}

}  // namespace
}  // namespace deepwell

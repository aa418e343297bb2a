// The log: levels, sink, once.
#include "base/log.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace deepwell {
namespace {

class Captured : public ::testing::Test {
 protected:
  Captured() {
    before_ = set_log_sink([this](LogLevel level, std::string_view text) {
      lines_.push_back(fmt::format("{}: {}", name_of(level), text));
    });
    set_log_level(LogLevel::kWarning);
  }
  ~Captured() override {
    set_log_sink(before_);
    set_log_level(LogLevel::kWarning);
  }
  std::vector<std::string> lines_;
  LogSink before_;
};

TEST_F(Captured, OnlyEnabledLevelsReachTheSink) {
  log_error("e{}", 1);
  log_warning("w{}", 2);
  log_info("i");
  log_debug("d");
  EXPECT_EQ(lines_, (std::vector<std::string>{"error: e1", "warning: w2"}));
  set_log_level(LogLevel::kDebug);
  log_info("i");
  log_debug("d");
  EXPECT_EQ(lines_.size(), 4u);
  set_log_level(LogLevel::kError);
  log_warning("w");
  EXPECT_EQ(lines_.size(), 4u);
}

TEST_F(Captured, OnceIsPerKey) {
  EXPECT_TRUE(log_once(LogLevel::kWarning, "test key a", "first"));
  EXPECT_FALSE(log_once(LogLevel::kWarning, "test key a", "second"));
  EXPECT_TRUE(log_once(LogLevel::kWarning, "test key b", "third"));
  EXPECT_EQ(lines_, (std::vector<std::string>{"warning: first", "warning: third"}));
}

TEST_F(Captured, WithoutASinkItGoesToStandardError) {
  set_log_sink({});
  testing::internal::CaptureStderr();
  log_error("to the terminal");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "deepwell error: to the terminal\n");
}

}  // namespace
}  // namespace deepwell

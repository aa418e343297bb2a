// Launch files through the C interface: host arrays there and back, reports, errors.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "deepwell/deepwell.h"

namespace {

/// y[i] = x[i] + 1 of the first `count` words, by 32 threads.
std::string document(int count) {
  return R"({"modules": {"k": {"text": ".version 8.7\n.target sm_120a\n.address_size 64\n)"
         R"(.visible .entry k(.param .u64 x, .param .u64 y, .param .u32 n) {\n.reg .pred %q;\n.reg .b32 %r<4>;\n.reg .b64 %d<6>;\n)"
         R"(ld.param.u64 %d1, [x];\nld.param.u64 %d2, [y];\nld.param.u32 %r1, [n];\nmov.u32 %r2, %tid.x;\n)"
         R"(setp.ge.u32 %q, %r2, %r1;\n@%q ret;\nmul.wide.u32 %d3, %r2, 4;\nadd.s64 %d4, %d1, %d3;\nadd.s64 %d5, %d2, %d3;\n)"
         R"(ld.global.u32 %r3, [%d4];\nadd.u32 %r3, %r3, 1;\nst.global.u32 [%d5], %r3;\nret;\n}\n"}},)"
         R"("buffers": {"x": {"dtype": "u32", "shape": [4]}, "y": {"dtype": "u32", "shape": [4]}},)"
         R"("launches": [{"block": 32, "params": [{"buffer": "x"}, {"buffer": "y"}, {"u32": )" +
         std::to_string(count) + "}]}]}";
}

class Launches : public testing::Test {
 protected:
  dw_status run(std::string const& launches, std::size_t count = 2) {
    arrays = {{sizeof(dw_host_array), "x", x.data(), 16, nullptr},
              {sizeof(dw_host_array), "y", y.data(), 16, written.data()}};
    return dw_run_launches(launches.c_str(), nullptr, arrays.data(), count, &report);
  }

  std::vector<std::uint32_t> x{10, 20, 30, 40}, y{7, 7, 7, 7};
  std::vector<std::uint8_t> written = std::vector<std::uint8_t>(16);
  std::vector<dw_host_array> arrays;
  char const* report = nullptr;
};

TEST_F(Launches, ArraysComeBackWithWhatWasWritten) {
  ASSERT_EQ(run(document(3)), DW_OK) << dw_error_message();
  EXPECT_NE(std::string(report).find("{\"ok\":true,"), std::string::npos) << report;
  EXPECT_EQ(y, (std::vector<std::uint32_t>{11, 21, 31, 7}));
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(written[i], i < 12) << i;
  ASSERT_EQ(run(document(4)), DW_OK);
  EXPECT_EQ(y[3], 41u);
  EXPECT_EQ(written[15], 1);
}

TEST_F(Launches, AFindingIsInTheReportAndNoFailure) {
  ASSERT_EQ(run(document(5)), DW_OK) << dw_error_message();
  EXPECT_NE(std::string(report).find("\"finding\":\"memory\""), std::string::npos) << report;
}

TEST_F(Launches, WhatCannotRunIsAnErrorWithItsFields) {
  EXPECT_EQ(run("{"), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "launches");
  EXPECT_EQ(run(R"({"launches": 1})"), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "launches");
  EXPECT_EQ(run(document(3), 1), DW_BAD_ARGUMENT);  // y has neither an array nor contents
  EXPECT_STREQ(dw_error_argument(), "buffers.y");
  std::string text = document(3);
  text.replace(text.find("add.u32"), 7, "sub.u99");
  EXPECT_EQ(run(text), DW_UNSUPPORTED);
  EXPECT_EQ(dw_run_launches(nullptr, nullptr, nullptr, 0, &report), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "launches");
  EXPECT_EQ(dw_run_launches("{}", nullptr, nullptr, 1, &report), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "arrays");
  EXPECT_EQ(y, (std::vector<std::uint32_t>{7, 7, 7, 7}));
}

}  // namespace

// Text tables and the progress line: alignment, widths of UTF-8, cutting.
#include "base/table.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "cli/progress.hpp"

namespace deepwell {
namespace {

TEST(DisplayWidth, CountsCodePoints) {
  EXPECT_EQ(display_width(""), 0u);
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("µs ≤ ½"), 6u);
  EXPECT_EQ(display_width("e\u0301"), 1u);    // combining accent
  EXPECT_EQ(display_width("深井"), 4u);       // wide
  EXPECT_EQ(display_width("a\xFF\xC3"), 3u);  // no UTF-8: a byte is a column
}

TEST(FitToWidth, CutsAtCodePoints) {
  EXPECT_EQ(fit_to_width("abc", 3), "abc");
  EXPECT_EQ(fit_to_width("abcd", 3), "ab…");
  EXPECT_EQ(fit_to_width("µµµµ", 2), "µ…");
  EXPECT_EQ(fit_to_width("深井深井", 4), "深…");
  EXPECT_EQ(fit_to_width("abcd", 0), "");
}

TEST(Table, AlignsColumns) {
  Table table({{"name"}, {"µs", Table::Align::kRight}, {"note"}});
  table.add({"gemm", "12.5", "fine"});
  table.add({"größe", "3", ""});
  EXPECT_EQ(table.text(),
            "name     µs  note\n"
            "-----  ----  ----\n"
            "gemm   12.5  fine\n"
            "größe     3\n");
}

TEST(Table, CutsAndFlattensCells) {
  Table table({{"a", Table::Align::kLeft, 4}, {"b"}});
  table.add({"abcdef", "x\ny"});
  EXPECT_EQ(table.text(), "a     b\n----  ---\nabc…  x y\n");
}

TEST(Table, RejectsWrongRows) {
  Table table({{"a"}, {"b"}});
  EXPECT_THROW(table.add({"only one"}), Error);
  EXPECT_THROW(Table(std::vector<Table::Column>{}), Error);
}

TEST(ProgressText, FitsTheLine) {
  EXPECT_EQ(progress_text("compiling", 3, 10, "gemm", 80), "compiling  3/10  gemm");
  EXPECT_EQ(progress_text("reading", 3, 0, "", 80), "reading  3");
  EXPECT_EQ(progress_text("compiling", 3, 10, "gemm", 12), "compiling  …");
}

}  // namespace
}  // namespace deepwell

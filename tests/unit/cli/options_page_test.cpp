// docs/options.md holds the table that the options make: the page and the code cannot drift apart.
#include <gtest/gtest.h>

#include <string>

#include "base/file.hpp"
#include "base/options.hpp"

namespace deepwell {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (char const c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string option_page_table() {
  std::string out = "| name | type | default | meaning | also read |\n|---|---|---|---|---|\n";
  for (OptionRow const& row : option_table()) {
    std::string aliases;
    for (OptionAlias const& alias : row.aliases) {
      aliases += (aliases.empty() ? "`" : ", `") + std::string(alias.name) + "`";
      if (!alias.meaning.empty()) aliases += " (means " + std::string(alias.meaning) + ")";
    }
    std::string const value = row.default_value.empty() ? "" : "`" + std::string(row.default_value) + "`";
    out += "| `" + std::string(row.name) + "` | " + name_of(row.type) + " | " + value + " | " +
           escaped(row.help) + " | " + aliases + " |\n";
  }
  return out;
}

TEST(OptionsPage, HoldsTheTable) {
  char const* const path = DW_SOURCE_DIR "/docs/options.md";
  std::string page = read_text_file(path);
  std::string const table = option_page_table();
  if (option_flag(Option::kUpdateGolden)) {
    auto const begin = page.find("| name |");
    auto const end = page.find("\n\n", begin);
    ASSERT_TRUE(begin != std::string::npos && end != std::string::npos) << path << " has no table to replace";
    page.replace(begin, end + 1 - begin, table);
    write_file_atomically(path, page);
  }
  EXPECT_NE(page.find(table), std::string::npos)
      << "docs/options.md is not what the options make; run this test with DEEPWELL_UPDATE_GOLDEN=1";
}

}  // namespace
}  // namespace deepwell

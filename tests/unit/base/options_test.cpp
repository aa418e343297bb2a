// Options: the table, look-up order, typed access.
#include "base/options.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/error.hpp"

namespace deepwell {
namespace {

class Environment {
 public:
  Environment(char const* name, char const* value) : name_(name) { ::setenv(name, value, 1); }
  ~Environment() { ::unsetenv(name_); }

 private:
  char const* name_;
};

TEST(Options, EveryRowIsCompleteAndItsNamesAreUnique) {
  std::set<std::string_view> names;
  std::set<Option> ids;
  for (OptionRow const& row : option_table()) {
    EXPECT_TRUE(ids.insert(row.id).second) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    for (OptionAlias const& alias : row.aliases) EXPECT_TRUE(names.insert(alias.name).second) << alias.name;
    EXPECT_FALSE(row.help.empty()) << row.name;
    EXPECT_EQ(&option_row(row.id), &row);
    ScopedOption const plain(row.id, std::string(row.default_value));
    if (row.type == OptionType::kFlag) {
      EXPECT_NO_THROW(option_flag(row.id)) << row.name;
    }
    if (row.type == OptionType::kInteger) {
      EXPECT_NO_THROW(option_integer(row.id)) << row.name;
    }
  }
  EXPECT_EQ(ids.size(), static_cast<std::size_t>(Option::kXdgCacheHome) + 1);
}

TEST(Options, ProcessBeforeNameBeforeAliasBeforeDefault) {
  ::unsetenv("DEEPWELL_CACHE_DIR");
  ::unsetenv("DG_JIT_CACHE_DIR");
  EXPECT_EQ(option_value(Option::kCacheDir).source, "default");
  Environment const alias("DG_JIT_CACHE_DIR", "/alias");
  EXPECT_EQ(option_value(Option::kCacheDir).text, "/alias");
  EXPECT_EQ(option_value(Option::kCacheDir).source, "environment DG_JIT_CACHE_DIR");
  {
    Environment const name("DEEPWELL_CACHE_DIR", "/name");
    EXPECT_EQ(option_text(Option::kCacheDir), "/name");
    {
      ScopedOption const set(Option::kCacheDir, "/set");
      EXPECT_EQ(option_value(Option::kCacheDir).text, "/set");
      EXPECT_EQ(option_value(Option::kCacheDir).source, "set in the process");
      {
        ScopedOption const nothing(Option::kCacheDir, "");
        EXPECT_EQ(option_text(Option::kCacheDir), "");
      }
      EXPECT_EQ(option_text(Option::kCacheDir), "/set");
    }
    EXPECT_EQ(option_text(Option::kCacheDir), "/name");
  }
}

TEST(Options, FlagAliasesStandForAValue) {
  {
    Environment const on("DG_JIT_USE_NVRTC", "1");
    EXPECT_EQ(option_text(Option::kCompiler), "nvrtc");
  }
  Environment const off("DG_JIT_USE_NVRTC", "0");
  EXPECT_EQ(option_text(Option::kCompiler), "");
}

TEST(Options, TypedAccessNamesTheOptionThatDoesNotParse) {
  ScopedOption const flag(Option::kLineInfo, "maybe");
  ScopedOption const number(Option::kCompileThreads, "4x");
  try {
    option_flag(Option::kLineInfo);
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), "DEEPWELL_LINE_INFO");
    EXPECT_EQ(error.got(), "maybe");
  }
  EXPECT_THROW(option_integer(Option::kCompileThreads), Error);
  ScopedOption const negative(Option::kCompileThreads, "-3");
  EXPECT_EQ(option_integer(Option::kCompileThreads), -3);
  ScopedOption const yes(Option::kLineInfo, "Yes");
  EXPECT_TRUE(option_flag(Option::kLineInfo));
  ScopedOption const off(Option::kLineInfo, "off");
  EXPECT_FALSE(option_flag(Option::kLineInfo));
}

TEST(Options, ListsSplitAtColons) {
  ScopedOption const list(Option::kWheelPaths, ":/a::/b c:");
  EXPECT_EQ(option_list(Option::kWheelPaths), (std::vector<std::string>{"/a", "/b c"}));
  ScopedOption const none(Option::kWheelPaths, "");
  EXPECT_TRUE(option_list(Option::kWheelPaths).empty());
}

TEST(Options, HomeComesFromTheAccountWhenTheEnvironmentHasNone) {
  {
    ScopedOption const home(Option::kHome, "/somewhere");
    EXPECT_EQ(home_folder(), "/somewhere");
  }
  ScopedOption const unset(Option::kHome, "");
  EXPECT_TRUE(home_folder().empty() || home_folder().is_absolute());
}

}  // namespace
}  // namespace deepwell

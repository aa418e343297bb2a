// Files: whole reads and writes, exclusive creation, atomic replacement, temporary folders, mappings.
#include "base/file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>

#include "base/error.hpp"
#include "base/mapped_file.hpp"

namespace deepwell {
namespace {
namespace fs = std::filesystem;

mode_t mode_of(fs::path const& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

std::size_t count_in(fs::path const& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(File, RoundTripOfSizesAroundTheReadBlock) {
  TemporaryFolder const folder;
  for (std::size_t size : {0, 1, 4095, 4096, 65537, 1 << 20}) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 >> 3);
    fs::path const path = folder.path() / std::to_string(size);
    write_new_file(path, text, 0600, size % 2 == 0);
    EXPECT_EQ(read_text_file(path), text);
    std::vector<std::byte> const bytes = read_binary_file(path);
    EXPECT_EQ(std::string(reinterpret_cast<char const*>(bytes.data()), bytes.size()), text);
    EXPECT_EQ(MappedFile(path).text(), text);
    EXPECT_EQ(mode_of(path), 0600u);
  }
}

TEST(File, ReadsFilesThatReportNoSize) {
  EXPECT_NE(read_text_file("/proc/self/status").find("Pid:"), std::string::npos);
}

TEST(File, NewFilesDoNotReplace) {
  TemporaryFolder const folder;
  fs::path const path = folder.path() / "file";
  write_new_file(path, "first", 0600, false);
  try {
    write_new_file(path, "second", 0600, false);
    FAIL() << "no error";
  } catch (fs::filesystem_error const& error) {
    EXPECT_EQ(error.code(), std::errc::file_exists);
  }
  EXPECT_EQ(read_text_file(path), "first");
}

TEST(File, AtomicWriteReplacesAndLeavesNoOtherFile) {
  TemporaryFolder const folder;
  fs::path const path = folder.path() / "file";
  write_file_atomically(path, "one");
  write_file_atomically(path, "two", 0600);
  EXPECT_EQ(read_text_file(path), "two");
  EXPECT_EQ(mode_of(path), 0600u);
  EXPECT_EQ(count_in(folder.path()), 1u);
  fs::create_directory(folder.path() / "taken");
  EXPECT_THROW(write_file_atomically(folder.path() / "taken", "three"), fs::filesystem_error);
  EXPECT_EQ(count_in(folder.path()), 2u);
}

TEST(File, ErrorsCarryTheReason) {
  TemporaryFolder const folder;
  try {
    read_text_file(folder.path() / "nothing");
    FAIL() << "no error";
  } catch (fs::filesystem_error const& error) {
    EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
  }
  EXPECT_THROW(read_text_file(folder.path()), fs::filesystem_error);
  EXPECT_THROW(MappedFile(folder.path()), Error);
  EXPECT_THROW(MappedFile(folder.path() / "nothing"), Error);
}

TEST(File, MappingsMove) {
  TemporaryFolder const folder;
  write_new_file(folder.path() / "a", "aaa", 0600, false);
  write_new_file(folder.path() / "b", "bb", 0600, false);
  MappedFile first(folder.path() / "a");
  MappedFile second = std::move(first);
  EXPECT_EQ(second.text(), "aaa");
  second = MappedFile(folder.path() / "b");
  EXPECT_EQ(second.text(), "bb");
}

TEST(File, PrivateFoldersAreTheOwnersAlone) {
  TemporaryFolder const folder;
  EXPECT_EQ(mode_of(folder.path()), 0700u);
  fs::path const deep = folder.path() / "a" / "b" / "c";
  make_private_folders(deep);
  EXPECT_EQ(mode_of(deep), 0700u);
  EXPECT_EQ(mode_of(folder.path() / "a"), 0700u);
  make_private_folders(deep);
  write_new_file(folder.path() / "file", "", 0600, false);
  EXPECT_THROW(make_private_folders(folder.path() / "file" / "below"), fs::filesystem_error);
}

TEST(File, UniqueNamesAreUnique) {
  std::set<std::string> names;
  for (int i = 0; i < 1000; ++i) names.insert(unique_suffix());
  EXPECT_EQ(names.size(), 1000u);
}

TEST(File, TemporaryFoldersGoWithTheirContents) {
  fs::path path;
  {
    TemporaryFolder const folder;
    path = folder.path();
    make_private_folders(path / "deep" / "er");
    write_new_file(path / "deep" / "file", "x", 0600, false);
    EXPECT_TRUE(fs::exists(path));
  }
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace deepwell

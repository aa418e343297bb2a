// Archives: what they serve and to whom, the same bytes for the same kernels, and files in which nothing can be believed.
#include "jit/archive.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <random>

#include "base/hash.hpp"
#include "unit/jit/fake_compiler.hpp"

namespace deepwell::jit {
namespace {
namespace fs = std::filesystem;

CompileRequest request_number(int number, std::string target = "sm_120a") {
  CompileRequest request = sample_request(fmt::format("sample_{}", number));
  request.source = fmt::format("extern \"C\" __global__ void sample() {{ /* {} */ }}\n", number);
  request.target = std::move(target);
  return request;
}

/// Small, so that every byte of an archive can be tried.
Compiled small(CompileRequest const& request) {
  Compiled compiled;
  for (char c : request.source) compiled.cubin.push_back(static_cast<std::byte>(c ^ 0x55));
  compiled.ptx = "// PTX of " + request.source + request.target;
  compiled.log = "not in an archive";
  compiled.seconds = 1.5;
  return compiled;
}

ArchiveItem item(CompileRequest const& request, CompilerInfo const& compiler = FakeCompiler().info()) {
  return {.key = make_key(request, compiler), .compiled = small(request)};
}

bool same_code(Compiled const& a, Compiled const& b) { return a.cubin == b.cubin && a.ptx == b.ptx; }

std::span<std::byte const> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// A file whose header and hash are right, around any index.
std::string with_index(std::string_view index, std::size_t more_bytes = 256) {
  auto const number = [](std::string& to, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i) & 0xff);
  };
  std::string file(kArchiveMagic);
  number(file, kArchiveVersion, 4);
  number(file, 0, 4);
  number(file, index.size(), 8);
  number(file, kArchiveHeaderBytes + index.size() + more_bytes, 8);
  file += hash_hex({file, index});
  file += index;
  return file + std::string(more_bytes, 'x');
}

class ArchiveTest : public ::testing::Test {
 protected:
  fs::path write(std::string_view bytes, char const* name = "kernels.dwk", mode_t mode = 0644) {
    fs::path const path = folder_.path() / name;
    fs::remove(path);
    write_new_file(path, bytes, 0600, false);
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }

  TemporaryFolder const folder_{"deepwell-archive-test-"};
  std::vector<ArchiveItem> const items_ = {item(request_number(0)), item(request_number(1)),
                                           item(request_number(0, "sm_121a"))};
  std::string const bytes_ = archive_bytes(items_);
};

TEST_F(ArchiveTest, ServesWhatWasWritten) {
  fs::path const path = folder_.path() / "kernels.dwk";
  EXPECT_EQ(write_archive(path, items_), bytes_.size());
  EXPECT_EQ(read_text_file(path), bytes_);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
  KernelArchive const archive(path);
  EXPECT_EQ(archive.unusable(), "");
  EXPECT_EQ(archive.entries().size(), 3u);
  EXPECT_EQ(archive.count_damaged(), 0u);
  EXPECT_EQ(archive.fitting(), (std::map<std::string, std::size_t>{{"sm_120a", 2}, {"sm_121a", 1}}));
  for (CompileRequest const& request : {request_number(0), request_number(1), request_number(0, "sm_121a")}) {
    std::optional<Compiled> const found = archive.find(request);
    ASSERT_TRUE(found) << request.name;
    EXPECT_TRUE(same_code(*found, small(request)));
    EXPECT_TRUE(found->from_cache);
  }
  EXPECT_FALSE(archive.find(request_number(1, "sm_121a")));
  EXPECT_FALSE(archive.find(request_number(2)));
}

TEST_F(ArchiveTest, BytesFollowFromTheKernelsAlone) {
  std::vector<ArchiveItem> shuffled(items_.rbegin(), items_.rend());
  shuffled.push_back(items_[1]);
  for (ArchiveItem& each : shuffled) {
    each.compiled.seconds = 99;
    each.compiled.log = "compiled elsewhere in 99 s";
    each.compiled.from_cache = true;
  }
  EXPECT_EQ(archive_bytes(shuffled), bytes_);
  KernelArchive const empty(write(archive_bytes({})));
  EXPECT_EQ(empty.unusable(), "");
  EXPECT_TRUE(empty.entries().empty());
}

TEST_F(ArchiveTest, OffsetsOfEveryNumberOfDigitsFit) {
  for (std::size_t size : {1u, 10u, 99u, 1000u, 9000u, 99000u}) {
    std::vector<ArchiveItem> items = items_;
    for (ArchiveItem& each : items) each.compiled.cubin.assign(size, std::byte{7});
    KernelArchive const archive(write(archive_bytes(items)));
    ASSERT_EQ(archive.unusable(), "") << size;
    EXPECT_EQ(archive.count_damaged(), 0u) << size;
    for (ArchiveEntry const& entry : archive.entries()) {
      EXPECT_EQ(entry.cubin.offset % 16, 0u);
      EXPECT_EQ(entry.cubin.bytes, size);
    }
  }
}

TEST_F(ArchiveTest, AnyCompilerServesButOnlyWithTheSameFlags) {
  CompilerInfo nvrtc{
      .kind = "nvrtc", .path = "/a", .found_in = "x", .version = {13, 0}, .full_version = "13.0 abc"};
  CompileRequest const request = request_number(3);
  EXPECT_TRUE(KernelArchive(write(archive_bytes({item(request, nvrtc)}))).find(request));
  nvrtc.version = {12, 8};
  nvrtc.full_version = "12.8 abc";
  EXPECT_TRUE(KernelArchive(write(archive_bytes({item(request, nvrtc)}))).find(request));
  // A key that is whole, of a build that compiled with other flags.
  ArchiveItem other = item(request, nvrtc);
  std::string text = key_text(other.key);
  text.replace(text.find("--fmad=false"), 12, "--fmad=true!");
  EXPECT_FALSE(parse_key(text));    // its hash tells
  nvrtc.full_version = "13.0 abc";  // whose flags are others
  EXPECT_FALSE(KernelArchive(write(archive_bytes({item(request, nvrtc)}))).find(request));
  CompileRequest lines = request;
  lines.line_info = true;
  EXPECT_FALSE(KernelArchive(write(archive_bytes({item(request)}))).find(lines));
  EXPECT_TRUE(KernelArchive(write(archive_bytes({item(lines)}))).find(lines));
  CompileRequest entry = request;
  entry.entry = "another";
  EXPECT_FALSE(KernelArchive(write(archive_bytes({item(request)}))).find(entry));
}

TEST_F(ArchiveTest, NamesDoNotMatter) {
  CompileRequest renamed = request_number(1);
  renamed.name = "another_name";
  EXPECT_TRUE(KernelArchive(write(bytes_)).find(renamed));
}

TEST_F(ArchiveTest, OtherDeviceSourcesAreNotUsedAndToldOnce) {
  std::vector<ArchiveItem> items = items_;
  for (ArchiveItem& each : items) each.key.device_sources = std::string(32, '0');
  // As another version's export has them: with a hash that fits.
  std::string index;
  for (ArchiveItem& each : items) {
    std::string text = key_text(each.key);
    std::size_t const inputs = text.find("\"inputs\":") + 9;
    each.key.hash = hash_hex({"1", text.substr(inputs, text.size() - 1 - inputs)});
  }
  fs::path const path = write(archive_bytes(items));
  CapturedLog log;
  KernelArchives const archives(path.string());
  ASSERT_EQ(archives.archives().front()->entries().size(), 3u);
  EXPECT_TRUE(archives.archives().front()->fitting().empty());
  EXPECT_FALSE(archives.find(request_number(0)));
  EXPECT_EQ(log.count("device sources"), 1u);
  KernelArchives const again(path.string());
  EXPECT_EQ(log.count("device sources"), 1u);
}

TEST_F(ArchiveTest, FilesThatCannotBeUsedAreNamed) {
  fs::path const pipe = folder_.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::string newer = bytes_;
  newer[16] = 2;
  struct Case {
    fs::path path;
    char const* reason;
  };
  Case const cases[] = {
      {folder_.path() / "none", "No such file"},
      {folder_.path(), "not a file"},
      {pipe, "not a file"},
      {write(bytes_, "open", 0664), "chmod go-w"},
      {write("", "empty"), "no archive"},
      {write("deepwell kernels", "magic"), "cut short"},
      {write("PK\3\4 something else that is longer than a header, and more, and more, and more", "zip"),
       "no archive"},
      {write(newer, "newer"), "version 2"},
      {write(std::string_view(bytes_).substr(0, bytes_.size() - 1), "short"), "cut short"}};
  CapturedLog log;
  std::string files;
  for (Case const& each : cases) {
    KernelArchive const archive(each.path);
    EXPECT_NE(archive.unusable().find(each.reason), std::string::npos)
        << each.path << ": " << archive.unusable();
    EXPECT_TRUE(archive.entries().empty());
    EXPECT_FALSE(archive.find(request_number(0)));
    files += each.path.string() + ":";
  }
  // The rest is served all the same.
  KernelArchives const archives(files + write(bytes_).string());
  EXPECT_EQ(archives.archives().size(), std::size(cases) + 1);
  EXPECT_TRUE(archives.find(request_number(0)));
  for (Case const& each : cases) EXPECT_EQ(log.count(each.path.string() + " is not used"), 1u) << each.path;
  EXPECT_EQ(KernelArchives("").archives().size(), 0u);
}

TEST_F(ArchiveTest, EveryLengthAndEveryBrokenByteIsServedRightOrNotAtAll) {
  CapturedLog log;
  Compiled const expected = small(request_number(1));
  auto const check = [&](std::string_view bytes, std::string const& what) {
    KernelArchive const archive(write(bytes));
    std::optional<Compiled> const found = archive.find(request_number(1));
    EXPECT_TRUE(!found || same_code(*found, expected)) << what;
    archive.count_damaged();
  };
  for (std::size_t size = 0; size < bytes_.size(); ++size) {
    check(std::string_view(bytes_).substr(0, size), fmt::format("{} bytes", size));
    EXPECT_NE(parse_archive(bytes_of(bytes_).first(size), size).unusable, "");
  }
  std::size_t refused = 0;
  for (std::size_t at = 0; at < bytes_.size(); ++at) {
    std::string broken = bytes_;
    broken[at] = static_cast<char>(broken[at] ^ (1 << at % 8));
    check(broken, fmt::format("bit {} of byte {}", at % 8, at));
    refused += !parse_archive(bytes_of(broken), broken.size()).unusable.empty();
  }
  EXPECT_GT(refused, kArchiveHeaderBytes);  // the header and all of the index
  check(bytes_ + "more", "bytes behind the end");
}

TEST_F(ArchiveTest, ADamagedEntryIsToldOnceAndTheNextArchiveAsked) {
  std::string broken = bytes_;
  ArchiveIndex const index = parse_archive(bytes_of(bytes_), bytes_.size());
  auto const entry = std::find_if(index.entries.begin(), index.entries.end(), [](ArchiveEntry const& each) {
    return serves(each.key, request_number(1));
  });
  ASSERT_NE(entry, index.entries.end());
  broken[entry->ptx.offset] ^= 1;
  fs::path const first = write(broken, "first"), second = write(bytes_, "second");
  CapturedLog log;
  KernelArchives const archives(first.string() + ":" + second.string());
  for (int i = 0; i < 2; ++i) {
    std::optional<Compiled> const found = archives.find(request_number(1));
    ASSERT_TRUE(found);
    EXPECT_TRUE(same_code(*found, small(request_number(1))));
  }
  EXPECT_TRUE(archives.archives()[0]->find(request_number(0)));  // entry by entry
  EXPECT_EQ(archives.archives()[0]->count_damaged(), 1u);
  EXPECT_EQ(log.count("sample_1"), 1u);
  EXPECT_EQ(log.count("PTX does not match"), 1u);
}

TEST_F(ArchiveTest, AFileThatShrinksWhileItIsOpenIsNotBelieved) {
  fs::path const path = write(bytes_);
  KernelArchive const archive(path);
  ASSERT_TRUE(archive.find(request_number(0)));
  CapturedLog log;
  fs::resize_file(path, kArchiveHeaderBytes);
  EXPECT_FALSE(archive.find(request_number(0)));
  EXPECT_EQ(log.count("cut short"), 1u);
}

TEST_F(ArchiveTest, HostileIndicesWithTheRightHash) {
  std::string const key = key_text(items_[0].key);
  auto const line = [&](std::string_view cubin, std::string_view ptx) {
    return fmt::format("{},\"cubin\":{},\"ptx\":{}}}\n", key.substr(0, key.size() - 1), cubin, ptx);
  };
  std::string const good = fmt::format("{{\"offset\":{},\"bytes\":16,\"hash\":\"0\"}}", 150000);
  auto const parse = [](std::string const& file) { return parse_archive(bytes_of(file), file.size()); };
  ASSERT_EQ(parse(with_index(line(good, good), 200000)).entries.size(), 1u);
  std::string deep(100000, '[');
  std::string const lines[] = {
      "\n",
      "{}\n",
      "null\n",
      "\"\xff\xfe\"\n",
      deep + "\n",
      deep,
      key + "\n",                                                                   // no parts
      line("{\"offset\":0,\"bytes\":16,\"hash\":\"0\"}", good),                     // inside the header
      line("{\"offset\":18446744073709551600,\"bytes\":32,\"hash\":\"0\"}", good),  // the sum overflows
      line("{\"offset\":150000,\"bytes\":18446744073709551615,\"hash\":\"0\"}", good),
      line("{\"offset\":150000,\"bytes\":999999,\"hash\":\"0\"}", good),
      line("{\"offset\":150000,\"bytes\":0,\"hash\":\"0\"}", good),
      line("{\"offset\":-1,\"bytes\":16,\"hash\":\"0\"}", good),
      line("{\"offset\":150000,\"bytes\":1e300,\"hash\":\"0\"}", good),
      line("{\"offset\":150000,\"bytes\":16}", good),
      line("{\"offset\":150000,\"bytes\":16,\"hash\":7}", good),
      line("[]", good),
      line(good, "null"),
  };
  for (std::string const& each : lines) {
    std::string const file = with_index(each, 200000);
    ArchiveIndex const index = parse(file);
    EXPECT_EQ(index.unusable, "") << each.substr(0, 200);
    EXPECT_TRUE(index.entries.empty()) << each.substr(0, 200);
    EXPECT_EQ(index.refused, 1u) << each.substr(0, 200);
    // A good line beside it is used.
    EXPECT_EQ(parse(with_index(line(good, good) + each, 200000)).entries.size(), 1u);
  }
  // Names that would deface a log.
  ArchiveItem odd = items_[0];
  odd.key.name = "name\x1b[2J";
  EXPECT_FALSE(parse_key(key_text(odd.key)));
  // Sizes in the header.
  for (std::size_t at : {24u, 32u}) {
    for (char value : {'\xff', '\x7f'}) {
      std::string file = with_index(line(good, good), 200000);
      std::fill_n(file.begin() + static_cast<std::ptrdiff_t>(at), 8, value);
      EXPECT_NE(parse(file).unusable, "");
      CapturedLog log;
      EXPECT_NE(KernelArchive(write(file)).unusable(), "");
    }
  }
}

TEST_F(ArchiveTest, RandomBytesBehindTheMagic) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(kArchiveMagic);
    std::size_t const size = random() % 300;
    for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(random());
    EXPECT_NE(parse_archive(bytes_of(bytes), bytes.size()).unusable, "");
  }
}

}  // namespace
}  // namespace deepwell::jit

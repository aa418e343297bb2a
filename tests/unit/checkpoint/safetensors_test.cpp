// Safetensors: round trips, and headers that lie.
#include "checkpoint/safetensors.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"

namespace deepwell {
namespace {

std::vector<std::byte> image(std::string const& header, std::size_t data_bytes, long long length = -1) {
  std::vector<std::byte> out(8 + header.size() + data_bytes, std::byte{7});
  std::uint64_t const size = length < 0 ? header.size() : static_cast<std::uint64_t>(length);
  for (int i = 0; i < 8; ++i) out[i] = std::byte{static_cast<std::uint8_t>(size >> (8 * i))};
  std::memcpy(out.data() + 8, header.data(), header.size());
  return out;
}

/// A header padded so that data start at a multiple of 8.
std::vector<std::byte> padded(std::string header, std::size_t data_bytes) {
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return image(header, data_bytes);
}

TEST(Safetensors, WritesAndReadsBack) {
  TemporaryFolder folder;
  auto const path = folder.path() / "file.safetensors";
  auto const counting = [](std::span<std::byte> out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::byte{static_cast<std::uint8_t>(i * 3)};
  };
  std::vector<TensorToWrite> const tensors{
      {"a.weight", Dtype::kE4m3, {3, 5}, counting}, {"a.scale", Dtype::kUe8m0, {1, 1}, counting},
      {"norm", Dtype::kBf16, {7}, counting},        {"ids", Dtype::kI64, {2, 2}, counting},
      {"empty", Dtype::kF32, {0, 4}, counting},     {"scalar", Dtype::kF32, {}, counting},
      {"packed", Dtype::kI8, {2, 9}, counting}};
  write_safetensors(path, tensors, {{"format", "pt"}, {"odd \"name\"", "\n"}});
  SafetensorsFile const file(path);
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (TensorToWrite const& expected : tensors) {
    StoredTensor const* got = file.find(expected.name);
    ASSERT_NE(got, nullptr) << expected.name;
    EXPECT_EQ(got->dtype, expected.dtype);
    EXPECT_EQ(got->shape, expected.shape);
    std::vector<std::byte> bytes(got->bytes.size());
    counting(bytes);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), got->bytes.begin()));
    EXPECT_EQ(got->offset % static_cast<std::size_t>(bits_of(expected.dtype) / 8), 0u) << expected.name;
  }
  EXPECT_EQ(file.find("scalar")->bytes.size(), 4u);
  EXPECT_EQ(file.find("nothing"), nullptr);
  EXPECT_EQ(file.metadata().at("odd \"name\""), "\n");
}

TEST(Safetensors, WriterRefusesAndLeavesNothing) {
  TemporaryFolder folder;
  auto const nothing = [](std::span<std::byte>) {};
  std::vector<TensorToWrite> tensors{{"x", Dtype::kF32, {2}, nothing}, {"x", Dtype::kF32, {2}, nothing}};
  EXPECT_THROW(write_safetensors(folder.path() / "twice", tensors), Error);
  tensors = {{"x", Dtype::kF32, {-2}, nothing}};
  EXPECT_THROW(write_safetensors(folder.path() / "negative", tensors), Error);
  tensors = {
      {"x", Dtype::kF32, {2}, [](std::span<std::byte>) { throw Error(ErrorCode::kInternal, "broken"); }}};
  EXPECT_THROW(write_safetensors(folder.path() / "broken", tensors), Error);
  EXPECT_THROW(write_safetensors(folder.path() / "no" / "folder", {}), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Safetensors, TakesTypesItHasNoUseFor) {
  SafetensorsHeader const header =
      parse_safetensors(padded(R"({"x":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}})", 16), "file");
  EXPECT_FALSE(header.tensors.at(0).dtype.has_value());
  EXPECT_EQ(header.tensors.at(0).dtype_name, "F64");
}

TEST(Safetensors, FileErrorsNameThePath) {
  TemporaryFolder folder;
  auto const path = folder.path() / "short";
  std::ofstream(path) << "abc";
  try {
    SafetensorsFile file(path);
    FAIL();
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), path.string() + ": header length");
  }
  EXPECT_THROW(SafetensorsFile(folder.path() / "absent"), Error);
}

struct Hostile {
  char const* what;
  std::vector<std::byte> file;
  char const* argument;  // after "file: "
};

std::string entry(std::string const& fields) { return "{\"x\":{" + fields + "}}"; }

std::vector<Hostile> hostile_files() {
  std::string const good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  std::string deep = "{\"x\":";
  for (int i = 0; i < 100000; ++i) deep += "[";
  std::string deep_objects = "{\"x\":";
  for (int i = 0; i < 1000; ++i) deep_objects += "{\"x\":";
  return {
      {"empty file", {}, "header length"},
      {"seven bytes", std::vector<std::byte>(7), "header length"},
      {"length 0", image("", 8), "header length"},
      {"length beyond the file", image("{}", 0, 3), "header length"},
      {"length of 2^63", image("{}", 0, 0x7fffffffffffffffLL), "header length"},
      {"length beyond the limit", image("{}", 0, 100'000'001), "header length"},
      {"length cuts the JSON", image("{\"x\":{}}", 0, 5), "header"},
      {"not an object", image("[1, 2]", 0), "header"},
      {"leading space", image(" {}", 0), "header"},
      {"trailing garbage", image("{}x", 0), "header"},
      {"broken UTF-8", image("{\"\xff\":1}", 0), "header"},
      {"number for a tensor", image("{\"x\":1}", 0), "x"},
      {"array for a tensor", image("{\"x\":[1]}", 0), "x"},
      {"null for a tensor", image("{\"x\":null}", 0), "x"},
      {"100000 brackets", image(deep, 0), "x"},
      {"1000 objects", image(deep_objects, 0), "x.x"},
      {"no dtype", padded(entry(R"("shape":[2],"data_offsets":[0,8])"), 8), "x"},
      {"no shape", padded(entry(R"("dtype":"F32","data_offsets":[0,8])"), 8), "x"},
      {"no offsets", padded(entry(R"("dtype":"F32","shape":[2])"), 8), "x"},
      {"unknown field", padded(entry(good + ",\"more\":1"), 8), "x.more"},
      {"unknown dtype", padded(entry(R"("dtype":"F33","shape":[2],"data_offsets":[0,8])"), 8), "x.dtype"},
      {"dtype is a number", padded(entry(R"("dtype":5,"shape":[2],"data_offsets":[0,8])"), 8), "x.dtype"},
      {"dtype twice", padded(entry(R"("dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8])"), 8),
       "x.dtype"},
      {"tensor twice", padded("{\"x\":{" + good + "},\"x\":{" + good + "}}", 8), "x"},
      {"negative extent", padded(entry(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), 8), "x.shape"},
      {"fractional extent", padded(entry(R"("dtype":"F32","shape":[2.5],"data_offsets":[0,8])"), 8),
       "x.shape"},
      {"text extent", padded(entry(R"("dtype":"F32","shape":["2"],"data_offsets":[0,8])"), 8), "x.shape"},
      {"nested shape", padded(entry(R"("dtype":"F32","shape":[[2]],"data_offsets":[0,8])"), 8), "x.shape"},
      {"nine dimensions",
       padded(entry(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8])"), 8), "x.shape"},
      {"extent beyond 64 bits",
       padded(entry(R"("dtype":"F32","shape":[99999999999999999999999],"data_offsets":[0,8])"), 8),
       "x.shape"},
      {"sizes overflow",
       padded(entry(R"("dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8])"), 8),
       "x.shape"},
      {"huge extent beside 0",
       padded(entry(R"("dtype":"F32","shape":[18446744073709551615,0],"data_offsets":[0,0])"), 0), "x.shape"},
      {"one offset", padded(entry(R"("dtype":"F32","shape":[2],"data_offsets":[8])"), 8), "x.data_offsets"},
      {"three offsets", padded(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"), 8),
       "x.data_offsets"},
      {"negative offset", padded(entry(R"("dtype":"F32","shape":[2],"data_offsets":[-8,0])"), 8),
       "x.data_offsets"},
      {"offsets reversed", padded(entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), 8),
       "x.data_offsets"},
      {"end beyond the file", padded(entry(R"("dtype":"F32","shape":[4],"data_offsets":[0,16])"), 8),
       "x.data_offsets"},
      {"size lies", padded(entry(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), 8), "x.data_offsets"},
      {"half a byte", padded(entry(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])"), 1), "x.shape"},
      {"overlap",
       padded(
           R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
           12),
       "y.data_offsets"},
      {"hole",
       padded(
           R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
           12),
       "y.data_offsets"},
      {"bytes after the last tensor", padded(entry(good), 9), "length"},
      {"misaligned", image(entry(good) + std::string((9 - (8 + entry(good).size()) % 8) % 8, ' '), 8),
       "x.data_offsets"},
      {"metadata is no object", padded(R"({"__metadata__":3})", 0), "__metadata__"},
      {"metadata holds a number", padded(R"({"__metadata__":{"a":3}})", 0), "__metadata__.a"},
      {"metadata holds an object", padded(R"({"__metadata__":{"a":{}}})", 0), "__metadata__.a"},
  };
}

TEST(Safetensors, HostileHeadersAreNamedErrors) {
  std::vector<Hostile> const files = hostile_files();
  ASSERT_GE(files.size(), 20u);
  for (Hostile const& hostile : files) {
    try {
      parse_safetensors(hostile.file, "file");
      ADD_FAILURE() << hostile.what << " was accepted";
    } catch (Error const& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadArgument) << hostile.what;
      EXPECT_EQ(error.argument(), std::string("file: ") + hostile.argument)
          << hostile.what << ": " << error.what();
      EXPECT_FALSE(error.got().empty()) << hostile.what;
      EXPECT_FALSE(error.expected().empty()) << hostile.what;
    }
  }
}

TEST(Safetensors, EveryTruncationAndByteFlipIsAnswered) {
  std::vector<std::byte> const good = padded(
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]}})",
      10);
  ASSERT_EQ(parse_safetensors(good, "file").tensors.size(), 2u);
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_THROW(parse_safetensors(std::span(good).first(size), "file"), Error) << size;
  for (std::size_t at = 0; at < good.size() - 10; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<std::byte> damaged = good;
      damaged[at] ^= std::byte{static_cast<std::uint8_t>(1 << bit)};
      try {
        for (StoredTensor const& tensor : parse_safetensors(damaged, "file").tensors)
          EXPECT_LE(tensor.offset + tensor.bytes.size(), damaged.size());
      } catch (Error const& error) {
        EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
      }
    }
  }
}

}  // namespace
}  // namespace deepwell

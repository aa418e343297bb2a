// Launch parameters of `deepwell emulate`: parsing, layout, fills, dumps, and what is refused.
#include "cli/launch_sheet.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace deepwell {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

std::vector<int> values(std::span<std::byte const> bytes) {
  std::vector<int> out;
  for (std::byte const b : bytes) out.push_back(std::to_integer<int>(b));
  return out;
}

std::string argument_of_error(auto const& action) {
  try {
    action();
  } catch (Error const& error) {
    return std::string(name_of(error.code())) + " " + error.argument();
  }
  return "no error";
}

std::string const kBad = std::string(name_of(ErrorCode::kBadArgument)) + " ";

TEST(LaunchParam, ScalarsAreLittleEndian) {
  EXPECT_THAT(values(parse_launch_param("u32:258").value), ElementsAre(2, 1, 0, 0));
  EXPECT_THAT(values(parse_launch_param("u16:0xABCD").value), ElementsAre(0xCD, 0xAB));
  EXPECT_THAT(values(parse_launch_param("s32:-2").value), ElementsAre(254, 255, 255, 255));
  EXPECT_THAT(values(parse_launch_param("f32:1.5").value), ElementsAre(0, 0, 0xC0, 0x3F));
  EXPECT_THAT(parse_launch_param("f64:1").value, SizeIs(8));
  EXPECT_THAT(parse_launch_param("u8:255").value, SizeIs(1));
}

TEST(LaunchParam, Buffers) {
  LaunchParam const param = parse_launch_param("buffer:4k:iota");
  EXPECT_TRUE(param.is_buffer);
  EXPECT_EQ(param.bytes, 4096u);
  EXPECT_EQ(param.fill, "iota");
  EXPECT_EQ(parse_launch_param("buffer:10").fill, "zero");
}

TEST(LaunchParam, RefusesWhatItCannotRead) {
  for (char const* text : {"", "u32", "u32:", "u32:x", "u32:4294967296", "u32:-1", "u8:256", "f32:", "f32:1x",
                           "buffer", "buffer:", "buffer:0", "buffer:-1", "buffer:99999999999999999999",
                           "buffer:1048577m", "buffer:4:nothing", "buffer:4:0x100", "pointer:4"}) {
    EXPECT_EQ(argument_of_error([&] { parse_launch_param(text); }), kBad + "--param") << text;
  }
}

TEST(MakeFill, FillsAsAsked) {
  auto const fill = [](char const* text, std::uint64_t seed = 0) {
    return make_fill(parse_launch_param(text), seed);
  };
  EXPECT_THAT(values(fill("buffer:3")), ElementsAre(0, 0, 0));
  EXPECT_THAT(values(fill("buffer:9:iota")), ElementsAre(0, 0, 0, 0, 1, 0, 0, 0, 2));
  EXPECT_THAT(values(fill("buffer:2:0x7F")), ElementsAre(127, 127));
  EXPECT_THAT(values(fill("buffer:4:f32=1")), ElementsAre(0, 0, 0x80, 0x3F));
  EXPECT_THAT(fill("buffer:4:poison"), SizeIs(0));
  EXPECT_EQ(fill("buffer:64:random", 1), fill("buffer:64:random", 1));
  EXPECT_NE(fill("buffer:64:random", 1), fill("buffer:64:random", 2));
}

TEST(ParameterBlock, AlignsEachParameter) {
  std::vector<LaunchParam> const params{parse_launch_param("u8:1"), parse_launch_param("buffer:16"),
                                        parse_launch_param("u16:2"), parse_launch_param("u32:3")};
  std::vector<std::uint64_t> const addresses{0x0102030405060708};
  EXPECT_THAT(values(parameter_block(params, addresses)),
              ElementsAre(1, 0, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 2, 0, 0, 0, 3, 0, 0, 0));
}

TEST(ParseExtent, OneToThreeNumbers) {
  EXPECT_THAT(parse_extent("--grid", "7"), ElementsAre(7, 1, 1));
  EXPECT_THAT(parse_extent("--grid", "7,2,3"), ElementsAre(7, 2, 3));
  for (char const* text : {"", "0", "1,", "1,2,3,4", "a", "-1", "1 2"}) {
    EXPECT_EQ(argument_of_error([&] { parse_extent("--grid", text); }), kBad + "--grid") << text;
  }
}

TEST(Dump, ParsesAndPrints) {
  std::vector<LaunchParam> const params{parse_launch_param("u32:1"), parse_launch_param("buffer:64")};
  DumpRequest const dump = parse_dump("1:f32:2", params);
  EXPECT_EQ(dump.param, 1u);
  EXPECT_EQ(dump.type, "f32");
  EXPECT_EQ(dump.count, 2u);
  EXPECT_EQ(parse_dump("1", params).type, "u32");
  for (char const* text : {"", "0", "2", "1:f16", "1:u32:x", "x"}) {
    EXPECT_EQ(argument_of_error([&] { parse_dump(text, params); }), kBad + "--dump") << text;
  }

  std::vector<std::byte> const bytes = make_fill(parse_launch_param("buffer:40:iota"), 0);
  EXPECT_EQ(dump_text(bytes, "u32", 0), "0: 0 1 2 3 4 5 6 7\n8: 8 9\n");
  EXPECT_EQ(dump_text(bytes, "u32", 3), "0: 0 1 2\n");
  EXPECT_EQ(dump_text(make_fill(parse_launch_param("buffer:8:f32=-0.5"), 0), "f32", 0), "0: -0.5 -0.5\n");
}

}  // namespace
}  // namespace deepwell

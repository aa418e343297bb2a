// Launches as plain data: element types, .npy files, comparisons, sheets.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "emu/launch/element.hpp"
#include "emu/launch/npy.hpp"
#include "emu/launch/sheet.hpp"
#include "emu/launch/sheet_json.hpp"

namespace deepwell::emu {
namespace {

std::span<std::byte const> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

template <class F>
Error error_of(F&& call) {
  try {
    call();
  } catch (Error const& error) {
    return error;
  }
  return Error(ErrorCode::kInternal, "nothing was thrown");
}

constexpr char const* kAddOne = R"(
.version 8.7
.target sm_120a
.address_size 64
.visible .entry add_one(.param .u64 p, .param .u32 n)
{
  .reg .pred %q;
  .reg .b32 %r<4>;
  .reg .b64 %d<4>;
  ld.param.u64 %d1, [p];
  ld.param.u32 %r1, [n];
  mov.u32 %r2, %tid.x;
  setp.ge.u32 %q, %r2, %r1;
  @%q bra DONE;
  mul.wide.u32 %d2, %r2, 4;
  add.s64 %d3, %d1, %d2;
  ld.global.u32 %r3, [%d3];
  add.u32 %r3, %r3, 1;
  st.global.u32 [%d3], %r3;
DONE:
  ret;
}
)";

TEST(ElementTypes, ValuesRoundToNearestAndStayInsideTheType) {
  struct Row {
    char const* type;
    double value;
    std::uint64_t bits;
  };
  double const inf = std::numeric_limits<double>::infinity();
  for (Row const& row : {Row{"u8", 2.5, 2},
                         {"u8", 300, 255},
                         {"s8", -200, 0x80},
                         {"s4", -8, 8},
                         {"s4", 9, 7},
                         {"u64", 1e30, ~std::uint64_t{0}},
                         {"s64", -1e30, 1ull << 63},
                         {"f16", 1.0, 0x3c00},
                         {"f16", 1e9, 0x7bff},
                         {"f16", inf, 0x7c00},
                         {"bf16", 1.0, 0x3f80},
                         {"f32", 0.1, 0x3dcccccd},
                         {"f64", 1.0, 1023ull << 52},
                         {"e4m3", 1000, 0x7e},
                         {"e4m3", -inf, 0xfe},
                         {"e5m2", inf, 0x7c},
                         {"e2m1", 2.4, 4},
                         {"ue8m0", 3.0, 129},
                         {"ue4m3", -1, 0},
                         {"e2m3", 7.5, 0x1f},
                         {"e3m2", 28, 0x1f}}) {
    ElementType const* const type = find_element_type(row.type);
    ASSERT_NE(type, nullptr) << row.type;
    EXPECT_EQ(element_from(*type, row.value), row.bits) << row.type << " " << row.value;
  }
  EXPECT_EQ(find_element_type("float8_e4m3fn"), find_element_type("e4m3"));
  EXPECT_EQ(find_element_type("f31"), nullptr);
}

TEST(ElementTypes, HalvesOfAByteAreTwoElements) {
  ElementType const& type = *find_element_type("e2m1");
  std::vector<std::byte> bytes(2);
  for (std::uint64_t i = 0; i < 4; ++i) set_element_bits(type, bytes, i, 3 * i + 1);
  EXPECT_EQ(bytes[0], std::byte{0x41});
  EXPECT_EQ(bytes[1], std::byte{0xa7});
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(element_bits(type, bytes, i), 3 * i + 1);
}

TEST(Npy, WhatIsWrittenIsRead) {
  std::vector<std::byte> const data(24, std::byte{7});
  for (std::vector<std::uint64_t> const& shape :
       {std::vector<std::uint64_t>{}, {6}, {2, 3}, {1, 2, 3}, {0, 4}}) {
    std::string const file = write_npy("<f4", shape, data);
    NpyHeader const header = parse_npy(as_bytes(file), "x");
    EXPECT_EQ(header.descriptor, "<f4");
    EXPECT_EQ(header.shape, shape);
    EXPECT_EQ(header.data_at % 64, 0u);
    EXPECT_EQ(file.size() - header.data_at, 24u);
  }
  std::string file = write_npy("<f4", std::vector<std::uint64_t>{6}, data);
  for (std::size_t cut = 0; cut < 64; ++cut)
    EXPECT_EQ(error_of([&] { parse_npy(as_bytes(file.substr(0, cut)), "x"); }).argument(), "x") << cut;
  file.replace(file.find("False"), 5, "True ");
  EXPECT_EQ(error_of([&] { parse_npy(as_bytes(file), "x"); }).got(), "fortran_order");
}

TEST(Comparisons, TolerancesAddUpAndUndefinedElementsDiffer) {
  ElementType const& type = *find_element_type("f32");
  auto const bytes = [](std::vector<float> const& values) {
    std::vector<std::byte> out(values.size() * 4);
    std::memcpy(out.data(), values.data(), out.size());
    return out;
  };
  float const nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  std::vector<std::byte> const got = bytes({1, -0.0f, nan, inf, 100});
  Comparison exact = compare(type, got, {}, {.bytes = bytes({1, 0, nan, inf, 101})});
  EXPECT_EQ(exact.mismatches, 2u);  // the sign of zero counts
  EXPECT_EQ(exact.first, 1u);
  EXPECT_EQ(exact.worst, 4u);
  EXPECT_EQ(exact.worst_error, 1);
  EXPECT_TRUE(compare(type, got, {}, {.bytes = bytes({1, 0, nan, inf, 101}), .relative = 0.01}).ok());
  EXPECT_FALSE(compare(type, got, {}, {.bytes = bytes({1, 0, nan, inf, 101}), .relative = 0.009}).ok());
  EXPECT_FALSE(compare(type, got, {}, {.bytes = bytes({1, 0, 0, inf, 100}), .absolute = 1e9}).ok());
  EXPECT_FALSE(compare(type, got, {}, {.bytes = bytes({1, 0, nan, 1e38f, 100}), .absolute = 1e39}).ok());
  std::vector<std::uint8_t> written(got.size(), 1);
  written[3] = 0;
  Comparison const undefined = compare(type, got, written, {.bytes = got});
  EXPECT_EQ(undefined.undefined, 1u);
  EXPECT_EQ(undefined.mismatches, 1u);
}

/// add_one on eight words.
Sheet add_one_sheet() {
  Sheet sheet;
  sheet.modules = {{.name = "add_one.ptx", .ptx = kAddOne}};
  SheetBuffer buffer;
  buffer.name = "x";
  buffer.type = find_element_type("u32");
  buffer.shape = {8};
  buffer.bytes = 32;
  buffer.initial.assign(32, std::byte{0});
  sheet.buffers.push_back(buffer);
  SheetLaunch launch;
  launch.config.block = {32, 1, 1};
  launch.params.push_back({.bytes = std::vector<std::byte>(8), .references = {{}}, .at = {}});
  launch.params.push_back({.bytes = {std::byte{8}, {}, {}, {}}, .references = {}, .at = {}});
  sheet.launches.push_back(launch);
  return sheet;
}

TEST(Sheets, RunFromPlainData) {
  Sheet sheet = add_one_sheet();
  sheet.seeds = 5;
  SheetResult result = run_sheet(sheet);
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(result.seeds_run, 5u);
  EXPECT_EQ(result.kernels, std::vector<std::string>{"add_one"});
  ASSERT_EQ(result.launches.size(), 1u);
  EXPECT_EQ(result.launches[0].warp_instructions, 11u);
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(result.buffers[0].bytes[i], std::byte{i % 4 == 0});

  sheet.buffers[0].written.assign(32, 1);
  sheet.buffers[0].written[5] = 0;
  result = run_sheet(sheet);
  ASSERT_EQ(result.findings.size(), 1u);
  EXPECT_EQ(result.findings[0].finding, Finding::kPoison);
  EXPECT_EQ(result.findings[0].place.lane, 1);
  EXPECT_EQ(result.findings[0].place.line, 19);
  EXPECT_TRUE(result.launches.empty());
}

TEST(Sheets, ReferencesAndSizesAreCheckedBeforeALaunch) {
  auto const error = [](auto&& change) {
    Sheet sheet = add_one_sheet();
    change(sheet);
    return error_of([&] { run_sheet(sheet); });
  };
  EXPECT_EQ(error([](Sheet& s) { s.launches[0].params[1].bytes.resize(8); }).argument(),
            "launches[0].params[1]");
  EXPECT_EQ(error([](Sheet& s) { s.launches[0].params.pop_back(); }).argument(), "launches[0].params");
  EXPECT_EQ(error([](Sheet& s) { s.launches[0].kernel = "other"; }).argument(), "launches[0].kernel");
  EXPECT_EQ(error([](Sheet& s) { s.memory_bytes = 31; }).argument(), "buffers.x");
  for (Error const& wrong : {error([](Sheet& s) { s.launches[0].params[0].references[0].index = 1; }),
                             error([](Sheet& s) { s.launches[0].params[0].references[0].at = 1; }),
                             error([](Sheet& s) { s.launches[0].module = 1; }),
                             error([](Sheet& s) { s.buffers[0].initial.resize(31); })}) {
    EXPECT_EQ(wrong.code(), ErrorCode::kBadArgument) << wrong.what();
  }
}

TEST(Sheets, BuffersLieWhereTheySay) {
  Sheet sheet = add_one_sheet();
  for (std::string const name : {"first", "second"}) {
    sheet.buffers.push_back(sheet.buffers[0]);
    sheet.buffers.back().name = name;
  }
  auto const addresses = [&] {
    std::vector<std::uint64_t> out;
    for (BufferResult const& one : run_sheet(sheet).buffers) out.push_back(one.address);
    return out;
  };
  EXPECT_EQ(addresses(), (std::vector<std::uint64_t>{0x700000000, 0x700010100, 0x700020200}));
  sheet.buffers[2].address = 0x700000000;
  sheet.buffers[1].address = 0x700100000;
  EXPECT_EQ(addresses(), (std::vector<std::uint64_t>{0x700110100, 0x700100000, 0x700000000}));
  for (std::uint64_t const wrong : {0x6ffffff00ull, 0x700100001ull, 0x700010000ull, 1ull << 60}) {
    sheet.buffers[1].address = wrong;
    Error const error = error_of([&] { run_sheet(sheet); });
    EXPECT_EQ(error.argument(), "buffers.first.address") << wrong;
    EXPECT_EQ(error.got(), fmt::format("{:#x}", wrong));
  }
}

TEST(Sheets, HostMemoryOfResidentCtasIsBounded) {
  Sheet sheet = add_one_sheet();
  for (bool const check : {true, false}) {
    sheet.options.check = check;
    sheet.options.memory_bytes = 512;
    SheetResult const result = run_sheet(sheet);
    ASSERT_EQ(result.findings.size(), 1u);
    EXPECT_EQ(result.findings[0].finding, Finding::kResource);
    sheet.options.memory_bytes = 1 << 20;
    EXPECT_TRUE(run_sheet(sheet).ok());
  }
}

TEST(Sheets, VariablesOfModulesCountAsMemory) {
  Memory memory(1 << 20);
  auto const run = [&](std::string const& bytes) {
    auto const module = Module::parse(".version 8.7\n.target sm_120a\n.address_size 64\n.global .b8 big[" +
                                          bytes + "];\n.visible .entry k() {\n  ret;\n}\n",
                                      Profile{});
    launch(*module, "k", {}, {}, memory, {}, Profile{});
  };
  run("1000000");
  Error const error = error_of([&] { run("1000000"); });
  EXPECT_EQ(error.code(), ErrorCode::kDevice) << error.what();
  EXPECT_EQ(error.argument(), "bytes");
}

TEST(LaunchFiles, HostArraysAreBuffersAndFilesNeedAFolder) {
  std::vector<std::uint32_t> words{1, 2, 3, 4};
  HostArray const array{.name = "x", .bytes = std::as_bytes(std::span(words)), .written = {}};
  SheetSource source;
  source.text =
      R"({"buffers": {"x": {"dtype": "u32", "shape": [4]}}, "launches": [{"block": 32, "params": [{"buffer": "x"}, {"u32": 4}]}]})";
  source.module = {.name = "add_one", .ptx = kAddOne};
  EXPECT_EQ(error_of([&] { parse_sheet(source); }).argument(), "buffers.x");
  source.arrays = {&array, 1};
  Sheet const sheet = parse_sheet(source);
  SheetResult const result = run_sheet(sheet);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result.buffers[0].bytes[12], std::byte{5});
  source.text = R"({"buffers": {"x": {"file": "x.npy"}}, "launches": []})";
  source.arrays = {};
  EXPECT_EQ(error_of([&] { parse_sheet(source); }).argument(), "buffers.x.file");
}

TEST(LaunchFiles, FillsDependOnSeedAndNameAlone) {
  auto const bytes = [](std::string const& buffers) {
    SheetSource source;
    std::string const text = "{\"buffers\": {" + buffers + "}, \"launches\": [{\"block\": 32}]}";
    source.text = text;
    source.module = {.name = "add_one", .ptx = kAddOne};
    return parse_sheet(source).buffers[0].initial;
  };
  std::string const one =
      R"("a": {"dtype": "f32", "shape": [4, 25], "fill": {"uniform": [-1, 1]}, "seed": 5})";
  EXPECT_EQ(bytes(one), bytes(one + R"(, "b": {"dtype": "u8", "shape": [1], "fill": "zero"})"));
  EXPECT_NE(bytes(one),
            bytes(R"("a": {"dtype": "f32", "shape": [4, 25], "fill": {"uniform": [-1, 1]}, "seed": 6})"));
  EXPECT_NE(bytes(one),
            bytes(R"("c": {"dtype": "f32", "shape": [4, 25], "fill": {"uniform": [-1, 1]}, "seed": 5})"));
  ElementType const& type = *find_element_type("f32");
  double sum = 0, squares = 0;
  std::vector<std::byte> const normal =
      bytes(R"("a": {"dtype": "f32", "shape": [10000], "fill": {"normal": [3, 2]}})");
  for (std::uint64_t i = 0; i < 10000; ++i) {
    double const value = element_value(type, element_bits(type, normal, i));
    sum += value;
    squares += (value - 3) * (value - 3);
  }
  EXPECT_NEAR(sum / 10000, 3, 0.1);
  EXPECT_NEAR(std::sqrt(squares / 10000), 2, 0.1);
  std::vector<std::byte> const integers =
      bytes(R"("a": {"dtype": "s8", "shape": [1000], "fill": {"integers": [-2, 2]}})");
  std::array<int, 5> seen{};
  for (std::byte const byte : integers)
    ++seen.at(static_cast<std::size_t>(static_cast<std::int8_t>(byte) + 2));
  for (int const count : seen) EXPECT_GT(count, 100);
}

}  // namespace
}  // namespace deepwell::emu

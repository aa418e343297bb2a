// The arithmetic instructions against an H200: random inputs, all results of an instruction hashed, one line each in
// tests/golden/hopper_alu.txt. And the spellings that ptxas refuses, tests/golden/ptxas_refuses.txt, are refused here too.
// Both files come from tests/golden/make_hopper_alu.py.
#include <gtest/gtest.h>

#include <fstream>

#include "emu/case_runner.hpp"

namespace deepwell::testing {
namespace {

constexpr int kSeeds = 32;  // as the file was made

std::uint64_t fnv(std::vector<std::byte> const& bytes) {
  std::uint64_t out = 0xcbf29ce484222325u;
  for (std::byte const byte : bytes) out = (out ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3u;
  return out;
}

std::vector<std::string> lines_of(std::string const& name) {
  std::ifstream file(DW_SOURCE_DIR "/tests/golden/" + name);
  std::vector<std::string> out;
  for (std::string line; std::getline(file, line);) out.push_back(line);
  return out;
}

TEST(HopperAlu, RandomInputsGiveWhatAnH200Gives) {
  auto const backend = make_backend("emu:sm_90a:4");
  auto const lines = lines_of("hopper_alu.txt");
  ASSERT_GT(lines.size(), 1900u);
  for (std::string const& line : lines) {
    std::size_t const space = line.rfind(' ');
    std::string const instruction = line.substr(0, space);
    auto const bytes = measure(instruction_case(instruction, "sm_90a"), "sm_90a", *backend, kSeeds);
    EXPECT_EQ(fmt::format("{:016x}", fnv(bytes)), line.substr(space + 1)) << instruction;
  }
}

/// What is measured on SM 9.0 holds for SM 12.x as well: the machine knows no difference in these instructions.
TEST(HopperAlu, Sm120GivesTheSame) {
  auto const hopper = make_backend("emu:sm_90a:4"), blackwell = make_backend("emu:sm_120a:4");
  for (std::string const& line : lines_of("hopper_alu.txt")) {
    std::string const instruction = line.substr(0, line.rfind(' '));
    EXPECT_EQ(measure(instruction_case(instruction, "sm_90a"), "sm_90a", *hopper, 1),
              measure(instruction_case(instruction, "sm_120a"), "sm_120a", *blackwell, 1))
        << instruction;
  }
}

TEST(HopperAlu, WhatPtxasRefusesIsRefused) {
  auto const lines = lines_of("ptxas_refuses.txt");
  ASSERT_GT(lines.size(), 3000u);
  for (std::string const target : {"sm_90a", "sm_120a"}) {
    auto const backend = make_backend("emu:" + target + ":4");
    for (std::string const& line : lines) {
      EXPECT_THROW(measure(instruction_case(line, target), target, *backend, 1), Error)
          << line << " on " << target;
    }
  }
}

}  // namespace
}  // namespace deepwell::testing

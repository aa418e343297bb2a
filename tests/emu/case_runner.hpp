// Reads and runs instruction cases: small PTX programs whose header comments give inputs and expected memory. Written
// against Backend, so the same cases run in the emulator and on a CUDA device.
//
//   // isa: 9.7.1 add                          section of the PTX ISA manual
//   // targets: sm_90a sm_120a sm_121a         or "all"; `.target @TARGET@` in the text is replaced by each
//   // launch: grid=1 block=32 smem=0          also cluster=, entry= (default: the first entry); shapes as 8x4x2
//   // in a u32 32: iota 5 3                   parameters in the order of these lines; a buffer is a .u64 pointer
//   // out d u32 4: 1 2 0xff *                 expected values (* is anything); the buffer starts undefined
//   // inout x f32 2: 0 1 -> 1.5 0x7fffffff    start values, then expected ones
//   // param u32 7                             a scalar
//   // map tm of a: element=u8 dims=64,4 strides=64 box=16,4 swizzle=128B    a 128-byte tensor map parameter (align 64)
//   // ulps: 1                                on a GPU the results may be this many floats off (.approx); the emulator is exact
//   // error: misaligned                       parsing or running must fail with a message that contains this (emulator only)
//   // ptxas: refuses                         the text is not valid PTX (assemble_cases.py checks it); with `// error:`
//
// Values: numbers, 0x bit patterns, 3*7 (7 three times), iota START STEP (the rest of the buffer), fill V (the rest),
// random SEED (bits), random SEED LOW HIGH. Types: b8 u8 s8 b16 u16 s16 b32 u32 s32 f32 b64 u64 s64 f64. A line that
// begins with `//   ` (three or more spaces) continues the one before.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.hpp"

namespace deepwell::testing {

struct CaseParam {
  enum class Kind { kBuffer, kScalar, kMap };
  Kind kind = Kind::kBuffer;
  std::string name, type;
  std::vector<std::byte> initial;   // empty: the buffer starts undefined
  std::vector<std::byte> expected;  // empty: not compared
  std::vector<bool> compared;       // by element
  std::size_t count = 0;
  std::string map_of;  // kMap: the buffer it describes
  TensorMapSpec map;
};

struct Case {
  std::string name;  // "alu/add_u32"
  std::string path, isa, entry, ptx, error;
  std::uint64_t ulps = 0;
  std::vector<std::string> targets;
  LaunchSpec launch;
  std::vector<CaseParam> params;
};

/// Throws Error (kBadArgument) naming file, line and mistake.
Case read_case(std::string const& path, std::string name);
/// All cases under a folder, sorted by name.
std::vector<Case> read_cases(std::string const& folder);

/// Runs one case; returns what is wrong, or an empty string.
std::string run_case(Case const& one, std::string_view target, Backend& backend);

/// One instruction as `opcode result-type source-type...`, types b16, b32, b64 or p (a predicate): a case whose buffers
/// hold 32 values of each source and take the result (a predicate as 0 or 1 in 32 bits); it compares nothing.
Case instruction_case(std::string const& line, std::string const& target);
/// The outputs of a case for `seeds` sets of random values in its input buffers, one after another.
std::vector<std::byte> measure(Case const& one, std::string_view target, Backend& backend, int seeds);

}  // namespace deepwell::testing

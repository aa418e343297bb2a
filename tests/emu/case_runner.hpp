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
// Planted bugs (tests/emu/bugs, run by bug_runner) are two programs in one file. A line that ends in `//@ bug` exists only in
// the broken one, a line that ends in `//@ fixed` only in its repaired twin. They add:
//
//   // bug: what is wrong, and what it does    makes the file a planted bug; `// isa:` may be absent
//   // finding: race                          what the broken one must be reported as, on every seed; `race or deadlock`
//   // mentions: st.shared                    a text that every report contains; may be repeated
//   // seeds: some                            reported on some seeds only: the order of events decides
//   // open: why                              the checkers do not find it yet; once they do, this line must go
//   // launch: entry=b stream=1 programmatic=1 after=0,2 args=x,n    may be repeated: a list of launches that share the
//                                             buffers; args= names the parameters of that kernel, default all in order
//   // param u32 n 7                          a scalar with a name
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

struct CaseLaunch {
  std::string entry;
  LaunchSpec spec;
  int stream = 0;
  bool programmatic = false;
  std::vector<std::size_t> after;
  std::vector<std::string> args;  // names of parameters; empty: all in order
};

struct Case {
  std::string name;  // "alu/add_u32"
  std::string path, isa, ptx, error;
  std::uint64_t ulps = 0;
  std::vector<std::string> targets;
  std::vector<CaseLaunch> launches;  // at least one
  std::vector<CaseParam> params;
  std::string bug;                    // what is wrong; empty: not a planted bug
  std::vector<std::string> findings;  // one of these names
  std::vector<std::string> mentions;
  bool every_seed = true;
  std::string open;  // why the checkers do not find it on every seed; empty: they do
};

enum class Variant { kWhole, kBug, kFixed };

/// Throws Error (kBadArgument) naming file, line and mistake. Lines of the other variant become empty ones, so that line
/// numbers stay those of the file.
Case read_case(std::string const& path, std::string name, Variant variant = Variant::kWhole);
/// All cases under a folder, sorted by name.
std::vector<Case> read_cases(std::string const& folder);

/// The text for one target.
std::string ptx_for(Case const& one, std::string_view target);
/// Bytes of a buffer.
std::size_t bytes_of(CaseParam const& param);
/// A kernel's parameters: those named in `args` (all where it is empty). `addresses` has a device address for each
/// parameter of the case that is a buffer.
std::vector<std::byte> parameter_block(Case const& one, std::vector<std::string> const& args,
                                       std::vector<DeviceAddress> const& addresses, Backend& backend);
/// What is wrong with a buffer's contents, or an empty string.
std::string compare(CaseParam const& param, std::vector<std::byte> const& got, std::uint64_t ulps);

/// Runs one case; returns what is wrong, or an empty string.
std::string run_case(Case const& one, std::string_view target, Backend& backend);

/// One instruction as `opcode result-type source-type...`, types b16, b32, b64 or p (a predicate): a case whose buffers
/// hold 32 values of each source and take the result (a predicate as 0 or 1 in 32 bits); it compares nothing.
Case instruction_case(std::string const& line, std::string const& target);
/// The outputs of a case for `seeds` sets of random values in its input buffers, one after another.
std::vector<std::byte> measure(Case const& one, std::string_view target, Backend& backend, int seeds);

}  // namespace deepwell::testing

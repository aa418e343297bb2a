// Small PTX programs of one instruction each, made from the emulator's instruction table, to be run in the emulator and on a GPU.
//
// A program is one CTA. Thread t reads 64-bit word t of each input and writes word t of each output; an output that is narrower
// is zero above. Inputs are random: bits with many corners, or numbers of the format that the instruction reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emu/instr/instr.hpp"
#include "num/formats.hpp"

namespace deepwell::silicon {

/// What an input holds.
struct Data {
  enum class Kind {
    kBits,  // integers and floats of its width, many corners, or all bits random
    kNumbers,  // elements of `format`, as many as fit, by the seed's style: near one, all binades, specials among them
    kBinary64,  // the same of f64
    kAngles,    // f32 within +-pi
    kPlaces,    // 2:4 metadata, numbers ascending; of a tf32 where `format` is that
    kBytes,     // integers of all bits
    kNans64,    // f64, half of them NaN of any payload
    kIndex,     // 0 to 63
    kMask,      // nonzero lane mask that every lane of the warp shares and is in
  } kind = Kind::kBits;
  num::Format format = num::Format::kF32;
  int bits = 32;
};

struct Program {
  std::string family;  // a row of the report
  std::string name;    // the opcode, and what tells it from others of the same one
  std::string ptx;
  int threads = 128;
  std::vector<Data> inputs;
  int outputs = 0;
  int seeds = 6;
  /// 0: every bit. Else results are f32, f16, bf16 or f64 (`result_bits`) that may be so many units in the last place off,
  /// or `absolute`.
  double ulps = 0, absolute = 0;
  int result_bits = 32;
  std::string bound;  // of the manual, in words, where ulps is not 0
};

/// All programs for a target.
std::vector<Program> programs(std::string const& target);

/// Why a row of the table has no program here: empty where it has, or where it is left to the instruction cases.
std::string reason_without(emu::Row const& row);

/// What the pattern of a row expands to; of more than 20000 spellings as many, spread over all.
std::vector<std::string> spellings(emu::Row const& row);

/// Input words of a program for one seed: inputs one after the other, `threads` words each.
std::vector<std::uint64_t> input_words(Program const& program, int seed);

}  // namespace deepwell::silicon

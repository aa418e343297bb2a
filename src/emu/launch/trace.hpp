// The instructions of a run as text, one a line:
//
//   launch 0 cta 0,0,0 warp 1 lanes 0xffffffff line 17 ld.global.u32 %r3, [%d3] -> %r3 = 0x7 0x8 ... (or one value for all lanes)
#pragma once

#include <fstream>
#include <string>

#include "emu/launch/sheet.hpp"

namespace deepwell::emu {

/// "?" stands for a lane that did not execute it, "undefined" for poison.
std::string trace_line(TraceStep const& step);

class TraceWriter {
 public:
  /// Throws Error kBadArgument (options.trace.file) when the file cannot be written.
  explicit TraceWriter(SheetTrace const& wanted);
  void begin_seed(std::uint64_t seed);
  void write(TraceStep const& step);

 private:
  void put(std::string const& line);

  SheetTrace const& wanted_;
  std::ofstream file_;
  std::uint64_t bytes_ = 0;
};

}  // namespace deepwell::emu

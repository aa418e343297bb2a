// What the control instructions share: leaving the kernel, calling a function that the runtime brings along.
#pragma once

#include "emu/run/program.hpp"

namespace deepwell::emu {

Outcome exit_lanes(Warp& warp, Instr const& instr, Mask mask);

/// vprintf: formats for each lane and gives the text to the launch's output.
void device_printf(Warp& warp, Instr const& instr, Mask mask, CallSite const& site);
/// __assertfail: a report with the assertion's file, line, function and text.
[[noreturn]] void device_assert_fail(Warp& warp, Instr const& instr, Mask mask, CallSite const& site);

}  // namespace deepwell::emu

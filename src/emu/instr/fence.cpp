// Instruction family: membar, fence and proxy fences.
#include "emu/instr/instr.hpp"

namespace deepwell::emu {

std::span<Row const> fence_rows() { return {}; }

}  // namespace deepwell::emu

// Instruction family: cvt to and from the small and half formats.
#include "emu/instr/instr.hpp"

namespace deepwell::emu {

std::span<Row const> convert_rows() { return {}; }

}  // namespace deepwell::emu

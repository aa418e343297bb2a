// Instruction family: f16, bf16 and their packed pairs (PTX ISA 9.7.4).
#include "emu/instr/lanes.hpp"

namespace deepwell::emu {

std::span<Row const> alu_half_rows() { return {}; }

}  // namespace deepwell::emu

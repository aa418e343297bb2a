// Instruction family: mma.sync in all its forms.
#include "emu/instr/instr.hpp"

namespace deepwell::emu {

std::span<Row const> mma_rows() { return {}; }

}  // namespace deepwell::emu

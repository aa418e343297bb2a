// Instruction family: mbarrier.
#include "emu/instr/instr.hpp"

namespace deepwell::emu {

std::span<Row const> mbarrier_rows() { return {}; }

}  // namespace deepwell::emu

// Instruction family: griddepcontrol and setmaxnreg.
#include "emu/instr/instr.hpp"

namespace deepwell::emu {

std::span<Row const> grid_dependency_rows() { return {}; }

}  // namespace deepwell::emu

// Instruction family: ldmatrix, stmatrix, movmatrix.
#include "emu/instr/instr.hpp"

namespace deepwell::emu {

std::span<Row const> matrix_rows() { return {}; }

}  // namespace deepwell::emu

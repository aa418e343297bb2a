// Lets registers that are never alive together share storage: compiled PTX names thousands of registers, each used briefly.
#pragma once

#include <vector>

#include "emu/instr/table.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {

/// Reassigns the register file of a decoded function. `rows[pc]` is the table row of each instruction. A register that may
/// be read before it is written keeps storage of its own, so that the read is still seen as poison.
void share_registers(Function& function, std::vector<CompiledRow const*> const& rows);

}  // namespace deepwell::emu

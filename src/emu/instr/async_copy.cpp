// Instruction family: cp.async, cp.async.bulk and their tensor forms.
#include "emu/instr/instr.hpp"

namespace deepwell::emu {

std::span<Row const> async_copy_rows() { return {}; }

}  // namespace deepwell::emu

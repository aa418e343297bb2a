// Puts the functions that a kernel may reach into the kernel's own code.
#pragma once

#include <cstdint>
#include <vector>

#include "emu/run/program.hpp"

namespace deepwell::emu {

/// `functions` by number in the module (null: only declared); `address_taken` says which of them a pointer may name. Every
/// function is linked once a kernel: its instructions stand before those that call it, its registers have a place of their own.
Function link(Function const& kernel, std::vector<Function const*> const& functions,
              std::vector<bool> const& address_taken);

}  // namespace deepwell::emu

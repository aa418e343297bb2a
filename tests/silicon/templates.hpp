// Programs around instructions that touch memory or other lanes.
#pragma once

#include "silicon/program.hpp"

namespace deepwell::silicon {

/// Warp instructions, loads and stores, atomics, matrices in shared memory, fragments of wmma.
void add_templates(std::vector<Program>& out, std::string const& target);

/// Whether the emulator takes a module.
bool parses(std::string const& ptx, std::string const& target);
/// Few of many spellings: every alternative of every item of the pattern, and others evenly.
std::vector<std::string> some(std::vector<std::string> const& all, std::size_t most);

}  // namespace deepwell::silicon

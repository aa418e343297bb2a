// Turns a syntax tree into a module that is ready to run: names resolved, constants pooled, rows bound.
#pragma once

#include <memory>
#include <string>

#include "emu/ptx/syntax.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {

std::unique_ptr<Module::Impl> decode(ptx::ModuleSyntax const& syntax, Profile const& profile,
                                     std::string source_name);

}  // namespace deepwell::emu

// The hyper-connections' product in the mutation test: its programs and its rules.
#pragma once

#include <vector>

#include "kernel_mutations/programs.hpp"
#include "kernel_mutations/rules.hpp"

namespace deepwell::mutations {

std::vector<NamedProgram> hc_prenorm_programs();
std::vector<Rule> hc_prenorm_rules();

}  // namespace deepwell::mutations

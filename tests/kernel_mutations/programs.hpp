// What the mutated kernels run in: small calls of the library's operations, chosen so that every path of the shipped kernels is
// taken, each with its right answer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/context.hpp"

namespace deepwell::mutations {

/// One or more calls of operations on a fresh context, and a judge of what they leave behind.
class Program {
 public:
  virtual ~Program() = default;
  /// Calls, waits, and says what is wrong with the result; empty when it is right. Throws what the calls throw.
  virtual std::string run(Context& context) const = 0;
  /// The GEMM kernel that the library chooses: "gemm_mx 64x8 swap s5"; empty without a GEMM.
  virtual std::string kernel(Arch const&) const { return {}; }
};

struct NamedProgram {
  std::string name;
  std::string what;    // which paths it takes, for people
  std::string kernel;  // which GEMM kernel must be chosen for that
  std::shared_ptr<Program const> program;
  std::string sms =
      "";  // ":1": on a device of one SM, whose CTA then has more tiles than its ring has stages
};

/// All programs; their data are made once.
std::vector<NamedProgram> const& programs();
NamedProgram const& program_of(std::string const& name);

}  // namespace deepwell::mutations

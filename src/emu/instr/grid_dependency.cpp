// Instruction family: griddepcontrol and setmaxnreg. Launches do not overlap in the machine, and register counts have no
// effect, so both only check their operands.
#include "emu/instr/instr.hpp"

namespace deepwell::emu {
namespace {

Outcome exec_nothing(Warp&, Instr const&, Mask) { return Outcome::kNext; }

Exec bind_setmaxnreg(Instr& instr, BindContext const&) {
  if (!instr.ops[0].is_immediate) throw unsupported(instr, "the register count must be an immediate");
  std::int64_t const count = instr.ops[0].immediate;
  if (count < 24 || count > 256 || count % 8 != 0) {
    throw unsupported(instr,
                      fmt::format("the register count is {}; 24 to 256 in steps of 8 are possible", count));
  }
  return exec_nothing;
}

constexpr Row kRows[] = {
    {.pattern = "griddepcontrol (.launch_dependents|.wait)",
     .operands = "",
     .ptx = 78,
     .needs = Needs::kSm90,
     .section = "9.7.13 griddepcontrol",
     .exec = exec_nothing},
    {.pattern = "setmaxnreg (.inc|.dec) .sync .aligned .u32",
     .operands = "s32",
     .ptx = 80,
     .needs = Needs::kSm90aPlus,
     .section = "9.7 setmaxnreg",
     .bind = bind_setmaxnreg,
     .rendezvous = Rendezvous::kAligned},
};

}  // namespace

std::span<Row const> grid_dependency_rows() { return kRows; }

}  // namespace deepwell::emu

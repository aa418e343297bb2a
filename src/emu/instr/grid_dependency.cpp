// Instruction family: griddepcontrol and setmaxnreg. Register counts have no effect in the machine.
#include "emu/run/observe.hpp"

namespace deepwell::emu {
namespace {

Outcome exec_launch_dependents(Warp& warp, Instr const&, Mask) {
  warp.cta->dependents_may_start = true;
  ++warp.cta->cluster->progress;
  return Outcome::kNext;
}

Outcome exec_wait(Warp& warp, Instr const& instr, Mask mask) {
  GridDependency* const dependency = warp.launch->dependency;
  if (dependency == nullptr) return Outcome::kNext;
  std::uint64_t& token = warp.token();
  int& waiting = warp.cta->cluster->waits_for_grids;
  if (!dependency->may_pass()) {
    if (token == 0) {
      token = 1;
      ++waiting;
    }
    warp.wait_for("the launches that this one depends on");
    return Outcome::kBlocked;
  }
  if (token != 0) --waiting;
  warp.cta->waited_for_grids = true;
  dependency->passed();
  if (observed(warp))
    warp.launch->race->wait_for_launches(actor_of(warp, instr, mask), dependency->complete());
  return Outcome::kNext;
}

Exec bind_griddepcontrol(Instr& instr, BindContext const&) {
  return instr.has(".wait") ? exec_wait : exec_launch_dependents;
}

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
     .bind = bind_griddepcontrol},
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

// Instruction family: control flow (PTX ISA 9.7.12) and the few that do nothing to data.
#include <bit>

#include "emu/instr/call.hpp"
#include "emu/instr/lanes.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {
namespace {

/// Sends the lanes of `mask` to `target`; the others of the fragment go on behind the instruction.
void branch(Warp& w, Mask mask, u32 target) {
  Fragment& here = w.fragment();
  bool const back = target <= here.pc;
  if (mask == here.lanes) {
    here.pc = target;
    if (back) ++here.backward;
    return;
  }
  Fragment taken;
  taken.lanes = mask;
  taken.pc = target;
  taken.backward = here.backward + (back ? 1 : 0);
  here.lanes &= ~mask;
  here.pc += 1;
  w.fragments.push_back(taken);  // `here` is invalid from now on
}

Outcome bra(Warp& w, Instr const& i, Mask mask) {
  branch(w, mask, i.ops[0].target);
  return Outcome::kControl;
}

Outcome brx(Warp& w, Instr const& i, Mask mask) {
  w.require_defined(i, i.v(0), mask, "the branch index");
  u32 const* const index = w.s32(i.v(0));
  std::vector<u32> const& targets = i.ops[1].targets;
  Mask rest = mask;
  while (rest != 0) {
    int const lane = std::countr_zero(rest);
    u32 const which = index[lane];
    if (which >= targets.size())
      fail(w, i, lane, fmt::format("branch index {} of {} targets", which, targets.size()));
    Mask same = 0;
    for_lanes(rest, [&](int l) { same |= index[l] == which ? Mask{1} << l : 0; });
    rest &= ~same;
    Fragment& here = w.fragment();
    if (same == here.lanes) {
      branch(w, same, targets[which]);
    } else {
      Fragment taken;
      taken.lanes = same;
      taken.pc = targets[which];
      taken.backward = here.backward + 1;
      here.lanes &= ~same;
      w.fragments.push_back(taken);
    }
  }
  // Lanes whose guard was false are still at the instruction.
  Mask left = w.fragment().lanes;
  if (w.fragment().pc == static_cast<u32>(&i - w.function->code.data()) && left != 0) w.fragment().pc += 1;
  return Outcome::kControl;
}

}  // namespace

Outcome exit_lanes(Warp& w, Instr const&, Mask mask) {
  Fragment& here = w.fragment();
  here.lanes &= ~mask;
  w.live &= ~mask;
  w.cta->live_threads -= static_cast<u32>(std::popcount(mask));
  ++w.cta->cluster->progress;
  if (here.lanes == 0) {
    w.fragments.erase(w.fragments.begin() + w.current);
    w.current = 0;
  } else {
    here.pc += 1;
  }
  finish_barriers(*w.cta);
  return Outcome::kControl;
}

namespace {

Outcome trap(Warp& w, Instr const& i, Mask mask) { fail(w, i, std::countr_zero(mask), "trap"); }

Outcome nothing(Warp&, Instr const&, Mask) { return Outcome::kNext; }
Outcome give_way(Warp&, Instr const&, Mask) { return Outcome::kYield; }

constexpr Row kRows[] = {
    {.pattern = "bra [.uni]", .operands = "l", .section = "9.7.12 bra", .exec = &bra},
    {.pattern = "brx .idx [.uni]",
     .operands = "s32, l",
     .ptx = 60,
     .section = "9.7.12 brx.idx",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (i.ops[1].kind != Operand::Kind::kLabels)
         throw unsupported(i, "a .branchtargets list belongs here");
       return &brx;
     }},
    {.pattern = "exit", .operands = "", .section = "9.7.12 exit", .exec = &exit_lanes},
    {.pattern = "trap", .operands = "", .section = "9.7.19 trap", .exec = &trap},
    {.pattern = "brkpt", .operands = "", .section = "9.7.19 brkpt", .exec = &nothing},
    {.pattern = "pmevent [.mask]",
     .operands = "s32",
     .section = "9.7.19 pmevent",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (!i.ops[0].is_immediate) throw unsupported(i, "the event is a constant");
       return &nothing;
     }},
    {.pattern = "nanosleep .u32",
     .operands = "si32",
     .ptx = 63,
     .section = "9.7.19 nanosleep",
     .exec = &give_way,
     .note = "gives way to other warps once"},
};

}  // namespace

std::span<Row const> control_rows() { return kRows; }

}  // namespace deepwell::emu

// Instruction family: griddepcontrol and setmaxnreg. Register counts have no effect in the machine.
#include <map>

#include "emu/run/observe.hpp"

namespace deepwell::emu {
namespace {

Outcome exec_launch_dependents(Warp& warp, Instr const&, Mask) {
  if (Counters* const counters = counters_of(warp)) ++counters->sync.grid_launches;
  warp.cta->dependents_may_start = true;
  ++warp.cta->cluster->progress;
  return Outcome::kNext;
}

Outcome exec_wait(Warp& warp, Instr const& instr, Mask mask) {
  GridDependency* const dependency = warp.launch->dependency;
  if (Counters* const counters = counters_of(warp);
      counters != nullptr && (dependency == nullptr || dependency->may_pass()))
    ++counters->sync.grid_waits;
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

/// How often each warp of a CTA executed each setmaxnreg: the four warps of a warpgroup do so together.
struct RegisterMoves {
  std::map<Instr const*, std::vector<std::uint32_t>> times;  // [warp]
};

constexpr std::size_t kWarpgroup = 4;

void check_register_moves(Cta& cta) {
  for (auto const& [instr, times] : cta.state.get<RegisterMoves>().times) {
    for (std::size_t w = 0; w < times.size(); ++w) {
      std::size_t const first = w / kWarpgroup * kWarpgroup;
      if (times[w] == times[first]) continue;
      fail(*cta.warps[w], *instr, -1,
           fmt::format(
               "this warp executed it {} times, warp {} of the same warpgroup {} times: all warps of a "
               "warpgroup must",
               times[w], first, times[first]));
    }
  }
}

Outcome exec_setmaxnreg(Warp& warp, Instr const& instr, Mask) {
  if (!warp.check) return Outcome::kNext;
  Cta& cta = *warp.cta;
  if (cta.state.find<RegisterMoves>() == nullptr) cta.at_end.push_back(&check_register_moves);
  auto& times = cta.state.get<RegisterMoves>().times[&instr];
  times.resize(cta.warps.size());
  ++times[static_cast<std::size_t>(warp.id)];
  return Outcome::kNext;
}

Exec bind_setmaxnreg(Instr& instr, BindContext const&) {
  if (!instr.ops[0].is_immediate) throw unsupported(instr, "the register count must be an immediate");
  std::int64_t const count = instr.ops[0].immediate;
  if (count < 24 || count > 256 || count % 8 != 0) {
    throw unsupported(instr,
                      fmt::format("the register count is {}; 24 to 256 in steps of 8 are possible", count));
  }
  return exec_setmaxnreg;
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

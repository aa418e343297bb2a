// Instruction family: function calls and the stack (PTX ISA 9.7.12, 9.7.17).
#include <algorithm>
#include <bit>

#include "emu/instr/call.hpp"
#include "emu/instr/lanes.hpp"
#include "emu/run/calls.hpp"

namespace deepwell::emu {
namespace {

bool same_layout(std::vector<Passed> const& a, std::vector<Passed> const& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (a[k].bytes != b[k].bytes) return false;
  }
  return true;
}

/// The callee that `address` names for a lane; reports what is no function of this kernel, or one of another form.
u32 callee_at(Warp& w, Instr const& i, CallSite const& site, int lane, u64 address) {
  std::vector<std::string> const& names = w.launch->module->impl().function_names;
  u64 const number = (address - kFunctionWindow) / 16 - 1;
  if (address % 16 != 0 || address <= kFunctionWindow || number >= names.size() ||
      w.function->callee_of[number] < 0) {
    fail(w, i, lane, fmt::format("the call's target {:#x} is no function", address));
  }
  if (!site.targets.empty() &&
      std::find(site.targets.begin(), site.targets.end(), number) == site.targets.end()) {
    fail(w, i, lane, fmt::format("the call's target {} is not in the list of targets", names[number]));
  }
  auto const callee = static_cast<u32>(w.function->callee_of[number]);
  Callee const& to = w.function->callees[callee];
  if (!same_layout(to.inputs, site.arguments) || !same_layout(to.results, site.results))
    fail(w, i, lane,
         fmt::format("the call's target {} has other parameters than the prototype", names[number]));
  return callee;
}

Outcome call(Warp& w, Instr const& i, Mask mask) {
  CallSite const& site = w.function->calls[i.aux[0]];
  if (site.builtin == Builtin::kPrintf) {
    device_printf(w, i, mask, site);
    return Outcome::kNext;
  }
  if (site.builtin == Builtin::kAssertFail) device_assert_fail(w, i, mask, site);
  u32 const pc = w.fragment().pc;
  Mask const staying = w.fragment().lanes & ~mask;
  if (!site.is_indirect) {
    enter(w, i, mask, static_cast<u32>(w.function->callee_of[site.function]));
  } else {
    w.require_defined(i, i.v(1), mask, "the call's target");
    u64 address[kLanes];
    std::copy_n(w.s64(i.v(1)), kLanes, address);
    for (Mask rest = mask; rest != 0;) {
      int const lane = std::countr_zero(rest);
      Mask together = 0;
      for_lanes(rest, [&](int l) { together |= address[l] == address[lane] ? Mask{1} << l : 0; });
      rest &= ~together;
      enter(w, i, together, callee_at(w, i, site, lane, address[lane]));
    }
  }
  if (staying != 0) w.fragment().pc = pc + 1;
  return Outcome::kControl;
}

Outcome return_lanes(Warp& w, Instr const&, Mask mask) {
  leave(w, mask);
  return Outcome::kControl;
}

/// alloca d, size[, alignment]: aux[0] is the alignment.
Outcome alloca_lanes(Warp& w, Instr const& i, Mask mask) {
  w.require_defined(i, i.v(1), mask, "the size");
  for_lanes(mask, [&](int lane) {
    u64 const bytes = w.lane_of(i.v(1), lane);
    w.set_lane(i.v(0), lane, extend_frame(w, i, lane, bytes, i.aux[0]));
  });
  if (w.check) w.set_poison(i.v(0), mask, 0);
  return Outcome::kNext;
}

Exec bind_alloca(Instr& i, BindContext const&) {
  i.aux[0] = 8;
  if (i.ops.size() > 2) {
    std::int64_t const alignment = i.ops[2].immediate;
    if (!i.ops[2].is_immediate || alignment <= 0 || (alignment & (alignment - 1)) != 0 ||
        alignment > (1 << 23))
      throw unsupported(i, "the alignment is a power of two, 1 to 2^23");
    i.aux[0] = static_cast<u32>(alignment);
  }
  return &alloca_lanes;
}

Outcome stack_save(Warp& w, Instr const& i, Mask mask) {
  CallStack const& calls = calls_of(w);
  for_lanes(mask, [&](int lane) { w.set_lane(i.v(0), lane, calls.top[static_cast<std::size_t>(lane)]); });
  if (w.check) w.set_poison(i.v(0), mask, 0);
  return Outcome::kNext;
}

Outcome stack_restore(Warp& w, Instr const& i, Mask mask) {
  CallStack& calls = calls_of(w);
  w.require_defined(i, i.v(0), mask, "the saved stack pointer");
  for_lanes(mask, [&](int lane) {
    auto const l = static_cast<std::size_t>(lane);
    u64 const top = w.lane_of(i.v(0), lane);
    u64 const least = calls.base[l] + (calls.frames[l].empty()
                                           ? w.function->local_bytes
                                           : w.function->callees[calls.frames[l].back().callee].local_bytes);
    if (top > calls.top[l] || top < least)
      fail(w, i, lane, fmt::format("{:#x} is no stack pointer that stacksave gave in this function", top));
    calls.top[l] = static_cast<u32>(top);
  });
  return Outcome::kNext;
}

constexpr Row kRows[] = {
    {.pattern = "call [.uni]",
     .operands = "x, x, x",
     .ptx = 20,
     .section = "9.7.12 call",
     .exec = &call,
     .note = "direct and indirect; of the runtime's functions vprintf and __assertfail"},
    {.pattern = "ret [.uni]",
     .operands = "",
     .section = "9.7.12 ret",
     .bind = [](Instr&, BindContext const& c) -> Exec {
       return c.in_function ? &return_lanes : &exit_lanes;
     }},
    {.pattern = "alloca (.u32|.u64)",
     .operands = "dT, sT, ?s32",
     .ptx = 73,
     .section = "9.7.17 alloca",
     .bind = &bind_alloca},
    {.pattern = "stacksave (.u32|.u64)",
     .operands = "dT",
     .ptx = 73,
     .section = "9.7.17 stacksave",
     .exec = &stack_save},
    {.pattern = "stackrestore (.u32|.u64)",
     .operands = "sT",
     .ptx = 73,
     .section = "9.7.17 stackrestore",
     .exec = &stack_restore},
};

}  // namespace

std::span<Row const> call_rows() { return kRows; }

}  // namespace deepwell::emu

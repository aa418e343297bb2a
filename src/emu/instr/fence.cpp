// Instruction family: membar, fence and proxy fences. The machine's memory is sequentially consistent and copies become
// visible when they complete, so a fence changes no data; the race checker is told, and operands are checked.
#include "emu/instr/async.hpp"
#include "emu/run/observe.hpp"

namespace deepwell::emu {
namespace {

// aux[0]: race::Scope.
Outcome exec_fence(Warp& warp, Instr const& instr, Mask mask) {
  if (observed(warp))
    warp.launch->race->fence(actor_of(warp, instr, mask), static_cast<race::Scope>(instr.aux[0]));
  return Outcome::kNext;
}

Exec bind_fence(Instr& instr, BindContext const&) {
  instr.aux[0] = static_cast<std::uint32_t>(scope_named(instr, race::Scope::kGpu));
  return exec_fence;
}

Outcome exec_proxy_fence(Warp& warp, Instr const& instr, Mask mask) {
  if (observed(warp)) warp.launch->race->proxy_fence(actor_of(warp, instr, mask));
  return Outcome::kNext;
}

Outcome exec_mbarrier_init_fence(Warp& warp, Instr const& instr, Mask mask) {
  if (observed(warp)) warp.launch->race->mbarrier_init_fence(actor_of(warp, instr, mask));
  return Outcome::kNext;
}

// The release half alone makes nothing known to a reader, and the alias proxy is not modelled.
Outcome exec_nothing(Warp&, Instr const&, Mask) { return Outcome::kNext; }

// Operands: address of a tensor map in global memory, 128. The fence reads nothing: a lane without a map may give address 0.
Outcome exec_tensormap_acquire(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t at[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, at);
  for_lanes(mask, [&](int lane) {
    if (at[lane] == 0) return;
    Place const place = resolve(warp, instr, lane, Space::kGeneric, at[lane], 128, 64, Access::kRead);
    if (observed(warp) && place.space == Space::kGlobal)
      warp.launch->race->tensor_map_fence(actor_of(warp, instr, Mask{1} << lane), place.address);
  });
  return Outcome::kNext;
}

Exec bind_tensormap_acquire(Instr& instr, BindContext const&) {
  if (!instr.ops[1].is_immediate || instr.ops[1].immediate != 128)
    throw unsupported(instr, "the size must be 128");
  return exec_tensormap_acquire;
}

Exec bind_proxy_fence(Instr& instr, BindContext const&) {
  return instr.has(".async") ? exec_proxy_fence : exec_nothing;
}

constexpr std::string_view kFence = "9.7.13 membar, fence";

// clang-format off
constexpr Row kRows[] = {
    {.pattern = "fence [.sc|.acq_rel|.acquire|.release] (.cta|.cluster|.gpu|.sys)", .operands = "", .ptx = 60, .needs = Needs::kAny, .section = kFence, .bind = bind_fence},
    {.pattern = "fence .acquire .sync_restrict::shared::cluster .cluster", .operands = "", .ptx = 86, .needs = Needs::kSm90, .section = kFence, .bind = bind_fence},
    {.pattern = "fence .release .sync_restrict::shared::cta .cluster", .operands = "", .ptx = 86, .needs = Needs::kSm90, .section = kFence, .bind = bind_fence},
    {.pattern = "fence .mbarrier_init .release .cluster", .operands = "", .ptx = 80, .needs = Needs::kSm90, .section = kFence, .exec = exec_mbarrier_init_fence},
    {.pattern = "fence .proxy (.alias|.async)", .operands = "", .ptx = 75, .needs = Needs::kAny, .section = kFence, .bind = bind_proxy_fence},
    {.pattern = "fence .proxy .async (.global|.shared::cta|.shared::cluster)", .operands = "", .ptx = 80, .needs = Needs::kSm90, .section = kFence, .exec = exec_proxy_fence},
    {.pattern = "fence .proxy .async::generic .acquire .sync_restrict::shared::cluster .cluster", .operands = "", .ptx = 86, .needs = Needs::kSm90, .section = kFence, .exec = exec_proxy_fence},
    {.pattern = "fence .proxy .async::generic .release .sync_restrict::shared::cta .cluster", .operands = "", .ptx = 86, .needs = Needs::kSm90, .section = kFence, .exec = exec_proxy_fence},
    {.pattern = "fence .proxy .tensormap::generic .release (.cta|.cluster|.gpu|.sys)", .operands = "", .ptx = 83, .needs = Needs::kSm90, .section = kFence, .exec = exec_nothing},
    {.pattern = "fence .proxy .tensormap::generic .acquire (.cta|.cluster|.gpu|.sys)", .operands = "ab, s32", .ptx = 83, .needs = Needs::kSm90, .section = kFence, .bind = bind_tensormap_acquire},
    {.pattern = "membar (.cta|.gl|.sys)", .operands = "", .ptx = 14, .needs = Needs::kAny, .section = kFence, .bind = bind_fence},
    {.pattern = "membar .proxy .alias", .operands = "", .ptx = 75, .needs = Needs::kAny, .section = kFence, .bind = bind_proxy_fence},
};
// clang-format on

}  // namespace

std::span<Row const> fence_rows() { return kRows; }

}  // namespace deepwell::emu

// Instruction family: membar, fence and proxy fences. The machine's memory is sequentially consistent and copies become
// visible when they complete, so a fence changes nothing; its operands are checked.
#include "emu/instr/async.hpp"

namespace deepwell::emu {
namespace {

Outcome exec_fence(Warp&, Instr const&, Mask) { return Outcome::kNext; }

// Operands: address of a tensor map in global memory, 128.
Outcome exec_tensormap_acquire(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t at[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, at);
  for_lanes(mask,
            [&](int lane) { resolve(warp, instr, lane, Space::kGeneric, at[lane], 128, 64, Access::kRead); });
  return Outcome::kNext;
}

Exec bind_tensormap_acquire(Instr& instr, BindContext const&) {
  if (!instr.ops[1].is_immediate || instr.ops[1].immediate != 128)
    throw unsupported(instr, "the size must be 128");
  return exec_tensormap_acquire;
}

constexpr std::string_view kFence = "9.7.13 membar, fence";

// clang-format off
constexpr Row kRows[] = {
    {.pattern = "fence [.sc|.acq_rel|.acquire|.release] (.cta|.cluster|.gpu|.sys)", .operands = "", .ptx = 60, .needs = Needs::kAny, .section = kFence, .exec = exec_fence},
    {.pattern = "fence (.acquire|.release) .sync_restrict::shared::cluster .cluster", .operands = "", .ptx = 86, .needs = Needs::kSm90, .section = kFence, .exec = exec_fence},
    {.pattern = "fence (.acquire|.release) .sync_restrict::shared::cta .cluster", .operands = "", .ptx = 86, .needs = Needs::kSm90, .section = kFence, .exec = exec_fence},
    {.pattern = "fence .mbarrier_init .release .cluster", .operands = "", .ptx = 80, .needs = Needs::kSm90, .section = kFence, .exec = exec_fence},
    {.pattern = "fence .proxy (.alias|.async)", .operands = "", .ptx = 75, .needs = Needs::kAny, .section = kFence, .exec = exec_fence},
    {.pattern = "fence .proxy .async (.global|.shared::cta|.shared::cluster)", .operands = "", .ptx = 80, .needs = Needs::kSm90, .section = kFence, .exec = exec_fence},
    {.pattern = "fence .proxy .async::generic (.acquire|.release) (.sync_restrict::shared::cluster|.sync_restrict::shared::cta) .cluster", .operands = "", .ptx = 86, .needs = Needs::kSm90, .section = kFence, .exec = exec_fence},
    {.pattern = "fence .proxy .tensormap::generic .release (.cta|.cluster|.gpu|.sys)", .operands = "", .ptx = 83, .needs = Needs::kSm90, .section = kFence, .exec = exec_fence},
    {.pattern = "fence .proxy .tensormap::generic .acquire (.cta|.cluster|.gpu|.sys)", .operands = "a, s32", .ptx = 83, .needs = Needs::kSm90, .section = kFence, .bind = bind_tensormap_acquire},
    {.pattern = "membar (.cta|.gl|.sys)", .operands = "", .ptx = 14, .needs = Needs::kAny, .section = kFence, .exec = exec_fence},
    {.pattern = "membar .proxy (.alias|.async)", .operands = "", .ptx = 75, .needs = Needs::kAny, .section = kFence, .exec = exec_fence},
};
// clang-format on

}  // namespace

std::span<Row const> fence_rows() { return kRows; }

}  // namespace deepwell::emu

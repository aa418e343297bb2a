// Checked access to the state spaces of a running program.
#include "emu/mem/spaces.hpp"

#include "emu/mem/memory.hpp"
#include "emu/run/calls.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {

std::string_view name_of(Space space) {
  switch (space) {
    case Space::kGeneric: return "generic";
    case Space::kGlobal: return "global";
    case Space::kShared: return "shared";
    case Space::kLocal: return "local";
    case Space::kParam: return "param";
    case Space::kConst: return "const";
  }
  return "?";
}

Space space_of(std::uint64_t address) {
  if (address - kSharedWindow < kWindowBytes) return Space::kShared;
  if (address - kLocalWindow < kWindowBytes) return Space::kLocal;
  if (address - kParamWindow < kWindowBytes) return Space::kParam;
  return Space::kGlobal;
}

namespace {

std::uint64_t window_of(Space space) {
  switch (space) {
    case Space::kShared: return kSharedWindow;
    case Space::kLocal: return kLocalWindow;
    case Space::kParam: return kParamWindow;
    default: return 0;
  }
}

/// The CTA that a 32-bit shared address names (null: no such CTA), and the offset in its memory.
std::pair<Cta*, std::uint64_t> shared_owner(Cta& cta, std::uint64_t address) {
  std::uint64_t const rank_plus_1 = address / kClusterStride;
  std::uint64_t const offset = address % kClusterStride;
  if (rank_plus_1 == 0) return {&cta, offset};
  if (rank_plus_1 - 1 < cta.cluster->ctas.size()) return {cta.cluster->ctas[rank_plus_1 - 1].get(), offset};
  return {nullptr, offset};
}

bool inside(std::uint64_t offset, std::size_t bytes, std::size_t size) {
  return offset <= size && bytes <= size - offset;
}

Place shared_place(Cta& cta, std::uint64_t address, std::size_t bytes) {
  auto const [owner, offset] = shared_owner(cta, address);
  if (owner == nullptr || offset < kSharedBase || !inside(offset - kSharedBase, bytes, owner->shared.size()))
    return {};
  std::uint64_t const at = offset - kSharedBase;
  return {owner->shared.data() + at,
          owner->shared_shadow.empty() ? nullptr : owner->shared_shadow.data() + at, Space::kShared, owner,
          at};
}

[[noreturn]] void fail_access(Warp& warp, Instr const& instr, int lane, Space space, std::uint64_t address,
                              std::size_t bytes, Access access, char const* why) {
  fail(warp, instr, lane,
       fmt::format("{} of {} bytes at {}: {}",
                   access == Access::kRead    ? "read"
                   : access == Access::kWrite ? "write"
                                              : "atomic",
                   bytes, describe_address(*warp.cta, space, address), why),
       Finding::kMemory);
}

}  // namespace

std::string describe_address(Cta& cta, Space space, std::uint64_t address) {
  if (space == Space::kGeneric) {
    Space const actual = space_of(address);
    return describe_address(cta, actual, address - window_of(actual));
  }
  switch (space) {
    case Space::kShared: {
      std::uint64_t const limit = kSharedBase + cta.launch->shared_bytes;
      std::uint64_t const rank_plus_1 = address / kClusterStride;
      std::string const whose =
          rank_plus_1 == 0 ? std::string() : fmt::format(" of cluster rank {}", rank_plus_1 - 1);
      return fmt::format("shared address {:#x}{} (a CTA has {:#x} to {:#x})", address, whose, kSharedBase,
                         limit);
    }
    case Space::kLocal:
      return fmt::format("local address {:#x} (the kernel has {} bytes a thread{})", address,
                         cta.launch->function->local_bytes,
                         cta.launch->function->callees.empty() ? "" : ", functions more");
    case Space::kParam:
      return fmt::format("parameter address {:#x} (there are {} bytes)", address, cta.launch->params.size());
    default: return cta.launch->global->describe(address);
  }
}

Place resolve(Warp& warp, Instr const& instr, int lane, Space space, std::uint64_t address, std::size_t bytes,
              std::size_t alignment, Access access) {
  Cta& cta = *warp.cta;
  if (space == Space::kGeneric) {
    space = space_of(address);
    address -= window_of(space);
  }
  if (alignment > 1 && address % alignment != 0) {
    fail_access(warp, instr, lane, space, address, bytes, access,
                fmt::format("misaligned, a multiple of {} is needed", alignment).c_str());
  }
  switch (space) {
    case Space::kGlobal:
    case Space::kConst: {
      Allocation const* const found = warp.launch->global->find(address, warp.last_allocation);
      if (found == nullptr || bytes > found->bytes - (address - found->base)) {
        fail_access(warp, instr, lane, space, address, bytes, access, "outside every allocation");
      }
      if (found->read_only && access != Access::kRead) {
        fail_access(warp, instr, lane, space, address, bytes, access, "constant memory is read-only");
      }
      std::uint64_t const at = address - found->base;
      return {found->block->data + at, found->block->shadow == nullptr ? nullptr : found->block->shadow + at,
              Space::kGlobal, nullptr, address};
    }
    case Space::kShared: {
      Place const place = shared_place(cta, address, bytes);
      if (place.data == nullptr)
        fail_access(warp, instr, lane, space, address, bytes, access, "outside shared memory");
      return place;
    }
    case Space::kLocal: {
      std::size_t const used =
          warp.calls == nullptr ? warp.local_stride : warp.calls->top[static_cast<std::size_t>(lane)];
      if (!inside(address, bytes, used)) {
        fail_access(warp, instr, lane, space, address, bytes, access, "outside the thread's local memory");
      }
      std::size_t const at = static_cast<std::size_t>(lane) * warp.local_stride + address;
      return {warp.local.data() + at, warp.local_shadow.empty() ? nullptr : warp.local_shadow.data() + at,
              Space::kLocal, nullptr, 0};
    }
    case Space::kParam: {
      std::vector<std::byte> const& params = warp.launch->params;
      if (!inside(address, bytes, params.size())) {
        fail_access(warp, instr, lane, space, address, bytes, access, "outside the kernel's parameters");
      }
      if (access != Access::kRead) {
        fail_access(warp, instr, lane, space, address, bytes, access, "kernel parameters are read-only");
      }
      return {const_cast<std::byte*>(params.data()) + address, nullptr, Space::kParam, nullptr, 0};
    }
    case Space::kGeneric: break;
  }
  fail(warp, instr, lane, "an address space that is not modelled");
}

Place resolve_global(Cta& cta, std::uint64_t address, std::size_t bytes, Access access,
                     std::string const& who) {
  int hint = 0;
  Allocation const* const found = cta.launch->global->find(address, hint);
  if (found == nullptr || bytes > found->bytes - (address - found->base) ||
      (found->read_only && access != Access::kRead)) {
    throw Fault(Finding::kMemory, fmt::format("{}: {} of {} global bytes at {} is outside every allocation",
                                              who, access == Access::kRead ? "read" : "write", bytes,
                                              cta.launch->global->describe(address)));
  }
  std::uint64_t const at = address - found->base;
  return {found->block->data + at, found->block->shadow == nullptr ? nullptr : found->block->shadow + at,
          Space::kGlobal, nullptr, address};
}

Place resolve_shared(Cta& cta, std::uint64_t address, std::size_t bytes, std::string const& who) {
  Place const place = shared_place(cta, address, bytes);
  if (place.data == nullptr) {
    throw Fault(Finding::kMemory, fmt::format("{}: {} bytes at {}", who, bytes,
                                              describe_address(cta, Space::kShared, address)));
  }
  return place;
}

void addresses_of(Warp& warp, Instr const& instr, Operand const& operand, Mask mask,
                  std::uint64_t (&out)[kLanes]) {
  warp.require_defined(instr, operand.value, mask, "the address");
  auto const displacement = static_cast<std::uint64_t>(operand.displacement);
  if (operand.value.bits == 64) {
    std::uint64_t const* const base = warp.s64(operand.value);
    for (int lane = 0; lane < kLanes; ++lane) out[lane] = base[lane] + displacement;
  } else {
    // 32-bit address arithmetic wraps: compilers emit [%r + 4080] with a negative %r.
    std::uint32_t const* const base = warp.s32(operand.value);
    for (int lane = 0; lane < kLanes; ++lane)
      out[lane] = static_cast<std::uint32_t>(base[lane] + displacement);
  }
}

std::uint64_t load_bits(Place const& place, unsigned bytes) {
  std::byte const* const at = place.data;
  if (place.space == Space::kGlobal && reinterpret_cast<std::uintptr_t>(at) % bytes == 0) {
    switch (bytes) {
      case 1: return __atomic_load_n(reinterpret_cast<std::uint8_t const*>(at), __ATOMIC_ACQUIRE);
      case 2: return __atomic_load_n(reinterpret_cast<std::uint16_t const*>(at), __ATOMIC_ACQUIRE);
      case 4: return __atomic_load_n(reinterpret_cast<std::uint32_t const*>(at), __ATOMIC_ACQUIRE);
      case 8: return __atomic_load_n(reinterpret_cast<std::uint64_t const*>(at), __ATOMIC_ACQUIRE);
      default: break;
    }
  }
  switch (bytes) {
    case 1: return std::to_integer<std::uint8_t>(*at);
    case 2: {
      std::uint16_t value;
      std::memcpy(&value, at, 2);
      return value;
    }
    case 4: {
      std::uint32_t value;
      std::memcpy(&value, at, 4);
      return value;
    }
    default: {
      std::uint64_t value;
      std::memcpy(&value, at, 8);
      return value;
    }
  }
}

void store_bits(Place const& place, unsigned bytes, std::uint64_t value) {
  std::byte* const at = place.data;
  if (place.space == Space::kGlobal && reinterpret_cast<std::uintptr_t>(at) % bytes == 0) {
    switch (bytes) {
      case 1:
        __atomic_store_n(reinterpret_cast<std::uint8_t*>(at), static_cast<std::uint8_t>(value),
                         __ATOMIC_RELEASE);
        return;
      case 2:
        __atomic_store_n(reinterpret_cast<std::uint16_t*>(at), static_cast<std::uint16_t>(value),
                         __ATOMIC_RELEASE);
        return;
      case 4:
        __atomic_store_n(reinterpret_cast<std::uint32_t*>(at), static_cast<std::uint32_t>(value),
                         __ATOMIC_RELEASE);
        return;
      case 8: __atomic_store_n(reinterpret_cast<std::uint64_t*>(at), value, __ATOMIC_RELEASE); return;
      default: break;
    }
  }
  switch (bytes) {
    case 1: *at = static_cast<std::byte>(value); break;
    case 2: {
      auto const narrow = static_cast<std::uint16_t>(value);
      std::memcpy(at, &narrow, 2);
      break;
    }
    case 4: {
      auto const narrow = static_cast<std::uint32_t>(value);
      std::memcpy(at, &narrow, 4);
      break;
    }
    default: std::memcpy(at, &value, 8); break;
  }
}

}  // namespace deepwell::emu

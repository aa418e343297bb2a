// Checked access to every state space for semantic functions. Nothing a PTX program computes can reach host memory
// outside what these functions return: bounds are checked always; alignment and poison when Options::check is set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "emu/instr/instr.hpp"
#include "emu/mem/fault.hpp"

namespace deepwell::emu {

struct Cta;

// Generic addresses. Shared, local and parameter addresses are offsets inside these windows; global (and constant) memory
// begins at kGlobalBase. A 32-bit shared address below kClusterStride is the executing CTA's own memory; the CTA of cluster
// rank r also answers at (r + 1) * kClusterStride + offset (what mapa returns).
inline constexpr std::uint64_t kSharedWindow = 0x2'0000'0000;
inline constexpr std::uint64_t kLocalWindow = 0x3'0000'0000;
inline constexpr std::uint64_t kParamWindow = 0x4'0000'0000;
inline constexpr std::uint64_t kGlobalBase = 0x7'0000'0000;
inline constexpr std::uint64_t kWindowBytes = 0x1'0000'0000;
inline constexpr std::uint32_t kClusterStride = 0x0100'0000;
inline constexpr std::uint32_t kSharedBase =
    1024;  // first usable shared address: the first KiB belongs to the system

enum class Access : std::uint8_t { kRead, kWrite, kReadWrite };

/// Host view of a checked range. `shadow` has one byte per byte, nonzero = initialised; null: always initialised.
struct Place {
  std::byte* data = nullptr;
  std::uint8_t* shadow = nullptr;
  Space space = Space::kGeneric;  // never kGeneric after resolve
  Cta const* owner = nullptr;     // of shared memory
  std::uint64_t address = 0;      // global address, or offset in the owner's shared memory
  bool initialised(std::size_t bytes) const {
    if (shadow == nullptr) return true;
    for (std::size_t i = 0; i < bytes; ++i) {
      if (shadow[i] == 0) return false;
    }
    return true;
  }
  void mark(std::size_t bytes, bool is_initialised) const {
    if (shadow != nullptr) std::memset(shadow, is_initialised ? 1 : 0, bytes);
  }
};

/// Resolves `bytes` at `address` (an offset in `space`, or a generic address) for one lane. Throws a report when the range is
/// not inside one allocation / the CTA's shared memory / the lane's local memory / the parameters, when a read-only space
/// is written, or when `address` is not a multiple of `alignment` (0: no requirement).
Place resolve(Warp& warp, Instr const& instr, int lane, Space space, std::uint64_t address, std::size_t bytes,
              std::size_t alignment, Access access);

/// The same for work that no lane does any more (asynchronous copies): `who` begins the message of the error that is thrown.
Place resolve_global(Cta& cta, std::uint64_t address, std::size_t bytes, Access access,
                     std::string const& who);
/// `address` is a 32-bit shared address as above, so it may name another CTA of the cluster.
Place resolve_shared(Cta& cta, std::uint64_t address, std::size_t bytes, std::string const& who);

/// Which space a generic address lies in; kGlobal for everything outside the windows.
Space space_of(std::uint64_t generic_address);
/// "shared address 0x410", "0x700000100, 16 bytes after the end of \"weights\" [0x700000000, 240 bytes]".
std::string describe_address(Cta& cta, Space space, std::uint64_t address);

/// Lane addresses of an address operand: base + displacement, reported when the base register is poison.
/// Returns them in the space the instruction names (32-bit bases are zero-extended).
void addresses_of(Warp& warp, Instr const& instr, Operand const& operand, Mask mask,
                  std::uint64_t (&out)[kLanes]);

/// Reads or writes 1, 2, 4, 8 or 16 bytes (host byte order) at a place; global memory is accessed with host atomics up to
/// 8 bytes, so that CTAs on different host threads see whole values.
std::uint64_t load_bits(Place const& place, unsigned bytes);
void store_bits(Place const& place, unsigned bytes, std::uint64_t value);

}  // namespace deepwell::emu

// The table of GPU architectures.
#include "base/arch.hpp"

#include "base/error.hpp"

namespace deepwell {
namespace {

// clang-format off
constexpr Arch kArchs[] = {
    {.target = "sm_90a",  .major = 9,  .minor = 0, .device_target = "Sm90",  .smem_per_cta = 232448, .smem_per_sm = 233472,
     .max_threads_per_sm = 2048, .default_sm_count = 132, .block_scaled_mma = false, .min_cuda = 12.0},
    {.target = "sm_120a", .major = 12, .minor = 0, .device_target = "Sm120", .smem_per_cta = 101376, .smem_per_sm = 102400,
     .max_threads_per_sm = 1536, .default_sm_count = 188, .block_scaled_mma = true,  .min_cuda = 12.8},
    {.target = "sm_121a", .major = 12, .minor = 1, .device_target = "Sm120", .smem_per_cta = 101376, .smem_per_sm = 102400,
     .max_threads_per_sm = 1536, .default_sm_count = 48,  .block_scaled_mma = true,  .min_cuda = 12.9},
    {.target = "sm_120f", .major = 12, .minor = 0, .device_target = "Sm120", .smem_per_cta = 101376, .smem_per_sm = 102400,
     .max_threads_per_sm = 1536, .default_sm_count = 188, .block_scaled_mma = true,  .min_cuda = 12.9},
};
// clang-format on

}  // namespace

std::span<Arch const> all_archs() { return kArchs; }

Arch const& arch_by_target(std::string_view target) {
  std::string known;
  for (Arch const& arch : kArchs) {
    if (arch.target == target) return arch;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", arch.target);
  }
  throw Error(ErrorCode::kUnsupported, fmt::format("target: got {}, expected one of {}", target, known),
              "target", std::string(target), known);
}

Arch const& arch_by_capability(int major, int minor) {
  for (Arch const& arch : kArchs) {
    if (arch.major == major && arch.minor == minor) return arch;
  }
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("device: compute capability {}.{} is not served (9.0, 12.0 and 12.1 are)", major, minor),
      "device", fmt::format("{}.{}", major, minor), "9.0, 12.0 or 12.1");
}

}  // namespace deepwell

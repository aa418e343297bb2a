// What ptxas reports about a kernel, read from a compile's log.
#pragma once

#include <string_view>

namespace deepwell::jit {

/// Registers are per thread, bytes per thread except static_smem_bytes (per CTA).
struct ResourceUse {
  int registers = 0;
  int stack_bytes = 0, spill_store_bytes = 0, spill_load_bytes = 0;
  int static_smem_bytes = 0;
  int barriers = 0;  // named barriers

  bool spills() const { return spill_store_bytes != 0 || spill_load_bytes != 0; }
  bool operator==(ResourceUse const&) const = default;
};

/// Throws Error kInternal when the log has no such report. Of several kernels in one log, the last one counts.
ResourceUse resource_use(std::string_view log);

}  // namespace deepwell::jit

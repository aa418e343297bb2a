// The table of GPU architectures: everything about a target that is not an instruction.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace deepwell {

/// One row. Limits are per CTA or SM in bytes and threads; rates are planning figures per SM and clock.
struct Arch {
  std::string_view target;         // what the compiler gets: "sm_120a"
  int major = 0, minor = 0;        // capability the target is for; sm_120f serves 12.0 and 12.1
  std::string_view device_target;  // the C++ type that describes it to kernels: "Sm120", "Sm90"
  int smem_per_cta = 0;
  int smem_per_sm = 0;
  int max_threads_per_sm = 0;
  int default_sm_count = 0;       // of the largest board, for emulated devices
  bool block_scaled_mma = false;  // mma.sync kind::mxf8f6f4 / mxf4nvf4
  double min_cuda = 0;            // first CUDA release whose compilers know the target
};

std::span<Arch const> all_archs();
Arch const& arch_by_target(std::string_view target);   // throws Error kUnsupported naming the known ones
Arch const& arch_by_capability(int major, int minor);  // the row that serves a device
}  // namespace deepwell

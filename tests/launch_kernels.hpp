// PTX for tests of launches that overlap: kernels of 32 threads that pass words on.
#pragma once

#include <string>

namespace deepwell::testing {

inline std::string ptx_head() { return ".version 8.8\n.target sm_120a\n.address_size 64\n"; }

/// An entry with parameters d, e and f (pointers). `body` finds d, e, f in %rd1, %rd3, %rd4, the same with 4 tid.x added in %rd5,
/// %rd6, %rd7, tid.x in %r1, and may use %r2, %r3 and %p.
inline std::string launch_kernel(std::string const& name, std::string const& body) {
  return ".visible .entry " + name + R"((.param .u64 d, .param .u64 e, .param .u64 f) {
  .reg .b32 %r<4>;
  .reg .b64 %rd<8>;
  .reg .pred %p;
  ld.param.u64 %rd1, [d];
  ld.param.u64 %rd3, [e];
  ld.param.u64 %rd4, [f];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.u64 %rd5, %rd1, %rd2;
  add.u64 %rd6, %rd3, %rd2;
  add.u64 %rd7, %rd4, %rd2;
)" + body +
         "  ret;\n}\n";
}

/// e[tid] = d[tid].
inline std::string const kReadD = "  ld.global.u32 %r2, [%rd5];\n";
inline std::string const kWriteE = "  st.global.u32 [%rd6], %r2;\n";
inline std::string const kWait = "  griddepcontrol.wait;\n";
inline std::string const kLaunchDependents = "  griddepcontrol.launch_dependents;\n";

}  // namespace deepwell::testing

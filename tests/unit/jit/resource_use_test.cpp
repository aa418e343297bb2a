// Reading ptxas's report out of logs.
#include "jit/resource_use.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "jit/jit.hpp"

namespace deepwell::jit {
namespace {

TEST(ResourceUse, ReadsAReport) {
  EXPECT_EQ(
      resource_use("ptxas info    : 4 bytes gmem\n"
                   "ptxas info    : Compiling entry function 'x' for 'sm_120a'\n"
                   "ptxas         .     48 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n"
                   "ptxas info    : Used 168 registers, used 3 barriers, 48 bytes cumulative stack size, "
                   "2052 bytes smem\n"
                   "ptxas info    : Compile time = 4.2 ms\n"),
      (ResourceUse{.registers = 168,
                   .stack_bytes = 48,
                   .spill_store_bytes = 12,
                   .spill_load_bytes = 16,
                   .static_smem_bytes = 2052,
                   .barriers = 3}));
  EXPECT_THROW(resource_use(""), Error);
  EXPECT_THROW(resource_use("Used registers"), Error);
}

TEST(ResourceUse, BothCompilersReport) {
  CompileRequest request;
  request.name = request.entry = "shared";
  request.target = "sm_120a";
  request.source = R"(
extern "C" __global__ void shared(int* out) {
  __shared__ int table[512];
  table[threadIdx.x] = out[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = table[511 - threadIdx.x];
}
)";
  for (char const* kind : {"nvrtc", "nvcc"}) {
    ResourceUse const use = resource_use(make_compiler(kind, "sm_120a")->compile(request).log);
    EXPECT_GT(use.registers, 4) << kind;
    EXPECT_EQ(use.static_smem_bytes, 2048) << kind;
    EXPECT_EQ(use.barriers, 1) << kind;
    EXPECT_FALSE(use.spills()) << kind;
  }
}

}  // namespace
}  // namespace deepwell::jit

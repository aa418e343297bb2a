"""Units whose launches their own host code makes: CUTLASS and CuTe kernels take one struct that only it can fill. Each text is
a C function around the public host function, which instantiates one kernel."""

from units import Unit

GROUPWISE = """
#include <flashinfer/gemm/gemm_groupwise_sm120.cuh>
extern "C" int run(void* work, size_t bytes, void* a, void* b, float* sfa, float* sfb, void* d, int m, int n, int k) {
  using In = cutlass::float_e4m3_t;
  using Out = cutlass::bfloat16_t;
  return flashinfer::gemm::CutlassGroupwiseScaledGEMMSM120<1, 128, 128, false, In, Out>(
      work, bytes, static_cast<In*>(a), static_cast<In*>(b), sfa, sfb, static_cast<Out*>(d), m, n, k, 1, nullptr);
}
"""

GROUP_FP8 = """
#include <flashinfer/gemm/group_gemm_fp8_groupwise_sm120.cuh>
extern "C" int run(void* ints, size_t int_bytes, void* floats, size_t float_bytes, void* a, void* b, float* sfa, float* sfb, void* d,
                   int* offsets, int rows, int n, int k, int groups) {
  using In = cutlass::float_e4m3_t;
  using Out = cutlass::bfloat16_t;
  return flashinfer::group_gemm::CutlassFP8GroupwiseScaledGroupGEMMSM120<1, 128, 128, false, In, Out>(
      ints, int_bytes, floats, float_bytes, static_cast<In*>(a), static_cast<In*>(b), sfa, sfb, static_cast<Out*>(d), offsets, rows, n, k,
      groups, nullptr);
}
"""

GROUP_MXFP4 = """
#include <flashinfer/gemm/group_gemm_mxfp4_groupwise_sm120.cuh>
using namespace flashinfer::group_gemm;
namespace flashinfer {
namespace group_gemm {
INSTANTIATE_GROUP_GEMM_MXFP4_GROUPWISE_SM120(128, 128, 128, false, cutlass::float_e4m3_t, cutlass::float_e2m1_t, cutlass::float_ue8m0_t,
                                             cutlass::float_ue8m0_t, cutlass::bfloat16_t, float_e4m3_t, float_e2m1_t, float_ue8m0_t,
                                             float_ue8m0_t, bfloat16_t)
}
}
extern "C" int run(void* ints, size_t int_bytes, void* floats, size_t float_bytes, void* a, void* b, void* sfa, void* sfb, void* d,
                   int* offsets, int n, int k, int groups) {
  using A = cutlass::float_e4m3_t;
  using B = cutlass::float_e2m1_t;
  using S = cutlass::float_ue8m0_t;
  using D = cutlass::bfloat16_t;
  return CutlassMXFP4GroupwiseScaledGroupGEMMSM120<128, 128, 128, false, A, B, S, S, D>(
      ints, int_bytes, floats, float_bytes, static_cast<A*>(a), static_cast<B*>(b), static_cast<S*>(sfa), static_cast<S*>(sfb),
      static_cast<D*>(d), offsets, n, k, groups, nullptr, 0);
}
"""

GROUP_NVFP4 = """
#include <flashinfer/gemm/group_gemm_nvfp4_groupwise_sm120.cuh>
using namespace flashinfer::group_gemm;
namespace flashinfer {
namespace group_gemm {
INSTANTIATE_GROUP_GEMM_NVFP4_GROUPWISE_SM120(128, 128, 128, false, cutlass::float_e2m1_t, cutlass::float_e2m1_t, cutlass::float_ue4m3_t,
                                             cutlass::float_ue4m3_t, cutlass::bfloat16_t, float_e2m1_t, float_e2m1_t, float_ue4m3_t,
                                             float_ue4m3_t, bfloat16_t)
}
}
extern "C" int run(void* ints, size_t int_bytes, void* floats, size_t float_bytes, void* a, void* b, void* sfa, void* sfb, void* d,
                   float* alpha, int* offsets, int n, int k, int groups) {
  using A = cutlass::float_e2m1_t;
  using S = cutlass::float_ue4m3_t;
  using D = cutlass::bfloat16_t;
  return CutlassNVFP4GroupwiseScaledGroupGEMMSM120<128, 128, 128, false, A, A, S, S, D>(
      ints, int_bytes, floats, float_bytes, static_cast<A*>(a), static_cast<A*>(b), static_cast<S*>(sfa), static_cast<S*>(sfb),
      static_cast<D*>(d), alpha, offsets, n, k, groups, nullptr, 0);
}
"""

MXFP8 = """
#include "flashinfer/gemm/mxfp8_gemm_cutlass_template_sm120.h"
namespace flashinfer {
namespace gemm {
INSTANTIATE_MXFP8_GEMM_KERNEL_LAUNCHER_SM120(__nv_bfloat16, 128, 64, 128, true)
INSTANTIATE_MXFP8_GEMM_KERNEL_LAUNCHER_SM120(__nv_bfloat16, 128, 64, 128, false)
template <bool Swap>
size_t go(void* d, void* a, void* b, void* sfa, void* sfb, int m, int n, int k, char* work, size_t bytes) {
  return genericMxfp8GemmKernelLauncherSm120<__nv_bfloat16, cute::Int<128>, cute::Int<64>, cute::Int<128>, Swap>(
      d, a, b, sfa, sfb, m, n, k, 1, CutlassGemmConfig(), work, bytes, nullptr, nullptr);
}
}
}
extern "C" size_t run(int swap, void* d, void* a, void* b, void* sfa, void* sfb, int m, int n, int k, char* work, size_t bytes) {
  using namespace flashinfer::gemm;
  return swap ? go<true>(d, a, b, sfa, sfb, m, n, k, work, bytes) : go<false>(d, a, b, sfa, sfb, m, n, k, work, bytes);
}
"""

FP4 = """
#include "flashinfer/gemm/fp4_gemm_cutlass_template_sm120.h"
namespace flashinfer {
namespace gemm {
INSTANTIATE_FP4_GEMM_KERNEL_LAUNCHER(__nv_bfloat16, 128, 64, 128, 1, 1, 1, _1SM, true)
INSTANTIATE_FP4_GEMM_KERNEL_LAUNCHER(__nv_bfloat16, 128, 64, 128, 1, 1, 1, _1SM, false)
template <bool Swap>
size_t go(int stream_k, void* d, void* a, void* b, void* sfa, void* sfb, float* alpha, int m, int n, int k, char* work, size_t bytes) {
  using One = cute::Int<1>;
  using N = cute::Int<64>;
  using M = cute::Int<128>;
  if (stream_k)
    return genericFp4GemmKernelLauncherStreamK<__nv_bfloat16, M, N, M, One, One, One, _1SM, Swap>(
        d, a, b, sfa, sfb, alpha, m, n, k, 1, CutlassGemmConfig(), work, bytes, nullptr, nullptr);
  return genericFp4GemmKernelLauncher<__nv_bfloat16, M, N, M, One, One, One, _1SM, Swap>(
      d, a, b, sfa, sfb, alpha, m, n, k, 1, CutlassGemmConfig(), work, bytes, nullptr, nullptr);
}
}
}
extern "C" size_t run(int stream_k, int swap, void* d, void* a, void* b, void* sfa, void* sfb, float* alpha, int m, int n, int k, char* work,
                      size_t bytes) {
  using namespace flashinfer::gemm;
  return swap ? go<true>(stream_k, d, a, b, sfa, sfb, alpha, m, n, k, work, bytes)
              : go<false>(stream_k, d, a, b, sfa, sfb, alpha, m, n, k, work, bytes);
}
"""

CUTE_FP8 = """
#include <stdexcept>
#include "tvm_ffi_utils.h"
#include "cute_sm12x_gemm/sm120_blockscaling/builder.cuh"
#include "cute_sm12x_gemm/sm120_blockscaling/launch.cuh"
using namespace flashinfer::gemm::cute_sm12x_gemm;
template <class KT>
void go(void* a, void* b, float* sfa, float* sfb, void* d, int m, int n, int k, int sms) {
  sm120_blockscaling::launch_gemm<KT>(static_cast<typename KT::ElementA*>(a), static_cast<typename KT::ElementB*>(b), sfa, sfb,
                                      static_cast<typename KT::ElementD*>(d), m, n, k, sms, nullptr);
}
constexpr auto kNormal = sm120_common::GemmType::Normal;
extern "C" void run(int swap, void* a, void* b, float* sfa, float* sfb, void* d, int m, int n, int k, int sms) {
  if (swap)
    go<sm120_blockscaling::SM120BlockScalingBuilder<128, 8, 128, 2, 128, 1, 128, kNormal, true>>(a, b, sfa, sfb, d, m, n, k, sms);
  else
    go<sm120_blockscaling::SM120BlockScalingBuilder<32, 128, 128, 2, 1, 128, 128, kNormal>>(a, b, sfa, sfb, d, m, n, k, sms);
}
"""

CUTE_MXFP8 = """
#include <stdexcept>
#include "tvm_ffi_utils.h"
#include "cute_sm12x_gemm/sm120_blockscaled/builder.cuh"
#include "cute_sm12x_gemm/sm120_blockscaled/launch.cuh"
using namespace flashinfer::gemm::cute_sm12x_gemm;
template <class KT>
void go(void* a, void* b, void* sfa, void* sfb, void* d, int m, int n, int k, int sms) {
  using Scale = typename KT::SFConfig::ElementSFLoad;
  sm120_blockscaled::launch_gemm<KT>(static_cast<typename KT::ElementA*>(a), static_cast<typename KT::ElementB*>(b), static_cast<Scale*>(sfa),
                                     static_cast<Scale*>(sfb), static_cast<typename KT::ElementD*>(d), m, n, k, sms, nullptr);
}
constexpr auto kNormal = sm120_common::GemmType::Normal;
extern "C" void run(int which, void* a, void* b, void* sfa, void* sfb, void* d, int m, int n, int k, int sms) {
  if (which == 0)
    go<sm120_blockscaled::SM120BlockScaledBuilder<64, 128, 64, 4, 32, kNormal>>(a, b, sfa, sfb, d, m, n, k, sms);
  else if (which == 1)
    go<sm120_blockscaled::SM120BlockScaledBuilder<32, 128, 128, 4, 128, kNormal>>(a, b, sfa, sfb, d, m, n, k, sms);
  else
    go<sm120_blockscaled::SM120BlockScaledBuilder<128, 8, 128, 4, 128, kNormal, true>>(a, b, sfa, sfb, d, m, n, k, sms);
}
"""

CUTLASS_DEFINES = ("ENABLE_BF16", "ENABLE_FP4", "FAST_BUILD", "CUTLASS_ENABLE_GDC_FOR_SM100=1")

HOST_UNITS = (
    Unit("groupwise", "", CUTLASS_DEFINES, GROUPWISE, host=True),
    Unit("group_fp8", "", CUTLASS_DEFINES, GROUP_FP8, host=True),
    Unit("group_mxfp4", "", CUTLASS_DEFINES, GROUP_MXFP4, host=True),
    Unit("group_nvfp4", "", CUTLASS_DEFINES, GROUP_NVFP4, host=True),
    Unit("mxfp8", "", CUTLASS_DEFINES, MXFP8, host=True),
    Unit("fp4", "", CUTLASS_DEFINES, FP4, host=True),
    Unit("cute_fp8", "", (), CUTE_FP8, host=True),
    Unit("cute_mxfp8", "", (), CUTE_MXFP8, host=True),
)

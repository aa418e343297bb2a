// The part of the CUDA driver that this project calls: our own declarations, resolved from libcuda at run time, so that
// neither a toolkit nor a driver is needed to build. Values and layouts are the driver's ABI on 64-bit Linux.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace deepwell::cuda {

using Result = int;  // CUresult
using DeviceId = int;
using DevicePointer = unsigned long long;
using ContextHandle = struct ContextTag*;
using ModuleHandle = struct ModuleTag*;
using FunctionHandle = struct FunctionTag*;
using StreamHandle = void*;
using EventHandle = struct EventTag*;
using GraphHandle = struct GraphTag*;
using GraphExecHandle = struct GraphExecTag*;
using PoolHandle = struct PoolTag*;

inline constexpr Result kSuccess = 0;
inline constexpr Result kErrorOutOfMemory = 2;
inline constexpr Result kErrorNoDevice = 100;

// CUdevice_attribute
inline constexpr int kAttributeSmCount = 16;
inline constexpr int kAttributeCapabilityMajor = 75;
inline constexpr int kAttributeCapabilityMinor = 76;
inline constexpr int kAttributeSmemPerCtaOptIn = 97;
inline constexpr int kAttributeMemoryPools = 115;

// CUfunction_attribute
inline constexpr int kFunctionStaticSmem = 1;
inline constexpr int kFunctionLocalBytes = 3;
inline constexpr int kFunctionRegisters = 4;
inline constexpr int kFunctionMaxDynamicSmem = 8;

// CUjit_option
inline constexpr int kJitErrorLog = 5, kJitErrorLogBytes = 6;

// CUstreamCaptureStatus, CUstreamCaptureMode
inline constexpr int kCaptureNone = 0;
inline constexpr int kCaptureGlobal = 0, kCaptureThreadLocal = 1, kCaptureRelaxed = 2;

inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kHostAllocPortable = 1, kHostAllocDeviceMap = 2;
inline constexpr int kPoolReleaseThreshold = 4;

// CUlaunchAttributeID
inline constexpr int kLaunchCluster = 4;
inline constexpr int kLaunchProgrammaticSerialization = 6;

struct LaunchAttribute {
  int id = 0;
  int pad = 0;
  union Value {
    char bytes[64];
    struct {
      unsigned x, y, z;
    } cluster;
    int flag;
  } value{};
};
static_assert(sizeof(LaunchAttribute) == 72 && offsetof(LaunchAttribute, value) == 8);

struct LaunchConfig {
  unsigned grid_x = 1, grid_y = 1, grid_z = 1;
  unsigned block_x = 1, block_y = 1, block_z = 1;
  unsigned dynamic_smem_bytes = 0;
  StreamHandle stream = nullptr;
  LaunchAttribute* attributes = nullptr;
  unsigned attribute_count = 0;
};
static_assert(sizeof(LaunchConfig) == 56 && offsetof(LaunchConfig, stream) == 32);

struct PoolProperties {
  int allocation_type = 1;  // pinned device memory
  int handle_types = 0;
  int location_type = 1;  // a device
  int location_id = 0;
  void* security_attributes = nullptr;
  std::size_t max_bytes = 0;
  unsigned char reserved[56] = {};
};
static_assert(sizeof(PoolProperties) == 88);

// One row per function: name, exported symbol, parameters. Every function returns Result.
// clang-format off
#define DW_CUDA_FUNCTIONS(F)                                                                                            \
  F(cuInit, "cuInit", (unsigned flags))                                                                                 \
  F(cuDriverGetVersion, "cuDriverGetVersion", (int* version))                                                           \
  F(cuGetErrorName, "cuGetErrorName", (Result error, char const** text))                                                \
  F(cuGetErrorString, "cuGetErrorString", (Result error, char const** text))                                            \
  F(cuDeviceGetCount, "cuDeviceGetCount", (int* count))                                                                 \
  F(cuDeviceGet, "cuDeviceGet", (DeviceId* device, int ordinal))                                                        \
  F(cuDeviceGetName, "cuDeviceGetName", (char* name, int bytes, DeviceId device))                                       \
  F(cuDeviceGetAttribute, "cuDeviceGetAttribute", (int* value, int attribute, DeviceId device))                         \
  F(cuDeviceTotalMem, "cuDeviceTotalMem_v2", (std::size_t* bytes, DeviceId device))                                     \
  F(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (ContextHandle* context, DeviceId device))                    \
  F(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (DeviceId device))                                       \
  F(cuCtxGetCurrent, "cuCtxGetCurrent", (ContextHandle* context))                                                       \
  F(cuCtxPushCurrent, "cuCtxPushCurrent_v2", (ContextHandle context))                                                   \
  F(cuCtxPopCurrent, "cuCtxPopCurrent_v2", (ContextHandle* context))                                                    \
  F(cuMemAlloc, "cuMemAlloc_v2", (DevicePointer* address, std::size_t bytes))                                           \
  F(cuMemFree, "cuMemFree_v2", (DevicePointer address))                                                                 \
  F(cuMemPoolCreate, "cuMemPoolCreate", (PoolHandle* pool, PoolProperties const* properties))                           \
  F(cuMemPoolSetAttribute, "cuMemPoolSetAttribute", (PoolHandle pool, int attribute, void* value))                      \
  F(cuMemPoolDestroy, "cuMemPoolDestroy", (PoolHandle pool))                                                            \
  F(cuMemAllocFromPoolAsync, "cuMemAllocFromPoolAsync",                                                                 \
    (DevicePointer* address, std::size_t bytes, PoolHandle pool, StreamHandle stream))                                  \
  F(cuMemFreeAsync, "cuMemFreeAsync", (DevicePointer address, StreamHandle stream))                                     \
  F(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2",                                                                          \
    (DevicePointer to, void const* from, std::size_t bytes, StreamHandle stream))                                       \
  F(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2",                                                                          \
    (void* to, DevicePointer from, std::size_t bytes, StreamHandle stream))                                             \
  F(cuMemsetD8Async, "cuMemsetD8Async",                                                                                 \
    (DevicePointer to, unsigned char value, std::size_t bytes, StreamHandle stream))                                    \
  F(cuMemHostAlloc, "cuMemHostAlloc", (void** address, std::size_t bytes, unsigned flags))                              \
  F(cuMemFreeHost, "cuMemFreeHost", (void* address))                                                                    \
  F(cuMemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2", (DevicePointer* address, void* host, unsigned flags))    \
  F(cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled",                                                                   \
    (void* map, int type, std::uint32_t rank, void* base, std::uint64_t const* dims, std::uint64_t const* strides,      \
     std::uint32_t const* box, std::uint32_t const* element_strides, int interleave, int swizzle, int l2_promotion,     \
     int oob_fill))                                                                                                     \
  F(cuModuleLoadDataEx, "cuModuleLoadDataEx",                                                                           \
    (ModuleHandle* module, void const* image, unsigned option_count, int* options, void** values))                      \
  F(cuModuleUnload, "cuModuleUnload", (ModuleHandle module))                                                            \
  F(cuModuleGetFunction, "cuModuleGetFunction", (FunctionHandle* function, ModuleHandle module, char const* name))      \
  F(cuFuncGetAttribute, "cuFuncGetAttribute", (int* value, int attribute, FunctionHandle function))                     \
  F(cuFuncSetAttribute, "cuFuncSetAttribute", (FunctionHandle function, int attribute, int value))                      \
  F(cuFuncLoad, "cuFuncLoad", (FunctionHandle function))                                                                \
  F(cuFuncGetParamInfo, "cuFuncGetParamInfo",                                                                           \
    (FunctionHandle function, std::size_t index, std::size_t* offset, std::size_t* bytes))                              \
  F(cuLaunchKernelEx, "cuLaunchKernelEx",                                                                               \
    (LaunchConfig const* config, FunctionHandle function, void** params, void** extra))                                 \
  F(cuStreamIsCapturing, "cuStreamIsCapturing", (StreamHandle stream, int* status))                                     \
  F(cuStreamGetCaptureInfo, "cuStreamGetCaptureInfo_v2",                                                                \
    (StreamHandle stream, int* status, std::uint64_t* id, GraphHandle* graph, void const** dependencies,                \
     std::size_t* dependency_count))                                                                                    \
  F(cuStreamGetId, "cuStreamGetId", (StreamHandle stream, std::uint64_t* id))                                           \
  F(cuThreadExchangeStreamCaptureMode, "cuThreadExchangeStreamCaptureMode", (int* mode))                                \
  F(cuStreamCreate, "cuStreamCreate", (StreamHandle* stream, unsigned flags))                                           \
  F(cuStreamSynchronize, "cuStreamSynchronize", (StreamHandle stream))                                                  \
  F(cuStreamDestroy, "cuStreamDestroy_v2", (StreamHandle stream))                                                       \
  F(cuStreamWaitEvent, "cuStreamWaitEvent", (StreamHandle stream, EventHandle event, unsigned flags))                   \
  F(cuEventCreate, "cuEventCreate", (EventHandle* event, unsigned flags))                                               \
  F(cuEventRecord, "cuEventRecord", (EventHandle event, StreamHandle stream))                                           \
  F(cuEventSynchronize, "cuEventSynchronize", (EventHandle event))                                                      \
  F(cuEventElapsedTime, "cuEventElapsedTime", (float* milliseconds, EventHandle start, EventHandle end))                \
  F(cuEventDestroy, "cuEventDestroy_v2", (EventHandle event))                                                           \
  F(cuStreamBeginCapture, "cuStreamBeginCapture_v2", (StreamHandle stream, int mode))                                   \
  F(cuStreamEndCapture, "cuStreamEndCapture", (StreamHandle stream, GraphHandle* graph))                                \
  F(cuGraphInstantiate, "cuGraphInstantiateWithFlags",                                                                  \
    (GraphExecHandle* exec, GraphHandle graph, unsigned long long flags))                                               \
  F(cuGraphLaunch, "cuGraphLaunch", (GraphExecHandle exec, StreamHandle stream))                                        \
  F(cuGraphExecDestroy, "cuGraphExecDestroy", (GraphExecHandle exec))                                                   \
  F(cuGraphDestroy, "cuGraphDestroy", (GraphHandle graph))
// clang-format on

/// The driver's functions. Immutable once loaded. The library is never closed: the driver runs threads of its own.
class Driver {
 public:
  /// Opens the first of `candidates` that is there, resolves every function and calls cuInit. Throws Error kDevice saying
  /// what was tried, or what the driver lacks or answered.
  static std::shared_ptr<Driver const> open(
      std::vector<std::string> const& candidates = default_candidates());
  /// Whether there is a driver library at all, working or not.
  static bool is_installed(std::vector<std::string> const& candidates = default_candidates());
  /// What option DEEPWELL_CUDA_DRIVER says, else libcuda.so.1 where it usually is.
  static std::vector<std::string> default_candidates();

  Driver(Driver const&) = delete;
  Driver& operator=(Driver const&) = delete;

  std::string const& path() const { return path_; }
  int version() const { return version_; }  // 13000 for CUDA 13.0
  std::string version_text() const;         // "13.0"

  /// "CUDA_ERROR_INVALID_VALUE (1): invalid argument".
  std::string describe(Result result) const;

#define DW_CUDA_DECLARE(name, symbol, params) Result(*name) params = nullptr;
  DW_CUDA_FUNCTIONS(DW_CUDA_DECLARE)
#undef DW_CUDA_DECLARE

 private:
  Driver() = default;
  void resolve();

  void* library_ = nullptr;
  std::string path_;
  int version_ = 0;
};

/// Throws Error kDevice with the call's text, the driver's name and words for `result`, and `detail` when it is not empty.
[[noreturn]] void throw_driver_error(Driver const& driver, Result result, std::string_view call,
                                     std::string_view detail);

}  // namespace deepwell::cuda

// DW_CU(driver, detail, function, arguments...): calls driver.function and throws Error kDevice when it fails; `detail` is
// an expression that is evaluated only then and says what it was about ("cuda:0, kernel x, grid [1, 1, 1]").
#define DW_CU(driver, detail, function, ...)                                                               \
  do {                                                                                                     \
    if (::deepwell::cuda::Result const dw_result = (driver).function(__VA_ARGS__); dw_result != 0)         \
      ::deepwell::cuda::throw_driver_error((driver), dw_result, #function "(" #__VA_ARGS__ ")", (detail)); \
  } while (0)

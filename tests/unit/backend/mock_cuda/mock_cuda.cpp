// A stand-in for libcuda: host memory, no execution, the driver's rules on contexts and stream capture, every call on
// record. MOCK_CUDA_OLD leaves out what drivers before CUDA 12.4 lack.
#include "unit/backend/mock_cuda/mock_cuda.hpp"

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "backend/cuda/driver_api.hpp"

using namespace deepwell::cuda;

namespace {

mock_cuda::State state;
std::mutex mutex;
thread_local std::vector<ContextHandle> contexts;
thread_local int thread_capture_mode = kCaptureGlobal;
int const kTags[8] = {};

constexpr Result kInvalidValue = 1, kInvalidContext = 201, kNotFound = 500, kCaptureUnsupported = 900;

ContextHandle context_of(int device) {
  return reinterpret_cast<ContextHandle>(const_cast<int*>(&kTags[device]));
}

/// Records the call; returns what the test ordered for it.
Result enter(char const* function, std::string const& arguments = {}) {
  std::lock_guard const lock(mutex);
  state.calls.push_back(arguments.empty() ? function : std::string(function) + " " + arguments);
  auto const ordered = state.fail.find(function);
  return ordered == state.fail.end() ? kSuccess : ordered->second;
}

/// The same for calls that need a current context.
Result enter_context(char const* function, std::string const& arguments = {}) {
  if (Result const result = enter(function, arguments); result != kSuccess) return result;
  return contexts.empty() ? kInvalidContext : kSuccess;
}

/// The same for calls that a capture forbids: in global mode on any thread, unless the calling thread is relaxed.
Result enter_unsafe(char const* function, std::string const& arguments = {}) {
  if (Result const result = enter_context(function, arguments); result != kSuccess) return result;
  std::lock_guard const lock(mutex);
  for (auto const& [stream, mode] : state.capture_mode) {
    if (mode == kCaptureGlobal && thread_capture_mode != kCaptureRelaxed) {
      state.capture_broken = true;
      return kCaptureUnsupported;
    }
  }
  return kSuccess;
}

#define MOCK_TRY(call)                                    \
  do {                                                    \
    if (Result const r = (call); r != kSuccess) return r; \
  } while (0)

}  // namespace

extern "C" {

mock_cuda::State* mock_cuda_state() { return &state; }

Result cuInit(unsigned) { return enter("cuInit"); }
Result cuDriverGetVersion(int* version) {
  *version = state.version;
  return enter("cuDriverGetVersion");
}
Result cuGetErrorName(Result error, char const** text) {
  switch (error) {
    case kInvalidValue: *text = "CUDA_ERROR_INVALID_VALUE"; return kSuccess;
    case kErrorOutOfMemory: *text = "CUDA_ERROR_OUT_OF_MEMORY"; return kSuccess;
    case kErrorNoDevice: *text = "CUDA_ERROR_NO_DEVICE"; return kSuccess;
    case kInvalidContext: *text = "CUDA_ERROR_INVALID_CONTEXT"; return kSuccess;
    case kNotFound: *text = "CUDA_ERROR_NOT_FOUND"; return kSuccess;
    case kCaptureUnsupported: *text = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; return kSuccess;
  }
  return kInvalidValue;
}
Result cuGetErrorString(Result, char const** text) {
  *text = "words of the mock";
  return kSuccess;
}
Result cuDeviceGetCount(int* count) {
  MOCK_TRY(enter("cuDeviceGetCount"));
  *count = static_cast<int>(state.devices.size());
  return kSuccess;
}
Result cuDeviceGet(DeviceId* device, int ordinal) {
  *device = ordinal;
  return enter("cuDeviceGet", std::to_string(ordinal));
}
Result cuDeviceGetName(char* name, int bytes, DeviceId device) {
  std::strncpy(name, state.devices[static_cast<std::size_t>(device)].name.c_str(),
               static_cast<std::size_t>(bytes));
  return enter("cuDeviceGetName");
}
Result cuDeviceGetAttribute(int* value, int attribute, DeviceId device) {
  MOCK_TRY(enter("cuDeviceGetAttribute"));
  mock_cuda::DeviceRow const& row = state.devices[static_cast<std::size_t>(device)];
  switch (attribute) {
    case kAttributeSmCount: *value = row.sm_count; return kSuccess;
    case kAttributeCapabilityMajor: *value = row.major; return kSuccess;
    case kAttributeCapabilityMinor: *value = row.minor; return kSuccess;
    case kAttributeSmemPerCtaOptIn: *value = 101376; return kSuccess;
    case kAttributeMemoryPools: *value = 1; return kSuccess;
  }
  return kInvalidValue;
}
Result cuDeviceTotalMem_v2(std::size_t* bytes, DeviceId) {
  *bytes = std::size_t{32} << 30;
  return enter("cuDeviceTotalMem");
}
Result cuDevicePrimaryCtxRetain(ContextHandle* context, DeviceId device) {
  MOCK_TRY(enter("cuDevicePrimaryCtxRetain", std::to_string(device)));
  ++state.retained[device];
  *context = context_of(device);
  return kSuccess;
}
Result cuDevicePrimaryCtxRelease_v2(DeviceId device) {
  --state.retained[device];
  return enter("cuDevicePrimaryCtxRelease", std::to_string(device));
}
Result cuCtxGetCurrent(ContextHandle* context) {
  *context = contexts.empty() ? nullptr : contexts.back();
  return kSuccess;
}
Result cuCtxPushCurrent_v2(ContextHandle context) {
  MOCK_TRY(enter("cuCtxPushCurrent", context == context_of(0) ? "0" : "1"));
  contexts.push_back(context);
  return kSuccess;
}
Result cuCtxPopCurrent_v2(ContextHandle* context) {
  MOCK_TRY(enter_context("cuCtxPopCurrent"));
  *context = contexts.back();
  contexts.pop_back();
  return kSuccess;
}

Result cuMemAlloc_v2(DevicePointer* address, std::size_t bytes) {
  MOCK_TRY(enter_unsafe("cuMemAlloc", std::to_string(bytes)));
  *address = reinterpret_cast<DevicePointer>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  ++state.live_allocations;
  return kSuccess;
}
Result cuMemFree_v2(DevicePointer address) {
  MOCK_TRY(enter_unsafe("cuMemFree"));
  std::free(reinterpret_cast<void*>(address));
  --state.live_allocations;
  return kSuccess;
}
Result cuMemPoolCreate(PoolHandle* pool, PoolProperties const* properties) {
  MOCK_TRY(enter_unsafe("cuMemPoolCreate", std::to_string(properties->location_id)));
  *pool = reinterpret_cast<PoolHandle>(&state);
  return kSuccess;
}
Result cuMemPoolSetAttribute(PoolHandle, int attribute, void* value) {
  return enter("cuMemPoolSetAttribute",
               std::to_string(attribute) + " " + std::to_string(*static_cast<std::uint64_t*>(value)));
}
Result cuMemPoolDestroy(PoolHandle) { return enter("cuMemPoolDestroy"); }
Result cuMemAllocFromPoolAsync(DevicePointer* address, std::size_t bytes, PoolHandle, StreamHandle) {
  MOCK_TRY(enter_context("cuMemAllocFromPoolAsync", std::to_string(bytes)));
  *address = reinterpret_cast<DevicePointer>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  ++state.live_allocations;
  return kSuccess;
}
Result cuMemFreeAsync(DevicePointer address, StreamHandle) {
  MOCK_TRY(enter_context("cuMemFreeAsync"));
  std::free(reinterpret_cast<void*>(address));
  --state.live_allocations;
  return kSuccess;
}
Result cuMemcpyHtoDAsync_v2(DevicePointer to, void const* from, std::size_t bytes, StreamHandle) {
  MOCK_TRY(enter_context("cuMemcpyHtoDAsync", std::to_string(bytes)));
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return kSuccess;
}
Result cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, std::size_t bytes, StreamHandle) {
  MOCK_TRY(enter_context("cuMemcpyDtoHAsync", std::to_string(bytes)));
  std::memcpy(to, reinterpret_cast<void*>(from), bytes);
  return kSuccess;
}
Result cuMemsetD8Async(DevicePointer to, unsigned char value, std::size_t bytes, StreamHandle stream) {
  MOCK_TRY(enter_context("cuMemsetD8Async", std::to_string(bytes)));
  // The default stream would join every captured blocking stream.
  if (stream == nullptr && !state.capture_mode.empty()) {
    state.capture_broken = true;
    return kCaptureUnsupported;
  }
  std::memset(reinterpret_cast<void*>(to), value, bytes);
  return kSuccess;
}
Result cuMemHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  MOCK_TRY(enter_unsafe("cuMemHostAlloc", std::to_string(bytes) + " " + std::to_string(flags)));
  *address = std::malloc(bytes);
  ++state.live_allocations;
  return kSuccess;
}
Result cuMemFreeHost(void* address) {
  MOCK_TRY(enter_context("cuMemFreeHost"));
  std::free(address);
  --state.live_allocations;
  return kSuccess;
}
Result cuMemHostGetDevicePointer_v2(DevicePointer* address, void* host, unsigned) {
  *address = reinterpret_cast<DevicePointer>(host);
  return enter_context("cuMemHostGetDevicePointer");
}
Result cuTensorMapEncodeTiled(void* map, int type, std::uint32_t rank, void* base, std::uint64_t const* dims,
                              std::uint64_t const* strides, std::uint32_t const* box, std::uint32_t const*,
                              int, int swizzle, int l2_promotion, int) {
  MOCK_TRY(enter_context("cuTensorMapEncodeTiled", std::to_string(type) + " " + std::to_string(swizzle) +
                                                       " " + std::to_string(l2_promotion)));
  if (reinterpret_cast<std::uintptr_t>(map) % 64 != 0) return kInvalidValue;
  auto* const words = static_cast<std::uint64_t*>(map);
  std::memset(map, 0, 128);
  words[0] = reinterpret_cast<std::uint64_t>(base);
  words[1] = rank;
  words[2] = dims[0];
  words[3] = strides[0];
  words[4] = box[0];
  return kSuccess;
}

Result cuModuleLoadDataEx(ModuleHandle* module, void const* image, unsigned count, int* options,
                          void** values) {
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == kJitErrorLog && !state.module_log.empty()) {
      std::strcpy(static_cast<char*>(values[i]), state.module_log.c_str());
    }
  }
  MOCK_TRY(enter_unsafe("cuModuleLoadDataEx", std::string(static_cast<char const*>(image), 4)));
  ++state.live_modules;
  *module = reinterpret_cast<ModuleHandle>(&state);
  return kSuccess;
}
Result cuModuleUnload(ModuleHandle) {
  MOCK_TRY(enter_unsafe("cuModuleUnload"));
  --state.live_modules;
  return kSuccess;
}
Result cuModuleGetFunction(FunctionHandle* function, ModuleHandle, char const* name) {
  MOCK_TRY(enter_context("cuModuleGetFunction", name));
  static std::map<std::string, int> names;
  auto const known = names.try_emplace(name, 0).first;
  *function = reinterpret_cast<FunctionHandle>(const_cast<char*>(known->first.c_str()));
  return kSuccess;
}
Result cuFuncGetAttribute(int* value, int attribute, FunctionHandle) {
  *value = attribute == kFunctionRegisters ? 96 : attribute == kFunctionStaticSmem ? 128 : 0;
  return enter("cuFuncGetAttribute");
}
Result cuFuncSetAttribute(FunctionHandle, int attribute, int value) {
  return enter("cuFuncSetAttribute", std::to_string(attribute) + " " + std::to_string(value));
}
#ifndef MOCK_CUDA_OLD
Result cuFuncLoad(FunctionHandle) { return enter_unsafe("cuFuncLoad"); }
Result cuFuncGetParamInfo(FunctionHandle, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  if (index >= state.param_bytes.size()) return kInvalidValue;
  std::size_t at = 0;
  for (std::size_t i = 0; i <= index; ++i) {
    std::size_t const size = state.param_bytes[i];
    at = (at + size - 1) / size * size;
    *offset = at;
    *bytes = size;
    at += size;
  }
  return kSuccess;
}
#endif
Result cuLaunchKernelEx(LaunchConfig const* config, FunctionHandle function, void** params, void**) {
  MOCK_TRY(enter_context("cuLaunchKernelEx"));
  mock_cuda::LaunchRecord record{.function = reinterpret_cast<char const*>(function),
                                 .grid = {config->grid_x, config->grid_y, config->grid_z},
                                 .block = {config->block_x, config->block_y, config->block_z},
                                 .cluster = {1, 1, 1},
                                 .dynamic_smem_bytes = config->dynamic_smem_bytes,
                                 .stream = config->stream,
                                 .params = {}};
  for (unsigned i = 0; i < config->attribute_count; ++i) {
    LaunchAttribute const& attribute = config->attributes[i];
    if (attribute.id == kLaunchProgrammaticSerialization) record.programmatic = attribute.value.flag == 1;
    if (attribute.id == kLaunchCluster) {
      record.cluster = {attribute.value.cluster.x, attribute.value.cluster.y, attribute.value.cluster.z};
    }
  }
  for (std::size_t i = 0; i < state.param_bytes.size(); ++i) {
    auto const* const bytes = static_cast<std::byte const*>(params[i]);
    record.params.emplace_back(bytes, bytes + state.param_bytes[i]);
  }
  state.launches.push_back(std::move(record));
  return kSuccess;
}

Result cuStreamIsCapturing(StreamHandle stream, int* status) {
  MOCK_TRY(enter_context("cuStreamIsCapturing"));
  *status = state.capture_mode.contains(stream) ? 1 : 0;
  return kSuccess;
}
Result cuStreamGetCaptureInfo_v2(StreamHandle, int* status, std::uint64_t* id, GraphHandle*, void const**,
                                 std::size_t*) {
  *status = 1;
  *id = state.capture_id;
  return enter_context("cuStreamGetCaptureInfo");
}
Result cuStreamGetId(StreamHandle stream, std::uint64_t* id) {
  MOCK_TRY(enter_context("cuStreamGetId"));
  if (state.capture_mode.contains(stream)) return kCaptureUnsupported;
  // As the driver: the legacy stream has two handles, and the handle 2 is another stream in each thread.
  thread_local int own_stream = 0;
  auto const handle = reinterpret_cast<std::uintptr_t>(stream);
  *id = handle == 2 ? reinterpret_cast<std::uintptr_t>(&own_stream) : handle == 1 ? 0 : handle;
  return kSuccess;
}
Result cuThreadExchangeStreamCaptureMode(int* mode) {
  MOCK_TRY(enter("cuThreadExchangeStreamCaptureMode", std::to_string(*mode)));
  std::swap(thread_capture_mode, *mode);
  return kSuccess;
}
Result cuStreamCreate(StreamHandle* stream, unsigned flags) {
  MOCK_TRY(enter_context("cuStreamCreate", std::to_string(flags)));
  *stream = new int(0);
  ++state.live_streams;
  return kSuccess;
}
Result cuStreamSynchronize(StreamHandle) { return enter_context("cuStreamSynchronize"); }
Result cuStreamDestroy_v2(StreamHandle stream) {
  delete static_cast<int*>(stream);
  --state.live_streams;
  return enter_context("cuStreamDestroy");
}
Result cuStreamWaitEvent(StreamHandle, EventHandle, unsigned) { return enter_context("cuStreamWaitEvent"); }
Result cuEventCreate(EventHandle* event, unsigned) {
  *event = nullptr;
  return enter_context("cuEventCreate");
}
Result cuEventRecord(EventHandle, StreamHandle) { return enter_context("cuEventRecord"); }
Result cuEventSynchronize(EventHandle) { return enter_context("cuEventSynchronize"); }
Result cuEventElapsedTime(float* milliseconds, EventHandle, EventHandle) {
  *milliseconds = 2.5f;
  return enter_context("cuEventElapsedTime");
}
Result cuEventDestroy_v2(EventHandle) { return enter_context("cuEventDestroy"); }
Result cuStreamBeginCapture_v2(StreamHandle stream, int mode) {
  MOCK_TRY(enter_context("cuStreamBeginCapture", std::to_string(mode)));
  state.capture_mode[stream] = mode;
  return kSuccess;
}
Result cuStreamEndCapture(StreamHandle stream, GraphHandle* graph) {
  MOCK_TRY(enter_context("cuStreamEndCapture"));
  state.capture_mode.erase(stream);
  *graph = reinterpret_cast<GraphHandle>(&state);
  return kSuccess;
}
Result cuGraphInstantiateWithFlags(GraphExecHandle* exec, GraphHandle, unsigned long long) {
  *exec = reinterpret_cast<GraphExecHandle>(&state);
  return enter_context("cuGraphInstantiate");
}
Result cuGraphLaunch(GraphExecHandle, StreamHandle) { return enter_context("cuGraphLaunch"); }
Result cuGraphExecDestroy(GraphExecHandle) { return enter_context("cuGraphExecDestroy"); }
Result cuGraphDestroy(GraphHandle) { return enter_context("cuGraphDestroy"); }

}  // extern "C"

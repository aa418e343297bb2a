// A stand-in for the CUDA runtime: third parties' host code runs against it and makes its launches, which go to a callback.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <map>
#include <string>

namespace {

using Launch = void (*)(char const* entry, unsigned const* grid, unsigned const* block,
                        unsigned const* cluster, std::size_t shared_bytes, void** args);
using Encode = int (*)(void* map, int type, unsigned rank, void* base, unsigned long long const* dims,
                       unsigned long long const* strides, unsigned const* box,
                       unsigned const* element_strides, int interleave, int swizzle, int promotion, int fill);

struct State {
  Launch launch = nullptr;
  Encode encode = nullptr;
  int sm_count = 0;
  std::map<void const*, std::string> kernels;  // by the address of the host stub
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};

State& state() {
  static State one;
  return one;
}

CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* base,
                      cuuint64_t const* dims, cuuint64_t const* strides, cuuint32_t const* box,
                      cuuint32_t const* element_strides, CUtensorMapInterleave interleave,
                      CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                      CUtensorMapFloatOOBfill fill) {
  int const result = state().encode(map, type, rank, base, reinterpret_cast<unsigned long long const*>(dims),
                                    reinterpret_cast<unsigned long long const*>(strides), box,
                                    element_strides, interleave, swizzle, promotion, fill);
  return static_cast<CUresult>(result);
}

cudaError_t launch(void const* function, dim3 grid, dim3 block, dim3 cluster, std::size_t shared_bytes,
                   void** args) {
  auto const found = state().kernels.find(function);
  if (found == state().kernels.end()) return cudaErrorInvalidDeviceFunction;
  unsigned const g[] = {grid.x, grid.y, grid.z}, b[] = {block.x, block.y, block.z},
                 c[] = {cluster.x, cluster.y, cluster.z};
  state().launch(found->second.c_str(), g, b, c, shared_bytes, args);
  return cudaSuccess;
}

}  // namespace

extern "C" {

void fake_set(Launch launch, Encode encode, int sm_count) {
  state().launch = launch;
  state().encode = encode;
  state().sm_count = sm_count;
}

void** __cudaRegisterFatBinary(void*) {
  static void* handle;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterVar(void**, char*, char*, char const*, int, std::size_t, int, int) {}
void __cudaRegisterFunction(void**, char const* stub, char*, char const* name, int, uint3*, uint3*, dim3*,
                            dim3*, int*) {
  state().kernels[stub] = name;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes, void*) {
  state().grid = grid;
  state().block = block;
  state().shared_bytes = shared_bytes;
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes, void* stream) {
  *grid = state().grid;
  *block = state().block;
  *shared_bytes = state().shared_bytes;
  std::memset(stream, 0, sizeof(void*));
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, void const* stub) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(stub));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** args,
                               std::size_t shared_bytes, cudaStream_t) {
  return launch(kernel, grid, block, dim3(1, 1, 1), shared_bytes, args);
}
cudaError_t cudaLaunchKernel(void const* function, dim3 grid, dim3 block, void** args,
                             std::size_t shared_bytes, cudaStream_t) {
  return launch(function, grid, block, dim3(1, 1, 1), shared_bytes, args);
}
cudaError_t cudaLaunchKernelExC(cudaLaunchConfig_t const* config, void const* function, void** args) {
  dim3 cluster(1, 1, 1);
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    if (config->attrs[i].id != cudaLaunchAttributeClusterDimension) continue;
    auto const& dim = config->attrs[i].val.clusterDim;
    cluster = dim3(dim.x, dim.y, dim.z);
  }
  return launch(function, config->gridDim, config->blockDim, cluster, config->dynamicSmemBytes, args);
}

cudaError_t cudaGetDriverEntryPointByVersion(char const* symbol, void** function, unsigned,
                                             unsigned long long, cudaDriverEntryPointQueryResult* status) {
  bool const known = std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0;
  *function = known ? reinterpret_cast<void*>(&encode_tiled) : nullptr;
  if (status != nullptr) *status = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPoint(char const* symbol, void** function, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult* status) {
  return cudaGetDriverEntryPointByVersion(symbol, function, CUDA_VERSION, flags, status);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = state().sm_count; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 101376; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: *value = 12; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; return cudaSuccess;
    default: return cudaErrorInvalidValue;
  }
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(void const*, cudaFuncAttribute, int) { return cudaSuccess; }
// Workspaces of tests are zero: there is nothing to do for a memset to zero.
cudaError_t cudaMemsetAsync(void*, int value, std::size_t, cudaStream_t) {
  return value == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
char const* cudaGetErrorName(cudaError_t) { return "an error of the stand-in"; }
char const* cudaGetErrorString(cudaError_t) { return "an error of the stand-in for the CUDA runtime"; }
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, void const*, int, std::size_t,
                                                                   unsigned) {
  *blocks = 1;
  return cudaSuccess;
}

}  // extern "C"

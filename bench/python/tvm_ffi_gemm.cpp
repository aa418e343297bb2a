// The dense GEMM of the C interface behind apache-tvm-ffi, to compare its cost per call with that of deepwell._native.
// Built by call_overhead.py; not part of the package.
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/function.h>

#include <optional>
#include <string>

#include "deepwell/deepwell.h"

namespace {

namespace ffi = tvm::ffi;

dw_context* context = nullptr;

void check(dw_status status) {
  if (status != DW_OK) TVM_FFI_THROW(RuntimeError) << dw_error_message();
}

dw_tensor const* given(DLTensor const* tensor) { return reinterpret_cast<dw_tensor const*>(tensor); }

/// Workspace through the environment's allocator, as deepwell._native takes it.
struct Workspace {
  DLDevice device;
  std::optional<ffi::Tensor> held;
  dw_allocator allocator{sizeof(dw_allocator), this, allocate, release};

  static void* allocate(void* user, std::size_t bytes, void*) {
    auto& self = *static_cast<Workspace*>(user);
    self.held = ffi::Tensor::FromEnvAlloc(TVMFFIEnvTensorAlloc, {static_cast<std::int64_t>(bytes)},
                                          DLDataType{kDLUInt, 8, 1}, self.device);
    return self.held->data_ptr();
  }
  static void release(void* user, void*, void*) { static_cast<Workspace*>(user)->held.reset(); }
};

void open_device(ffi::String device) { check(dw_context_create(std::string(device).c_str(), &context)); }

void gemm(DLTensor* a, DLTensor* scale_a, DLTensor* b, DLTensor* scale_b, DLTensor* d) {
  Workspace workspace{.device = d->device, .held = {}};
  bool const cuda = d->device.device_type == kDLCUDA;
  dw_gemm_call call{};
  call.size = sizeof call;
  call.a = given(a);
  call.scale_a = given(scale_a);
  call.b = given(b);
  call.scale_b = given(scale_b);
  call.d = given(d);
  call.stream = cuda ? TVMFFIEnvGetStream(d->device.device_type, d->device.device_id) : nullptr;
  call.workspace = cuda ? &workspace.allocator : nullptr;
  check(dw_fp8_fp4_gemm_nt(context, &call));
}

}  // namespace

TVM_FFI_DLL_EXPORT_TYPED_FUNC(open_device, open_device);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(fp8_fp4_gemm_nt, gemm);

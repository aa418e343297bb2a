// What this module needs of DLPack's exchange interface (DLPack 1.3, "dlpack_exchange_api"): the table of functions with which a
// framework turns its Python tensors into DLTensors and back, without an owner and without synchronisation. Field by field as
// DLPack's documentation gives it; dw_tensor stands for DLTensor.
#pragma once

#include <cstdint>

#include "deepwell/deepwell.h"

namespace deepwell::python {

struct DlpackVersion {
  std::uint32_t major, minor;
};

struct DlpackManagedTensor {
  DlpackVersion version;
  void* manager_context;
  void (*deleter)(DlpackManagedTensor* self);
  std::uint64_t flags;
  dw_tensor tensor;
};

struct DlpackExchangeHeader {
  DlpackVersion version;
  DlpackExchangeHeader* previous;  // an older table of the same framework, or null
};

struct DlpackExchange {
  DlpackExchangeHeader header;
  /// New memory as `prototype` asks for. Returns 0, or calls set_error and returns -1. Needs no GIL.
  int (*allocate)(dw_tensor* prototype, DlpackManagedTensor** out, void* error_context,
                  void (*set_error)(void* error_context, char const* kind, char const* message));
  int (*managed_from_python)(void* object, DlpackManagedTensor** out);
  int (*managed_to_python)(DlpackManagedTensor* tensor, void** out);
  /// Fills `out`, which is valid as long as the object lives and keeps its shape. Returns 0, or -1 with a Python error set. May
  /// be null. The object has to be of the type on which the table was found, or derived from it.
  int (*from_python)(void* object, dw_tensor* out);
  /// The stream on which the calling thread's work for this device goes.
  int (*current_stream)(int device_type, std::int32_t device_id, void** out);
};

inline constexpr char const* kExchangeCapsule = "dlpack_exchange_api";
inline constexpr std::uint32_t kExchangeMajor = 1;

}  // namespace deepwell::python

// A null backend that also keeps the tensor maps it was asked to encode.
#pragma once

#include <cstring>
#include <vector>

#include "backend/null/null_backend.hpp"

namespace deepwell {

class RecordingBackend : public NullBackend {
 public:
  explicit RecordingBackend(std::string_view device = "null:sm_120a") : NullBackend(device) {
    set_recording(true);
  }
  TensorMap encode(TensorMapSpec const& spec) override {
    maps.push_back(spec);
    return NullBackend::encode(spec);
  }
  std::vector<TensorMapSpec> maps;
};

/// The arguments of a recorded launch.
template <class Args>
Args args_of(NullBackend::Launch const& launch) {
  Args args;
  if (launch.params.size() != sizeof(Args))
    throw Error(ErrorCode::kInternal, "a launch with other arguments");
  std::memcpy(static_cast<void*>(&args), launch.params.data(), sizeof(Args));
  return args;
}

}  // namespace deepwell

// A device that runs nothing but wants code, as a GPU does, and keeps what it was given.
#pragma once

#include <mutex>
#include <string_view>
#include <vector>

#include "backend/null/null_backend.hpp"

namespace deepwell {

class CodeBackend : public NullBackend {
 public:
  explicit CodeBackend(std::string_view device = "null:sm_121a") : NullBackend(device) {}
  bool needs_code() const override { return true; }
  std::shared_ptr<LoadedKernel> load(KernelImage const& image, std::uint32_t dynamic_smem_bytes) override {
    std::lock_guard const lock(mutex);
    if (!refuses.empty() && image.ptx.find(refuses) != std::string::npos)
      throw Error(ErrorCode::kDevice, "the device does not take this image");
    images.push_back(image);
    smem_bytes.push_back(dynamic_smem_bytes);
    return NullBackend::load(image, dynamic_smem_bytes);
  }
  std::mutex mutex;
  std::vector<KernelImage> images;
  std::vector<std::uint32_t> smem_bytes;
  std::string refuses;  // images whose PTX has this
};

}  // namespace deepwell

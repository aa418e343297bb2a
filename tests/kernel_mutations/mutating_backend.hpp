// The emulator as a backend that changes the PTX of kernels on their way in.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "backend/emu/emu_backend.hpp"

namespace deepwell::mutations {

/// The text that is loaded for a kernel: its entry and its PTX -> PTX.
using Rewrite = std::function<std::string(std::string_view entry, std::string const& ptx)>;

class MutatingBackend final : public EmuBackend {
 public:
  MutatingBackend(std::string_view device, Rewrite rewrite)
      : EmuBackend(device), rewrite_(std::move(rewrite)) {}

  std::shared_ptr<LoadedKernel> load(KernelImage const& image, std::uint32_t dynamic_smem_bytes) override {
    KernelImage changed = image;
    if (rewrite_) changed.ptx = rewrite_(image.entry, image.ptx);
    return EmuBackend::load(changed, dynamic_smem_bytes);
  }

 private:
  Rewrite rewrite_;
};

}  // namespace deepwell::mutations

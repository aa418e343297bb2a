// Opening libcuda and resolving its functions.
#include "backend/cuda/driver_api.hpp"

#include <dlfcn.h>

#include <algorithm>

#include "base/options.hpp"

namespace deepwell::cuda {

std::vector<std::string> Driver::default_candidates() {
  if (std::string configured = option_text(Option::kCudaDriver); !configured.empty())
    return {std::move(configured)};
  // The loader's own search first; then where WSL and container toolkits put the library.
  return {"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1"};
}

bool Driver::is_installed(std::vector<std::string> const& candidates) {
  return std::any_of(candidates.begin(), candidates.end(), [](std::string const& candidate) {
    return dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr;
  });
}

std::shared_ptr<Driver const> Driver::open(std::vector<std::string> const& candidates) {
  std::shared_ptr<Driver> driver(new Driver());
  std::string tried;
  for (std::string const& candidate : candidates) {
    driver->library_ = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (driver->library_ != nullptr) {
      driver->path_ = candidate;
      break;
    }
    char const* const reason = dlerror();
    tried += fmt::format("{}{}", tried.empty() ? "" : "; ", reason != nullptr ? reason : candidate.c_str());
  }
  if (driver->library_ == nullptr) {
    throw Error(ErrorCode::kDevice, fmt::format("no CUDA driver: {}", tried), "device", tried,
                "an NVIDIA driver with libcuda.so.1");
  }
  driver->resolve();
  if (Result const result = driver->cuInit(0); result != kSuccess) {
    throw_driver_error(*driver, result, "cuInit(0)", driver->path_);
  }
  DW_CU(*driver, driver->path_, cuDriverGetVersion, &driver->version_);
  return driver;
}

void Driver::resolve() {
  std::string missing;
  auto const find = [&](char const* symbol) {
    void* const address = dlsym(library_, symbol);
    if (address == nullptr) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", symbol);
    return address;
  };
#define DW_CUDA_RESOLVE(name, symbol, params) name = reinterpret_cast<Result(*) params>(find(symbol));
  DW_CUDA_FUNCTIONS(DW_CUDA_RESOLVE)
#undef DW_CUDA_RESOLVE
  if (missing.empty()) return;
  std::string served = "of unknown version";
  int version = 0;
  if (cuDriverGetVersion != nullptr && cuDriverGetVersion(&version) == kSuccess) {
    version_ = version;
    served = fmt::format("for CUDA {}", version_text());
  }
  throw Error(
      ErrorCode::kDevice,
      fmt::format(
          "the CUDA driver {} ({}) is too old: it lacks {}; a driver for CUDA 12.4 or newer is needed", path_,
          served, missing),
      "device", served, "a driver for CUDA 12.4 or newer");
}

std::string Driver::version_text() const {
  return fmt::format("{}.{}", version_ / 1000, version_ % 1000 / 10);
}

std::string Driver::describe(Result result) const {
  char const* name = nullptr;
  char const* text = nullptr;
  if (cuGetErrorName(result, &name) != kSuccess || name == nullptr) name = "unknown error";
  if (cuGetErrorString(result, &text) != kSuccess || text == nullptr) text = "no description";
  return fmt::format("{} ({}): {}", name, result, text);
}

void throw_driver_error(Driver const& driver, Result result, std::string_view call, std::string_view detail) {
  std::string const what = driver.describe(result);
  throw Error(ErrorCode::kDevice,
              fmt::format("{} failed: {}{}{}", call, what, detail.empty() ? "" : "; ", detail), "device",
              what, "CUDA_SUCCESS");
}

}  // namespace deepwell::cuda

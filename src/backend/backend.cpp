// From the name of a device to its backend, and the list of devices.
#include "backend/backend.hpp"

#include <charconv>

#include "backend/cuda/cuda_backend.hpp"
#include "backend/emu/emulator.hpp"
#include "backend/null/null_backend.hpp"
#include "base/log.hpp"

namespace deepwell {
namespace {

constexpr char const* kEmulatedDefault = "emu:sm_120a";
constexpr char const* kDeviceNames =
    "best, cuda, cuda:<number>, emu:<target>[:<SMs>] or null:<target>[:<SMs>]";

int parse_ordinal(std::string_view device) {
  if (device == "cuda") return 0;
  std::string_view const text = device.substr(5);
  int value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw bad_argument("device", std::string(device), kDeviceNames);
  }
  return value;
}

std::vector<DeviceSummary> list_cuda_devices() {
  try {
    return cuda::list_devices(*cuda::Driver::open());
  } catch (Error const& error) {
    return {{.id = "cuda", .name = {}, .target = {}, .driver = {}, .unusable = error.what()}};
  }
}

std::string best_device() {
  std::string reasons;
  for (DeviceSummary const& row : list_cuda_devices()) {
    if (row.unusable.empty()) return row.id;
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", row.id, row.unusable);
  }
  if (std::string const missing = emulator_state().unusable; !missing.empty()) {
    reasons += fmt::format("; {}: {}", kEmulatedDefault, missing);
    throw Error(ErrorCode::kUnsupported, fmt::format("no device: {}", reasons), "device", reasons,
                fmt::format("a CUDA device, or the emulator for {}", kEmulatedDefault));
  }
  // Without a driver nobody expects a GPU; a driver or a GPU that cannot be used is a surprise.
  log_once(cuda::Driver::is_installed() ? LogLevel::kWarning : LogLevel::kInfo, "best device " + reasons,
           fmt::format("no CUDA device is used, {} is: {}", kEmulatedDefault, reasons));
  return kEmulatedDefault;
}

}  // namespace

std::vector<DeviceSummary> list_devices() {
  std::vector<DeviceSummary> rows = list_cuda_devices();
  std::string const unusable = emulator_state().unusable;
  for (Arch const& arch : all_archs()) {
    rows.push_back({.id = fmt::format("emu:{}", arch.target),
                    .name = fmt::format("emulated {}, {} SMs", arch.target, arch.default_sm_count),
                    .target = std::string(arch.target),
                    .major = arch.major,
                    .minor = arch.minor,
                    .sm_count = arch.default_sm_count,
                    .driver = {},
                    .unusable = unusable});
  }
  return rows;
}

std::unique_ptr<Backend> make_backend(std::string_view device) {
  if (device == "best") return make_backend(best_device());
  if (device == "cuda" || device.starts_with("cuda:")) {
    int const ordinal = parse_ordinal(device);
    return std::make_unique<cuda::CudaBackend>(cuda::Driver::open(), ordinal);
  }
  if (device.starts_with("emu:")) return make_emulated(device);
  if (device.starts_with("null:")) return std::make_unique<NullBackend>(device);
  throw bad_argument("device", std::string(device), kDeviceNames);
}

}  // namespace deepwell

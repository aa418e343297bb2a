// From the name of a device to its backend, and the list of devices.
#include "backend/backend.hpp"

#include <charconv>

#include "backend/cuda/cuda_backend.hpp"
#include "backend/emu/emu_backend.hpp"
#include "backend/null/null_backend.hpp"

namespace deepwell {
namespace {

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

std::string best_device() {
  for (DeviceSummary const& row : list_devices()) {
    if (row.unusable.empty()) return row.id;
  }
  throw Error(ErrorCode::kInternal, "no device is usable, not even an emulated one");
}

}  // namespace

std::vector<DeviceSummary> list_devices() {
  std::vector<DeviceSummary> rows;
  try {
    rows = cuda::list_devices(*cuda::Driver::open());
  } catch (Error const& error) {
    rows = {{.id = "cuda", .name = {}, .target = {}, .driver = {}, .unusable = error.what()}};
  }
  for (char const* const target : {"sm_120a", "sm_121a", "sm_120f", "sm_90a"}) {
    Arch const& arch = arch_by_target(target);
    rows.push_back({.id = fmt::format("emu:{}", target),
                    .name = fmt::format("emulated {}, {} SMs", target, arch.default_sm_count),
                    .target = target,
                    .major = arch.major,
                    .minor = arch.minor,
                    .sm_count = arch.default_sm_count,
                    .driver = {},
                    .unusable = {}});
  }
  return rows;
}

std::unique_ptr<Backend> make_backend(std::string_view device) {
  if (device == "best") return make_backend(best_device());
  if (device == "cuda" || device.starts_with("cuda:")) {
    int const ordinal = parse_ordinal(device);
    return std::make_unique<cuda::CudaBackend>(cuda::Driver::open(), ordinal);
  }
  if (device.starts_with("emu:")) return std::make_unique<EmuBackend>(device);
  if (device.starts_with("null:")) return std::make_unique<NullBackend>(device);
  throw bad_argument("device", std::string(device), kDeviceNames);
}

}  // namespace deepwell

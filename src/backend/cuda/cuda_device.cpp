// Devices, contexts and kernels of the CUDA backend.
#include <algorithm>
#include <array>
#include <bit>

#include "backend/checks.hpp"
#include "backend/cuda/cuda_backend.hpp"

namespace deepwell::cuda {
namespace {

int read_attribute(Driver const& driver, DeviceId device, int which) {
  int value = 0;
  DW_CU(driver, fmt::format("device {}, attribute {}", device, which), cuDeviceGetAttribute, &value, which,
        device);
  return value;
}

std::string read_name(Driver const& driver, DeviceId device) {
  std::array<char, 256> name{};
  DW_CU(driver, fmt::format("device {}", device), cuDeviceGetName, name.data(),
        static_cast<int>(name.size()) - 1, device);
  return name.data();
}

std::size_t read_memory(Driver const& driver, DeviceId device) {
  std::size_t bytes = 0;
  DW_CU(driver, fmt::format("device {}", device), cuDeviceTotalMem, &bytes, device);
  return bytes;
}

int device_count(Driver const& driver) {
  int count = 0;
  DW_CU(driver, driver.path(), cuDeviceGetCount, &count);
  return count;
}

}  // namespace

Device::Device(std::shared_ptr<Driver const> driver, int ordinal) : driver_(std::move(driver)) {
  int const count = device_count(*driver_);
  if (ordinal < 0 || ordinal >= count) {
    throw bad_argument(
        "device", fmt::format("cuda:{}", ordinal),
        count == 0 ? "a CUDA device (the driver sees none)" : fmt::format("cuda:0 to cuda:{}", count - 1));
  }
  DW_CU(*driver_, fmt::format("cuda:{}", ordinal), cuDeviceGet, &id_, ordinal);
  info_.id = fmt::format("cuda:{}", ordinal);
  info_.cuda_ordinal = ordinal;
  info_.name = read_name(*driver_, id_);
  info_.arch = arch_by_capability(attribute(kAttributeCapabilityMajor), attribute(kAttributeCapabilityMinor));
  info_.sm_count = attribute(kAttributeSmCount);
  info_.memory_bytes = read_memory(*driver_, id_);
  DW_CU(*driver_, info_.id, cuDevicePrimaryCtxRetain, &context_, id_);
}

Device::~Device() {
  if (context_ != nullptr) driver_->cuDevicePrimaryCtxRelease(id_);
}

int Device::attribute(int which) const { return read_attribute(*driver_, id_, which); }

CurrentContext::CurrentContext(Device const& device) : device_(device) {
  ContextHandle current = nullptr;
  DW_CU(device.driver(), device.info().id, cuCtxGetCurrent, &current);
  if (current == device.context()) return;
  DW_CU(device.driver(), device.info().id, cuCtxPushCurrent, device.context());
  pushed_ = true;
}

CurrentContext::~CurrentContext() {
  ContextHandle popped = nullptr;
  if (pushed_) device_.driver().cuCtxPopCurrent(&popped);
}

RelaxedCapture::RelaxedCapture(Device const& device) : device_(device) {
  DW_CU(device.driver(), device.info().id, cuThreadExchangeStreamCaptureMode, &mode_);
}

RelaxedCapture::~RelaxedCapture() { device_.driver().cuThreadExchangeStreamCaptureMode(&mode_); }

CudaKernel::CudaKernel(std::shared_ptr<Device const> device, KernelImage const& image,
                       std::uint32_t dynamic_smem_bytes)
    : device_(std::move(device)), entry_(image.entry), dynamic_smem_bytes_(dynamic_smem_bytes) {
  check_image(image);
  CurrentContext const current(*device_);
  RelaxedCapture const relaxed(*device_);
  Driver const& driver = device_->driver();
  load_module(image);
  try {
    auto const detail = [&] { return fmt::format("{}, kernel {}", device_->info().id, entry_); };
    DW_CU(driver, detail(), cuModuleGetFunction, &function_, module_, entry_.c_str());
    DW_CU(driver, detail(), cuFuncLoad, function_);  // never lazily: a launch may be under capture
    DW_CU(driver, detail(), cuFuncGetAttribute, &use_.registers, kFunctionRegisters, function_);
    DW_CU(driver, detail(), cuFuncGetAttribute, &use_.local_bytes, kFunctionLocalBytes, function_);
    DW_CU(driver, detail(), cuFuncGetAttribute, &use_.static_smem_bytes, kFunctionStaticSmem, function_);
    if (dynamic_smem_bytes > 0) {
      DW_CU(driver,
            fmt::format("{}: {} bytes of dynamic and {} of static shared memory, the device offers {}",
                        detail(), dynamic_smem_bytes, use_.static_smem_bytes,
                        device_->attribute(kAttributeSmemPerCtaOptIn)),
            cuFuncSetAttribute, function_, kFunctionMaxDynamicSmem, static_cast<int>(dynamic_smem_bytes));
    }
    read_params();
  } catch (...) {
    driver.cuModuleUnload(module_);
    throw;
  }
}

void CudaKernel::load_module(KernelImage const& image) {
  if (image.cubin.empty() && image.ptx.empty()) {
    throw bad_argument("image", fmt::format("kernel {} without code", image.entry), "a cubin or PTX");
  }
  void const* const code = image.cubin.empty() ? static_cast<void const*>(image.ptx.c_str())
                                               : static_cast<void const*>(image.cubin.data());
  std::array<char, 8192> log{};
  std::array<int, 2> options{kJitErrorLog, kJitErrorLogBytes};
  std::array<void*, 2> values{log.data(),
                              reinterpret_cast<void*>(static_cast<std::uintptr_t>(log.size() - 1))};
  Driver const& driver = device_->driver();
  DW_CU(driver,
        fmt::format("{} ({}), kernel {}, {} of {} bytes for {}, driver for CUDA {}{}{}", device_->info().id,
                    device_->info().arch.target, entry_, image.cubin.empty() ? "PTX" : "cubin",
                    image.cubin.empty() ? image.ptx.size() : image.cubin.size(), image.target,
                    driver.version_text(), log[0] == 0 ? "" : "; ", log.data()),
        cuModuleLoadDataEx, &module_, code, static_cast<unsigned>(options.size()), options.data(),
        values.data());
}

void CudaKernel::read_params() {
  for (std::size_t index = 0;; ++index) {
    std::size_t driver_offset = 0, bytes = 0;
    // Ends with CUDA_ERROR_INVALID_VALUE behind the last parameter: there is no other way to learn how many there are.
    if (device_->driver().cuFuncGetParamInfo(function_, index, &driver_offset, &bytes) != kSuccess) return;
    DW_CHECK(index < kMaxParams, kUnsupported, "kernel {} has more than {} parameters", entry_, kMaxParams);
    // The driver's offset counts from the start of the constant bank's parameter area, which is aligned to 16 bytes only: a
    // parameter aligned to 64 stands elsewhere there than in the PTX parameter block that callers fill. Types of 64 bytes and
    // their multiples are taken as aligned to 64 (tensor maps and what holds them), others as aligned to their size, at most 8.
    std::size_t const alignment = bytes % 64 == 0 ? 64 : std::min<std::size_t>(std::bit_floor(bytes), 8);
    Param const param{.offset = (param_bytes_ + alignment - 1) / alignment * alignment, .bytes = bytes};
    params_.push_back(param);
    param_bytes_ = param.offset + param.bytes;
  }
}

CudaKernel::~CudaKernel() {
  try {
    CurrentContext const current(*device_);
    RelaxedCapture const relaxed(*device_);
    device_->driver().cuModuleUnload(module_);
  } catch (Error const&) {
    // The process ends, or the device failed before.
  }
}

std::vector<DeviceSummary> list_devices(Driver const& driver) {
  int const count = device_count(driver);
  if (count == 0) {
    return {{.id = "cuda",
             .name = {},
             .target = {},
             .driver = driver.version_text(),
             .unusable = fmt::format("the driver ({}) sees no device", driver.path())}};
  }
  std::vector<DeviceSummary> rows;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    DeviceSummary row{.id = fmt::format("cuda:{}", ordinal),
                      .name = {},
                      .target = {},
                      .driver = driver.version_text(),
                      .unusable = {}};
    try {
      DeviceId id = 0;
      DW_CU(driver, row.id, cuDeviceGet, &id, ordinal);
      row.name = read_name(driver, id);
      row.major = read_attribute(driver, id, kAttributeCapabilityMajor);
      row.minor = read_attribute(driver, id, kAttributeCapabilityMinor);
      row.sm_count = read_attribute(driver, id, kAttributeSmCount);
      row.memory_bytes = read_memory(driver, id);
      row.target = arch_by_capability(row.major, row.minor).target;
    } catch (Error const& error) {
      row.unusable = error.what();
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace deepwell::cuda

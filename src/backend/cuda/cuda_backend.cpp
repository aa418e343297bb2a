// The CUDA backend: memory, copies, tensor maps, launches.
#include "backend/cuda/cuda_backend.hpp"

#include <array>
#include <atomic>
#include <cstring>

#include "backend/checks.hpp"

namespace deepwell::cuda {
namespace {

StreamHandle handle_of(Stream stream) { return stream; }

std::string describe_stream(Device const& device, Stream stream) {
  return fmt::format("{}, stream {}", device.info().id, fmt::ptr(stream));
}

}  // namespace

CudaBackend::CudaBackend(std::shared_ptr<Driver const> driver, int ordinal)
    : device_(std::make_shared<Device const>(std::move(driver), ordinal)) {
  make_notes();
}

CudaBackend::~CudaBackend() {
  // Failures here mean that the process ends or that the device failed before: nobody is left to be told.
  Driver const& driver = device_->driver();
  try {
    CurrentContext const current(*device_);
    if (pool_ != nullptr) driver.cuMemPoolDestroy(pool_);
    if (notes_ != nullptr) driver.cuMemFreeHost(notes_);
  } catch (Error const&) {
  }
}

void CudaBackend::make_notes() {
  CurrentContext const current(*device_);
  RelaxedCapture const relaxed(*device_);
  Driver const& driver = device_->driver();
  void* host = nullptr;
  DW_CU(driver, device().id, cuMemHostAlloc, &host, kNoteCount * sizeof(std::uint32_t),
        kHostAllocPortable | kHostAllocDeviceMap);
  notes_ = static_cast<std::uint32_t*>(host);
  std::memset(host, 0, kNoteCount * sizeof(std::uint32_t));
  DevicePointer address = 0;
  if (Result const result = driver.cuMemHostGetDevicePointer(&address, host, 0); result != kSuccess) {
    driver.cuMemFreeHost(host);
    notes_ = nullptr;
    throw_driver_error(driver, result, "cuMemHostGetDevicePointer(&address, host, 0)", device().id);
  }
  notes_address_ = address;
}

std::uint32_t CudaBackend::read_note(int index) const {
  check_note(index);
  return std::atomic_ref<std::uint32_t>(notes_[index]).load(std::memory_order_relaxed);
}

DeviceAddress CudaBackend::allocate(std::size_t bytes) {
  check_allocation(bytes);
  CurrentContext const current(*device_);
  RelaxedCapture const relaxed(*device_);
  DevicePointer address = 0;
  DW_CU(device_->driver(), fmt::format("{}, {} bytes", device().id, bytes), cuMemAlloc, &address, bytes);
  return address;
}

void CudaBackend::release(DeviceAddress address) {
  CurrentContext const current(*device_);
  RelaxedCapture const relaxed(*device_);
  DW_CU(device_->driver(), fmt::format("{}, address {:#x}", device().id, address), cuMemFree, address);
}

DeviceAddress CudaBackend::allocate_zeroed(std::size_t bytes) {
  check_allocation(bytes);
  CurrentContext const current(*device_);
  RelaxedCapture const relaxed(*device_);
  Driver const& driver = device_->driver();
  // A stream of its own: the default stream must not be touched while another stream is captured.
  StreamHandle stream = nullptr;
  DW_CU(driver, device().id, cuStreamCreate, &stream, kStreamNonBlocking);
  DevicePointer address = 0;
  Result result = driver.cuMemAlloc(&address, bytes);
  char const* call = "cuMemAlloc(&address, bytes)";
  if (result == kSuccess) {
    call = "cuMemsetD8Async(address, 0, bytes, stream)";
    result = driver.cuMemsetD8Async(address, 0, bytes, stream);
  }
  if (result == kSuccess) {
    call = "cuStreamSynchronize(stream)";
    result = driver.cuStreamSynchronize(stream);
  }
  driver.cuStreamDestroy(stream);
  if (result != kSuccess) {
    if (address != 0) driver.cuMemFree(address);
    throw_driver_error(driver, result, call, fmt::format("{}, {} bytes", device().id, bytes));
  }
  return address;
}

PoolHandle CudaBackend::pool() {
  std::call_once(pool_once_, [this] {
    DW_CHECK(device_->attribute(kAttributeMemoryPools) != 0, kUnsupported,
             "{}: the device has no stream-ordered memory; pass an allocator for workspace", device().id);
    RelaxedCapture const relaxed(*device_);
    Driver const& driver = device_->driver();
    PoolProperties properties;
    properties.location_id = device_->id();
    PoolHandle made = nullptr;
    DW_CU(driver, device().id, cuMemPoolCreate, &made, &properties);
    std::uint64_t keep = ~std::uint64_t{0};  // never give memory back at a synchronisation
    if (Result const result = driver.cuMemPoolSetAttribute(made, kPoolReleaseThreshold, &keep);
        result != kSuccess) {
      driver.cuMemPoolDestroy(made);
      throw_driver_error(driver, result, "cuMemPoolSetAttribute(pool, release threshold, max)", device().id);
    }
    pool_ = made;
  });
  return pool_;
}

DeviceAddress CudaBackend::allocate_async(std::size_t bytes, Stream stream) {
  check_allocation(bytes);
  CurrentContext const current(*device_);
  // A capture in global mode forbids stream-ordered allocation to every thread, also on streams outside the capture.
  RelaxedCapture const relaxed(*device_);
  DevicePointer address = 0;
  DW_CU(device_->driver(), fmt::format("{}, {} bytes", describe_stream(*device_, stream), bytes),
        cuMemAllocFromPoolAsync, &address, bytes, pool(), handle_of(stream));
  return address;
}

void CudaBackend::release_async(DeviceAddress address, Stream stream) {
  CurrentContext const current(*device_);
  RelaxedCapture const relaxed(*device_);
  DW_CU(device_->driver(), fmt::format("{}, address {:#x}", describe_stream(*device_, stream), address),
        cuMemFreeAsync, address, handle_of(stream));
}

void CudaBackend::refuse_capture(Stream stream, char const* what) {
  DW_CHECK(!capturing(stream), kUnsupported,
           "{}: the {} would be replayed with the graph that {} is captured into", device().id, what,
           fmt::ptr(stream));
}

void CudaBackend::copy_to_device(DeviceAddress to, std::span<std::byte const> from, Stream stream) {
  if (from.empty()) return;
  CurrentContext const current(*device_);
  refuse_capture(stream, "copy from host memory");
  Driver const& driver = device_->driver();
  auto const detail = [&] {
    return fmt::format("{}, {} bytes to {:#x}", describe_stream(*device_, stream), from.size(), to);
  };
  DW_CU(driver, detail(), cuMemcpyHtoDAsync, to, from.data(), from.size(), handle_of(stream));
  // The caller's bytes may be pinned, then the copy still reads them.
  DW_CU(driver, detail(), cuStreamSynchronize, handle_of(stream));
}

void CudaBackend::copy_to_host(std::span<std::byte> to, DeviceAddress from, Stream stream) {
  if (to.empty()) return;
  CurrentContext const current(*device_);
  refuse_capture(stream, "copy to host memory");
  Driver const& driver = device_->driver();
  auto const detail = [&] {
    return fmt::format("{}, {} bytes from {:#x}", describe_stream(*device_, stream), to.size(), from);
  };
  DW_CU(driver, detail(), cuMemcpyDtoHAsync, to.data(), from, to.size(), handle_of(stream));
  DW_CU(driver, detail(), cuStreamSynchronize, handle_of(stream));
}

void CudaBackend::fill(DeviceAddress to, std::size_t bytes, std::byte value, Stream stream) {
  if (bytes == 0) return;
  CurrentContext const current(*device_);
  DW_CU(device_->driver(), fmt::format("{}, {} bytes at {:#x}", describe_stream(*device_, stream), bytes, to),
        cuMemsetD8Async, to, static_cast<unsigned char>(value), bytes, handle_of(stream));
}

TensorMap CudaBackend::encode(TensorMapSpec const& spec) {
  if (std::optional<TensorMap> const known = tensor_maps_.find(spec)) return *known;
  emu::TensorMapSpec const values = driver_values(spec);
  alignas(128) TensorMap map;
  CurrentContext const current(*device_);
  Result const result = device_->driver().cuTensorMapEncodeTiled(
      &map, values.data_type, static_cast<std::uint32_t>(values.rank),
      reinterpret_cast<void*>(static_cast<std::uintptr_t>(values.base)), values.dims.data(),
      values.strides_bytes.data(), values.box.data(), values.element_strides.data(), values.interleave,
      values.swizzle, values.l2_promotion, values.oob_fill);
  if (result == kSuccess) {
    tensor_maps_.insert(spec, map);
    return map;
  }
  // The driver only says "invalid value"; the emulator's encoder names the field.
  std::string reason = describe_tensor_map(spec);
  try {
    emu::encode_tensor_map(values);
  } catch (Error const& error) {
    reason += fmt::format("; {}", error.what());
  }
  throw_driver_error(device_->driver(), result, "cuTensorMapEncodeTiled(...)", reason);
}

std::shared_ptr<LoadedKernel> CudaBackend::load(KernelImage const& image, std::uint32_t dynamic_smem_bytes) {
  return std::make_shared<CudaKernel>(device_, image, dynamic_smem_bytes);
}

void CudaBackend::launch(LoadedKernel const& kernel, LaunchSpec const& spec,
                         std::span<std::byte const> params) {
  auto const* const own = dynamic_cast<CudaKernel const*>(&kernel);
  if (own == nullptr || own->device_ != device_) {
    throw bad_argument("kernel", fmt::format("{}, loaded elsewhere", kernel.entry()),
                       fmt::format("a kernel that this backend ({}) loaded", device().id));
  }
  check_launch(own->entry_, spec, own->dynamic_smem_bytes_);
  if (params.size() != own->param_bytes_) {
    throw bad_argument("params", fmt::format("{} bytes for kernel {}", params.size(), own->entry_),
                       fmt::format("{} bytes", own->param_bytes_));
  }
  std::array<void*, kMaxParams> addresses;
  for (std::size_t i = 0; i < own->params_.size(); ++i) {
    addresses[i] = const_cast<std::byte*>(params.data()) + own->params_[i].offset;
  }
  std::array<LaunchAttribute, 2> attributes;
  unsigned attribute_count = 0;
  if (spec.programmatic_dependent_launch) {
    attributes[attribute_count].id = kLaunchProgrammaticSerialization;
    attributes[attribute_count++].value.flag = 1;
  }
  if (spec.cluster != std::array<std::uint32_t, 3>{1, 1, 1}) {
    attributes[attribute_count].id = kLaunchCluster;
    attributes[attribute_count++].value.cluster = {spec.cluster[0], spec.cluster[1], spec.cluster[2]};
  }
  LaunchConfig const config{.grid_x = spec.grid[0],
                            .grid_y = spec.grid[1],
                            .grid_z = spec.grid[2],
                            .block_x = spec.threads,
                            .block_y = spec.threads_y,
                            .block_z = spec.threads_z,
                            .dynamic_smem_bytes = spec.dynamic_smem_bytes,
                            .stream = handle_of(spec.stream),
                            .attributes = attribute_count > 0 ? attributes.data() : nullptr,
                            .attribute_count = attribute_count};
  CurrentContext const current(*device_);
  DW_CU(device_->driver(),
        fmt::format("{}, {}", describe_stream(*device_, spec.stream), describe_launch(own->entry_, spec)),
        cuLaunchKernelEx, &config, own->function_, addresses.data(), nullptr);
}

void CudaBackend::synchronize(Stream stream) {
  CurrentContext const current(*device_);
  DW_CU(device_->driver(), describe_stream(*device_, stream), cuStreamSynchronize, handle_of(stream));
}

std::uint64_t CudaBackend::capture_id(Stream stream) {
  CurrentContext const current(*device_);
  Driver const& driver = device_->driver();
  int status = kCaptureNone;
  DW_CU(driver, describe_stream(*device_, stream), cuStreamIsCapturing, handle_of(stream), &status);
  if (status == kCaptureNone) return 0;
  std::uint64_t id = 0;
  DW_CU(driver, describe_stream(*device_, stream), cuStreamGetCaptureInfo, handle_of(stream), &status, &id,
        nullptr, nullptr, nullptr);
  // An invalidated capture has no number of its own, and is no normal stream either.
  return id != 0 ? id : ~std::uint64_t{0};
}

std::uint64_t CudaBackend::stream_id(Stream stream) {
  CurrentContext const current(*device_);
  std::uint64_t id = 0;
  DW_CU(device_->driver(), describe_stream(*device_, stream), cuStreamGetId, handle_of(stream), &id);
  return id;
}

}  // namespace deepwell::cuda

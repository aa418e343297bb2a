// A CUDA GPU as a Backend, through the driver: the device's primary context, made current for each call.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cuda/driver_api.hpp"
#include "backend/cuda/tensor_map_cache.hpp"

namespace deepwell::cuda {

/// The primary context of one device, retained as long as this lives. Shared by the backend, its kernels and the tools.
class Device {
 public:
  Device(std::shared_ptr<Driver const> driver, int ordinal);
  ~Device();
  Device(Device const&) = delete;
  Device& operator=(Device const&) = delete;

  Driver const& driver() const { return *driver_; }
  ContextHandle context() const { return context_; }
  DeviceInfo const& info() const { return info_; }
  int id() const { return id_; }
  int attribute(int which) const;

 private:
  std::shared_ptr<Driver const> driver_;
  DeviceId id_ = 0;
  ContextHandle context_ = nullptr;
  DeviceInfo info_;
};

/// Makes a device's context current on this thread until the end of the scope; costs one query when it already is.
class CurrentContext {
 public:
  explicit CurrentContext(Device const& device);
  ~CurrentContext();
  CurrentContext(CurrentContext const&) = delete;
  CurrentContext& operator=(CurrentContext const&) = delete;

 private:
  Device const& device_;
  bool pushed_ = false;
};

/// Lets this thread make calls that stream capture in any thread would forbid, until the end of the scope. The calls do not
/// become part of the graph.
class RelaxedCapture {
 public:
  explicit RelaxedCapture(Device const& device);
  ~RelaxedCapture();
  RelaxedCapture(RelaxedCapture const&) = delete;
  RelaxedCapture& operator=(RelaxedCapture const&) = delete;

 private:
  Device const& device_;
  int mode_ = kCaptureRelaxed;
};

/// What the driver says of a loaded kernel.
struct KernelUse {
  int registers = 0;
  int local_bytes = 0;  // per thread: spills and arrays
  int static_smem_bytes = 0;
};

inline constexpr std::size_t kMaxParams = 64;

class CudaKernel : public LoadedKernel {
 public:
  CudaKernel(std::shared_ptr<Device const> device, KernelImage const& image,
             std::uint32_t dynamic_smem_bytes);
  ~CudaKernel() override;
  std::string_view entry() const override { return entry_; }
  KernelUse const& use() const { return use_; }

 private:
  friend class CudaBackend;
  struct Param {
    std::size_t offset = 0, bytes = 0;
  };
  void load_module(KernelImage const& image);
  void read_params();

  std::shared_ptr<Device const> device_;
  std::string entry_;
  std::uint32_t dynamic_smem_bytes_ = 0;
  ModuleHandle module_ = nullptr;
  FunctionHandle function_ = nullptr;
  std::vector<Param> params_;
  std::size_t param_bytes_ = 0;
  KernelUse use_;
};

class CudaBackend : public Backend {
 public:
  CudaBackend(std::shared_ptr<Driver const> driver, int ordinal);
  ~CudaBackend() override;

  DeviceInfo const& device() const override { return device_->info(); }
  DeviceAddress allocate(std::size_t bytes) override;
  void release(DeviceAddress address) override;
  DeviceAddress allocate_zeroed(std::size_t bytes) override;
  DeviceAddress allocate_async(std::size_t bytes, Stream stream) override;
  void release_async(DeviceAddress address, Stream stream) override;
  void copy_to_device(DeviceAddress to, std::span<std::byte const> from, Stream stream) override;
  void copy_to_host(std::span<std::byte> to, DeviceAddress from, Stream stream) override;
  void fill(DeviceAddress to, std::size_t bytes, std::byte value, Stream stream) override;
  TensorMap encode(TensorMapSpec const& spec) override;
  std::shared_ptr<LoadedKernel> load(KernelImage const& image, std::uint32_t dynamic_smem_bytes) override;
  void launch(LoadedKernel const& kernel, LaunchSpec const& spec, std::span<std::byte const> params) override;
  void synchronize(Stream stream) override;
  std::uint64_t capture_id(Stream stream) override;
  std::uint64_t stream_id(Stream stream) override;
  DeviceAddress notes_address() override { return notes_address_; }
  std::uint32_t read_note(int index) const override;

  std::shared_ptr<Device const> const& shared_device() const { return device_; }

 private:
  void refuse_capture(Stream stream, char const* what);
  void make_notes();
  PoolHandle pool();

  std::shared_ptr<Device const> device_;
  std::uint32_t* notes_ = nullptr;  // host side, kNoteCount words
  DeviceAddress notes_address_ = 0;
  TensorMapCache tensor_maps_;
  std::once_flag pool_once_;
  PoolHandle pool_ = nullptr;
};

/// One row per device that `driver` sees.
std::vector<DeviceSummary> list_devices(Driver const& driver);

}  // namespace deepwell::cuda

// An emulated device as a Backend whose emulator is a library of its own: every call goes through the table of
// emulator_library.h. What EmuBackend says about launches, reports and threads holds here.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backend/backend.hpp"
#include "backend/emu/emulator_library.h"

namespace deepwell {

/// Where the emulator's library is looked for: option DEEPWELL_EMULATOR (the file, or a folder that holds it), else the folder
/// of the library or program that this function is part of.
std::string emulator_library_path();

/// Loads the library there, once for each path and for good; messages of the emulator go to this library's log. Throws Error
/// kUnsupported (argument: the option's name) when there is none, or none of this version.
dw_emulator_table const& open_emulator_library();

/// Throws what the thread's last call reported unless `code` is 0.
void check_emulator_call(dw_emulator_table const& table, int code);

class LibraryBackend : public Backend {
 public:
  explicit LibraryBackend(std::string_view device) : LibraryBackend(open_emulator_library(), device) {}
  /// `table` outlives the backend and its kernels.
  LibraryBackend(dw_emulator_table const& table, std::string_view device);

  DeviceInfo const& device() const override { return info_; }
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
  std::uint64_t capture_id(Stream) override { return 0; }  // the emulator captures nothing
  DeviceAddress notes_address() override { return notes_; }
  std::uint32_t read_note(int index) const override;
  bool set_schedule(std::uint64_t seed) override;

 private:
  void check(int code) const { check_emulator_call(table_, code); }

  dw_emulator_table const& table_;
  std::unique_ptr<dw_emulator_device, void (*)(dw_emulator_device*)> device_;
  DeviceInfo info_;
  DeviceAddress notes_ = 0;
};

}  // namespace deepwell

// The emulator as a Backend: "emu:sm_120a". Launches run to their end before they return; streams are one. Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "backend/backend.hpp"
#include "emu/emu.hpp"

namespace deepwell {

class EmuBackend : public Backend {
 public:
  /// `device` is a profile's name: "emu:sm_120a", "emu:sm_90a:48". Throws Error kBadArgument or kUnsupported otherwise.
  explicit EmuBackend(std::string_view device);
  ~EmuBackend() override;

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
  std::uint64_t capture_id(Stream stream) override;
  DeviceAddress notes_address() override { return notes_; }
  std::uint32_t read_note(int index) const override;

  emu::Profile const& profile() const { return profile_; }
  emu::Memory& memory() { return memory_; }
  /// Used by launches that start after this; `threads` begins as option DEEPWELL_THREADS says.
  void set_options(emu::Options const& options);
  emu::Options options() const;
  /// Of the launch that ended last.
  emu::Statistics last_statistics() const;

 private:
  emu::Profile profile_;
  DeviceInfo info_;
  emu::Memory memory_;
  DeviceAddress notes_ = 0;

  mutable std::mutex mutex_;  // everything below
  emu::Options options_;
  emu::Statistics last_statistics_;
  std::unordered_map<std::string, std::shared_ptr<emu::Module const>> modules_;  // by PTX text
};

}  // namespace deepwell

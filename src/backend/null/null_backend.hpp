// A backend that runs nothing: "null:sm_120a". Memory is host memory, launches return at once. It measures host time, and
// it records launches for tests. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>

#include "backend/backend.hpp"

namespace deepwell {

class NullBackend : public Backend {
 public:
  struct Launch {
    std::string entry;
    LaunchSpec spec;
    std::vector<std::byte> params;
  };

  /// "null:sm_120a" or "null:sm_120a:48". Throws Error kBadArgument or kUnsupported otherwise.
  explicit NullBackend(std::string_view device);
  ~NullBackend() override;

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
  bool needs_code() const override { return false; }
  DeviceAddress notes_address() override;
  std::uint32_t read_note(int index) const override;

  std::uint64_t launches() const { return launches_.load(std::memory_order_relaxed); }
  /// Keeps a copy of each launch from now on (or no longer).
  void set_recording(bool on) { recording_.store(on, std::memory_order_relaxed); }
  std::vector<Launch> recorded() const;
  /// Makes `stream` look as if it were captured into graph `id`; 0 ends that.
  void set_capture_id(Stream stream, std::uint64_t id);

 private:
  /// Range-checked access to what allocate() gave.
  std::byte* host(DeviceAddress address, std::size_t bytes) const;

  DeviceInfo info_;
  std::array<std::uint32_t, kNoteCount> notes_{};
  std::atomic<std::uint64_t> launches_{0};
  std::atomic<bool> recording_{false};
  std::atomic<bool> any_capture_{false};

  mutable std::mutex mutex_;  // everything below
  std::map<DeviceAddress, std::size_t> allocations_;
  std::vector<Launch> recorded_;
  std::unordered_map<Stream, std::uint64_t> captures_;
};

}  // namespace deepwell

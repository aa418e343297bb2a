// The emulator as a Backend: "emu:sm_120a". A launch runs to its end before it returns, until the backend sees programmatic
// dependent launch: that launch and all after it, programmatic or not, wait until something asks for their results (a copy, a
// fill, a release, synchronize) or 1,024 of them wait, and then run as one list, overlapping where streams and programmatic
// dependent launch let them; a report about one of them is thrown there, and the others of the list may not have run.
// Thread-safe; launches on one stream run in order, whichever thread makes them.
#pragma once

#include <condition_variable>
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
  /// Runs what waits; a report about it is logged.
  ~EmuBackend() override;

  DeviceInfo const& device() const override { return info_; }
  DeviceAddress allocate(std::size_t bytes) override;
  /// The memory is released also when this throws a report about launches that waited.
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

  bool set_schedule(std::uint64_t seed) override;
  /// True: launches wait from now on as if programmatic dependent launch had been seen, so that the first programmatic launch
  /// overlaps the plain one before it. False, the default: only from the first programmatic launch on.
  void set_overlap(bool overlap);

  emu::Profile const& profile() const { return profile_; }
  emu::Memory& memory() {
    run_queue();
    return memory_;
  }
  /// Used by launches that start after this; `threads` begins as option DEEPWELL_THREADS says.
  void set_options(emu::Options const& options);
  emu::Options options() const;
  /// Of the launch that ended last; launches that still wait do not count.
  emu::Statistics last_statistics() const;

 private:
  emu::Profile profile_;
  DeviceInfo info_;
  emu::Memory memory_;
  DeviceAddress notes_ = 0;

  struct Released {
    DeviceAddress address = 0;
    std::size_t bytes = 0;
    Stream stream = nullptr;
  };
  /// Returns when every launch that was queued before the call is complete. Throws what they report.
  void run_queue();
  void end_list(std::vector<Released> const& released);

  mutable std::mutex mutex_;  // everything below
  std::condition_variable ended_;
  bool list_runs_ = false;  // without mutex_: launches are queued and stream-ordered releases wait meanwhile
  /// Streams of launches that run at once, without mutex_: the next launch on such a stream waits, and so does a list.
  std::vector<Stream> single_runs_;
  bool overlap_ = false;
  bool programmatic_seen_ = false;
  std::vector<emu::GridLaunch> queue_;
  std::vector<Stream> streams_;  // of queued launches, by GridLaunch::stream
  std::unordered_map<DeviceAddress, std::size_t>
      async_bytes_;                 // stream-ordered allocations, not those released
  std::vector<Released> released_;  // that launches queued or running may still use
  emu::Options options_;
  emu::Statistics last_statistics_;
  std::unordered_map<std::string, std::shared_ptr<emu::Module const>> modules_;  // by PTX text
};

}  // namespace deepwell

// The small interface between operations and a device: a CUDA GPU through the driver, or the emulator.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/arch.hpp"
#include "base/error.hpp"
#include "deepwell/common.h"

namespace deepwell {

using DeviceAddress = std::uint64_t;
using Stream = void*;  // CUstream for cuda (nullptr: the legacy default stream); ignored by the emulator

struct DeviceInfo {
  std::string id;    // what --device takes: "cuda:0", "emu:sm_120a"
  std::string name;  // "NVIDIA H200", "emulated sm_120a, 188 SMs"
  Arch arch;         // one row of base/arch.hpp's table
  int sm_count = 0;
  std::size_t memory_bytes = 0;
  int cuda_ordinal = -1;  // the driver's number of a GPU; -1: not a GPU
};

/// What cuTensorMapEncodeTiled takes, as plain data. Dimension 0 is the innermost. Values are CUDA's.
struct TensorMapSpec {
  enum class Element { kU8, kU16, kI32, kF32, kBf16, kPacked4Align8, kPacked4Align16 };
  enum class Swizzle { kNone, k32B, k64B, k128B };
  Element element = Element::kU8;
  Swizzle swizzle = Swizzle::kNone;
  int rank = 0;
  DeviceAddress base = 0;
  std::array<std::uint64_t, 5> dims{};           // elements
  std::array<std::uint64_t, 4> strides_bytes{};  // of dimensions 1..rank-1
  std::array<std::uint32_t, 5> box{};            // elements
  bool operator==(TensorMapSpec const&) const = default;
};

/// A compiled kernel as the JIT hands it over.
struct KernelImage {
  std::string entry;
  std::string target;  // "sm_120a"
  std::vector<std::byte> cubin;
  std::string ptx;
};

/// A kernel that is ready to run on one backend.
class LoadedKernel {
 public:
  virtual ~LoadedKernel() = default;
  virtual std::string_view entry() const = 0;
};

struct LaunchSpec {
  std::array<std::uint32_t, 3> grid{1, 1, 1};
  std::uint32_t threads = 32;  // along x; our own kernels use only this
  std::uint32_t dynamic_smem_bytes = 0;
  bool programmatic_dependent_launch = false;
  Stream stream = nullptr;
  std::uint32_t threads_y = 1, threads_z = 1;
  std::array<std::uint32_t, 3> cluster{1, 1, 1};
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceInfo const& device() const = 0;

  /// Device memory for tools and tests; operations take their workspace from the caller. Contents start as poison in the
  /// emulator. Addresses are multiples of 256. Throws Error: kBadArgument for 0 bytes, kDevice when there is no memory.
  virtual DeviceAddress allocate(std::size_t bytes) = 0;
  virtual void release(DeviceAddress address) = 0;
  /// The same with every byte 0 when it returns. May be called while a stream is being captured; the graph does not see it.
  virtual DeviceAddress allocate_zeroed(std::size_t bytes) = 0;
  /// Stream-ordered memory: for work put on `stream` after this, until release_async on that stream. Under capture it
  /// becomes part of the graph.
  virtual DeviceAddress allocate_async(std::size_t bytes, Stream stream) = 0;
  virtual void release_async(DeviceAddress address, Stream stream) = 0;
  virtual void copy_to_device(DeviceAddress to, std::span<std::byte const> from, Stream stream) = 0;
  /// Returns when the bytes are there.
  virtual void copy_to_host(std::span<std::byte> to, DeviceAddress from, Stream stream) = 0;
  virtual void fill(DeviceAddress to, std::size_t bytes, std::byte value, Stream stream) = 0;

  virtual TensorMap encode(TensorMapSpec const& spec) = 0;
  /// Thread-safe. `dynamic_smem_bytes` is the most that launches will ask for.
  virtual std::shared_ptr<LoadedKernel> load(KernelImage const& image, std::uint32_t dynamic_smem_bytes) = 0;
  /// `params` is the kernel's single by-value parameter (or the parameter block of a raw kernel).
  virtual void launch(LoadedKernel const& kernel, LaunchSpec const& spec,
                      std::span<std::byte const> params) = 0;
  virtual void synchronize(Stream stream) = 0;
  /// Not 0 while the stream is being captured into a graph; streams that are captured into the same graph share it.
  virtual std::uint64_t capture_id(Stream stream) = 0;
  bool capturing(Stream stream) { return capture_id(stream) != 0; }
  /// The same for two handles exactly when work on them runs in order. A handle alone does not say that: one handle may mean
  /// another stream in each thread, and a handle may come back after its stream was destroyed. Not to be asked of a stream
  /// that is being captured (drivers refuse: Error kDevice).
  virtual std::uint64_t stream_id(Stream stream) { return reinterpret_cast<std::uintptr_t>(stream); }
  /// Emulated devices: the seed of launches from now on, which decides the order of warps and CTAs and when copies complete.
  /// False: the device has no such thing.
  virtual bool set_schedule(std::uint64_t) { return false; }
  /// False for a backend that runs nothing: its kernels are loaded from an image without code.
  virtual bool needs_code() const { return true; }

  /// Device address of this device's notes: kNoteCount 32-bit counters in host-visible memory that kernels add to.
  virtual DeviceAddress notes_address() = 0;
  /// What kernels have added to counter `index` (below kNoteCount) so far. Never waits for the device.
  virtual std::uint32_t read_note(int index) const = 0;
};

/// One device that could be asked for, or why there is none of its kind.
struct DeviceSummary {
  std::string id;            // "cuda:0"; "cuda" when the driver itself is missing
  std::string name;          // "NVIDIA H200"; empty when unusable before its name was known
  std::string target;        // "sm_90a"; empty when no kernel is made for it
  int major = 0, minor = 0;  // compute capability
  int sm_count = 0;
  std::size_t memory_bytes = 0;
  std::string driver;    // "13.0": the newest CUDA that the driver serves; empty for emulated devices
  std::string unusable;  // empty: usable; else the reason
};

/// CUDA devices (or one row that says why there is none), then the emulator's default profiles, unusable where the emulator
/// would be loaded and cannot be.
std::vector<DeviceSummary> list_devices();

/// "cuda", "cuda:1", "emu:sm_120a", "emu:sm_90a:48", "null:sm_120a" or "best" (a CUDA device if there is one, else emu:sm_120a).
std::unique_ptr<Backend> make_backend(std::string_view device);

}  // namespace deepwell

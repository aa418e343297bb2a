// The emulator's public face: a machine that executes PTX for one SM 12.x (or 9.0) target on the CPU. It knows PTX and
// nothing else; any PTX file runs in it. backend/emu adapts it to Backend; `deepwell emulate` and tests use it directly.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace deepwell::emu {

/// The chip that is emulated. `parse_profile("emu:sm_120a:48")` gives one; the default SM count is the largest board's
/// (188 for sm_120, 48 for sm_121, 132 for sm_90).
struct Profile {
  std::string target = "sm_120a";
  int sm_count = 188;
  int smem_per_cta = 101376;  // bytes a CTA may use, static and dynamic together
  int smem_per_sm = 102400;
  int max_threads_per_cta = 1024;
};
Profile parse_profile(std::string_view name);

/// Global memory of one emulated device. Addresses are made by the machine (deterministic, 256-byte aligned, with
/// unmapped guard gaps); every byte has a shadow that says whether it was ever written. Thread-safe.
class Memory {
 public:
  Memory();
  ~Memory();
  Memory(Memory const&) = delete;
  Memory& operator=(Memory const&) = delete;

  std::uint64_t allocate(std::size_t bytes, std::string label = {});  // contents: poison
  /// Maps the caller's bytes as device memory (initialised); they must outlive the mapping.
  std::uint64_t map(std::span<std::byte> host, std::string label = {});
  void release(std::uint64_t address);

  /// Host access; throws Error naming the range when it is not inside one allocation. `write` marks bytes initialised,
  /// `read` returns whatever is there.
  void write(std::uint64_t address, std::span<std::byte const> bytes);
  void read(std::uint64_t address, std::span<std::byte> bytes) const;
  void fill(std::uint64_t address, std::size_t bytes, std::byte value);
  /// Marks the range as never written again.
  void poison(std::uint64_t address, std::size_t bytes);

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct KernelInfo {
  std::string name;
  std::size_t param_bytes = 0;
  std::size_t static_smem_bytes = 0;
  std::array<int, 3> max_ntid{};  // .maxntid, zeros when absent
};

/// A parsed and decoded PTX module for one target. Immutable and thread-safe.
class Module {
 public:
  /// Throws Error (kBadArgument for a syntax error, kUnsupported for an instruction, modifier or target that is not
  /// modelled) naming the line and what was there.
  static std::shared_ptr<Module const> parse(std::string_view ptx, Profile const& profile,
                                             std::string source_name = "<ptx>");
  std::vector<KernelInfo> kernels() const;

  struct Impl;
  explicit Module(std::unique_ptr<Impl> impl);
  ~Module();
  Impl const& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct LaunchConfig {
  std::array<std::uint32_t, 3> grid{1, 1, 1};
  std::array<std::uint32_t, 3> block{1, 1, 1};
  std::array<std::uint32_t, 3> cluster{1, 1, 1};
  std::size_t dynamic_smem_bytes = 0;
};

struct Options {
  bool check =
      true;  // bounds, alignment and poison checks (bounds always hold: the process is never at risk)
  std::uint64_t seed = 0;  // warp interleaving, CTA order, completion time of asynchronous copies
  std::uint64_t max_steps =
      0;            // warp-instructions per CTA before the run is stopped as endless; 0: a generous default
  int threads = 0;  // host threads; 0: all cores
};

struct Statistics {
  std::uint64_t warp_instructions = 0;
  std::uint64_t mma = 0;
  std::uint64_t ctas = 0;
  std::map<std::string, std::uint64_t> by_opcode;  // warp-instructions by opcode ("add.rn.f32")
};

/// Runs one grid to its end. Throws Error (kDevice) with a report that names kernel, CTA, warp, lane, PTX line and source
/// line for: an access outside every allocation, a misaligned access, poison that reaches a global store, a branch, an
/// address or an MMA, a trap, a deadlock (who waits on what), an exceeded step limit, a resource limit.
Statistics launch(Module const& module, std::string_view kernel, LaunchConfig const& config,
                  std::span<std::byte const> params, Memory& memory, Options const& options,
                  Profile const& profile);

/// What cuTensorMapEncodeTiled takes, as plain data, encoded in 128 bytes of the machine's own format. Values of the enums
/// are CUDA's. `base` is a device address; `strides_bytes` has rank - 1 entries. Throws Error on what the driver rejects.
struct TensorMapSpec {
  int data_type = 0;  // CUtensorMapDataType
  int rank = 0;
  std::uint64_t base = 0;
  std::array<std::uint64_t, 5> dims{};
  std::array<std::uint64_t, 4> strides_bytes{};
  std::array<std::uint32_t, 5> box{};
  std::array<std::uint32_t, 5> element_strides{1, 1, 1, 1, 1};
  int interleave = 0;  // CUtensorMapInterleave
  int swizzle = 0;     // CUtensorMapSwizzle
  int l2_promotion = 0;
  int oob_fill = 0;
};
std::array<std::byte, 128> encode_tensor_map(TensorMapSpec const& spec);

}  // namespace deepwell::emu

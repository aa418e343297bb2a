// The emulator's public face: a machine that executes PTX for one SM 12.x (or 9.0) target on the CPU. It knows PTX and
// nothing else; any PTX file runs in it. backend/emu adapts it to Backend; `deepwell emulate` and tests use it directly.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "emu/statistics.hpp"

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
  /// `limit_bytes` of all allocations together, variables of modules included; more is an Error kDevice.
  explicit Memory(std::uint64_t limit_bytes = std::uint64_t{1} << 40);
  ~Memory();
  Memory(Memory const&) = delete;
  Memory& operator=(Memory const&) = delete;

  std::uint64_t allocate(std::size_t bytes, std::string label = {});  // contents: poison
  /// The same at an address of the caller's choice: a multiple of 256 in global memory, behind everything that was allocated so far.
  void allocate_at(std::uint64_t address, std::size_t bytes, std::string label = {});
  /// Maps the caller's bytes as device memory (initialised); they must outlive the mapping.
  std::uint64_t map(std::span<std::byte> host, std::string label = {});
  void release(std::uint64_t address);

  /// Host access; throws Error naming the range when it is not inside one allocation. `write` marks bytes initialised,
  /// `read` returns whatever is there.
  void write(std::uint64_t address, std::span<std::byte const> bytes);
  void read(std::uint64_t address, std::span<std::byte> bytes) const;
  /// For each byte of the range 1 where it was ever written, else 0.
  void read_written(std::uint64_t address, std::span<std::uint8_t> written) const;
  void fill(std::uint64_t address, std::size_t bytes, std::byte value);
  /// Marks the range as never written again.
  void poison(std::uint64_t address, std::size_t bytes);

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct ParamInfo {
  std::string name;
  std::size_t offset = 0, bytes = 0;
};

struct KernelInfo {
  std::string name;
  std::size_t param_bytes = 0;
  std::vector<ParamInfo> params;
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
  /// All CTAs have to fit the board at once; where they do not, the launch is refused.
  bool cooperative = false;
};

/// One warp instruction that was executed.
struct TraceStep {
  std::size_t launch = 0;  // in its list
  std::array<std::uint32_t, 3> cta{};
  int warp = 0;
  std::uint32_t lanes = 0;  // that executed it: those for which the guard was true
  int line = 0;             // of the PTX text
  std::string_view instruction;
  struct Result {
    std::string_view name;  // of the register
    int bits = 0;
    std::array<std::uint64_t, 32> values{};  // by lane; of predicates 0 or 1; of 128 bits the lower half
    std::uint32_t undefined = 0;             // lanes whose value is poison
  };
  std::vector<Result> results;
};

struct Options {
  /// Alignment, poison, races, barriers, copies, dependencies between launches. Bounds always hold: the process is never at
  /// risk. A checked run is deterministic: it uses one host thread, and the seed alone decides what happens when.
  bool check = true;
  /// With `check`: races and dependencies between launches. Costs most of the checks' time where memory is touched.
  bool race = true;
  /// Warp interleaving, CTA order, completion times of asynchronous copies, and the policy they follow: seed 0 is fair, of
  /// any four seeds in a row one completes copies as early as may be and one as late as may be.
  std::uint64_t seed = 0;
  /// Warp-instructions per CTA before the run is stopped as endless; 0: a generous default.
  std::uint64_t max_steps = 0;
  /// The same over all CTAs of a launch, or of a list with checks; 0: a thousand times max_steps.
  std::uint64_t max_total_steps = 0;
  /// Host memory for the shared memory, local memory and registers of CTAs that are resident at once; a launch that needs more is
  /// refused with a report.
  std::uint64_t memory_bytes = std::uint64_t{32} << 30;
  int threads = 0;  // host threads of runs without checks; 0: all cores
  /// Called after each warp instruction, in the order in which they run; one host thread then.
  std::function<void(TraceStep const&)> trace = {};
  /// Gets what the kernel prints (printf), in the order in which it does; empty: the log, level info.
  std::function<void(std::string_view)> output = {};
  /// Memory accesses, copies and waits are counted as well: what Statistics has under `detailed`.
  bool statistics = false;
};

/// What a report is about.
enum class Finding : std::uint8_t {
  kProgram,     // a trap, an operand or state that the instruction does not allow
  kMemory,      // outside every allocation, misaligned, read-only
  kPoison,      // a value that was never defined reaches a store, a branch, an address or an MMA
  kRace,        // two accesses that nothing orders
  kBarrier,     // a barrier or mbarrier used wrongly
  kDeadlock,    // nothing can move, or the program does not end
  kCopy,        // an asynchronous copy used wrongly, or left behind at exit
  kTensorMap,   // a tensor map used wrongly
  kDependency,  // programmatic dependent launch used wrongly
  kResource,    // more shared memory, threads or CTAs than the target has
};
char const* name_of(Finding finding);  // "race"

/// What a report points at; what does not apply is -1, 0 or empty.
struct CodePlace {
  std::array<std::uint32_t, 3> cta{};
  int warp = -1, lane = -1;
  int line = 0;             // of the PTX text, from 1
  std::string instruction;  // "st.global.u32 [%rd1], %r1"
  std::string source;       // "kernel.cu:12"
};

/// What a checker found: an Error (kDevice) whose message names kernel, CTA, warp, lane, PTX line and source line, for a race
/// both accesses and the edge that is missing.
class Report : public Error {
 public:
  Report(Finding finding, std::string message, std::string kernel, CodePlace place = {})
      : Error(ErrorCode::kDevice, std::move(message), std::move(kernel), name_of(finding)),
        finding_(finding),
        place_(std::move(place)) {}
  Finding finding() const { return finding_; }
  CodePlace const& place() const { return place_; }

 private:
  Finding finding_;
  CodePlace place_;
};

/// Runs one grid to its end. Throws a Report for what the checkers find, in `argument` the kernel, in `got` the finding.
Statistics launch(Module const& module, std::string_view kernel, LaunchConfig const& config,
                  std::span<std::byte const> params, Memory& memory, Options const& options,
                  Profile const& profile);

/// One launch of a list.
struct GridLaunch {
  std::shared_ptr<Module const> module;
  std::string kernel;
  LaunchConfig config;
  std::vector<std::byte> params;
  /// Launches with the same number run in order; others may overlap.
  int stream = 0;
  /// Programmatic dependent launch: may start when every CTA of the launch before it on its stream has issued
  /// griddepcontrol.launch_dependents or ended; without it, when that launch is complete.
  bool programmatic = false;
  /// Launches (indices into the list, lower than its own) that must be complete before this one starts, as after events.
  std::vector<std::size_t> after;
};

/// Runs launches as streams would, overlapping where they may, under one seed. Returns when all are complete; one entry of
/// the result per launch. Throws a Report as launch() does, also for races between launches.
std::vector<Statistics> launch_list(std::span<GridLaunch const> launches, Memory& memory,
                                    Options const& options, Profile const& profile);

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

// What the emulator counts about a launch. Counts, not times: docs/emulator.md says what each one models.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace deepwell::emu {

/// What an instruction is for; read off the instruction table (instr/kind.hpp).
enum class InstructionKind : std::uint8_t {
  kInteger,  // integer arithmetic, logic and shifts
  kFloat,
  kCompare,  // comparison and selection
  kConvert,
  kMove,
  kGlobal,  // ld, st, atom and red that name the space
  kShared,  // the same, and ldmatrix, stmatrix
  kLocal,
  kConstant,  // constants and parameters
  kGeneric,   // no space named
  kControl,
  kWarp,     // between lanes: shfl, vote, redux, movmatrix, bar.warp.sync
  kBarrier,  // named barriers of a CTA
  kMbarrier,
  kFence,
  kAsyncCopy,
  kMma,
  kTensorMap,  // tensor maps, prefetches, cache hints
  kCluster,
  kGrid,  // griddepcontrol, setmaxnreg
};
inline constexpr std::size_t kInstructionKinds = 20;
char const* name_of(InstructionKind kind);  // "async_copy"

/// Requests to one memory. A request is one warp instruction with at least one active lane.
struct MemoryCounts {
  std::uint64_t requests = 0;
  std::uint64_t lanes = 0;  // that took part; of ldmatrix and stmatrix: that gave a row's address
  std::uint64_t bytes = 0;  // asked for, over all lanes
  /// Global memory: 32-byte sectors, those that differ within one request. Shared memory: wavefronts, the turns that a
  /// request takes on 32 banks of four bytes. Local memory: 0.
  std::uint64_t transactions = 0;
  /// The least for these accesses: distinct bytes / 32 rounded up; wavefronts without any bank conflict.
  std::uint64_t ideal = 0;
  std::uint64_t excess() const { return transactions - ideal; }
  MemoryCounts& operator+=(MemoryCounts const& other);
  bool operator==(MemoryCounts const&) const = default;
};

struct SpaceCounts {
  MemoryCounts load, store, atomic;
  MemoryCounts copy;  // cp.async: read from global memory, written to shared memory
  MemoryCounts total() const;
  bool operator==(SpaceCounts const&) const = default;
};

/// Copies that a thread hands to a unit of its own: cp.async.bulk and cp.reduce.async.bulk. A copy to several CTAs counts once
/// for each of them.
struct BulkCounts {
  std::uint64_t operations = 0;
  std::uint64_t bytes_in = 0;          // written to shared memory, with what is filled in outside a tensor
  std::uint64_t bytes_out = 0;         // read from shared memory
  MemoryCounts global_in, global_out;  // `requests`: operations that touch global memory
  BulkCounts& operator+=(BulkCounts const& other);
  bool operator==(BulkCounts const&) const = default;
};

struct SyncCounts {
  std::uint64_t barrier_arrivals = 0;   // of warps at named barriers: bar.sync, bar.arrive, bar.red
  std::uint64_t barriers = 0;           // that were completed
  std::uint64_t mbarrier_arrivals = 0;  // of threads, not of copies
  std::uint64_t mbarrier_phases = 0;    // that were completed
  std::uint64_t mbarrier_waits = 0;     // try_wait and test_wait that found every lane's phase complete
  std::uint64_t mbarrier_retries = 0;   // that did not, each time they were tried: depends on timing
  std::uint64_t grid_waits = 0;         // griddepcontrol.wait, by warps
  std::uint64_t grid_launches = 0;      // griddepcontrol.launch_dependents, by warps
  SyncCounts& operator+=(SyncCounts const& other);
  bool operator==(SyncCounts const&) const = default;
};

/// What the kernel and the launch ask for.
struct DeclaredResources {
  std::uint64_t registers = 0;  // virtual ones that the PTX uses, of all widths; ptxas allocates others
  std::uint64_t threads = 0;    // of a CTA
  std::uint64_t static_smem_bytes = 0, dynamic_smem_bytes = 0;
  std::uint64_t local_bytes = 0;  // of a thread
  bool operator==(DeclaredResources const&) const = default;
};

/// One line of PTX and its transactions.
struct HotLine {
  int line = 0;  // 1-based, in the PTX text
  std::string text;
  std::string source;  // "kernel.cu:12", empty when the PTX does not say
  MemoryCounts counts;
};

struct Statistics {
  std::uint64_t warp_instructions = 0;
  std::uint64_t mma = 0;
  std::uint64_t multiply_adds = 0;  // m n k, summed over the MMAs
  std::uint64_t ctas = 0;
  std::map<std::string, std::uint64_t> by_opcode;  // warp-instructions by opcode ("add.rn.f32")
  std::array<std::uint64_t, kInstructionKinds> by_kind{};
  DeclaredResources declared;

  // Only with Options::statistics:
  bool detailed = false;
  SpaceCounts global, shared, local;
  BulkCounts bulk, tensor;  // cp.async.bulk without and with .tensor
  SyncCounts sync;
  std::vector<HotLine> global_lines,
      shared_lines;  // at most kHotLines, most excess first, then most transactions
  static constexpr std::size_t kHotLines = 8;

  std::uint64_t count(InstructionKind kind) const { return by_kind[static_cast<std::size_t>(kind)]; }
  /// Sectors of all loads, stores, atomics and copies.
  MemoryCounts global_traffic() const;
};

/// A JSON object with everything, in a fixed order.
std::string to_json(Statistics const& statistics);

}  // namespace deepwell::emu

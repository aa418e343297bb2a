// A decoded module: functions ready to run, the constant pool, variables, and what reports need.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "emu/emu.hpp"
#include "emu/instr/instr.hpp"

namespace deepwell::emu {

/// Special registers that keep their value while a warp runs are registers that are filled in when the warp starts.
enum class Special : std::uint8_t {
  kNone,
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneid,
  kWarpid,
  kNwarpid,
  kSmid,
  kNsmid,
  kGridid,
  kLanemaskEq,
  kLanemaskLe,
  kLanemaskLt,
  kLanemaskGe,
  kLanemaskGt,
  kDynamicSmem,
  kTotalSmem,
  kAggrSmem,
  kReservedSmemBegin,
  kReservedSmemEnd,
  kReservedSmemCap,
  kClusteridX,
  kClusteridY,
  kClusteridZ,
  kNclusteridX,
  kNclusteridY,
  kNclusteridZ,
  kClusterCtaidX,
  kClusterCtaidY,
  kClusterCtaidZ,
  kClusterNctaidX,
  kClusterNctaidY,
  kClusterNctaidZ,
  kClusterCtarank,
  kClusterNctarank,
  kIsExplicitCluster,
  kDynamicShared,  // address of dynamic shared memory, for functions that kernels share
  // Read by mov alone, each time anew:
  kClock,
  kClockHi,
  kClock64,
  kGlobaltimer,
  kGlobaltimerLo,
  kGlobaltimerHi,
};
inline bool is_dynamic(Special special) { return special >= Special::kClock; }

struct SpecialUse {
  Special special = Special::kNone;
  Value value;
  std::uint64_t addend = 0;  // of kDynamicShared
};

struct Parameter {
  std::string name;
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;
};

/// Functions that the CUDA runtime brings along.
enum class Builtin : std::uint8_t { kNone, kPrintf, kAssertFail };

/// A .global or .const variable; gets an address on first launch on a Memory.
struct Variable {
  std::string name;
  bool constant = false;
  std::uint64_t bytes = 0;
  std::uint32_t alignment = 1;
  bool has_initializer = false;
  std::vector<std::byte> initial;  // as long as `bytes` when there is an initialiser
  struct Fixup {
    std::uint64_t at;
    std::uint32_t variable;
    std::int64_t addend;
    unsigned bytes;
  };
  std::vector<Fixup> fixups;  // addresses of other variables inside `initial`
};

/// A word of the constant pool that holds the address of a variable.
struct PoolFixup {
  std::uint32_t offset = 0;  // of the 32-lane entry
  std::uint8_t bits = 64;
  std::uint32_t variable = 0;
  std::int64_t addend = 0;
};

/// An argument or a result, in memory of a frame (`offset`) or in a register, or a number.
struct Passed {
  bool in_memory = false;
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;
  Value value;
};

/// One call instruction; Instr::aux[0] is its index in Function::calls.
struct CallSite {
  std::vector<Passed> results, arguments;
  bool is_indirect = false;
  std::uint32_t function = 0;          // number in the module, of a direct call
  Builtin builtin = Builtin::kNone;    // of a direct call
  std::vector<std::uint32_t> targets;  // .calltargets: numbers in the module; empty: any
};

/// A place in the register file.
struct Slot {
  std::uint32_t offset = 0, index = 0;
  std::uint32_t lane_bytes = 4;  // 0: a predicate
};

struct Function;

/// A function inside a kernel's code.
struct Callee {
  Function const* function = nullptr;
  std::uint32_t start = 0;  // its first instruction
  std::vector<Passed> inputs, results;
  std::uint32_t local_bytes = 0, local_alignment = 16;
  Value frame;  // register that holds the address of its frame; may not exist
  std::vector<std::pair<Value, std::uint64_t>> frame_addresses;  // registers with addresses in the frame
  std::vector<Slot> slots;                                       // its registers but those that never change
};

struct Function {
  std::string name;
  bool is_entry = false;
  std::vector<Instr> code;
  std::deque<InstrText> texts;
  std::vector<std::string> register_names;  // by register number
  std::uint32_t register_bytes = 0;
  std::uint32_t register_count = 1;  // number 0 is never poison
  std::vector<SpecialUse> specials;
  std::vector<Parameter> parameters;
  std::uint32_t param_bytes = 0;
  std::uint32_t local_bytes = 0;  // per thread
  std::uint32_t static_shared_bytes = 0;
  std::uint32_t dynamic_shared_alignment = 0;
  std::array<int, 3> max_ntid{}, required_ntid{}, required_cluster{};
  int line = 0;

  // Calls.
  std::vector<CallSite> calls;
  bool calls_indirectly = false;
  // Of a function that is called, before it is linked into kernels:
  std::vector<Passed> inputs, results;
  std::uint32_t local_alignment = 16;
  Value frame;
  std::vector<std::pair<Value, std::uint64_t>> frame_addresses;
  // Of a kernel, when it is linked:
  std::uint32_t start = 0;  // its first instruction; those of the functions stand before
  std::vector<Callee> callees;
  std::vector<std::int32_t> callee_of;  // by number in the module; -1: not in this kernel
};

/// What a function pointer holds: kFunctionWindow + 16 * (number in the module + 1).
inline constexpr std::uint64_t kFunctionWindow = 0x5'0000'0000;

struct Module::Impl {
  std::string source_name;
  Target target;
  int ptx_version = 0;
  std::deque<Function> functions;
  std::vector<std::string> function_names;  // of those that may be called, by number
  std::map<std::string, Function const*, std::less<>> entries;
  std::vector<std::byte> pool;
  std::vector<PoolFixup> pool_fixups;
  std::vector<Variable> variables;
  std::map<int, std::string> files;                              // .file
  std::vector<std::string> opcodes;                              // by InstrText::opcode_id
  std::shared_ptr<void const> token = std::make_shared<int>(0);  // identity, for Memory
};

}  // namespace deepwell::emu

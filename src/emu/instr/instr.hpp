// The decoded instruction, and the row of the instruction table that gives it its meaning. A file of src/emu/instr/ that
// implements a family includes this header alone: it brings the machine state (run/machine.hpp) and memory (mem/spaces.hpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "emu/instr/targets.hpp"

namespace deepwell::emu {

inline constexpr int kLanes = 32;
inline constexpr std::uint32_t kFullMask = 0xffffffffu;
using Mask = std::uint32_t;  // bit l: lane l

struct Warp;
struct Instr;
struct Row;

/// What a semantic function says about the instruction it was called for.
enum class Outcome : std::uint8_t {
  kNext,  // done; the fragment goes on to the next instruction
  kBlocked,  // not done: the same instruction is tried again later (call Warp::wait_for first to say on what it waits)
  kSuspended,  // like kBlocked, but the wait may time out: when nothing else can move, it is called with Warp::timed_out() true
  kYield,      // done; the warp gives up the rest of its time slice (nanosleep, a failed poll)
  kControl,    // done; the function set the fragments' program counters itself (branches, exit)
};

/// Executes one instruction for the lanes in `mask` (never zero; guard predicate already applied) of the fragment that
/// `warp.fragment()` names. Lanes outside `mask` must keep their registers.
using Exec = Outcome (*)(Warp& warp, Instr const& instr, Mask mask);

/// What a register is declared as, beside its width: ptxas holds instructions to it.
enum class RegisterType : std::uint8_t { kBits, kUnsigned, kSigned, kFloat, kHalves };

/// A 32-lane value: a register, an immediate (or address of a symbol) broadcast in the constant pool, or the sink `_`.
/// Registers of 8, 16 and 32 bits are held in uint32_t[32] with zero upper bits, 64 bits in uint64_t[32], 128 bits in
/// Bits128[32]; a predicate (bits == 1) is one uint32_t mask.
struct Value {
  enum class Kind : std::uint8_t { kNone, kRegister, kConstant, kSink };
  Kind kind = Kind::kNone;
  bool negated = false;   // `!%p`
  std::uint8_t bits = 0;  // 1, 8, 16, 32, 64 or 128
  RegisterType type = RegisterType::kBits;
  std::uint32_t offset = 0;  // bytes into the warp's register file, or into the constant pool
  std::uint32_t index = 0;   // its poison mask
  std::uint32_t number = 0;  // the register as the text names it, for reports
  bool exists() const { return kind != Kind::kNone; }
  bool is_register() const { return kind == Kind::kRegister; }
  bool is_constant() const { return kind == Kind::kConstant; }
  bool is_sink() const { return kind == Kind::kSink; }
};

struct Bits128 {
  std::uint64_t lo = 0, hi = 0;
};

enum class Space : std::uint8_t { kGeneric, kGlobal, kShared, kLocal, kParam, kConst };
std::string_view name_of(Space space);

/// One operand as it was written, resolved.
struct Operand {
  enum class Kind : std::uint8_t {
    kNone,
    kValue,    // %r1, 7, 0f3F800000, symbol, _, !%p
    kPair,     // %r1|%p1: `value` and `second`
    kVector,   // {a, b, ...}: `elements`
    kAddress,  // [base + displacement], with `elements` for [base, {c0, c1}]; `second` for [base, other]
    kLabel,    // branch target: `target`
    kLabels,   // .branchtargets table: `targets`
    kName,     // a function or prototype
  };
  Kind kind = Kind::kNone;
  Value
      value;  // kValue, first of a pair, base of an address (32 or 64 bits; a symbol or number is a constant)
  Value second;
  std::vector<Value> elements;
  std::int64_t displacement = 0;
  Space symbol_space = Space::kGeneric;  // of the symbol that an address or value names, else kGeneric
  std::uint32_t target = 0;
  std::vector<std::uint32_t> targets;
  std::int64_t immediate = 0;  // of a constant integer, for decoding (cp-size, byte ids, barrier numbers)
  bool is_immediate = false;   // `immediate` is valid
  std::vector<std::optional<std::int64_t>> element_immediates;  // of a vector: those that are numbers
  std::uint8_t special = 0;  // a special register that mov reads anew each time (run/program.hpp)
};

/// How the lanes of a warp must come together before the instruction executes.
enum class Rendezvous : std::uint8_t {
  kNone,     // each fragment executes alone
  kAligned,  // all lanes that have not exited (.aligned, mma.sync, ldmatrix, bar.sync)
  kMemberMask,  // the lanes named by operand Row::member_operand that have not exited (shfl.sync, vote.sync, ...)
};

/// Where an instruction stands, for reports; shared by nothing that runs hot.
struct InstrText {
  std::string text;                      // the statement without guard and semicolon
  std::string opcode;                    // "add.rn.f32"
  std::vector<std::string> parts;        // "add", ".rn", ".f32"
  int line = 0;                          // 1-based, in the PTX text
  int source_file = 0, source_line = 0;  // from .loc; 0: none
  std::uint32_t opcode_id = 0;           // dense number of `opcode` in its module, for statistics
};

struct Instr {
  Exec exec = nullptr;
  Value guard;  // kind kNone: unguarded; `negated` for @!%p
  Rendezvous rendezvous = Rendezvous::kNone;
  bool is_mma = false;              // counted in Statistics::mma
  std::uint32_t multiply_adds = 0;  // of one MMA
  std::vector<Operand> ops;         // in the order written
  /// For bind() to leave decoded data in: whatever the family likes.
  std::array<std::uint32_t, 8> aux{};
  /// Which alternative of each bracketed choice of Row::pattern matched, -1 when an optional one is absent.
  std::array<std::int8_t, 16> choice{};
  Row const* row = nullptr;
  InstrText const* info = nullptr;

  /// True when the opcode has this modifier, written with its dot: has(".ftz").
  bool has(std::string_view modifier) const {
    for (std::string const& part : info->parts) {
      if (part == modifier) return true;
    }
    return false;
  }
  Value const& v(int k) const { return ops[static_cast<std::size_t>(k)].value; }
};

/// What bind() may look at.
struct BindContext {
  Target target;
  int ptx_version = 0;       // 88 for .version 8.8
  bool in_function = false;  // in a .func
};

/// One row of the table. Aggregate-initialise with designators.
///
/// `pattern` is the opcode: the base name, then items separated by spaces: `.x` must be there, `(.a|.b)` one of them must,
/// `[.a|.b]` one of them may. Items are matched in the order written. Each parenthesised or bracketed item is one entry of
/// Instr::choice. Example: "add [.rn|.rz|.rm|.rp] [.ftz] [.sat] .f32".
///
/// `operands`: comma-separated, each a role and a width; a leading `?` makes it and all that follow optional:
///   d32 s32       destination register, source (register, immediate, symbol) of 32 bits; d1/s1: predicate
///   dT sT         as wide as the last type modifier of the opcode; dU sU: the type before it; dW sW: twice T
///   d>T s>T       at least as wide as T (ld, st, cvt take wider registers)
///   d* s*         any width
///   d4x32 s4x32   vector of exactly 4; dvT svT: scalar or vector as the opcode's .v2/.v4/.v8 says (>T in width)
///   s#32 s##32    a count, no floating-point constant; the second with constants from 0 to 255
///   sf32          an f32, whatever the opcode's types
///   di32 si32     an integer, whatever the opcode's types, as counts are
///   d32|1         pair, the second part optional; d32|!1: it has to be there
///   a             address; ac: address with a vector of coordinates; a may also carry a second part; ab: in a register of any type
///   l             label; n: name; x: anything (bind checks it); xi: the same, registers of integers
struct Row {
  std::string_view pattern;
  std::string_view operands;
  int ptx = 10;  // first PTX version, 88 for 8.8
  Needs needs = Needs::kAny;
  std::string_view section;  // of the PTX ISA manual: "9.7.3.1 add"
  Exec exec = nullptr;       // the semantics, or
  Exec (*bind)(Instr& instr, BindContext const& context) =
      nullptr;  // chooses them once, at decode; may throw unsupported()
  Rendezvous rendezvous = Rendezvous::kNone;
  int member_operand = -1;     // kMemberMask: index of the operand with the mask
  std::string_view note = {};  // what is promised about accuracy or behaviour, for `deepwell isa`
};

/// kUnsupported, naming the instruction's line and text: for bind().
Error unsupported(Instr const& instr, std::string_view why);

/// Throws unsupported() for an address that no access to that space has: a symbol of another space, a number.
void check_address(Instr const& instr, Operand const& address, Space space);

// The table: one function per file of src/emu/instr/.
std::span<Row const> alu_integer_rows();
std::span<Row const> alu_float_rows();
std::span<Row const> alu_half_rows();
std::span<Row const> alu_bits_rows();
std::span<Row const> alu_video_rows();
std::span<Row const> alu_compare_rows();
std::span<Row const> alu_convert_rows();  // integers and f32/f64
std::span<Row const> move_rows();
std::span<Row const> ldst_rows();
std::span<Row const> atomic_rows();
std::span<Row const> control_rows();
std::span<Row const> call_rows();  // call.cpp: call, ret, alloca
std::span<Row const> barrier_rows();
std::span<Row const> warp_rows();
std::span<Row const> mma_rows();              // mma.cpp: floating-point formats, 16 rows
std::span<Row const> mma_other_rows();        // mma_other.cpp: integers, bits, f64, f16 with k 4
std::span<Row const> mma_sparse_rows();       // mma_sparse.cpp
std::span<Row const> wmma_rows();             // wmma.cpp
std::span<Row const> matrix_rows();           // matrix.cpp: ldmatrix, stmatrix, movmatrix
std::span<Row const> convert_rows();          // convert.cpp: cvt with f16, bf16, tf32, fp8, fp6, fp4, ue8m0
std::span<Row const> async_copy_rows();       // async_copy.cpp
std::span<Row const> bulk_copy_rows();        // bulk_copy.cpp
std::span<Row const> tensor_copy_rows();      // tensor_copy.cpp
std::span<Row const> mbarrier_rows();         // mbarrier.cpp
std::span<Row const> fence_rows();            // fence.cpp
std::span<Row const> tensor_map_op_rows();    // tensor_map_ops.cpp
std::span<Row const> cluster_rows();          // cluster.cpp
std::span<Row const> grid_dependency_rows();  // grid_dependency.cpp: griddepcontrol, setmaxnreg

/// All rows, in the order above.
std::vector<Row const*> const& all_rows();

}  // namespace deepwell::emu

#include "emu/mem/spaces.hpp"
#include "emu/run/machine.hpp"

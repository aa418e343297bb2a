// The decoder: what it knows of a module and of the function it is at, and its steps, a section per file.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "emu/instr/table.hpp"
#include "emu/ptx/syntax.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu::decoding {

using ptx::OperandSyntax;
using ptx::Statement;
using ptx::Term;

inline std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

struct Symbol {
  Space space = Space::kGlobal;
  std::uint64_t address = 0;   // shared, local, param
  std::uint32_t variable = 0;  // global, const
  std::uint32_t bytes = 0;     // local: of an argument or a result of calls
  bool is_dynamic = false;     // shared, in a function: where it lies depends on the kernel
};

/// What is known of a function before any is decoded.
struct Callable {
  ptx::FunctionSyntax const* syntax = nullptr;
  Function* decoded = nullptr;
  Builtin builtin = Builtin::kNone;
  std::vector<std::uint32_t> result_bytes, input_bytes;
};

/// The type of registers as their declaration has it.
struct DeclaredType {
  int bits = 0;
  RegisterType type = RegisterType::kBits;
};
struct RegisterRange {
  DeclaredType type;
  std::uint64_t count = 0;
};

/// The names of a module, a function or a block in it.
struct Scope {
  Scope* parent = nullptr;
  std::unordered_map<std::string, Value> registers;        // plain ones, and used members of ranges
  std::unordered_map<std::string, RegisterRange> ranges;   // by prefix
  std::unordered_map<std::string, DeclaredType> declared;  // plain registers
  std::unordered_map<std::string, std::uint32_t> labels;
  std::unordered_map<std::string, Statement const*> tables;
  std::unordered_map<std::string, ptx::FunctionSyntax const*> prototypes;
  std::unordered_map<std::string, Symbol> symbols;
};

/// An instruction that waits until all labels and declarations of its function are known.
struct Pending {
  Statement const* statement;
  Scope* scope;
  std::array<int, 2> location;
  std::uint32_t used_bytes = 0;
};

/// An opcode taken apart, with the rows that have its modifiers.
struct Spelling {
  struct Candidate {
    CompiledRow const* row;
    std::array<std::int8_t, 16> choice;
    std::vector<std::string> parts;  // in the row's order
  };
  std::vector<std::string> parts;  // as written
  bool is_known = false;           // the name
  std::vector<Candidate> candidates;
};

/// What may stand where an operand is.
struct Wanted {
  int bits = 0;  // 0: any
  bool wider = false;
  bool is_destination = false;
  std::string_view type;                            // the type modifier, for literals
  std::string_view registers = {};                  // the type that registers have to agree with; empty: any
  bool sink = true, symbol = true, special = true;  // what else than registers and numbers may stand there
};

/// One name of a declaration of several.
struct Declared {
  ptx::Declaration const* declaration;
  ptx::Declarator const* name;
};

/// What a register is declared as: ".f32".
std::string type_name(Value const& value);

struct SpecialRegister {
  Special special = Special::kNone;
  int bits = 0;
};
/// The special register of that name; null when there is none that is modelled.
SpecialRegister const* find_special(std::string_view name);

/// Functions called resolve_... return a reason when an operand does not fit, and nothing when it does.
struct Decoder {
  Decoder(ptx::ModuleSyntax const& from, Module::Impl& to)
      : syntax(from), module(to), context{to.target, from.version} {}

  /// Decodes the whole module.
  void run();

  ptx::ModuleSyntax const& syntax;
  Module::Impl& module;
  BindContext context;
  Scope globals;
  std::vector<ptx::Declaration const*> shared_declarations;
  std::unordered_map<std::string, std::uint32_t> opcode_ids;
  std::vector<Spelling> spellings;  // by opcode id
  std::map<std::tuple<int, std::uint64_t>, std::uint32_t> pool_numbers;
  std::map<std::tuple<int, std::uint32_t, std::int64_t>, std::uint32_t> pool_variables;
  std::vector<Callable> callables;
  std::unordered_map<std::string, std::uint32_t> callable_numbers;
  std::vector<bool> address_taken;
  // Shared memory that functions use has the same place in every kernel that calls functions.
  std::unordered_map<std::string, Symbol> shared_of_functions;
  std::uint32_t shared_of_functions_bytes = 0, dynamic_shared_alignment = 16;

  // Of the function being decoded:
  Function* function = nullptr;
  std::deque<Scope> scopes;
  std::vector<Pending> pending;
  std::vector<CompiledRow const*> function_rows;  // by pc
  std::array<int, 2> location{};
  std::map<std::tuple<Special, int, std::uint64_t>, Value> special_values;
  std::map<std::pair<std::uint64_t, int>, Value> frame_values;
  std::uint32_t used_bytes = 0;  // of the next instruction; 0: all

  // ---- refusals (decode.cpp) ----

  [[noreturn]] void fail(int line, ErrorCode code, std::string const& what) const;
  /// The same, with the instruction's text in front.
  [[noreturn]] void fail(InstrText const& at, ErrorCode code, std::string const& what) const;

  // ---- constants and names (decode_names.cpp) ----

  std::uint32_t new_pool_entry(int bits);
  Value constant(std::uint64_t number, int bits);
  Value variable_address(std::uint32_t variable, std::int64_t addend, int bits);

  Value new_register(std::string const& name, int bits, RegisterType type = RegisterType::kBits);
  /// The register of that name in the innermost scope that declares it; kNone when there is none.
  Value find_register(Scope* scope, std::string const& name);
  static Symbol const* find_symbol(Scope* scope, std::string const& name);
  Value special(Special which, int bits, std::uint64_t addend = 0);
  /// A register of a function that holds the address of its frame.
  Value frame();
  /// One that holds an address in it.
  Value frame_address(std::uint64_t offset, int bits);
  std::optional<std::uint32_t> find_callable(std::string name) const;
  /// What a pointer to the function holds; the function is linked wherever there are indirect calls.
  std::uint64_t pointer_to(std::uint32_t callable);

  // ---- registers, numbers, symbols and sinks (decode_terms.cpp) ----

  std::string resolve_term(Scope* scope, Term const& term, std::int64_t addend, Wanted const& want,
                           Value& out, Operand& operand);
  std::string resolve_integer(Term const& term, Wanted const& want, Value& out, Operand& operand);
  std::string resolve_float(Term const& term, Wanted const& want, Value& out);
  std::string resolve_register(Value const& found, Term const& term, std::int64_t addend, Wanted const& want,
                               Value& out);
  std::string resolve_special(SpecialRegister const& known, Term const& term, Wanted const& want, Value& out,
                              Operand& operand);
  std::string resolve_symbol(Symbol const& symbol, Term const& term, std::int64_t addend, Wanted const& want,
                             Value& out, Operand& operand);
  /// A pointer to a function.
  std::string resolve_callable(std::uint32_t callable, Term const& term, std::int64_t addend,
                               Wanted const& want, Value& out);

  // ---- operands (decode_operands.cpp) ----

  /// `parts` is the opcode, taken apart.
  std::string resolve_operand(Scope* scope, OperandSyntax const& in, OperandRule const& rule,
                              std::vector<std::string> const& parts, Operand& out);
  std::string resolve_address(Scope* scope, OperandSyntax const& in, OperandRule const& rule, Operand& out);
  /// A label, or a table of labels.
  std::string resolve_label(Scope* scope, OperandSyntax const& in, Operand& out);
  std::string resolve_vector(Scope* scope, OperandSyntax const& in, OperandRule const& rule,
                             std::vector<std::string> const& parts, Wanted want, Operand& out);
  /// A single value, or a pair.
  std::string resolve_value(Scope* scope, OperandSyntax const& in, OperandRule const& rule,
                            std::vector<std::string> const& parts, Wanted want, Operand& out);
  /// Whether the operand is a name of nothing that holds a value: of a function, say.
  bool is_bare_name(Scope* scope, OperandSyntax const& in);

  // ---- instructions (decode_instructions.cpp) ----

  Instr decode_instruction(Pending const& from);
  /// The opcode's number in the module; `spellings` has its rows.
  std::uint32_t opcode_id(std::string const& opcode);
  /// Resolves all operands as a row wants them; returns a reason when they do not fit.
  std::string fit(Scope* scope, Statement const& statement, CompiledRow const& row,
                  std::vector<std::string> const& parts, Instr& instr);
  /// Why target or PTX version have no such row; empty when they have.
  std::string refusal(Row const& row) const;
  void resolve_guard(Pending const& from, Instr& instr);

  // ---- calls (decode_calls.cpp) ----

  /// call (results), function, (arguments), prototype: operands are results in registers, the callee,
  /// arguments in registers.
  Instr decode_call(Pending const& from, Instr instr);
  /// The callee of a direct call.
  Callable const& callee_of(std::string const& name, CallSite& site, InstrText const& at);
  /// The parameters that a .callprototype or the first of .calltargets has.
  Callable form_of(Scope* scope, std::string const& name, CallSite& site, InstrText const& at);
  /// The Passed of an element of a call's lists; `bytes` is what the callee says, 0 when that is not known.
  Passed passed(Scope* scope, OperandSyntax const& element, std::uint32_t bytes, bool is_result,
                Operand& values);

  // ---- declarations (decode_declarations.cpp) ----

  std::uint64_t bytes_of(ptx::Declaration const& declaration, ptx::Declarator const& name) const;
  static std::uint32_t alignment_of(ptx::Declaration const& declaration);
  /// What each parameter of a list takes.
  std::vector<std::uint32_t> sizes_of(std::vector<ptx::Declaration> const& list) const;

  /// Declares what a body declares; its instructions become `pending`.
  void walk(std::vector<Statement> const& body, Scope* scope);
  void declare(Scope& scope, ptx::Declaration const& declaration);
  void declare_registers(Scope& scope, ptx::Declaration const& declaration);
  void declare_local(Scope& scope, ptx::Declaration const& declaration);
  void place_shared(Scope& scope, ptx::Declaration const& declaration);
  void declare_variables(Scope& scope, ptx::Declaration const& declaration);
  /// Elements of `width` bytes from `at` on; `at` moves behind them.
  void initialize(Variable& variable, ptx::Initializer const& initializer, std::uint64_t& at, unsigned width,
                  bool is_float, int line);
  /// The address of a variable or a function.
  void initialize_with_address(Variable& variable, ptx::Initializer const& initializer, std::uint64_t at,
                               unsigned width, int line);
  void put(Variable& variable, std::uint64_t at, std::uint64_t value, unsigned width, int line) const;
  /// "used_bytes_mask 0x7": of what the next instruction loads only these bytes matter.
  void read_pragma(std::string_view text);

  // ---- functions (decode_functions.cpp) ----

  void declare_functions();
  void decode_functions();
  void decode_function(ptx::FunctionSyntax const& from);
  /// Makes it the function being decoded.
  void start_function(ptx::FunctionSyntax const& from);
  void declare_kernel_parameters(Scope& scope, ptx::FunctionSyntax const& from);
  /// Parameters of a function: registers, or memory of its frame.
  void declare_passed(Scope& scope, std::vector<ptx::Declaration> const& from, std::vector<Passed>& to);
  /// Places the module's shared variables that a function uses, but for the dynamic ones, which it returns.
  /// `links`: the function calls, or is called.
  std::vector<Declared> place_used_shared(Scope& scope, ptx::FunctionSyntax const& from, bool links);
  /// Places dynamic shared memory behind the static one, when that is known.
  void place_dynamic_shared(Scope& scope, std::vector<Declared> const& dynamic, bool links);

  // ---- copies of undefined bytes (decode_copies.cpp) ----

  /// ld a; and b, a, mask; ...; or c, b, ...; st c to where a came from (or st b, for a field of zeros): an
  /// assignment to a bit field. What the field's neighbours were does not matter to it, so that the load gives
  /// no poison.
  void mark_bit_field_stores();
  /// Loads whose registers are stored and nothing else, as compilers copy structures with padding in them.
  void mark_copies();
};

}  // namespace deepwell::emu::decoding

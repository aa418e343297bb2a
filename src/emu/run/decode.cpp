// Turns a syntax tree into a module that is ready to run.
#include "emu/run/decode.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "emu/instr/table.hpp"
#include "emu/run/allocate.hpp"
#include "emu/run/link.hpp"

namespace deepwell::emu {
namespace {

using ptx::OperandSyntax;
using ptx::Statement;
using ptx::Term;

std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

std::unordered_map<std::string_view, std::pair<Special, int>> const& specials() {
  static std::unordered_map<std::string_view, std::pair<Special, int>> const table = {
      {"%tid.x", {Special::kTidX, 32}},
      {"%tid.y", {Special::kTidY, 32}},
      {"%tid.z", {Special::kTidZ, 32}},
      {"%ntid.x", {Special::kNtidX, 32}},
      {"%ntid.y", {Special::kNtidY, 32}},
      {"%ntid.z", {Special::kNtidZ, 32}},
      {"%ctaid.x", {Special::kCtaidX, 32}},
      {"%ctaid.y", {Special::kCtaidY, 32}},
      {"%ctaid.z", {Special::kCtaidZ, 32}},
      {"%nctaid.x", {Special::kNctaidX, 32}},
      {"%nctaid.y", {Special::kNctaidY, 32}},
      {"%nctaid.z", {Special::kNctaidZ, 32}},
      {"%laneid", {Special::kLaneid, 32}},
      {"%warpid", {Special::kWarpid, 32}},
      {"%nwarpid", {Special::kNwarpid, 32}},
      {"%smid", {Special::kSmid, 32}},
      {"%nsmid", {Special::kNsmid, 32}},
      {"%gridid", {Special::kGridid, 64}},
      {"%lanemask_eq", {Special::kLanemaskEq, 32}},
      {"%lanemask_le", {Special::kLanemaskLe, 32}},
      {"%lanemask_lt", {Special::kLanemaskLt, 32}},
      {"%lanemask_ge", {Special::kLanemaskGe, 32}},
      {"%lanemask_gt", {Special::kLanemaskGt, 32}},
      {"%dynamic_smem_size", {Special::kDynamicSmem, 32}},
      {"%total_smem_size", {Special::kTotalSmem, 32}},
      {"%aggr_smem_size", {Special::kAggrSmem, 32}},
      {"%reserved_smem_offset_begin", {Special::kReservedSmemBegin, 32}},
      {"%reserved_smem_offset_end", {Special::kReservedSmemEnd, 32}},
      {"%reserved_smem_offset_cap", {Special::kReservedSmemCap, 32}},
      {"%reserved_smem_offset_0", {Special::kReservedSmem0, 32}},
      {"%reserved_smem_offset_1", {Special::kReservedSmem1, 32}},
      {"%clusterid.x", {Special::kClusteridX, 32}},
      {"%clusterid.y", {Special::kClusteridY, 32}},
      {"%clusterid.z", {Special::kClusteridZ, 32}},
      {"%nclusterid.x", {Special::kNclusteridX, 32}},
      {"%nclusterid.y", {Special::kNclusteridY, 32}},
      {"%nclusterid.z", {Special::kNclusteridZ, 32}},
      {"%cluster_ctaid.x", {Special::kClusterCtaidX, 32}},
      {"%cluster_ctaid.y", {Special::kClusterCtaidY, 32}},
      {"%cluster_ctaid.z", {Special::kClusterCtaidZ, 32}},
      {"%cluster_nctaid.x", {Special::kClusterNctaidX, 32}},
      {"%cluster_nctaid.y", {Special::kClusterNctaidY, 32}},
      {"%cluster_nctaid.z", {Special::kClusterNctaidZ, 32}},
      {"%cluster_ctarank", {Special::kClusterCtarank, 32}},
      {"%cluster_nctarank", {Special::kClusterNctarank, 32}},
      {"%is_explicit_cluster", {Special::kIsExplicitCluster, 1}},
      {"%clock", {Special::kClock, 32}},
      {"%clock_hi", {Special::kClockHi, 32}},
      {"%clock64", {Special::kClock64, 64}},
      {"%globaltimer", {Special::kGlobaltimer, 64}},
      {"%globaltimer_lo", {Special::kGlobaltimerLo, 32}},
      {"%globaltimer_hi", {Special::kGlobaltimerHi, 32}},
  };
  return table;
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

struct RegisterRange {
  int bits = 0;
  std::uint64_t count = 0;
};

struct Scope {
  Scope* parent = nullptr;
  std::unordered_map<std::string, Value> registers;       // plain ones, and used members of ranges
  std::unordered_map<std::string, RegisterRange> ranges;  // by prefix
  std::unordered_map<std::string, int> declared;          // plain registers: bits
  std::unordered_map<std::string, std::uint32_t> labels;
  std::unordered_map<std::string, Statement const*> tables;
  std::unordered_map<std::string, ptx::FunctionSyntax const*> prototypes;
  std::unordered_map<std::string, Symbol> symbols;
};

struct Pending {
  Statement const* statement;
  Scope* scope;
  std::array<int, 2> location;
  std::uint32_t used_bytes = 0;
};

void collect_names(OperandSyntax const& operand, std::unordered_set<std::string>& names) {
  if (operand.term.kind == Term::Kind::kName) names.insert(operand.term.name);
  if (operand.has_second) names.insert(operand.second.name);
  for (OperandSyntax const& element : operand.elements) collect_names(element, names);
}
void collect_names(std::vector<Statement> const& body, std::unordered_set<std::string>& names) {
  for (Statement const& statement : body) {
    for (OperandSyntax const& operand : statement.operands) collect_names(operand, names);
    collect_names(statement.body, names);
  }
}

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

Spelling spelling_of(std::string const& opcode) {
  Spelling out;
  out.parts = split_opcode(opcode);
  std::vector<CompiledRow> const* const rows = Table::instance().find(out.parts[0]);
  if (rows == nullptr) return out;
  out.is_known = true;
  for (CompiledRow const& row : *rows) {
    if (auto const choice = match(row, out.parts)) out.candidates.push_back({&row, *choice, out.parts});
  }
  if (!out.candidates.empty()) return out;
  for (CompiledRow const& row : *rows) {
    auto const order = reordered(row, out.parts);
    if (!order) continue;
    if (auto const choice = match(row, *order)) out.candidates.push_back({&row, *choice, *order});
  }
  return out;
}

struct Decoder {
  Decoder(ptx::ModuleSyntax const& from, Module::Impl& to)
      : syntax(from), module(to), context{to.target, from.version} {}

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

  [[noreturn]] void fail(int line, ErrorCode code, std::string const& what) const {
    throw Error(code, fmt::format("{}:{}: {}", module.source_name, line, what),
                fmt::format("{}:{}", module.source_name, line), what);
  }

  // ---- constants --------------------------------------------------------------------------------------------------

  std::uint32_t new_pool_entry(int bits) {
    auto const offset = static_cast<std::uint32_t>(module.pool.size());
    std::size_t const each = bits <= 32 ? 4 : static_cast<std::size_t>(bits) / 8;
    module.pool.resize(module.pool.size() + each * kLanes);
    return offset;
  }
  Value constant(std::uint64_t number, int bits) {
    if (bits < 64) number &= (std::uint64_t{1} << bits) - 1;
    auto const [entry, is_new] = pool_numbers.try_emplace({bits, number}, 0);
    if (is_new) {
      entry->second = new_pool_entry(bits);
      for (int lane = 0; lane < kLanes; ++lane) {
        if (bits <= 32) {
          auto const narrow = static_cast<std::uint32_t>(number);
          std::memcpy(module.pool.data() + entry->second + 4 * lane, &narrow, 4);
        } else {
          std::memcpy(module.pool.data() + entry->second + static_cast<std::size_t>(bits / 8) * lane, &number,
                      8);
        }
      }
    }
    return {.kind = Value::Kind::kConstant,
            .negated = false,
            .bits = static_cast<std::uint8_t>(bits),
            .offset = entry->second,
            .index = 0};
  }
  Value variable_address(std::uint32_t variable, std::int64_t addend, int bits) {
    auto const [entry, is_new] = pool_variables.try_emplace({bits, variable, addend}, 0);
    if (is_new) {
      entry->second = new_pool_entry(bits);
      module.pool_fixups.push_back({entry->second, static_cast<std::uint8_t>(bits), variable, addend});
    }
    return {.kind = Value::Kind::kConstant,
            .negated = false,
            .bits = static_cast<std::uint8_t>(bits),
            .offset = entry->second,
            .index = 0};
  }

  // ---- names ------------------------------------------------------------------------------------------------------

  Value new_register(std::string const& name, int bits) {
    Value value{.kind = Value::Kind::kRegister,
                .negated = false,
                .bits = static_cast<std::uint8_t>(bits),
                .offset = function->register_bytes,
                .index = function->register_count++};
    std::uint32_t const bytes = bits == 1    ? 64
                                : bits <= 32 ? 128
                                             : static_cast<std::uint32_t>(bits) / 8 * kLanes;
    function->register_bytes += bytes;
    function->register_names.resize(function->register_count);
    function->register_names[value.index] = name;
    value.number = value.index;
    return value;
  }

  /// The register of that name in the innermost scope that declares it; kNone when there is none.
  Value find_register(Scope* scope, std::string const& name) {
    std::size_t digits = name.size();
    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') --digits;
    for (; scope != nullptr; scope = scope->parent) {
      if (auto const found = scope->registers.find(name); found != scope->registers.end())
        return found->second;
      if (auto const plain = scope->declared.find(name); plain != scope->declared.end()) {
        return scope->registers[name] = new_register(name, plain->second);
      }
      // %r10 may be a member of %r<20>, or of %r1<5>: the prefix can end at any digit.
      for (std::size_t cut = digits; cut < name.size() && !scope->ranges.empty(); ++cut) {
        if (name[cut] == '0' && cut + 1 < name.size()) continue;
        auto const range = scope->ranges.find(name.substr(0, cut));
        if (range == scope->ranges.end() || name.size() - cut > 9) continue;
        if (std::stoull(name.substr(cut)) >= range->second.count) continue;
        return scope->registers[name] = new_register(name, range->second.bits);
      }
    }
    return {};
  }
  static Symbol const* find_symbol(Scope* scope, std::string const& name) {
    for (; scope != nullptr; scope = scope->parent) {
      if (auto const found = scope->symbols.find(name); found != scope->symbols.end()) return &found->second;
    }
    return nullptr;
  }

  Value special(Special which, int bits, std::uint64_t addend = 0) {
    auto const [entry, is_new] = special_values.try_emplace({which, bits, addend}, Value{});
    if (is_new) {
      entry->second = new_register("a special register", bits);
      function->specials.push_back({which, entry->second, addend});
    }
    return entry->second;
  }

  /// A register of a function that holds the address of its frame.
  Value frame() {
    if (!function->frame.exists()) function->frame = new_register("the frame", 64);
    return function->frame;
  }
  /// One that holds an address in it.
  Value frame_address(std::uint64_t offset, int bits) {
    auto const [entry, is_new] = frame_values.try_emplace({offset, bits}, Value{});
    if (is_new) {
      entry->second = new_register("an address in the frame", bits);
      function->frame_addresses.emplace_back(entry->second, offset);
    }
    return entry->second;
  }

  std::optional<std::uint32_t> find_callable(std::string name) const {
    if (auto const alias = syntax.aliases.find(name); alias != syntax.aliases.end()) name = alias->second;
    auto const found = callable_numbers.find(name);
    if (found == callable_numbers.end()) return std::nullopt;
    return found->second;
  }
  /// What a pointer to the function holds; the function is linked wherever there are indirect calls.
  std::uint64_t pointer_to(std::uint32_t callable) {
    address_taken[callable] = true;
    return kFunctionWindow + 16 * (std::uint64_t{callable} + 1);
  }

  // ---- operands ---------------------------------------------------------------------------------------------------

  struct Wanted {
    int bits = 0;  // 0: any
    bool wider = false;
    bool is_destination = false;
    std::string_view type;                            // the type modifier, for literals
    bool sink = true, symbol = true, special = true;  // what else than registers and numbers may stand there
  };

  /// Resolves a register, number, symbol or sink. Returns a reason when it does not fit.
  std::string resolve_term(Scope* scope, Term const& term, std::int64_t addend, Wanted const& want,
                           Value& out, Operand& operand) {
    int const any = want.bits == 0 ? 32 : want.bits;
    switch (term.kind) {
      case Term::Kind::kInteger: {
        if (want.is_destination) return "a number where a register is written";
        operand.is_immediate = true;
        operand.immediate = static_cast<std::int64_t>(term.bits);
        int bits = any;
        if (want.bits == 0) {
          auto const value = static_cast<std::int64_t>(term.bits);
          if (value < -(std::int64_t{1} << 31) || value >= (std::int64_t{1} << 32)) bits = 64;
        }
        std::uint64_t number = term.bits;
        if (want.type.starts_with(".f") || want.type.starts_with(".bf"))
          return "an integer where a floating-point constant (0f..., 0d...) belongs";
        if (want.type.ends_with("x2")) return "a number where a pair in a register belongs";
        if (bits == 1) {
          out = constant(number != 0 ? kFullMask : 0, 32);
          out.bits = 1;
          return {};
        }
        out = constant(number, bits);
        return {};
      }
      case Term::Kind::kFloat32:
      case Term::Kind::kFloat64: {
        if (want.is_destination) return "a number where a register is written";
        bool const is_single = term.kind == Term::Kind::kFloat32;
        bool const is_float = want.type.starts_with(".f") && !want.type.ends_with("x2");
        if (want.bits != 0 && !is_float && want.type != (is_single ? ".b32" : ".b64"))
          return "a floating-point constant where another type belongs";
        std::uint64_t bits = term.bits;
        if (any == 32 && !is_single) {
          bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(term.bits)));
        } else if (any == 64 && is_single) {
          bits = std::bit_cast<std::uint64_t>(
              static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(term.bits))));
        } else if (any != 32 && any != 64) {
          return "a floating-point constant of another width";
        }
        out = constant(bits, any);
        return {};
      }
      case Term::Kind::kName: break;
    }
    if (term.name == "_") {
      if (!want.is_destination) return "the sink _ where a value is read";
      if (!want.sink) return "the sink _ does not belong here";
      out = {.kind = Value::Kind::kSink,
             .negated = false,
             .bits = static_cast<std::uint8_t>(any),
             .offset = 0,
             .index = 0};
      return {};
    }
    Value found = find_register(scope, term.name);
    if (!found.exists()) {
      if (auto const known = specials().find(term.name); known != specials().end()) {
        if (want.is_destination) return fmt::format("{} cannot be written", term.name);
        if (!want.special) return fmt::format("{} can only be read by mov", term.name);
        int const own = known->second.second, bits = want.bits == 0 ? own : want.bits;
        bool const fits = bits == own || (own == 32 && bits == 16) ||
                          (known->second.first == Special::kGridid && bits == 32);
        if (!fits) return fmt::format("{} has {} bits", term.name, own);
        if (is_dynamic(known->second.first)) {
          operand.special = static_cast<std::uint8_t>(known->second.first);
          out = {.kind = Value::Kind::kConstant,
                 .negated = false,
                 .bits = static_cast<std::uint8_t>(bits),
                 .offset = constant(0, bits).offset,
                 .index = 0};
        } else {
          out = special(known->second.first, bits);
        }
        out.negated = term.negated;
        return {};
      }
      if (Symbol const* const symbol = find_symbol(scope, term.name)) {
        if (want.is_destination || want.bits == 1 || !want.symbol)
          return fmt::format("the address of {} cannot be used here", term.name);
        int const bits = want.bits == 0 ? 64 : want.bits;
        operand.symbol_space = symbol->space;
        if (symbol->space == Space::kGlobal || symbol->space == Space::kConst) {
          out = variable_address(symbol->variable, addend, bits);
        } else {
          std::uint64_t const address = symbol->address + static_cast<std::uint64_t>(addend);
          if (function->is_entry || (symbol->space != Space::kLocal && !symbol->is_dynamic)) {
            out = constant(address, bits);
          } else {
            out = symbol->is_dynamic ? special(Special::kDynamicShared, bits, address)
                                     : frame_address(address, bits);
          }
        }
        return {};
      }
      if (auto const callable = find_callable(term.name)) {
        if (want.is_destination || addend != 0 || (want.bits != 0 && want.bits != 64))
          return fmt::format("the address of {} cannot be used here", term.name);
        if (callables[*callable].builtin != Builtin::kNone)
          return fmt::format("a pointer to {} is not modelled", term.name);
        out = constant(pointer_to(*callable), 64);
        return {};
      }
      if (term.name[0] == '%')
        return fmt::format("{} is not declared (and no special register that is modelled)", term.name);
      return fmt::format("{} is not declared", term.name);
    }
    if (want.bits != 0) {
      bool const fits = found.bits == want.bits || (want.wider && found.bits > want.bits && want.bits != 1);
      if (!fits) return fmt::format("{} has {} bits, {} are needed", term.name, int{found.bits}, want.bits);
    }
    if (term.negated && want.is_destination) return "! before a result";
    if (term.negated && found.bits != 1)
      return fmt::format("! needs a predicate, {} has {} bits", term.name, int{found.bits});
    if (addend != 0) return "an offset after a register outside an address";
    out = found;
    out.negated = term.negated;
    return {};
  }

  int width(OperandRule const& rule, std::vector<std::string> const& parts, std::string_view& type) {
    if (rule.any_width) return 0;
    if (rule.type == 0) {
      for (std::string const& part : parts) {
        if (rule.typed && bits_of_type(part) == rule.bits) type = part;
      }
      if (rule.is_fraction) type = ".f32";
      return rule.bits;
    }
    int skip = rule.type == 'U' ? 1 : 0;
    for (std::size_t i = parts.size(); i-- > 1;) {
      int const bits = bits_of_type(parts[i]);
      if (bits == 0) continue;
      if (skip-- > 0) continue;
      type = parts[i];
      return rule.type == 'W' ? 2 * bits : bits;
    }
    return 0;
  }

  /// Whether a result may be dropped: the first of `%a|%b`, or the second.
  static bool takes_sink(std::string const& name, bool is_pair, bool is_second) {
    if (name == "setp") return true;
    if (is_second) return name == "shfl" || name == "match";
    if (is_pair) return name == "lop3" || name == "elect" || name == "match";
    return name == "atom" || name == "mbarrier";
  }

  std::string resolve_address(Scope* scope, OperandSyntax const& in, OperandRule const& rule, Operand& out) {
    if (in.kind != OperandSyntax::Kind::kAddress) return "an address in brackets belongs here";
    out.kind = Operand::Kind::kAddress;
    out.displacement = in.displacement;
    Operand scratch;
    std::string reason;
    Symbol const* const symbol =
        in.term.kind == Term::Kind::kName && !function->is_entry ? find_symbol(scope, in.term.name) : nullptr;
    if (in.term.kind == Term::Kind::kInteger) {
      out.value = constant(in.term.bits, 64);
    } else if (symbol != nullptr && symbol->space == Space::kLocal &&
               !find_register(scope, in.term.name).exists()) {
      out.value = frame();
      out.displacement += static_cast<std::int64_t>(symbol->address);
      out.symbol_space = Space::kLocal;
    } else {
      reason = resolve_term(scope, in.term, 0, {}, out.value, out);
      if (!reason.empty()) return reason;
      if (out.value.bits != 32 && out.value.bits != 64) return fmt::format("{} is no address", in.term.name);
      if (out.special != 0) return "a special register is no address";
    }
    if (rule.role == 'c' && in.elements.empty()) return "coordinates belong into the address";
    if (rule.role == 'a' && !in.elements.empty()) return "no coordinates belong into the address";
    for (OperandSyntax const& element : in.elements) {
      Value value;
      reason = resolve_term(scope, element.term, element.displacement, {}, value, scratch);
      if (!reason.empty()) return reason;
      out.elements.push_back(value);
    }
    if (in.has_second) {
      reason = resolve_term(scope, in.second, 0, {}, out.second, scratch);
      if (!reason.empty()) return reason;
    }
    return {};
  }

  std::string resolve_operand(Scope* scope, OperandSyntax const& in, OperandRule const& rule,
                              std::vector<std::string> const& parts, Operand& out) {
    std::string_view type;
    Wanted want{.bits = width(rule, parts, type),
                .wider = rule.wider,
                .is_destination = rule.role == 'd',
                .type = {}};
    want.type = type;
    bool const is_vector = in.kind == OperandSyntax::Kind::kVector;
    want.symbol = !is_vector;
    if (rule.role != 'x') {
      std::string const& name = parts[0];
      bool const is_float = std::any_of(parts.begin(), parts.end(), [](std::string const& part) {
        return bits_of_type(part) != 0 && (part[1] == 'f' || part.starts_with(".bf"));
      });
      want.sink = is_vector || takes_sink(name, in.kind == OperandSyntax::Kind::kPair, false);
      want.special = (name == "mov" || name == "cvt") && !is_float;
      want.symbol = !is_vector && ((name == "mov" && !is_float) || (name == "cvta" && parts[1] != ".to"));
    }
    switch (rule.role) {
      case 'a':
      case 'c': return resolve_address(scope, in, rule, out);
      case 'l': {
        if (in.kind != OperandSyntax::Kind::kTerm || in.term.kind != Term::Kind::kName)
          return "a label belongs here";
        for (Scope* s = scope; s != nullptr; s = s->parent) {
          if (auto const label = s->labels.find(in.term.name); label != s->labels.end()) {
            out.kind = Operand::Kind::kLabel;
            out.target = label->second;
            return {};
          }
          if (auto const table = s->tables.find(in.term.name); table != s->tables.end()) {
            out.kind = Operand::Kind::kLabels;
            for (OperandSyntax const& entry : table->second->operands) {
              Operand label;
              std::string const reason = resolve_operand(scope, entry, rule, parts, label);
              if (!reason.empty()) return reason;
              out.targets.push_back(label.target);
            }
            return {};
          }
        }
        return fmt::format("there is no label {}", in.term.name);
      }
      case 'n': out.kind = Operand::Kind::kName; return {};
      default: break;
    }
    if (in.kind == OperandSyntax::Kind::kGroup) {
      if (rule.role != 'x') return "a parenthesised list does not belong here";
      out.kind = Operand::Kind::kName;
      return {};
    }
    if (rule.role == 'x') {
      if (in.kind == OperandSyntax::Kind::kAddress) {
        OperandRule any = rule;
        any.role = in.elements.empty() ? 'a' : 'c';
        return resolve_address(scope, in, any, out);
      }
      if (in.kind == OperandSyntax::Kind::kTerm && in.term.kind == Term::Kind::kName && in.term.name != "_" &&
          in.term.name[0] != '%' && !find_register(scope, in.term.name).exists() &&
          find_symbol(scope, in.term.name) == nullptr) {
        out.kind = Operand::Kind::kName;
        return {};
      }
    }
    if (in.kind == OperandSyntax::Kind::kAddress) return "an address does not belong here";
    if (in.kind == OperandSyntax::Kind::kVector) {
      int count = rule.count;
      if (rule.by_modifier) {
        count = 1;
        for (std::string const& part : parts) {
          if (part == ".v2") count = 2;
          if (part == ".v4") count = 4;
          if (part == ".v8") count = 8;
        }
      }
      if (rule.role != 'x' && !rule.vector) return "a vector does not belong here";
      if (rule.role != 'x' && static_cast<std::size_t>(count) != in.elements.size()) {
        return fmt::format("a vector of {} belongs here, not of {}", count, in.elements.size());
      }
      out.kind = Operand::Kind::kVector;
      for (OperandSyntax const& element : in.elements) {
        if (element.kind != OperandSyntax::Kind::kTerm) return "a vector element is a register or a number";
        Value value;
        Operand scratch;
        if (rule.role == 'x' && element.term.name == "_") want.is_destination = true;
        std::string const reason =
            resolve_term(scope, element.term, element.displacement, want, value, scratch);
        if (!reason.empty()) return reason;
        if (scratch.special != 0) return "a clock does not belong into a vector";
        if (scratch.is_immediate && in.elements.size() == 1) {
          out.is_immediate = true;
          out.immediate = scratch.immediate;
        }
        out.element_immediates.push_back(scratch.is_immediate ? std::optional(scratch.immediate)
                                                              : std::nullopt);
        out.elements.push_back(value);
      }
      if (!out.elements.empty()) out.value = out.elements[0];
      return {};
    }
    if (rule.vector && rule.by_modifier) {
      for (std::string const& part : parts) {
        if (part == ".v2" || part == ".v4" || part == ".v8") return "a vector in braces belongs here";
      }
    } else if (rule.vector) {
      return fmt::format("a vector of {} belongs here", rule.count);
    }
    if (rule.needs_second && in.kind != OperandSyntax::Kind::kPair) return "a pair belongs here";
    if (rule.role == 'x' && in.term.name == "_") want.is_destination = true;
    out.kind = in.kind == OperandSyntax::Kind::kPair ? Operand::Kind::kPair : Operand::Kind::kValue;
    std::string const reason = resolve_term(scope, in.term, in.displacement, want, out.value, out);
    if (!reason.empty()) return reason;
    if (rule.is_place && out.is_immediate && (out.immediate < 0 || out.immediate > 255))
      return "a constant from 0 to 255 belongs here";
    if (out.special != 0 && parts[0] != "mov") return "this special register can only be read by mov";
    if (in.kind == OperandSyntax::Kind::kPair) {
      if (rule.second_bits == 0 && rule.role != 'x') return "a pair does not belong here";
      Operand scratch;
      Wanted second{.bits = rule.role == 'x' ? 0 : rule.second_bits,
                    .wider = false,
                    .is_destination = rule.role != 's',
                    .type = {},
                    .sink = rule.role == 'x' || takes_sink(parts[0], true, true)};
      return resolve_term(scope, in.second, 0, second, out.second, scratch);
    }
    if (rule.by_modifier) {
      // ld and st treat a scalar as a vector of one.
      out.elements.assign(1, out.value);
    }
    return {};
  }

  // ---- instructions -----------------------------------------------------------------------------------------------

  std::string fit(Scope* scope, Statement const& statement, CompiledRow const& row,
                  std::vector<std::string> const& parts, Instr& instr) {
    std::size_t required = 0;
    for (OperandRule const& rule : row.operands) required += rule.optional ? 0 : 1;
    std::size_t const given = statement.operands.size();
    if (given < required || given > row.operands.size()) {
      return fmt::format("{} operands, {} to {} belong here", given, required, row.operands.size());
    }
    instr.ops.assign(given, {});
    for (std::size_t k = 0; k < given; ++k) {
      std::string const reason =
          resolve_operand(scope, statement.operands[k], row.operands[k], parts, instr.ops[k]);
      if (!reason.empty()) return fmt::format("operand {}: {}", k + 1, reason);
    }
    return {};
  }

  Instr decode_instruction(Pending const& from) {
    Statement const& statement = *from.statement;
    Instr instr;
    InstrText& info = function->texts.emplace_back();
    info.text = ptx::print(statement);
    info.opcode = statement.text;
    info.line = statement.line;
    info.source_file = from.location[0];
    info.source_line = from.location[1];
    auto const [id, is_new] =
        opcode_ids.try_emplace(info.opcode, static_cast<std::uint32_t>(module.opcodes.size()));
    if (is_new) {
      module.opcodes.push_back(info.opcode);
      spellings.push_back(spelling_of(info.opcode));
    }
    Spelling const& spelling = spellings[id->second];
    info.parts = spelling.parts;
    info.opcode_id = id->second;
    instr.info = &info;
    if (info.parts[0] == "call") return decode_call(from, instr);

    if (!spelling.is_known) {
      fail(statement.line, ErrorCode::kUnsupported,
           fmt::format("`{}`: {} is no instruction that is modelled", info.text, info.parts[0]));
    }
    std::string reason = fmt::format("no form of {} with these modifiers is modelled", info.parts[0]);
    int best = 0;  // how far the best row got: 1 modifiers, 2 operands
    for (Spelling::Candidate const& candidate : spelling.candidates) {
      CompiledRow const& row = *candidate.row;
      info.parts = candidate.parts;
      Instr attempt = instr;
      std::string const misfit = fit(from.scope, statement, row, info.parts, attempt);
      if (!misfit.empty()) {
        if (best < 1) reason = misfit;
        best = std::max(best, 1);
        continue;
      }
      if (!has(context.target, row.row->needs)) {
        if (best < 2)
          reason =
              fmt::format("needs {}, the target is {}", describe(row.row->needs), to_string(context.target));
        best = 2;
        continue;
      }
      if (context.ptx_version < row.row->ptx) {
        if (best < 2) {
          reason = fmt::format("needs PTX {}.{}, the text says {}.{}", row.row->ptx / 10, row.row->ptx % 10,
                               context.ptx_version / 10, context.ptx_version % 10);
        }
        best = 2;
        continue;
      }
      attempt.choice = candidate.choice;
      attempt.row = row.row;
      function_rows.push_back(&row);
      attempt.rendezvous = row.row->rendezvous;
      attempt.is_mma = info.parts[0] == "mma" || info.parts[0] == "wgmma";
      attempt.exec = row.row->bind != nullptr ? row.row->bind(attempt, context) : row.row->exec;
      resolve_guard(from, attempt);
      if (info.parts[0] == "ld") attempt.aux[5] = from.used_bytes;
      return attempt;
    }
    fail(statement.line, ErrorCode::kUnsupported, fmt::format("`{}`: {}", info.text, reason));
  }

  /// The Passed of an element of a call's lists; `bytes` is what the callee says, 0 when that is not known.
  Passed passed(Scope* scope, OperandSyntax const& element, std::uint32_t bytes, bool is_result,
                Operand& values) {
    Passed out;
    auto const bad = [&](std::string const& what) { return Error(ErrorCode::kBadArgument, what); };
    if (element.kind != OperandSyntax::Kind::kTerm) throw bad("an element of a list is a name or a number");
    Term const& term = element.term;
    bool const is_name = term.kind == Term::Kind::kName;
    if (is_name && term.name != "_" && !find_register(scope, term.name).exists()) {
      if (Symbol const* const symbol = find_symbol(scope, term.name);
          symbol != nullptr && symbol->space == Space::kLocal) {
        if (bytes != 0 && bytes != symbol->bytes)
          throw bad(
              fmt::format("{} has {} bytes, the callee's parameter {}", term.name, symbol->bytes, bytes));
        out.in_memory = true;
        out.offset = static_cast<std::uint32_t>(symbol->address);
        out.bytes = symbol->bytes;
        return out;
      }
    }
    Operand scratch;
    std::string const reason = resolve_term(
        scope, term, element.displacement,
        {.bits = static_cast<int>(8 * bytes), .wider = true, .is_destination = is_result, .type = {}},
        out.value, scratch);
    if (!reason.empty()) throw bad(reason);
    if (scratch.special != 0) throw bad("a clock is no argument");
    out.bytes = bytes != 0 ? bytes : out.value.bits / 8u;
    values.elements.push_back(out.value);
    return out;
  }

  /// call (results), function, (arguments), prototype: operands are results in registers, the callee, arguments in registers.
  Instr decode_call(Pending const& from, Instr instr) {
    Statement const& statement = *from.statement;
    auto const bad = [&](std::string const& what) {
      fail(statement.line, ErrorCode::kBadArgument, fmt::format("`{}`: {}", instr.info->text, what));
    };
    CompiledRow const& row = Table::instance().find("call")->front();
    auto const choice = match(row, instr.info->parts);
    if (!choice)
      fail(statement.line, ErrorCode::kUnsupported,
           fmt::format("`{}`: no form of call with these modifiers is modelled", instr.info->text));
    instr.choice = *choice;
    instr.row = row.row;
    instr.exec = row.row->exec;
    instr.ops.resize(3);
    instr.ops[0].kind = instr.ops[2].kind = Operand::Kind::kVector;
    function_rows.push_back(&row);

    std::vector<OperandSyntax> const& given = statement.operands;
    std::size_t at = 0;
    auto const list = [&]() -> std::vector<OperandSyntax> {
      bool const is = at < given.size() && given[at].kind == OperandSyntax::Kind::kGroup;
      return is ? given[at++].elements : std::vector<OperandSyntax>();
    };
    std::vector<OperandSyntax> const results = list();
    if (at == given.size() || given[at].kind != OperandSyntax::Kind::kTerm ||
        given[at].term.kind != Term::Kind::kName)
      bad("a function or a register belongs here");
    std::string const callee = given[at++].term.name;
    std::vector<OperandSyntax> const arguments = list();
    CallSite site;
    Callable form;
    Value const target = find_register(from.scope, callee);
    if (target.exists()) {
      if (target.bits != 64) bad(fmt::format("{} has {} bits, 64 are needed", callee, int{target.bits}));
      if (at == given.size()) bad("a prototype or a list of targets belongs behind an indirect call");
      site.is_indirect = function->calls_indirectly = true;
      instr.ops[1].kind = Operand::Kind::kValue;
      instr.ops[1].value = target;
      form = form_of(from.scope, given[at++].term.name, site, bad);
    } else {
      auto const number = find_callable(callee);
      if (!number) bad(fmt::format("{} is not declared", callee));
      form = callables[*number];
      instr.ops[1].kind = Operand::Kind::kName;
      site.function = *number;
      site.builtin = form.builtin;
      module.uses_heap |= form.builtin == Builtin::kMalloc || form.builtin == Builtin::kFree;
      if (form.builtin == Builtin::kNone && !form.syntax->has_body) {
        fail(statement.line, ErrorCode::kUnsupported,
             fmt::format("`{}`: {} is not in this text, and no function of the runtime that is modelled",
                         instr.info->text, callee));
      }
    }
    if (at != given.size()) bad("too many operands");
    if (results.size() != form.result_bytes.size() || arguments.size() != form.input_bytes.size()) {
      bad(fmt::format("{} results and {} arguments, the function has {} and {}", results.size(),
                      arguments.size(), form.result_bytes.size(), form.input_bytes.size()));
    }
    try {
      for (std::size_t k = 0; k < results.size(); ++k)
        site.results.push_back(passed(from.scope, results[k], form.result_bytes[k], true, instr.ops[0]));
      for (std::size_t k = 0; k < arguments.size(); ++k)
        site.arguments.push_back(passed(from.scope, arguments[k], form.input_bytes[k], false, instr.ops[2]));
    } catch (Error const& error) {
      bad(error.what());
    }
    instr.aux[0] = static_cast<std::uint32_t>(function->calls.size());
    function->calls.push_back(std::move(site));
    resolve_guard(from, instr);
    return instr;
  }

  /// The parameters that a .callprototype or the first of .calltargets has.
  template <class Bad>
  Callable form_of(Scope* scope, std::string const& name, CallSite& site, Bad const& bad) {
    for (; scope != nullptr; scope = scope->parent) {
      if (auto const found = scope->prototypes.find(name); found != scope->prototypes.end()) {
        Callable out;
        out.result_bytes = sizes_of(found->second->returns);
        out.input_bytes = sizes_of(found->second->params);
        return out;
      }
      auto const table = scope->tables.find(name);
      if (table == scope->tables.end() || !table->second->is_call_list) continue;
      for (OperandSyntax const& one : table->second->operands) {
        auto const number = find_callable(one.term.name);
        if (!number) bad(fmt::format("the target {} is not declared", one.term.name));
        pointer_to(*number);
        site.targets.push_back(*number);
      }
      return callables[site.targets.at(0)];
    }
    bad(fmt::format("there is no prototype {}", name));
    return {};
  }

  void resolve_guard(Pending const& from, Instr& instr) {
    Statement const& statement = *from.statement;
    if (!statement.guarded) return;
    Operand scratch;
    std::string const reason =
        resolve_term(from.scope, statement.guard, 0,
                     {.bits = 1, .wider = false, .is_destination = false, .type = {}}, instr.guard, scratch);
    if (!reason.empty())
      fail(statement.line, ErrorCode::kBadArgument,
           fmt::format("guard of `{}`: {}", instr.info->text, reason));
  }

  // ---- declarations -----------------------------------------------------------------------------------------------

  std::uint64_t bytes_of(ptx::Declaration const& declaration, ptx::Declarator const& name) const {
    int const bits = bits_of_type(declaration.type);
    if (bits < 8) {
      fail(declaration.line, ErrorCode::kUnsupported,
           fmt::format("{} variables of type {} are not modelled", declaration.space, declaration.type));
    }
    std::uint64_t bytes =
        static_cast<std::uint64_t>(bits) / 8 * static_cast<std::uint64_t>(declaration.vector);
    for (std::uint64_t const dim : name.dims) {
      if (dim != 0 && bytes > (std::uint64_t{1} << 32) / dim) return std::uint64_t{1} << 40;
      bytes *= dim;
    }
    return bytes;
  }
  static std::uint32_t alignment_of(ptx::Declaration const& declaration) {
    if (declaration.alignment != 0) return static_cast<std::uint32_t>(declaration.alignment);
    return static_cast<std::uint32_t>(std::max(1, bits_of_type(declaration.type) / 8 * declaration.vector));
  }

  void declare_registers(Scope& scope, ptx::Declaration const& declaration) {
    int const bits = bits_of_type(declaration.type);
    if (bits == 0 || declaration.vector != 1) {
      fail(declaration.line, ErrorCode::kUnsupported,
           fmt::format("registers of type {} are not modelled", declaration.type));
    }
    for (ptx::Declarator const& name : declaration.names) {
      if (name.ranged) {
        scope.ranges[name.name] = {bits, name.count};
      } else {
        scope.declared[name.name] = bits;
      }
    }
  }

  void declare_local(Scope& scope, ptx::Declaration const& declaration) {
    for (ptx::Declarator const& name : declaration.names) {
      std::uint64_t const at = align_up(function->local_bytes, alignment_of(declaration));
      std::uint64_t const bytes = bytes_of(declaration, name);
      if (at + bytes > 512 * 1024)
        fail(declaration.line, ErrorCode::kUnsupported, "more than 512 KiB of local memory a thread");
      function->local_bytes = static_cast<std::uint32_t>(at + bytes);
      function->local_alignment = std::max(function->local_alignment, alignment_of(declaration));
      scope.symbols[name.name] = {Space::kLocal, at, 0, static_cast<std::uint32_t>(bytes), false};
    }
  }

  /// "used_bytes_mask 0x7": of what the next instruction loads only these bytes matter.
  void read_pragma(std::string_view text) {
    static constexpr std::string_view kUsedBytes = "used_bytes_mask ";
    if (!text.starts_with(kUsedBytes)) return;
    used_bytes = static_cast<std::uint32_t>(
        std::strtoul(std::string(text.substr(kUsedBytes.size())).c_str(), nullptr, 0));
  }

  void walk(std::vector<Statement> const& body, Scope* scope) {
    for (Statement const& statement : body) {
      switch (statement.kind) {
        case Statement::Kind::kInstruction:
          pending.push_back({&statement, scope, location, std::exchange(used_bytes, 0)});
          break;
        case Statement::Kind::kLabel:
          if (!scope->labels.try_emplace(statement.text, static_cast<std::uint32_t>(pending.size())).second) {
            fail(statement.line, ErrorCode::kBadArgument,
                 fmt::format("the label {} is there twice in one scope", statement.text));
          }
          break;
        case Statement::Kind::kTargets: scope->tables[statement.text] = &statement; break;
        case Statement::Kind::kPrototype:
          scope->prototypes[statement.text] = statement.prototype.get();
          break;
        case Statement::Kind::kPragma: read_pragma(statement.text); break;
        case Statement::Kind::kLocation: location = statement.location; break;
        case Statement::Kind::kBlock: {
          Scope& inner = scopes.emplace_back();
          inner.parent = scope;
          walk(statement.body, &inner);
          break;
        }
        case Statement::Kind::kDeclaration: {
          ptx::Declaration const& declaration = statement.declaration;
          if (declaration.space == ".reg") {
            declare_registers(*scope, declaration);
          } else if (declaration.space == ".local" || declaration.space == ".param") {
            declare_local(*scope, declaration);
          } else if (declaration.space == ".shared") {
            place_shared(*scope, declaration);
          } else if (declaration.space == ".global" || declaration.space == ".const") {
            declare_variables(*scope, declaration);
          } else {
            fail(declaration.line, ErrorCode::kUnsupported,
                 fmt::format("{} variables are not modelled", declaration.space));
          }
          break;
        }
      }
    }
  }

  void place_shared(Scope& scope, ptx::Declaration const& declaration) {
    for (ptx::Declarator const& name : declaration.names) {
      std::uint64_t const at = align_up(function->static_shared_bytes, alignment_of(declaration));
      std::uint64_t const bytes = bytes_of(declaration, name);
      if (at + bytes > 1024 * 1024)
        fail(declaration.line, ErrorCode::kUnsupported, "more than 1 MiB of static shared memory");
      function->static_shared_bytes = static_cast<std::uint32_t>(at + bytes);
      scope.symbols[name.name] = {Space::kShared, kSharedBase + at, 0, 0, false};
    }
  }

  void put(Variable& variable, std::uint64_t at, std::uint64_t value, unsigned width, int line) {
    if (at + width > variable.bytes) fail(line, ErrorCode::kBadArgument, "more initialisers than elements");
    if (variable.initial.size() < at + width) variable.initial.resize(at + width);
    for (unsigned i = 0; i < width; ++i) variable.initial[at + i] = static_cast<std::byte>(value >> (8 * i));
  }
  void initialize(Variable& variable, ptx::Initializer const& initializer, std::uint64_t& at, unsigned width,
                  bool is_float, int line) {
    if (initializer.is_list) {
      for (ptx::Initializer const& element : initializer.list)
        initialize(variable, element, at, width, is_float, line);
      return;
    }
    Term const& term = initializer.term;
    switch (term.kind) {
      case Term::Kind::kInteger: put(variable, at, term.bits, width, line); break;
      case Term::Kind::kFloat32:
        put(variable, at,
            width == 8 ? std::bit_cast<std::uint64_t>(
                             double{std::bit_cast<float>(static_cast<std::uint32_t>(term.bits))})
                       : term.bits,
            width, line);
        break;
      case Term::Kind::kFloat64:
        put(variable, at,
            width == 4 && is_float
                ? std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(term.bits)))
                : term.bits,
            width, line);
        break;
      case Term::Kind::kName: {
        Symbol const* const symbol = find_symbol(&globals, term.name);
        auto const callable = find_callable(term.name);
        if (symbol == nullptr && callable && initializer.addend == 0 && width == 8) {
          put(variable, at, pointer_to(*callable), width, line);
          break;
        }
        if (symbol == nullptr || (symbol->space != Space::kGlobal && symbol->space != Space::kConst)) {
          fail(line, ErrorCode::kUnsupported,
               fmt::format("the initialiser {} is no variable before this one", term.name));
        }
        if (width != 8)
          fail(line, ErrorCode::kUnsupported, "an address in an initialiser that is not 64 bits wide");
        put(variable, at, 0, width, line);
        variable.fixups.push_back({at, symbol->variable, initializer.addend, width});
        break;
      }
    }
    at += width;
  }

  void declare_variables(Scope& scope, ptx::Declaration const& declaration) {
    for (ptx::Declarator const& name : declaration.names) {
      Variable variable;
      variable.name = name.name;
      variable.constant = declaration.space == ".const";
      variable.bytes = bytes_of(declaration, name);
      variable.alignment = alignment_of(declaration);
      std::uint64_t const element = static_cast<std::uint64_t>(bits_of_type(declaration.type)) / 8;
      if (element == 0 || variable.bytes > (std::uint64_t{1} << 31)) {
        fail(declaration.line, ErrorCode::kUnsupported,
             fmt::format("the variable {} of type {} is not modelled", name.name, declaration.type));
      }
      scope.symbols[name.name] = {variable.constant ? Space::kConst : Space::kGlobal, 0,
                                  static_cast<std::uint32_t>(module.variables.size()), 0, false};
      if (name.has_initializer) {
        variable.has_initializer = true;
        if (variable.bytes == 0 && name.initializer.is_list)
          variable.bytes = element * name.initializer.list.size();
        std::uint64_t at = 0;
        initialize(variable, name.initializer, at, static_cast<unsigned>(element), declaration.type[1] == 'f',
                   declaration.line);
      }
      module.variables.push_back(std::move(variable));
    }
  }

  // ---- functions --------------------------------------------------------------------------------------------------

  std::vector<std::uint32_t> sizes_of(std::vector<ptx::Declaration> const& list) {
    std::vector<std::uint32_t> out;
    for (ptx::Declaration const& one : list) {
      std::uint64_t const bits = static_cast<std::uint64_t>(bits_of_type(one.type));
      std::uint64_t const bytes = bits == 1 ? 4 : bytes_of(one, one.names.at(0));
      if (bytes > 64 * 1024) fail(one.line, ErrorCode::kUnsupported, "more than 64 KiB of parameters");
      out.push_back(static_cast<std::uint32_t>(bytes));
    }
    return out;
  }

  /// Parameters of a function: registers, or memory of its frame.
  void declare_passed(Scope& scope, std::vector<ptx::Declaration> const& from, std::vector<Passed>& to) {
    std::vector<std::uint32_t> const sizes = sizes_of(from);
    for (std::size_t k = 0; k < from.size(); ++k) {
      std::string const& name = from[k].names.at(0).name;
      Passed one;
      one.bytes = sizes[k];
      if (from[k].space == ".reg") {
        declare_registers(scope, from[k]);
        one.value = find_register(&scope, name);
      } else {
        declare_local(scope, from[k]);
        one.in_memory = true;
        one.offset = static_cast<std::uint32_t>(scope.symbols.at(name).address);
      }
      to.push_back(one);
    }
  }

  static bool calls_something(std::vector<Statement> const& body) {
    return std::any_of(body.begin(), body.end(), [](Statement const& statement) {
      return statement.text.starts_with("call") || calls_something(statement.body);
    });
  }

  void declare_kernel_parameters(Scope& scope, ptx::FunctionSyntax const& from) {
    for (ptx::Declaration const& parameter : from.params) {
      ptx::Declarator const& name = parameter.names.at(0);
      std::uint64_t const bytes = bytes_of(parameter, name);
      std::uint64_t const at = align_up(function->param_bytes, alignment_of(parameter));
      if (at + bytes > 64 * 1024)
        fail(parameter.line, ErrorCode::kUnsupported, "more than 64 KiB of parameters");
      function->parameters.push_back(
          {name.name, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(bytes)});
      function->param_bytes = static_cast<std::uint32_t>(at + bytes);
      scope.symbols[name.name] = {Space::kParam, at, 0, 0, false};
    }
  }

  void decode_function(ptx::FunctionSyntax const& from) {
    Function& out = module.functions.emplace_back();
    function = &out;
    context.in_function = !from.is_entry;
    frame_values.clear();
    scopes.clear();
    pending.clear();
    function_rows.clear();
    special_values.clear();
    location = {};
    out.name = from.name;
    out.is_entry = from.is_entry;
    out.line = from.line;
    out.register_names.resize(1);
    for (auto const& [directive, values] : from.directives) {
      std::array<int, 3> shape{1, 1, 1};
      for (std::size_t i = 0; i < values.size() && i < 3; ++i) shape[i] = static_cast<int>(values[i]);
      if (directive == ".maxntid") out.max_ntid = shape;
      if (directive == ".reqntid") out.required_ntid = shape;
      if (directive == ".reqnctapercluster") out.required_cluster = shape;
    }

    Scope& scope = scopes.emplace_back();
    scope.parent = &globals;
    bool const links = !from.is_entry || calls_something(from.body);
    if (links) out.static_shared_bytes = shared_of_functions_bytes;
    if (from.is_entry) {
      declare_kernel_parameters(scope, from);
    } else {
      declare_passed(scope, from.returns, out.results);
      declare_passed(scope, from.params, out.inputs);
    }

    std::unordered_set<std::string> used;
    collect_names(from.body, used);
    std::vector<std::pair<ptx::Declaration const*, ptx::Declarator const*>> dynamic;
    for (ptx::Declaration const* declaration : shared_declarations) {
      for (ptx::Declarator const& name : declaration->names) {
        if (!used.contains(name.name)) continue;
        bool const is_open = !name.dims.empty() && name.dims[0] == 0;
        if (declaration->linkage == ".extern" || is_open) {
          dynamic.emplace_back(declaration, &name);
          if (!from.is_entry) scope.symbols[name.name] = {Space::kShared, 0, 0, 0, true};
        } else if (auto const placed = shared_of_functions.find(name.name);
                   links && placed != shared_of_functions.end()) {
          scope.symbols[name.name] = placed->second;
        } else {
          ptx::Declaration one = *declaration;
          one.names = {name};
          place_shared(scope, one);
          if (!from.is_entry) shared_of_functions[name.name] = scope.symbols.at(name.name);
        }
      }
    }
    walk(from.body, &scope);
    if (!from.is_entry) shared_of_functions_bytes = std::exchange(out.static_shared_bytes, 0);
    if (links && syntax.functions.size() > 1 && !dynamic.empty())
      out.dynamic_shared_alignment = dynamic_shared_alignment;
    for (auto const& [declaration, name] : dynamic) {
      out.dynamic_shared_alignment =
          std::max({out.dynamic_shared_alignment, alignment_of(*declaration), 16u});
    }
    for (auto const& [declaration, name] : dynamic) {
      if (!from.is_entry) break;
      scope.symbols[name->name] = {
          Space::kShared, kSharedBase + align_up(out.static_shared_bytes, out.dynamic_shared_alignment), 0, 0,
          false};
    }

    Statement last;
    last.kind = Statement::Kind::kInstruction;
    last.text = from.is_entry ? "exit" : "ret";
    last.line = pending.empty() ? from.line : pending.back().statement->line;
    pending.push_back({&last, &scope, location, 0});
    out.code.reserve(pending.size());
    for (Pending const& one : pending) out.code.push_back(decode_instruction(one));
    mark_bit_field_stores();
    mark_copies();
    share_registers(out, function_rows);
  }

  /// ld a; and b, a, mask; ...; or c, b, ...; st c to where a came from (or st b, for a field of zeros): an assignment to a bit field. What the field's
  /// neighbours were does not matter to it, so that the load gives no poison.
  void mark_bit_field_stores() {
    std::vector<Instr>& code = function->code;
    auto const is = [&](std::size_t pc, char const* name) { return code[pc].info->parts[0] == name; };
    auto const same = [](Value const& a, Value const& b) {
      return a.is_register() && b.is_register() && a.index == b.index;
    };
    for (std::size_t pc = 0; pc + 3 < code.size(); ++pc) {
      if (!is(pc, "ld") || !is(pc + 1, "and") || !same(code[pc].v(0), code[pc + 1].v(1)) ||
          !code[pc + 1].v(2).is_constant())
        continue;
      std::size_t k = pc + 2;
      Value last = code[pc + 1].v(0);
      for (; k < std::min(pc + 7, code.size() - 1) && !is(k, "or") && !is(k, "st"); ++k) {
      }
      if (is(k, "or") && (same(code[k].v(1), last) || same(code[k].v(2), last))) last = code[k++].v(0);
      if (k >= code.size() || !is(k, "st") || !same(code[k].v(1), last)) continue;
      Operand const &from = code[pc].ops[1], &to = code[k].ops[0];
      if (same(from.value, to.value) && from.displacement == to.displacement) code[pc].aux[6] = 1;
    }
  }

  /// Loads whose registers are stored and nothing else, as compilers copy structures with padding in them.
  void mark_copies() {
    std::vector<bool> used(function->register_count, false);
    auto const use = [&](Value const& value) {
      if (value.is_register()) used[value.index] = true;
    };
    for (Instr const& instr : function->code) {
      use(instr.guard);
      bool const loads = instr.info->parts[0] == "ld", stores = instr.info->parts[0] == "st";
      for (std::size_t k = 0; k < instr.ops.size(); ++k) {
        if ((loads && k == 0) || (stores && k == 1)) continue;
        use(instr.ops[k].value);
        use(instr.ops[k].second);
        for (Value const& element : instr.ops[k].elements) use(element);
      }
    }
    for (Instr& instr : function->code) {
      if (instr.info->parts[0] != "ld" || instr.aux[6] != 0) continue;
      std::vector<Value> const& to = instr.ops[0].elements;
      if (std::none_of(to.begin(), to.end(),
                       [&](Value const& one) { return !one.is_register() || used[one.index]; }))
        instr.aux[6] = 2;
    }
  }

  void declare_functions() {
    for (ptx::FunctionSyntax const& one : syntax.functions) {
      if (one.is_entry) continue;
      auto const [entry, is_new] =
          callable_numbers.try_emplace(one.name, static_cast<std::uint32_t>(callables.size()));
      if (is_new) {
        callables.emplace_back();
        module.function_names.push_back(one.name);
      }
      Callable& callable = callables[entry->second];
      if (callable.syntax != nullptr && !one.has_body) continue;
      callable.syntax = &one;
      callable.result_bytes = sizes_of(one.returns);
      callable.input_bytes = sizes_of(one.params);
      if (one.has_body) continue;
      std::vector<std::uint32_t> const wide(callable.input_bytes.size(), 8);
      if (one.name == "vprintf" && callable.input_bytes == wide && wide.size() == 2)
        callable.builtin = Builtin::kPrintf;
      if (one.name == "__assertfail" && callable.input_bytes == std::vector<std::uint32_t>{8, 8, 4, 8, 8})
        callable.builtin = Builtin::kAssertFail;
      if (one.name == "malloc" && callable.input_bytes == wide && wide.size() == 1 &&
          callable.result_bytes == wide)
        callable.builtin = Builtin::kMalloc;
      if (one.name == "free" && callable.input_bytes == wide && wide.size() == 1)
        callable.builtin = Builtin::kFree;
    }
    address_taken.assign(callables.size(), false);
    for (ptx::Declaration const& declaration : syntax.variables) {
      if (declaration.space == ".shared")
        dynamic_shared_alignment = std::max(dynamic_shared_alignment, alignment_of(declaration));
    }
  }

  void decode_functions() {
    for (Callable& one : callables) {
      if (!one.syntax->has_body) continue;
      decode_function(*one.syntax);
      one.decoded = function;
    }
    std::vector<Function const*> decoded;
    for (Callable const& one : callables) decoded.push_back(one.decoded);
    std::vector<Function*> kernels;
    for (ptx::FunctionSyntax const& one : syntax.functions) {
      if (!one.is_entry || !one.has_body) continue;
      decode_function(one);
      kernels.push_back(function);
    }
    for (Function* kernel : kernels) {
      if (std::any_of(kernel->calls.begin(), kernel->calls.end(),
                      [](CallSite const& site) { return site.builtin == Builtin::kNone; })) {
        kernel = &module.functions.emplace_back(link(*kernel, decoded, address_taken));
      }
      module.entries[kernel->name] = kernel;
    }
  }

  void run() {
    declare_functions();
    for (ptx::Declaration const& declaration : syntax.variables) {
      if (declaration.space == ".shared") {
        shared_declarations.push_back(&declaration);
      } else if (declaration.space == ".global" || declaration.space == ".const") {
        if (declaration.linkage == ".extern") {
          fail(declaration.line, ErrorCode::kUnsupported,
               fmt::format("the external variable {}", declaration.names[0].name));
        }
        declare_variables(globals, declaration);
      } else {
        fail(declaration.line, ErrorCode::kUnsupported,
             fmt::format("{} variables of a module are not modelled", declaration.space));
      }
    }
    decode_functions();
  }
};

/// PTX for an arch-specific target runs on that chip alone, family PTX on the family, plain PTX on every later chip.
bool runs_on(Target const& code, Target const& chip) {
  if (code.suffix == 'a') return code.number() == chip.number();
  if (code.suffix == 'f') return code.major == chip.major && code.minor <= chip.minor;
  return code.number() <= chip.number();
}

}  // namespace

Error unsupported(Instr const& instr, std::string_view why) {
  return Error(ErrorCode::kUnsupported,
               fmt::format("line {}: `{}`: {}", instr.info->line, instr.info->text, why),
               fmt::format("line {}", instr.info->line), instr.info->text, std::string(why));
}

void check_address(Instr const& instr, Operand const& address, Space space) {
  if (address.symbol_space != Space::kGeneric) {
    if (space != Space::kGeneric && space != address.symbol_space)
      throw unsupported(instr, fmt::format("the symbol lies in {} memory", name_of(address.symbol_space)));
  } else if (address.value.is_constant()) {
    if (space != Space::kLocal) throw unsupported(instr, "only local memory has numbers as addresses");
  }
}

std::unique_ptr<Module::Impl> decode(ptx::ModuleSyntax const& syntax, Profile const& profile,
                                     std::string source_name) {
  auto module = std::make_unique<Module::Impl>();
  module->source_name = std::move(source_name);
  module->target = parse_target(syntax.targets.at(0));
  module->ptx_version = syntax.version;
  module->files = syntax.files;
  Target const chip = parse_target(profile.target);
  DW_CHECK(runs_on(module->target, chip), kUnsupported, "{}: PTX for {} does not run on {}",
           module->source_name, to_string(module->target), to_string(chip));
  DW_CHECK(syntax.address_size == 64, kUnsupported, "{}: addresses of {} bits are not modelled",
           module->source_name, syntax.address_size);
  Decoder decoder(syntax, *module);
  decoder.run();
  return module;
}

}  // namespace deepwell::emu

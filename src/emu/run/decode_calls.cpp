// Call instructions: the callee, and what is passed.
#include <span>

#include "emu/run/decoder.hpp"

namespace deepwell::emu::decoding {
namespace {

/// The elements of a list in parentheses that may stand first; `rest` goes on behind it.
std::span<OperandSyntax const> take_list(std::span<OperandSyntax const>& rest) {
  if (rest.empty() || rest[0].kind != OperandSyntax::Kind::kGroup) return {};
  std::span<OperandSyntax const> const elements = rest[0].elements;
  rest = rest.subspan(1);
  return elements;
}

}  // namespace

Instr Decoder::decode_call(Pending const& from, Instr instr) {
  auto const bad = [&](std::string const& what) { fail(*instr.info, ErrorCode::kBadArgument, what); };
  CompiledRow const& row = Table::instance().find("call")->front();
  auto const choice = match(row, instr.info->parts);
  if (!choice) {
    fail(*instr.info, ErrorCode::kUnsupported, "no form of call with these modifiers is modelled");
  }
  instr.choice = *choice;
  instr.row = row.row;
  instr.exec = row.row->exec;
  instr.ops.resize(3);
  instr.ops[0].kind = instr.ops[2].kind = Operand::Kind::kVector;
  function_rows.push_back(&row);

  std::span<OperandSyntax const> rest = from.statement->operands;
  std::span<OperandSyntax const> const results = take_list(rest);
  if (rest.empty() || rest[0].kind != OperandSyntax::Kind::kTerm || rest[0].term.kind != Term::Kind::kName)
    bad("a function or a register belongs here");
  std::string const& callee = rest[0].term.name;
  rest = rest.subspan(1);
  std::span<OperandSyntax const> const arguments = take_list(rest);
  CallSite site;
  Callable form;
  Value const target = find_register(from.scope, callee);
  if (target.exists()) {
    if (target.bits != 64) bad(fmt::format("{} has {} bits, 64 are needed", callee, int{target.bits}));
    if (rest.empty()) bad("a prototype or a list of targets belongs behind an indirect call");
    site.is_indirect = function->calls_indirectly = true;
    instr.ops[1].kind = Operand::Kind::kValue;
    instr.ops[1].value = target;
    form = form_of(from.scope, rest[0].term.name, site, *instr.info);
    rest = rest.subspan(1);
  } else {
    instr.ops[1].kind = Operand::Kind::kName;
    form = callee_of(callee, site, *instr.info);
  }
  if (!rest.empty()) bad("too many operands");
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

Callable const& Decoder::callee_of(std::string const& name, CallSite& site, InstrText const& at) {
  auto const number = find_callable(name);
  if (!number) fail(at, ErrorCode::kBadArgument, fmt::format("{} is not declared", name));
  Callable const& callee = callables[*number];
  site.function = *number;
  site.builtin = callee.builtin;
  module.uses_heap |= callee.builtin == Builtin::kMalloc || callee.builtin == Builtin::kFree;
  if (callee.builtin == Builtin::kNone && !callee.syntax->has_body) {
    fail(at, ErrorCode::kUnsupported,
         fmt::format("{} is not in this text, and no function of the runtime that is modelled", name));
  }
  return callee;
}

Callable Decoder::form_of(Scope* scope, std::string const& name, CallSite& site, InstrText const& at) {
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
      if (!number)
        fail(at, ErrorCode::kBadArgument, fmt::format("the target {} is not declared", one.term.name));
      pointer_to(*number);
      site.targets.push_back(*number);
    }
    return callables[site.targets.at(0)];
  }
  fail(at, ErrorCode::kBadArgument, fmt::format("there is no prototype {}", name));
}

Passed Decoder::passed(Scope* scope, OperandSyntax const& element, std::uint32_t bytes, bool is_result,
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
        throw bad(fmt::format("{} has {} bytes, the callee's parameter {}", term.name, symbol->bytes, bytes));
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

}  // namespace deepwell::emu::decoding

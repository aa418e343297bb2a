// Functions: their parameters, their shared memory, their code; and which functions a module has.
#include <algorithm>
#include <unordered_set>

#include "emu/run/allocate.hpp"
#include "emu/run/decoder.hpp"
#include "emu/run/link.hpp"

namespace deepwell::emu::decoding {
namespace {

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

bool calls_something(std::vector<Statement> const& body) {
  return std::any_of(body.begin(), body.end(), [](Statement const& statement) {
    return statement.text.starts_with("call") || calls_something(statement.body);
  });
}

/// The function of the runtime that a declaration without a body is.
Builtin builtin_of(Callable const& callable) {
  std::string const& name = callable.syntax->name;
  std::vector<std::uint32_t> const &inputs = callable.input_bytes, wide(inputs.size(), 8);
  if (name == "vprintf" && inputs == wide && wide.size() == 2) return Builtin::kPrintf;
  if (name == "__assertfail" && inputs == std::vector<std::uint32_t>{8, 8, 4, 8, 8})
    return Builtin::kAssertFail;
  if (name == "malloc" && inputs == wide && wide.size() == 1 && callable.result_bytes == wide)
    return Builtin::kMalloc;
  if (name == "free" && inputs == wide && wide.size() == 1) return Builtin::kFree;
  return Builtin::kNone;
}

}  // namespace

void Decoder::declare_functions() {
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
    callable.builtin = builtin_of(callable);
  }
  address_taken.assign(callables.size(), false);
  for (ptx::Declaration const& declaration : syntax.variables) {
    if (declaration.space == ".shared")
      dynamic_shared_alignment = std::max(dynamic_shared_alignment, alignment_of(declaration));
  }
}

void Decoder::decode_functions() {
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

void Decoder::decode_function(ptx::FunctionSyntax const& from) {
  start_function(from);
  Function& out = *function;
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
  std::vector<Declared> const dynamic = place_used_shared(scope, from, links);
  walk(from.body, &scope);
  if (!from.is_entry) shared_of_functions_bytes = std::exchange(out.static_shared_bytes, 0);
  place_dynamic_shared(scope, dynamic, links);

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

void Decoder::start_function(ptx::FunctionSyntax const& from) {
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
}

void Decoder::declare_kernel_parameters(Scope& scope, ptx::FunctionSyntax const& from) {
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

void Decoder::declare_passed(Scope& scope, std::vector<ptx::Declaration> const& from,
                             std::vector<Passed>& to) {
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

std::vector<Declared> Decoder::place_used_shared(Scope& scope, ptx::FunctionSyntax const& from, bool links) {
  std::unordered_set<std::string> used;
  collect_names(from.body, used);
  std::vector<Declared> dynamic;
  for (ptx::Declaration const* declaration : shared_declarations) {
    for (ptx::Declarator const& name : declaration->names) {
      if (!used.contains(name.name)) continue;
      bool const is_open = !name.dims.empty() && name.dims[0] == 0;
      if (declaration->linkage == ".extern" || is_open) {
        dynamic.push_back({declaration, &name});
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
  return dynamic;
}

void Decoder::place_dynamic_shared(Scope& scope, std::vector<Declared> const& dynamic, bool links) {
  if (dynamic.empty()) return;
  std::uint32_t& alignment = function->dynamic_shared_alignment;
  if (links && syntax.functions.size() > 1) alignment = dynamic_shared_alignment;
  for (Declared const& one : dynamic) alignment = std::max({alignment, alignment_of(*one.declaration), 16u});
  if (!function->is_entry) return;
  std::uint64_t const at = kSharedBase + align_up(function->static_shared_bytes, alignment);
  for (Declared const& one : dynamic) scope.symbols[one.name->name] = {Space::kShared, at, 0, 0, false};
}

}  // namespace deepwell::emu::decoding

// Prints syntax trees as PTX.
#include "base/error.hpp"
#include "emu/ptx/syntax.hpp"

namespace deepwell::emu::ptx {
namespace {

std::string print(Term const& term) {
  std::string const sign = term.negated ? "!" : "";
  switch (term.kind) {
    case Term::Kind::kName: return sign + term.name;
    case Term::Kind::kInteger: {
      auto const value = static_cast<std::int64_t>(term.bits);
      return sign + (value < 0 && value > -65536 ? fmt::format("{}", value) : fmt::format("{}", term.bits));
    }
    case Term::Kind::kFloat32: return sign + fmt::format("0f{:08X}", term.bits);
    case Term::Kind::kFloat64: return sign + fmt::format("0d{:016X}", term.bits);
  }
  return {};
}

std::string print_list(std::vector<OperandSyntax> const& list) {
  std::string out;
  for (OperandSyntax const& element : list) {
    if (!out.empty()) out += ", ";
    out += print(element);
  }
  return out;
}

std::string print(Initializer const& initializer) {
  if (!initializer.is_list) {
    std::string out = print(initializer.term);
    if (initializer.addend != 0) out += fmt::format("+{}", initializer.addend);
    return out;
  }
  std::string out = "{";
  for (std::size_t i = 0; i < initializer.list.size(); ++i)
    out += (i != 0 ? ", " : "") + print(initializer.list[i]);
  return out + "}";
}

std::string print(Declaration const& declaration) {
  std::string out;
  if (!declaration.linkage.empty()) out += declaration.linkage + " ";
  out += declaration.space;
  if (declaration.alignment != 0) out += fmt::format(" .align {}", declaration.alignment);
  if (declaration.vector != 1) out += fmt::format(" .v{}", declaration.vector);
  out += " " + declaration.type;
  bool first = true;
  for (Declarator const& name : declaration.names) {
    out += (first ? " " : ", ") + name.name;
    first = false;
    if (name.ranged) out += fmt::format("<{}>", name.count);
    for (std::uint64_t const dim : name.dims) out += dim == 0 ? "[]" : fmt::format("[{}]", dim);
    if (name.has_initializer) out += " = " + print(name.initializer);
  }
  return out;
}

std::string print_parameters(std::vector<Declaration> const& list) {
  std::string out = "(";
  for (std::size_t i = 0; i < list.size(); ++i) out += (i != 0 ? ", " : "") + print(list[i]);
  return out + ")";
}

void print_body(std::vector<Statement> const& body, std::string const& indent, std::string& out) {
  for (Statement const& statement : body) {
    switch (statement.kind) {
      case Statement::Kind::kInstruction:
        out += indent;
        if (statement.guarded) out += "@" + print(statement.guard) + " ";
        out += print(statement) + ";\n";
        break;
      case Statement::Kind::kLabel: out += statement.text + ":\n"; break;
      case Statement::Kind::kDeclaration: out += indent + print(statement.declaration) + ";\n"; break;
      case Statement::Kind::kBlock:
        out += indent + "{\n";
        print_body(statement.body, indent + "  ", out);
        out += indent + "}\n";
        break;
      case Statement::Kind::kTargets:
        out += statement.text + (statement.is_call_list ? ": .calltargets " : ": .branchtargets ") +
               print_list(statement.operands) + ";\n";
        break;
      case Statement::Kind::kPrototype:
        out += statement.text + ": .callprototype ";
        if (!statement.prototype->returns.empty())
          out += print_parameters(statement.prototype->returns) + " ";
        out += statement.prototype->name + " " + print_parameters(statement.prototype->params) + ";\n";
        break;
      case Statement::Kind::kLocation:
        out += fmt::format("{}.loc {} {} 0\n", indent, statement.location[0], statement.location[1]);
        break;
      case Statement::Kind::kPragma: out += fmt::format("{}.pragma \"{}\";\n", indent, statement.text); break;
    }
  }
}

}  // namespace

std::string print(OperandSyntax const& operand) {
  auto const offset = [&] {
    return operand.displacement == 0 ? std::string() : fmt::format("+{}", operand.displacement);
  };
  switch (operand.kind) {
    case OperandSyntax::Kind::kTerm: return print(operand.term) + offset();
    case OperandSyntax::Kind::kPair: return print(operand.term) + "|" + print(operand.second);
    case OperandSyntax::Kind::kVector: return "{" + print_list(operand.elements) + "}";
    case OperandSyntax::Kind::kGroup: return "(" + print_list(operand.elements) + ")";
    case OperandSyntax::Kind::kAddress: {
      std::string out = "[" + print(operand.term) + offset();
      if (!operand.elements.empty()) out += ", {" + print_list(operand.elements) + "}";
      if (operand.has_second) out += ", " + print(operand.second);
      return out + "]";
    }
  }
  return {};
}

std::string print(Statement const& statement) {
  std::string out = statement.text;
  for (std::size_t i = 0; i < statement.operands.size(); ++i)
    out += (i == 0 ? " " : ", ") + print(statement.operands[i]);
  return out;
}

std::string print(ModuleSyntax const& module) {
  std::string out = fmt::format(".version {}.{}\n.target ", module.version / 10, module.version % 10);
  for (std::size_t i = 0; i < module.targets.size(); ++i) out += (i != 0 ? ", " : "") + module.targets[i];
  out += fmt::format("\n.address_size {}\n", module.address_size);
  for (auto const& [index, name] : module.files) out += fmt::format(".file {} \"{}\"\n", index, name);
  for (Declaration const& variable : module.variables) out += print(variable) + ";\n";
  for (FunctionSyntax const& function : module.functions) {
    if (!function.linkage.empty()) out += function.linkage + " ";
    out += function.is_entry ? ".entry " : ".func ";
    if (!function.returns.empty()) out += print_parameters(function.returns) + " ";
    out += function.name + " " + print_parameters(function.params) + "\n";
    for (auto const& [directive, values] : function.directives) {
      out += directive;
      for (std::size_t i = 0; i < values.size(); ++i)
        out += fmt::format("{}{}", i != 0 ? ", " : " ", values[i]);
      out += "\n";
    }
    if (!function.has_body) {
      out += ";\n";
      continue;
    }
    out += "{\n";
    print_body(function.body, "  ", out);
    out += "}\n";
  }
  for (auto const& [name, function] : module.aliases) out += fmt::format(".alias {}, {};\n", name, function);
  return out;
}

}  // namespace deepwell::emu::ptx

// Resolves operands as the rules of a row want them: addresses, labels, vectors, pairs, values.
#include <algorithm>

#include "emu/run/decoder.hpp"

namespace deepwell::emu::decoding {
namespace {

/// The width that a rule wants, 0 for any, and the type that it comes from.
int width(OperandRule const& rule, std::vector<std::string> const& parts, std::string_view& type) {
  if (rule.any_width) return 0;
  if (rule.type == 0) {
    for (std::string const& part : parts) {
      if (!rule.typed || bits_of_type(part) != rule.bits || (rule.role == 'd' && !type.empty())) continue;
      type = part;
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
bool takes_sink(std::string const& name, bool is_pair, bool is_second) {
  if (name == "setp") return true;
  if (is_second) return name == "shfl" || name == "match";
  if (is_pair) return name == "lop3" || name == "elect" || name == "match";
  return name == "atom" || name == "mbarrier";
}

/// The type that registers have to agree with: that of the opcode, but for some of bf16, where ptxas takes any integer, or any type.
std::string_view register_type_of(OperandRule const& rule, std::vector<std::string> const& parts,
                                  std::string_view type) {
  if (rule.is_integer) return kAnyInteger;
  if (rule.is_fraction) return ".f32";
  if (!rule.typed) return {};
  auto const has = [&](std::string_view part) {
    return std::find(parts.begin(), parts.end(), part) != parts.end();
  };
  bool const is_result_of_set = parts[0] == "set" && rule.role == 'd';
  if (type == ".bf16" && (is_result_of_set || (parts[0] != "cvt" && has(".f32") && parts[0] != "set")))
    return kAnyInteger;
  if (type == ".bf16x2" && (is_result_of_set || has(".ue8m0x2"))) return {};
  return type;
}

Wanted wanted(OperandSyntax const& in, OperandRule const& rule, std::vector<std::string> const& parts) {
  Wanted want;
  want.bits = width(rule, parts, want.type);
  want.wider = rule.wider;
  want.is_destination = rule.role == 'd';
  bool const is_vector = in.kind == OperandSyntax::Kind::kVector;
  if (!is_vector || !rule.by_modifier) want.registers = register_type_of(rule, parts, want.type);
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
  return want;
}

/// How many elements a vector has to have.
int vector_length(OperandRule const& rule, std::vector<std::string> const& parts) {
  if (!rule.by_modifier) return rule.count;
  int count = 1;
  for (std::string const& part : parts) {
    if (part == ".v2") count = 2;
    if (part == ".v4") count = 4;
    if (part == ".v8") count = 8;
  }
  return count;
}

}  // namespace

std::string Decoder::resolve_operand(Scope* scope, OperandSyntax const& in, OperandRule const& rule,
                                     std::vector<std::string> const& parts, Operand& out) {
  switch (rule.role) {
    case 'a':
    case 'c': return resolve_address(scope, in, rule, out);
    case 'l': return resolve_label(scope, in, out);
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
      any.takes_any = true;
      return resolve_address(scope, in, any, out);
    }
    if (is_bare_name(scope, in)) {
      out.kind = Operand::Kind::kName;
      return {};
    }
  }
  if (in.kind == OperandSyntax::Kind::kAddress) return "an address does not belong here";
  Wanted const want = wanted(in, rule, parts);
  if (in.kind == OperandSyntax::Kind::kVector) return resolve_vector(scope, in, rule, parts, want, out);
  return resolve_value(scope, in, rule, parts, want, out);
}

bool Decoder::is_bare_name(Scope* scope, OperandSyntax const& in) {
  return in.kind == OperandSyntax::Kind::kTerm && in.term.kind == Term::Kind::kName && in.term.name != "_" &&
         in.term.name[0] != '%' && !find_register(scope, in.term.name).exists() &&
         find_symbol(scope, in.term.name) == nullptr;
}

std::string Decoder::resolve_address(Scope* scope, OperandSyntax const& in, OperandRule const& rule,
                                     Operand& out) {
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
    if (rule.role == 'a' && !rule.takes_any && !agrees(out.value.type, false, kAnyInteger))
      return fmt::format("{} has type {}, an integer is needed", in.term.name, type_name(out.value));
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

std::string Decoder::resolve_label(Scope* scope, OperandSyntax const& in, Operand& out) {
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
        std::string const reason = resolve_label(scope, entry, label);
        if (!reason.empty()) return reason;
        out.targets.push_back(label.target);
      }
      return {};
    }
  }
  return fmt::format("there is no label {}", in.term.name);
}

std::string Decoder::resolve_vector(Scope* scope, OperandSyntax const& in, OperandRule const& rule,
                                    std::vector<std::string> const& parts, Wanted want, Operand& out) {
  int const count = vector_length(rule, parts);
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
    std::string const reason = resolve_term(scope, element.term, element.displacement, want, value, scratch);
    if (!reason.empty()) return reason;
    if (scratch.special != 0) return "a clock does not belong into a vector";
    if (scratch.is_immediate && in.elements.size() == 1) {
      out.is_immediate = true;
      out.immediate = scratch.immediate;
    }
    out.element_immediates.push_back(scratch.is_immediate ? std::optional(scratch.immediate) : std::nullopt);
    out.elements.push_back(value);
  }
  if (!out.elements.empty()) out.value = out.elements[0];
  return {};
}

std::string Decoder::resolve_value(Scope* scope, OperandSyntax const& in, OperandRule const& rule,
                                   std::vector<std::string> const& parts, Wanted want, Operand& out) {
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

}  // namespace deepwell::emu::decoding

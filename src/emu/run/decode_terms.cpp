// Resolves one register, number, symbol or sink.
#include <bit>

#include "emu/run/decoder.hpp"

namespace deepwell::emu::decoding {
namespace {

/// The width of a value that may have any.
int width_of(Wanted const& want) { return want.bits == 0 ? 32 : want.bits; }

}  // namespace

std::string type_name(Value const& value) {
  if (value.type == RegisterType::kHalves) return ".f16x2";
  return fmt::format(
      ".{}{}", "busf" [static_cast<int>(value.type)], int { value.bits });
}

std::string Decoder::resolve_term(Scope* scope, Term const& term, std::int64_t addend, Wanted const& want,
                                  Value& out, Operand& operand) {
  switch (term.kind) {
    case Term::Kind::kInteger: return resolve_integer(term, want, out, operand);
    case Term::Kind::kFloat32:
    case Term::Kind::kFloat64: return resolve_float(term, want, out);
    case Term::Kind::kName: break;
  }
  if (term.name == "_") {
    if (!want.is_destination) return "the sink _ where a value is read";
    if (!want.sink) return "the sink _ does not belong here";
    out = {.kind = Value::Kind::kSink,
           .negated = false,
           .bits = static_cast<std::uint8_t>(width_of(want)),
           .offset = 0,
           .index = 0};
    return {};
  }
  Value const found = find_register(scope, term.name);
  if (found.exists()) return resolve_register(found, term, addend, want, out);
  if (SpecialRegister const* const known = find_special(term.name))
    return resolve_special(*known, term, want, out, operand);
  if (Symbol const* const symbol = find_symbol(scope, term.name))
    return resolve_symbol(*symbol, term, addend, want, out, operand);
  if (auto const callable = find_callable(term.name))
    return resolve_callable(*callable, term, addend, want, out);
  if (term.name[0] == '%')
    return fmt::format("{} is not declared (and no special register that is modelled)", term.name);
  return fmt::format("{} is not declared", term.name);
}

std::string Decoder::resolve_integer(Term const& term, Wanted const& want, Value& out, Operand& operand) {
  if (want.is_destination) return "a number where a register is written";
  operand.is_immediate = true;
  operand.immediate = static_cast<std::int64_t>(term.bits);
  int bits = width_of(want);
  if (want.bits == 0) {
    auto const value = static_cast<std::int64_t>(term.bits);
    if (value < -(std::int64_t{1} << 31) || value >= (std::int64_t{1} << 32)) bits = 64;
  }
  if (want.type.starts_with(".f") || want.type.starts_with(".bf"))
    return "an integer where a floating-point constant (0f..., 0d...) belongs";
  if (want.type.ends_with("x2")) return "a number where a pair in a register belongs";
  if (bits == 1) {
    out = constant(term.bits != 0 ? kFullMask : 0, 32);
    out.bits = 1;
    return {};
  }
  out = constant(term.bits, bits);
  return {};
}

std::string Decoder::resolve_float(Term const& term, Wanted const& want, Value& out) {
  if (want.is_destination) return "a number where a register is written";
  bool const is_single = term.kind == Term::Kind::kFloat32;
  bool const is_float = want.type.starts_with(".f") && !want.type.ends_with("x2");
  if (want.bits != 0 && !is_float && want.type != (is_single ? ".b32" : ".b64"))
    return "a floating-point constant where another type belongs";
  int const width = width_of(want);
  std::uint64_t bits = term.bits;
  if (width == 32 && !is_single) {
    bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(term.bits)));
  } else if (width == 64 && is_single) {
    bits = std::bit_cast<std::uint64_t>(
        static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(term.bits))));
  } else if (width != 32 && width != 64) {
    return "a floating-point constant of another width";
  }
  out = constant(bits, width);
  return {};
}

std::string Decoder::resolve_register(Value const& found, Term const& term, std::int64_t addend,
                                      Wanted const& want, Value& out) {
  if (want.bits != 0) {
    bool const fits = found.bits == want.bits || (want.wider && found.bits > want.bits && want.bits != 1);
    if (!fits) return fmt::format("{} has {} bits, {} are needed", term.name, int{found.bits}, want.bits);
  }
  if (!agrees(found.type, found.bits > want.bits, want.registers))
    return fmt::format("{} has type {}, {} is needed", term.name, type_name(found), want.registers);
  if (term.negated && want.is_destination) return "! before a result";
  if (term.negated && found.bits != 1)
    return fmt::format("! needs a predicate, {} has {} bits", term.name, int{found.bits});
  if (addend != 0) return "an offset after a register outside an address";
  out = found;
  out.negated = term.negated;
  return {};
}

std::string Decoder::resolve_special(SpecialRegister const& known, Term const& term, Wanted const& want,
                                     Value& out, Operand& operand) {
  if (want.is_destination) return fmt::format("{} cannot be written", term.name);
  if (!want.special) return fmt::format("{} can only be read by mov", term.name);
  int const own = known.bits, bits = want.bits == 0 ? own : want.bits;
  bool const fits =
      bits == own || (own == 32 && bits == 16) || (known.special == Special::kGridid && bits == 32);
  if (!fits) return fmt::format("{} has {} bits", term.name, own);
  if (is_dynamic(known.special)) {
    operand.special = static_cast<std::uint8_t>(known.special);
    out = {.kind = Value::Kind::kConstant,
           .negated = false,
           .bits = static_cast<std::uint8_t>(bits),
           .offset = constant(0, bits).offset,
           .index = 0};
  } else {
    out = special(known.special, bits);
  }
  out.negated = term.negated;
  return {};
}

std::string Decoder::resolve_symbol(Symbol const& symbol, Term const& term, std::int64_t addend,
                                    Wanted const& want, Value& out, Operand& operand) {
  if (want.is_destination || want.bits == 1 || !want.symbol)
    return fmt::format("the address of {} cannot be used here", term.name);
  int const bits = want.bits == 0 ? 64 : want.bits;
  operand.symbol_space = symbol.space;
  if (symbol.space == Space::kGlobal || symbol.space == Space::kConst) {
    out = variable_address(symbol.variable, addend, bits);
    return {};
  }
  std::uint64_t const address = symbol.address + static_cast<std::uint64_t>(addend);
  if (function->is_entry || (symbol.space != Space::kLocal && !symbol.is_dynamic)) {
    out = constant(address, bits);
  } else {
    out = symbol.is_dynamic ? special(Special::kDynamicShared, bits, address) : frame_address(address, bits);
  }
  return {};
}

std::string Decoder::resolve_callable(std::uint32_t callable, Term const& term, std::int64_t addend,
                                      Wanted const& want, Value& out) {
  if (want.is_destination || addend != 0 || (want.bits != 0 && want.bits != 64))
    return fmt::format("the address of {} cannot be used here", term.name);
  if (callables[callable].builtin != Builtin::kNone)
    return fmt::format("a pointer to {} is not modelled", term.name);
  out = constant(pointer_to(callable), 64);
  return {};
}

}  // namespace deepwell::emu::decoding

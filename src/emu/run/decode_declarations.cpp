// Declarations: registers, memory of every space, initialisers; and the walk through a body to find them.
#include <algorithm>
#include <bit>
#include <cstdlib>

#include "emu/run/decoder.hpp"

namespace deepwell::emu::decoding {

std::uint64_t Decoder::bytes_of(ptx::Declaration const& declaration, ptx::Declarator const& name) const {
  int const bits = bits_of_type(declaration.type);
  if (bits < 8) {
    fail(declaration.line, ErrorCode::kUnsupported,
         fmt::format("{} variables of type {} are not modelled", declaration.space, declaration.type));
  }
  std::uint64_t bytes = static_cast<std::uint64_t>(bits) / 8 * static_cast<std::uint64_t>(declaration.vector);
  for (std::uint64_t const dim : name.dims) {
    if (dim != 0 && bytes > (std::uint64_t{1} << 32) / dim) return std::uint64_t{1} << 40;
    bytes *= dim;
  }
  return bytes;
}

std::uint32_t Decoder::alignment_of(ptx::Declaration const& declaration) {
  if (declaration.alignment != 0) return static_cast<std::uint32_t>(declaration.alignment);
  return static_cast<std::uint32_t>(std::max(1, bits_of_type(declaration.type) / 8 * declaration.vector));
}

std::vector<std::uint32_t> Decoder::sizes_of(std::vector<ptx::Declaration> const& list) const {
  std::vector<std::uint32_t> out;
  for (ptx::Declaration const& one : list) {
    std::uint64_t const bits = static_cast<std::uint64_t>(bits_of_type(one.type));
    std::uint64_t const bytes = bits == 1 ? 4 : bytes_of(one, one.names.at(0));
    if (bytes > 64 * 1024) fail(one.line, ErrorCode::kUnsupported, "more than 64 KiB of parameters");
    out.push_back(static_cast<std::uint32_t>(bytes));
  }
  return out;
}

void Decoder::walk(std::vector<Statement> const& body, Scope* scope) {
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
      case Statement::Kind::kPrototype: scope->prototypes[statement.text] = statement.prototype.get(); break;
      case Statement::Kind::kPragma: read_pragma(statement.text); break;
      case Statement::Kind::kLocation: location = statement.location; break;
      case Statement::Kind::kBlock: {
        Scope& inner = scopes.emplace_back();
        inner.parent = scope;
        walk(statement.body, &inner);
        break;
      }
      case Statement::Kind::kDeclaration: declare(*scope, statement.declaration); break;
    }
  }
}

void Decoder::declare(Scope& scope, ptx::Declaration const& declaration) {
  if (declaration.space == ".reg") {
    declare_registers(scope, declaration);
  } else if (declaration.space == ".local" || declaration.space == ".param") {
    declare_local(scope, declaration);
  } else if (declaration.space == ".shared") {
    place_shared(scope, declaration);
  } else if (declaration.space == ".global" || declaration.space == ".const") {
    declare_variables(scope, declaration);
  } else {
    fail(declaration.line, ErrorCode::kUnsupported,
         fmt::format("{} variables are not modelled", declaration.space));
  }
}

void Decoder::declare_registers(Scope& scope, ptx::Declaration const& declaration) {
  int const bits = bits_of_type(declaration.type);
  if (bits == 0 || declaration.vector != 1) {
    fail(declaration.line, ErrorCode::kUnsupported,
         fmt::format("registers of type {} are not modelled", declaration.type));
  }
  RegisterType const type = register_type(declaration.type);
  for (ptx::Declarator const& name : declaration.names) {
    if (name.ranged) {
      scope.ranges[name.name] = {{bits, type}, name.count};
    } else {
      scope.declared[name.name] = {bits, type};
    }
  }
}

void Decoder::declare_local(Scope& scope, ptx::Declaration const& declaration) {
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

void Decoder::place_shared(Scope& scope, ptx::Declaration const& declaration) {
  for (ptx::Declarator const& name : declaration.names) {
    std::uint64_t const at = align_up(function->static_shared_bytes, alignment_of(declaration));
    std::uint64_t const bytes = bytes_of(declaration, name);
    if (at + bytes > 1024 * 1024)
      fail(declaration.line, ErrorCode::kUnsupported, "more than 1 MiB of static shared memory");
    function->static_shared_bytes = static_cast<std::uint32_t>(at + bytes);
    scope.symbols[name.name] = {Space::kShared, kSharedBase + at, 0, 0, false};
  }
}

void Decoder::declare_variables(Scope& scope, ptx::Declaration const& declaration) {
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

void Decoder::initialize(Variable& variable, ptx::Initializer const& initializer, std::uint64_t& at,
                         unsigned width, bool is_float, int line) {
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
    case Term::Kind::kName: initialize_with_address(variable, initializer, at, width, line); break;
  }
  at += width;
}

void Decoder::initialize_with_address(Variable& variable, ptx::Initializer const& initializer,
                                      std::uint64_t at, unsigned width, int line) {
  std::string const& name = initializer.term.name;
  Symbol const* const symbol = find_symbol(&globals, name);
  auto const callable = find_callable(name);
  if (symbol == nullptr && callable && initializer.addend == 0 && width == 8) {
    put(variable, at, pointer_to(*callable), width, line);
    return;
  }
  if (symbol == nullptr || (symbol->space != Space::kGlobal && symbol->space != Space::kConst)) {
    fail(line, ErrorCode::kUnsupported,
         fmt::format("the initialiser {} is no variable before this one", name));
  }
  if (width != 8)
    fail(line, ErrorCode::kUnsupported, "an address in an initialiser that is not 64 bits wide");
  put(variable, at, 0, width, line);
  variable.fixups.push_back({at, symbol->variable, initializer.addend, width});
}

void Decoder::put(Variable& variable, std::uint64_t at, std::uint64_t value, unsigned width, int line) const {
  if (at + width > variable.bytes) fail(line, ErrorCode::kBadArgument, "more initialisers than elements");
  if (variable.initial.size() < at + width) variable.initial.resize(at + width);
  for (unsigned i = 0; i < width; ++i) variable.initial[at + i] = static_cast<std::byte>(value >> (8 * i));
}

void Decoder::read_pragma(std::string_view text) {
  static constexpr std::string_view kUsedBytes = "used_bytes_mask ";
  if (!text.starts_with(kUsedBytes)) return;
  used_bytes = static_cast<std::uint32_t>(
      std::strtoul(std::string(text.substr(kUsedBytes.size())).c_str(), nullptr, 0));
}

}  // namespace deepwell::emu::decoding

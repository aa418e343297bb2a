// Turns a syntax tree into a module that is ready to run: the entry of the decoder, and its refusals.
#include "emu/run/decode.hpp"

#include "emu/run/decoder.hpp"

namespace deepwell::emu::decoding {

void Decoder::fail(int line, ErrorCode code, std::string const& what) const {
  throw Error(code, fmt::format("{}:{}: {}", module.source_name, line, what),
              fmt::format("{}:{}", module.source_name, line), what);
}

void Decoder::fail(InstrText const& at, ErrorCode code, std::string const& what) const {
  fail(at.line, code, fmt::format("`{}`: {}", at.text, what));
}

void Decoder::run() {
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

}  // namespace deepwell::emu::decoding

namespace deepwell::emu {
namespace {

/// PTX for an arch-specific target runs on that chip alone, family PTX on the family, plain PTX on every
/// later chip.
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
  decoding::Decoder(syntax, *module).run();
  return module;
}

}  // namespace deepwell::emu

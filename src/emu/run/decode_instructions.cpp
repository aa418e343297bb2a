// Finds the row of the instruction table that an instruction's modifiers and operands fit.
#include <algorithm>

#include "emu/run/decoder.hpp"

namespace deepwell::emu::decoding {
namespace {

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

}  // namespace

Instr Decoder::decode_instruction(Pending const& from) {
  Statement const& statement = *from.statement;
  Instr instr;
  InstrText& info = function->texts.emplace_back();
  info.text = ptx::print(statement);
  info.opcode = statement.text;
  info.line = statement.line;
  info.source_file = from.location[0];
  info.source_line = from.location[1];
  info.opcode_id = opcode_id(info.opcode);
  Spelling const& spelling = spellings[info.opcode_id];
  info.parts = spelling.parts;
  instr.info = &info;
  if (info.parts[0] == "call") return decode_call(from, instr);

  if (!spelling.is_known) {
    fail(info, ErrorCode::kUnsupported, fmt::format("{} is no instruction that is modelled", info.parts[0]));
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
    std::string const refused = refusal(*row.row);
    if (!refused.empty()) {
      if (best < 2) reason = refused;
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
  fail(info, ErrorCode::kUnsupported, reason);
}

std::uint32_t Decoder::opcode_id(std::string const& opcode) {
  auto const [id, is_new] = opcode_ids.try_emplace(opcode, static_cast<std::uint32_t>(module.opcodes.size()));
  if (is_new) {
    module.opcodes.push_back(opcode);
    spellings.push_back(spelling_of(opcode));
  }
  return id->second;
}

std::string Decoder::fit(Scope* scope, Statement const& statement, CompiledRow const& row,
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

std::string Decoder::refusal(Row const& row) const {
  if (!has(context.target, row.needs))
    return fmt::format("needs {}, the target is {}", describe(row.needs), to_string(context.target));
  if (context.ptx_version < row.ptx) {
    return fmt::format("needs PTX {}.{}, the text says {}.{}", row.ptx / 10, row.ptx % 10,
                       context.ptx_version / 10, context.ptx_version % 10);
  }
  return {};
}

void Decoder::resolve_guard(Pending const& from, Instr& instr) {
  Statement const& statement = *from.statement;
  if (!statement.guarded) return;
  Operand scratch;
  std::string const reason =
      resolve_term(from.scope, statement.guard, 0,
                   {.bits = 1, .wider = false, .is_destination = false, .type = {}}, instr.guard, scratch);
  if (!reason.empty())
    fail(statement.line, ErrorCode::kBadArgument, fmt::format("guard of `{}`: {}", instr.info->text, reason));
}

}  // namespace deepwell::emu::decoding

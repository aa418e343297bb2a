// Programs for instructions that work on registers alone, straight from the rules of their rows.
#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "emu/instr/table.hpp"
#include "silicon/builder.hpp"
#include "silicon/templates.hpp"

namespace deepwell::silicon {
namespace {

using emu::CompiledRow;
using emu::OperandRule;
using emu::Row;
using num::Format;

/// Alternatives of an item, the empty one of an optional item included.
std::size_t choices(CompiledRow::Item const& item) {
  return item.alternatives.size() + (item.kind == CompiledRow::Item::Kind::kOptional ? 1 : 0);
}

/// Spelling number `index` of a row, in mixed radix.
std::string spelling(CompiledRow const& row, std::uint64_t index) {
  std::string out = row.base;
  for (CompiledRow::Item const& item : row.items) {
    std::size_t const chosen = index % choices(item);
    index /= choices(item);
    if (chosen < item.alternatives.size()) out += item.alternatives[chosen];
  }
  return out;
}

CompiledRow const& compiled(Row const& row) {
  std::string_view const pattern = row.pattern;
  for (CompiledRow const& one : *emu::Table::instance().find(pattern.substr(0, pattern.find(' ')))) {
    if (one.row == &row) return one;
  }
  throw Error(ErrorCode::kInternal, "a row that is not in the table");
}

/// Widths of the last type of an opcode and of the one before it.
struct TypeWidths {
  int last = 0, before = 0;
};
TypeWidths type_widths(std::vector<std::string> const& parts) {
  TypeWidths out;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (int const bits = emu::bits_of_type(parts[i]); bits != 0) out = {bits, out.last};
  }
  return out;
}

int width_of(OperandRule const& rule, TypeWidths const& types) {
  if (rule.type == 'T') return types.last;
  if (rule.type == 'U') return types.before;
  if (rule.type == 'W') return 2 * types.last;
  return rule.bits;
}

/// Formats of A and B and of C of an mma, from its opcode.
struct MmaData {
  Data a, b, c;
};
Data data_of(std::string const& type) {
  static std::pair<char const*, Format> const kFormats[] = {
      {".e4m3", Format::kE4m3}, {".e5m2", Format::kE5m2}, {".bf16", Format::kBf16},
      {".f16", Format::kF16},   {".tf32", Format::kTf32}, {".f32", Format::kF32}};
  for (auto const& [name, format] : kFormats) {
    if (type == name) return {.kind = Data::Kind::kNumbers, .format = format};
  }
  if (type == ".f64") return {.kind = Data::Kind::kBinary64};
  return {.kind = Data::Kind::kBytes};
}
std::optional<MmaData> mma_data(std::vector<std::string> const& parts) {
  std::vector<std::string> types;
  for (std::string const& part : parts) {
    if (emu::bits_of_type(part) != 0 || part == ".s4" || part == ".u4" || part == ".b1")
      types.push_back(part);
  }
  if (types.size() != 4) return std::nullopt;
  return MmaData{data_of(types[1]), data_of(types[2]), data_of(types[3])};
}

struct Bound {
  char const* opcode;  // a regular expression
  double ulps, absolute;
  char const* words;
};
/// What the manual says about functions that are not exact; of the emulator's own result half a unit is added.
constexpr Bound kBounds[] = {
    {"rcp\\.approx\\.ftz\\.f64", 4398046511104.0, 0, "relative error 2^-20, low words unspecified"},
    {"rsqrt\\.approx\\.ftz\\.f64", 4398046511104.0, 0, "relative error 2^-20, low words unspecified"},
    {"rsqrt\\.approx\\.f64", 2147483648.0, 0, "relative error of the f32 function"},
    {"rcp\\.approx.*f32", 1.5, 0, "1 ulp"},
    {"sqrt\\.approx.*f32", 2.5, 0, "relative error 2^-23"},
    {"rsqrt\\.approx.*f32", 2.5, 0, "relative error 2^-22.9"},
    {"div\\.approx.*f32", 2.5, 0, "2 ulp"},
    {"div\\.full.*f32", 2.5, 0, "2 ulp"},
    {"(sin|cos)\\.approx.*f32", 1, 0x1p-20, "absolute error 2^-20.5 within +-pi"},
    {"lg2\\.approx.*f32", 3, 0x1p-22, "absolute error 2^-22 near one, else relative 2^-22"},
    {"ex2\\.approx.*f32", 2.5, 0, "2 ulp"},
    {"ex2\\.approx.*", 2, 0, "relative error 2^-9.9 in f16, 2^-7 in bf16"},
    {"tanh\\.approx\\.f32", 8192, 0, "relative error 2^-11"},
    {"tanh\\.approx.*", 2, 0, "absolute error 2^-10.987 in f16, 2^-8 in bf16"},
};

void set_bound(Program& program, std::vector<std::string> const& parts) {
  if (program.name.find(".approx") == std::string::npos && program.name.find(".full") == std::string::npos)
    return;
  for (Bound const& bound : kBounds) {
    if (!std::regex_search(program.name, std::regex(bound.opcode))) continue;
    program.ulps = bound.ulps;
    program.absolute = bound.absolute;
    program.bound = bound.words;
    program.result_bits = type_widths(parts).last;
    if (parts.back().ends_with("x2")) program.result_bits /= 2;
    return;
  }
  throw Error(ErrorCode::kInternal, fmt::format("{}: no bound is known", program.name));
}

/// One instruction on registers: every operand of the row, sources from inputs, destinations to outputs.
std::optional<Program> on_registers(std::string const& family, CompiledRow const& row,
                                    std::string const& opcode, std::string const& target,
                                    std::string const& selector) {
  std::vector<std::string> const parts = emu::split_opcode(opcode);
  TypeWidths const types = type_widths(parts);
  Builder builder(family, opcode + (selector.empty() ? "" : " " + selector), target);
  bool const is_mma = row.base == "mma";
  std::optional<MmaData> const mma = is_mma ? mma_data(parts) : std::nullopt;
  bool const angles = row.base == "sin" || row.base == "cos";
  bool const carries_in = row.base == "addc" || row.base == "subc" || row.base == "madc";
  if (carries_in) {
    std::string const to = builder.reg(32), from = builder.input(32, {});
    builder.line(fmt::format("{}.cc.u32 {}, {}, 0x8000;", selector, to, from));
  }
  std::vector<std::string> operands;
  std::vector<std::pair<std::string, int>> results;
  std::size_t source = 0;
  for (OperandRule const& rule : row.operands) {
    if (rule.optional) break;
    if ((rule.role != 'd' && rule.role != 's') || rule.any_width || rule.by_modifier) return std::nullopt;
    int const bits = width_of(rule, types);
    if (bits == 0) return std::nullopt;
    if (rule.role == 'd') {
      std::vector<std::string> registers;
      for (int i = 0; i < rule.count; ++i) {
        registers.push_back(builder.reg(bits));
        results.emplace_back(registers.back(), bits);
      }
      std::string text = rule.vector ? braces(registers) : registers[0];
      if (rule.second_bits != 0) {
        text += "|" + builder.reg(rule.second_bits);
        results.emplace_back(text.substr(text.find('|') + 1), rule.second_bits);
      }
      operands.push_back(text);
      continue;
    }
    Data data;
    if (selector == "NaN") data.kind = Data::Kind::kNans64;
    if (angles) data.kind = Data::Kind::kAngles;
    if (mma) data = source == 0 ? mma->a : source == 1 ? mma->b : mma->c;
    if (is_mma && source == 3) {
      data = {.kind = Data::Kind::kPlaces, .format = mma->a.format};
      if (mma->a.kind != Data::Kind::kNumbers) data.format = Format::kF32;
    }
    std::vector<std::string> registers;
    for (int i = 0; i < rule.count; ++i) {
      if (is_mma && source == 4) {
        registers.push_back(selector);
      } else if (row.base == "lop3" && source == 3) {
        registers.push_back("0x" + selector);
      } else {
        registers.push_back(builder.input(bits, data));
      }
    }
    operands.push_back(rule.vector ? braces(registers) : registers[0]);
    ++source;
  }
  if (results.empty()) return std::nullopt;
  builder.line(fmt::format("{} {};", opcode, fmt::join(operands, ", ")));
  for (auto const& [name, bits] : results) builder.output(name, bits);
  if (std::find(parts.begin(), parts.end(), ".cc") != parts.end()) {
    std::string const carry = builder.reg(32);
    builder.line(fmt::format("addc.u32 {}, 0, 0;", carry));
    builder.output(carry, 32);
  }
  Program program = builder.finish();
  if (is_mma) program.seeds = 12;
  set_bound(program, parts);
  return program;
}

struct Family {
  char const* name;
  std::span<Row const> (*rows)();
  std::size_t most = 100;  // programs for a row
};
constexpr Family kRegisterFamilies[] = {{"integer", emu::alu_integer_rows},
                                        {"f32 and f64", emu::alu_float_rows},
                                        {"f16 and bf16", emu::alu_half_rows},
                                        {"bits", emu::alu_bits_rows},
                                        {"video", emu::alu_video_rows},
                                        {"comparison", emu::alu_compare_rows},
                                        {"conversion", emu::alu_convert_rows},
                                        {"small formats", emu::convert_rows},
                                        {"mma", emu::mma_rows, 1000},
                                        {"mma, other", emu::mma_other_rows, 1000},
                                        {"mma, sparse", emu::mma_sparse_rows, 1000},
                                        {"moves", emu::move_rows},
                                        {"matrices", emu::matrix_rows}};

/// Sparsity selectors, or the table of lop3: what a program cannot read from a register. What sets the carry before. Or NaN, for
/// inputs that are.
std::vector<std::string> selectors_of(CompiledRow const& row, std::string const& opcode) {
  if (row.base == "lop3") return {"96", "e8", "1b"};
  if (row.base == "addc" || row.base == "subc" || row.base == "madc") return {"add", "sub"};
  if (row.base != "mma" && opcode.ends_with(".f64") && opcode.find("approx") == std::string::npos)
    return {"", "NaN"};
  if (opcode.find("mma.sp") != 0) return {""};
  bool const tf32 = opcode.find(".tf32") != std::string::npos, wide = opcode.find("f16") != std::string::npos;
  if (tf32)
    return opcode.find("k8.") != std::string::npos ? std::vector<std::string>{"0", "1", "2", "3"}
                                                   : std::vector<std::string>{"0", "1"};
  if (wide)
    return opcode.find("k16.") != std::string::npos ? std::vector<std::string>{"0", "1", "2", "3"}
                                                    : std::vector<std::string>{"0", "1"};
  bool const four = opcode.find("4.s4") != std::string::npos || opcode.find("s32.u4") != std::string::npos ||
                    opcode.find("s32.s4") != std::string::npos;
  bool const half = opcode.find(four ? "k64." : "k32.") != std::string::npos;
  return half ? std::vector<std::string>{"0", "1"} : std::vector<std::string>{"0"};
}

}  // namespace

std::vector<std::string> spellings(Row const& row) {
  constexpr std::uint64_t kMost = 20000;
  CompiledRow const& one = compiled(row);
  std::uint64_t all = 1;
  for (CompiledRow::Item const& item : one.items) all *= choices(item);
  std::vector<std::string> out;
  for (std::uint64_t i = 0; i < std::min(all, kMost); ++i)
    out.push_back(spelling(one, all <= kMost ? i : i * 0x9e3779b97f4a7c15u % all));
  return out;
}

std::vector<Program> programs(std::string const& target) {
  std::vector<Program> out;
  emu::Target const chip = emu::parse_target(target);
  for (Family const& family : kRegisterFamilies) {
    for (Row const& row : family.rows()) {
      if (!emu::has(chip, row.needs) || !reason_without(row).empty()) continue;
      CompiledRow const& one = compiled(row);
      std::map<std::string, Program> made;
      std::vector<std::string> names;
      for (std::string const& opcode : spellings(row)) {
        for (std::string const& selector : selectors_of(one, opcode)) {
          auto program = on_registers(family.name, one, opcode, target, selector);
          if (!program || !parses(program->ptx, target)) continue;
          names.push_back(program->name);
          made.emplace(program->name, std::move(*program));
        }
      }
      for (std::string const& name : some(names, family.most)) out.push_back(made.at(name));
    }
  }
  add_templates(out, target);
  // Two rows can have a spelling in common.
  std::set<std::string> names;
  std::erase_if(out, [&](Program const& program) { return !names.insert(program.name).second; });
  return out;
}

}  // namespace deepwell::silicon

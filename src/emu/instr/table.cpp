// Compiles the rows of all families into one table and matches opcodes with them.
#include "emu/instr/table.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace deepwell::emu {
namespace {

[[noreturn]] void bad_row(Row const& row, std::string_view why) {
  throw Error(ErrorCode::kInternal,
              fmt::format("instruction table: row \"{}\" ({}): {}", row.pattern, row.operands, why));
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    std::size_t end = text.find(separator, begin);
    if (end == std::string_view::npos) end = text.size();
    std::string_view piece = text.substr(begin, end - begin);
    while (!piece.empty() && piece.front() == ' ') piece.remove_prefix(1);
    while (!piece.empty() && piece.back() == ' ') piece.remove_suffix(1);
    if (!piece.empty()) out.emplace_back(piece);
    begin = end + 1;
  }
  return out;
}

CompiledRow::Item compile_item(Row const& row, std::string const& text) {
  CompiledRow::Item item;
  if (text[0] == '.') {
    item.kind = CompiledRow::Item::Kind::kLiteral;
    item.alternatives.push_back(text);
    return item;
  }
  bool const optional = text[0] == '[';
  if ((!optional && text[0] != '(') || text.back() != (optional ? ']' : ')'))
    bad_row(row, "an item is .x, (.a|.b) or [.a|.b]");
  item.kind = optional ? CompiledRow::Item::Kind::kOptional : CompiledRow::Item::Kind::kChoice;
  item.alternatives = split(std::string_view(text).substr(1, text.size() - 2), '|');
  for (std::string const& alternative : item.alternatives) {
    if (alternative[0] != '.') bad_row(row, "an alternative begins with a dot");
  }
  return item;
}

OperandRule compile_operand(Row const& row, std::string_view text) {
  OperandRule rule;
  rule.role = text[0];
  text.remove_prefix(1);
  if (rule.role == 'a' && text == "c") {
    rule.role = 'c';
    return rule;
  }
  if (rule.role == 'a') rule.takes_any = text == "b";
  if (rule.role == 'x') rule.is_integer = text == "i";
  if (rule.role == 'a' || rule.role == 'l' || rule.role == 'n' || rule.role == 'x') return rule;
  if (rule.role != 'd' && rule.role != 's') bad_row(row, "an operand begins with d, s, a, l, n or x");
  if (!text.empty() && text[0] == 'f') {
    rule.is_fraction = true;
    text.remove_prefix(1);
  }
  if (!text.empty() && text[0] == 'i') {
    rule.is_integer = true;
    text.remove_prefix(1);
  }
  for (; !text.empty() && text[0] == '#'; text.remove_prefix(1)) {
    rule.is_place = !rule.typed;
    rule.typed = false;
    rule.is_integer = true;
  }
  if (!text.empty() && text[0] == '>') {
    rule.wider = true;
    text.remove_prefix(1);
  }
  if (!text.empty() && text[0] == 'v') {
    rule.vector = rule.by_modifier = true;
    text.remove_prefix(1);
    rule.wider = true;
  } else if (std::size_t const x = text.find('x'); x != std::string_view::npos && x > 0) {
    rule.vector = true;
    std::from_chars(text.data(), text.data() + x, rule.count);
    text.remove_prefix(x + 1);
  }
  if (!text.empty() && text[0] == '>') {
    rule.wider = true;
    text.remove_prefix(1);
  }
  if (std::size_t bar = text.find('|'); bar != std::string_view::npos) {
    rule.needs_second = text[bar + 1] == '!';
    if (rule.needs_second) ++bar;
    std::from_chars(text.data() + bar + 1, text.data() + text.size(), rule.second_bits);
    text = text.substr(0, text.find('|'));
  }
  if (text == "*") {
    rule.any_width = true;
  } else if (text == "T" || text == "U" || text == "W") {
    rule.type = text[0];
  } else {
    auto const result = std::from_chars(text.data(), text.data() + text.size(), rule.bits);
    if (result.ec != std::errc() || rule.bits == 0) bad_row(row, "an operand needs a width");
  }
  return rule;
}

CompiledRow compile(Row const& row) {
  CompiledRow out;
  out.row = &row;
  std::vector<std::string> const items = split(row.pattern, ' ');
  if (items.empty()) bad_row(row, "an empty pattern");
  out.base = items[0];
  int choices = 0;
  for (std::size_t i = 1; i < items.size(); ++i) {
    out.items.push_back(compile_item(row, items[i]));
    if (out.items.back().kind != CompiledRow::Item::Kind::kLiteral) ++choices;
  }
  if (choices > 16) bad_row(row, "more than 16 choices");
  bool optional = false;
  for (std::string const& operand : split(row.operands, ',')) {
    std::string_view text = operand;
    if (text[0] == '?') {
      optional = true;
      text.remove_prefix(1);
    }
    out.operands.push_back(compile_operand(row, text));
    out.operands.back().optional = optional;
  }
  bool const has_types = std::any_of(out.operands.begin(), out.operands.end(), [](OperandRule const& rule) {
    return rule.type != 0 || rule.vector || (rule.role != 'd' && rule.role != 's');
  });
  for (OperandRule& rule : out.operands) rule.typed = rule.typed && (rule.type != 0 || !has_types);
  if ((row.exec == nullptr) == (row.bind == nullptr)) bad_row(row, "exactly one of exec and bind");
  return out;
}

bool match_from(CompiledRow const& row, std::vector<std::string> const& parts, std::size_t item,
                std::size_t part, std::size_t slot, std::array<std::int8_t, 16>& choice) {
  if (item == row.items.size()) return part == parts.size();
  CompiledRow::Item const& want = row.items[item];
  using Kind = CompiledRow::Item::Kind;
  if (part < parts.size()) {
    for (std::size_t a = 0; a < want.alternatives.size(); ++a) {
      if (want.alternatives[a] != parts[part]) continue;
      if (want.kind != Kind::kLiteral) choice[slot] = static_cast<std::int8_t>(a);
      if (match_from(row, parts, item + 1, part + 1, slot + (want.kind != Kind::kLiteral ? 1 : 0), choice))
        return true;
    }
  }
  if (want.kind != Kind::kOptional) return false;
  choice[slot] = -1;
  return match_from(row, parts, item + 1, part, slot + 1, choice);
}

}  // namespace

std::vector<Row const*> const& all_rows() {
  static std::vector<Row const*> const rows = [] {
    std::vector<Row const*> out;
    for (auto const family :
         {alu_integer_rows,   alu_float_rows,   alu_half_rows,       alu_bits_rows, alu_video_rows,
          alu_compare_rows,   alu_convert_rows, move_rows,           ldst_rows,     atomic_rows,
          control_rows,       call_rows,        barrier_rows,        warp_rows,     mma_rows,
          mma_other_rows,     mma_sparse_rows,  wmma_rows,           matrix_rows,   convert_rows,
          async_copy_rows,    bulk_copy_rows,   tensor_copy_rows,    mbarrier_rows, fence_rows,
          tensor_map_op_rows, cluster_rows,     grid_dependency_rows}) {
      for (Row const& row : family()) out.push_back(&row);
    }
    return out;
  }();
  return rows;
}

Table::Table() {
  for (Row const* row : all_rows()) {
    CompiledRow compiled = compile(*row);
    std::string base = compiled.base;
    rows_[base].push_back(std::move(compiled));
  }
}

Table const& Table::instance() {
  static Table const table;
  return table;
}

std::vector<CompiledRow> const* Table::find(std::string_view base) const {
  auto const found = rows_.find(std::string(base));
  return found == rows_.end() ? nullptr : &found->second;
}

std::optional<std::array<std::int8_t, 16>> match(CompiledRow const& row,
                                                 std::vector<std::string> const& parts) {
  std::array<std::int8_t, 16> choice;
  choice.fill(-1);
  if (!match_from(row, parts, 0, 1, 0, choice)) return std::nullopt;
  return choice;
}

namespace {

/// Fills in `order`, the part that each item of the row takes, from `item` on.
bool take_parts(CompiledRow const& row, std::vector<std::string> const& parts, std::size_t item,
                std::uint32_t used, std::vector<std::string>& order) {
  if (item == row.items.size()) return order.size() == parts.size();
  CompiledRow::Item const& want = row.items[item];
  for (std::size_t p = 1; p < parts.size(); ++p) {
    if ((used >> p & 1) != 0) continue;
    if (std::find(want.alternatives.begin(), want.alternatives.end(), parts[p]) == want.alternatives.end())
      continue;
    order.push_back(parts[p]);
    if (take_parts(row, parts, item + 1, used | 1u << p, order)) return true;
    order.pop_back();
    break;  // the first that fits: types keep their order
  }
  return want.kind == CompiledRow::Item::Kind::kOptional && take_parts(row, parts, item + 1, used, order);
}

}  // namespace

std::optional<std::vector<std::string>> reordered(CompiledRow const& row,
                                                  std::vector<std::string> const& parts) {
  if (parts.size() < 3 || parts.size() > 31) return std::nullopt;
  std::vector<std::string> order = {parts[0]};
  if (!take_parts(row, parts, 0, 1, order) || order == parts) return std::nullopt;
  // The half of a product, the direction of a shift and others belong to the name.
  static constexpr std::string_view kTwoWords[] = {"mul", "mad",  "madc", "mul24", "mad24",
                                                   "shf", "dp2a", "div",  "cvta"};
  static constexpr std::string_view kSecond[] = {".lo", ".hi", ".wide", ".l", ".r", ".full", ".to"};
  auto const is_one_of = [](auto const& names, std::string const& name) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  if (is_one_of(kTwoWords, parts[0]) && is_one_of(kSecond, order[1]) && order[1] != parts[1])
    return std::nullopt;
  // The first layout is a's, the second b's; types name operands from the left.
  auto const placed = [](std::vector<std::string> const& from) {
    std::string out;
    for (std::string const& part : from) {
      if (part == ".row" || part == ".col" || bits_of_type(part) != 0) out += part;
    }
    return out;
  };
  if (placed(order) != placed(parts)) return std::nullopt;
  return order;
}

int bits_of_type(std::string_view modifier) {
  static std::unordered_map<std::string_view, int> const widths = {
      {".pred", 1},    {".b8", 8},      {".u8", 8},      {".s8", 8},      {".b16", 16},    {".u16", 16},
      {".s16", 16},    {".f16", 16},    {".bf16", 16},   {".b32", 32},    {".u32", 32},    {".s32", 32},
      {".f32", 32},    {".tf32", 32},   {".f16x2", 32},  {".bf16x2", 32}, {".u16x2", 32},  {".s16x2", 32},
      {".b64", 64},    {".u64", 64},    {".s64", 64},    {".f64", 64},    {".f32x2", 64},  {".b128", 128},
      {".e4m3x2", 16}, {".e5m2x2", 16}, {".e2m3x2", 16}, {".e3m2x2", 16}, {".e2m1x2", 8},  {".ue8m0x2", 16},
      {".e4m3x4", 32}, {".e5m2x4", 32}, {".e2m1x4", 16}, {".e2m3x4", 32}, {".e3m2x4", 32}, {".u8x4", 32},
      {".s8x4", 32},   {".e4m3", 8},    {".e5m2", 8},
  };
  auto const found = widths.find(modifier);
  return found == widths.end() ? 0 : found->second;
}

RegisterType register_type(std::string_view declared) {
  if (declared == ".f16x2") return RegisterType::kHalves;
  switch (declared[1]) {
    case 'u': return RegisterType::kUnsigned;
    case 's': return RegisterType::kSigned;
    case 'f': return RegisterType::kFloat;
    default: return RegisterType::kBits;
  }
}

bool agrees(RegisterType type, bool is_wider, std::string_view modifier) {
  if (type == RegisterType::kBits || modifier.empty()) return true;
  if (modifier == kAnyInteger) return type == RegisterType::kUnsigned || type == RegisterType::kSigned;
  if (modifier == ".f16x2" || modifier == ".u16x2" || modifier == ".s16x2")
    return type == RegisterType::kHalves;
  if (modifier[2] < '0' || modifier[2] > '9')
    return false;  // .bf16, .tf32, .e4m3x2, .ue8m0x2: registers of bits
  switch (modifier[1]) {
    case 'b': return true;
    case 'u':
    case 's': return type != RegisterType::kFloat;
    case 'f': return type == RegisterType::kFloat && !is_wider && !modifier.ends_with("x2");
    default: return false;
  }
}

std::vector<std::string> split_opcode(std::string_view opcode) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= opcode.size(); ++i) {
    if (i == opcode.size() || opcode[i] == '.') {
      parts.emplace_back(opcode.substr(begin, i - begin));
      begin = i;
    }
  }
  return parts;
}

}  // namespace deepwell::emu

// Finds the row of the instruction table for an opcode. The table is the one source for decoding, gating and documentation.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "emu/instr/instr.hpp"

namespace deepwell::emu {

/// One operand of Row::operands, taken apart.
struct OperandRule {
  char role = 'x';  // d, s, a, c (address with coordinates), l, n, x
  bool optional = false;
  bool wider = false;      // '>': registers may be wider
  bool any_width = false;  // '*'
  bool vector =
      false;  // exactly `count` elements (count > 1 or "1x"), or by the opcode's .vN when by_modifier
  bool by_modifier = false;
  int count = 1;
  char type = 0;  // 'T', 'U', 'W' or 0 for `bits`
  int bits = 0;
  int second_bits = 0;  // of a pair; 0: no pair allowed
  bool needs_second = false;
  bool typed = true;  // of the opcode's type; false: a count of fixed width
  bool is_fraction = false;
  bool is_integer = false;  // its registers are of integers or bits, whatever the opcode's types
  bool takes_any = false;   // its registers are of any type
  bool is_place = false;    // a count of bits: its constants are 0 to 255
};

struct CompiledRow {
  Row const* row = nullptr;
  struct Item {
    enum class Kind : char { kLiteral, kChoice, kOptional } kind = Kind::kLiteral;
    std::vector<std::string> alternatives;
  };
  std::string base;
  std::vector<Item> items;
  std::vector<OperandRule> operands;
};

/// The compiled table, by base name. Built once; immutable.
class Table {
 public:
  static Table const& instance();
  /// Rows of a base name; null when there is none.
  std::vector<CompiledRow> const* find(std::string_view base) const;

 private:
  Table();
  std::unordered_map<std::string, std::vector<CompiledRow>> rows_;
};

/// Matches the modifiers of an opcode ("add", ".rn", ".f32") with a row; the choices are as in Instr::choice.
std::optional<std::array<std::int8_t, 16>> match(CompiledRow const& row,
                                                 std::vector<std::string> const& parts);

/// The opcode with its modifiers in the row's order, if it has all of them and no other; ptxas takes most modifiers in any order,
/// but types one after the other. Nothing for rows whose order is that of the text.
std::optional<std::vector<std::string>> reordered(CompiledRow const& row,
                                                  std::vector<std::string> const& parts);

/// Width in bits of a type modifier (".f32" 32, ".pred" 1, ".f16x2" 32); 0 when it is none.
int bits_of_type(std::string_view modifier);

/// Of a register declared with that type.
RegisterType register_type(std::string_view declared);
/// Stands for .u and .s of any width where a type modifier is wanted.
inline constexpr std::string_view kAnyInteger = "an integer";
/// Whether ptxas takes a register for an operand with that type modifier, which may be empty: no type is asked for. `is_wider`: the
/// register has more bits than the type.
bool agrees(RegisterType type, bool is_wider, std::string_view modifier);

/// "add", ".rn", ".f32".
std::vector<std::string> split_opcode(std::string_view opcode);

}  // namespace deepwell::emu

// The syntax tree of a PTX module: what was written, with names unresolved.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace deepwell::emu::ptx {

struct Term {
  enum class Kind : std::uint8_t { kName, kInteger, kFloat32, kFloat64 };
  Kind kind = Kind::kName;
  std::string name;        // kName: "%r1", "smem", "_", "%tid.x"
  std::uint64_t bits = 0;  // numbers; a negative integer is in two's complement
  bool negated = false;    // `!%p`, or `-` before a register is not PTX
};

struct OperandSyntax {
  enum class Kind : std::uint8_t { kTerm, kPair, kVector, kAddress, kGroup };
  Kind kind = Kind::kTerm;
  Term term;    // kTerm, first of a pair, base of an address
  Term second;  // kPair; or [base, second]
  bool has_second = false;
  std::int64_t displacement = 0;        // kAddress; or symbol + displacement as a value
  std::vector<OperandSyntax> elements;  // kVector; coordinates of an address; kGroup: ( ... )
};

struct Initializer {
  Term term;
  std::int64_t addend = 0;
  bool is_list = false;
  std::vector<Initializer> list;
};

struct Declarator {
  std::string name;
  bool ranged = false;  // %r<10>
  std::uint64_t count = 0;
  std::vector<std::uint64_t> dims;  // [4][8]; 0 for []
  bool has_initializer = false;
  Initializer initializer;
};

/// `.shared .align 16 .b8 smem[64]`, `.reg .b32 %r<10>`, one parameter.
struct Declaration {
  std::string linkage;  // ".visible", ".extern", ".weak", ".common" or empty
  std::string space;    // ".reg", ".shared", ".global", ".const", ".local", ".param"
  int alignment = 0;    // 0: natural
  int vector = 1;       // .v2, .v4
  std::string type;     // ".b32"
  std::vector<Declarator> names;
  int line = 0;
};

struct FunctionSyntax;

struct Statement {
  enum class Kind : std::uint8_t {
    kInstruction,
    kLabel,
    kDeclaration,
    kBlock,
    kTargets,
    kPrototype,
    kLocation,
    kPragma
  };
  Kind kind = Kind::kInstruction;
  int line = 0;
  std::string text;  // opcode, label, pragma text
  bool guarded = false;
  Term guard;
  std::vector<OperandSyntax> operands;  // kTargets: names
  Declaration declaration;
  std::vector<Statement> body;                      // kBlock
  std::array<int, 2> location{};                    // kLocation: file, line
  bool is_call_list = false;                        // kTargets: .calltargets, not .branchtargets
  std::shared_ptr<FunctionSyntax const> prototype;  // kPrototype
};

struct FunctionSyntax {
  bool is_entry = false;
  std::string linkage;
  std::string name;
  std::vector<Declaration> returns, params;
  std::vector<std::pair<std::string, std::vector<std::uint64_t>>> directives;  // ".maxntid" {256, 1, 1}
  bool has_body = false;
  std::vector<Statement> body;
  int line = 0;
};

struct ModuleSyntax {
  int version = 0;                   // 88 for 8.8
  std::vector<std::string> targets;  // "sm_120a", "debug", ...
  int address_size = 64;
  std::map<int, std::string> files;
  std::vector<Declaration> variables;
  std::map<std::string, std::string, std::less<>> aliases;  // .alias: name, the function it stands for
  std::vector<FunctionSyntax> functions;
};

/// Parses a whole module. Throws Error kBadArgument naming source, line, what was there and what was expected.
ModuleSyntax parse(std::string_view text, std::string_view source_name);

/// Text that parses back to the same tree (layout and comments are not kept).
std::string print(ModuleSyntax const& module);
std::string print(Statement const& statement);  // one instruction without its guard and semicolon
std::string print(OperandSyntax const& operand);

}  // namespace deepwell::emu::ptx

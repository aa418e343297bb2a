// Parses PTX text into the syntax tree.
#include <algorithm>
#include <optional>

#include "base/error.hpp"
#include "emu/ptx/lexer.hpp"
#include "emu/ptx/syntax.hpp"

namespace deepwell::emu::ptx {
namespace {

constexpr int kMaxNesting = 64;

bool is_space_directive(std::string_view word) {
  return word == ".reg" || word == ".shared" || word == ".global" || word == ".const" || word == ".local" ||
         word == ".param" || word == ".tex" || word == ".sreg";
}
bool is_linkage(std::string_view word) {
  return word == ".visible" || word == ".extern" || word == ".weak" || word == ".common";
}

struct Parser {
  std::vector<Token> tokens;
  std::string_view source_name;
  std::size_t at = 0;
  int nesting = 0;

  Token const& peek(std::size_t ahead = 0) const { return tokens[std::min(at + ahead, tokens.size() - 1)]; }
  Token const& take() {
    Token const& token = tokens[at];
    if (at + 1 < tokens.size()) ++at;
    return token;
  }
  [[noreturn]] void fail(std::string const& expected) const {
    Token const& token = peek();
    throw Error(ErrorCode::kBadArgument,
                fmt::format("{}:{}: got \"{}\", expected {}", source_name, token.line, token.text, expected),
                fmt::format("{}:{}", source_name, token.line), std::string(token.text), expected);
  }
  bool accept(std::string_view what) {
    if (!peek().is(what)) return false;
    take();
    return true;
  }
  void expect(std::string_view what) {
    if (!accept(what)) fail(fmt::format("\"{}\"", what));
  }
  std::string word(char const* expected) {
    if (peek().kind != Token::Kind::kWord) fail(expected);
    return std::string(take().text);
  }

  // ---- constant expressions -------------------------------------------------------------------------------------

  std::uint64_t integer(char const* expected = "an integer") {
    if (++nesting > kMaxNesting) fail("fewer nested parentheses");
    std::uint64_t value = 0;
    if (accept("-")) {
      value = 0 - integer(expected);
    } else if (accept("~")) {
      value = ~integer(expected);
    } else if (accept("+")) {
      value = integer(expected);
    } else if (accept("(")) {
      value = sum(expected);
      expect(")");
    } else if (peek().is("WARP_SZ")) {
      take();
      value = 32;
    } else {
      if (peek().kind != Token::Kind::kInteger) fail(expected);
      value = take().bits;
    }
    --nesting;
    return value;
  }
  std::uint64_t sum(char const* expected) {
    std::uint64_t value = integer(expected);
    for (;;) {
      if (accept("+")) {
        value += integer(expected);
      } else if (accept("-")) {
        value -= integer(expected);
      } else if (accept("*")) {
        value *= integer(expected);
      } else {
        return value;
      }
    }
  }

  // ---- operands -------------------------------------------------------------------------------------------------

  Term term() {
    Term out;
    if (accept("!")) out.negated = true;
    Token const& token = peek();
    if (token.kind == Token::Kind::kWord && !token.is("WARP_SZ")) {
      out.name = std::string(take().text);
      return out;
    }
    if (token.kind == Token::Kind::kFloat32 || token.kind == Token::Kind::kFloat64) {
      out.kind = token.kind == Token::Kind::kFloat32 ? Term::Kind::kFloat32 : Term::Kind::kFloat64;
      out.bits = take().bits;
      return out;
    }
    if (token.is("-") && (peek(1).kind == Token::Kind::kFloat32 || peek(1).kind == Token::Kind::kFloat64)) {
      take();
      bool const single = peek().kind == Token::Kind::kFloat32;
      out.kind = single ? Term::Kind::kFloat32 : Term::Kind::kFloat64;
      out.bits = take().bits ^ (single ? std::uint64_t{1} << 31 : std::uint64_t{1} << 63);
      return out;
    }
    out.kind = Term::Kind::kInteger;
    out.bits = integer("an operand");
    return out;
  }

  std::int64_t displacement() {
    std::int64_t total = 0;
    for (;;) {
      if (accept("+")) {
        total = static_cast<std::int64_t>(static_cast<std::uint64_t>(total) + integer("an offset"));
      } else if (accept("-")) {
        total = static_cast<std::int64_t>(static_cast<std::uint64_t>(total) - integer("an offset"));
      } else {
        return total;
      }
    }
  }

  std::vector<OperandSyntax> list_until(std::string_view close) {
    std::vector<OperandSyntax> out;
    if (accept(close)) return out;
    do {
      out.push_back(operand());
    } while (accept(","));
    expect(close);
    return out;
  }

  OperandSyntax operand() {
    if (++nesting > kMaxNesting) fail("fewer nested operands");
    OperandSyntax out;
    if (accept("{")) {
      out.kind = OperandSyntax::Kind::kVector;
      out.elements = list_until("}");
    } else if (accept("(")) {
      out.kind = OperandSyntax::Kind::kGroup;
      out.elements = list_until(")");
    } else if (accept("[")) {
      out.kind = OperandSyntax::Kind::kAddress;
      out.term = term();
      out.displacement = displacement();
      if (accept(",")) {
        if (peek().is("{")) {
          take();
          out.elements = list_until("}");
        } else {
          out.has_second = true;
          out.second = term();
        }
        if (accept(",")) {  // [map, {coordinates}, {im2col offsets}]
          out.has_second = true;
          out.second = term();
        }
      }
      expect("]");
    } else {
      out.term = term();
      if (accept("|")) {
        out.kind = OperandSyntax::Kind::kPair;
        out.second = term();
        out.has_second = true;
      } else if (out.term.kind == Term::Kind::kName && (peek().is("+") || peek().is("-"))) {
        out.displacement = displacement();
      }
    }
    --nesting;
    return out;
  }

  // ---- declarations ---------------------------------------------------------------------------------------------

  Initializer initializer() {
    if (++nesting > kMaxNesting) fail("fewer nested initialisers");
    Initializer out;
    if (accept("{")) {
      out.is_list = true;
      if (!accept("}")) {
        do {
          if (peek().is("}")) break;
          out.list.push_back(initializer());
        } while (accept(","));
        expect("}");
      }
    } else if (peek().is("generic")) {
      take();
      expect("(");
      out.term = term();
      expect(")");
      out.addend = displacement();
    } else {
      out.term = term();
      if (out.term.kind == Term::Kind::kName) {
        if (peek().is("(")) fail("a number, a name or generic(name)");
        out.addend = displacement();
      } else if (out.term.kind == Term::Kind::kInteger) {
        out.term.bits += static_cast<std::uint64_t>(displacement());
      }
    }
    --nesting;
    return out;
  }

  Declaration declaration(bool is_parameter) {
    Declaration out;
    out.line = peek().line;
    while (peek().kind == Token::Kind::kWord && is_linkage(peek().text))
      out.linkage = std::string(take().text);
    out.space = word("a state space");
    if (!is_space_directive(out.space)) {
      --at;
      fail("a declaration");
    }
    for (;;) {
      if (accept(".align")) {
        out.alignment = static_cast<int>(integer());
        if (out.alignment <= 0 || (out.alignment & (out.alignment - 1)) != 0 || out.alignment > 65536) {
          --at;
          fail("an alignment that is a power of two");
        }
      } else if (accept(".v2")) {
        out.vector = 2;
      } else if (accept(".v4")) {
        out.vector = 4;
      } else if (accept(".ptr")) {
        if (peek().is(".global") || peek().is(".shared") || peek().is(".const") || peek().is(".local"))
          take();
        if (accept(".align")) integer();
      } else if (accept(".attribute")) {
        expect("(");
        while (!accept(")")) {
          if (peek().kind == Token::Kind::kEnd) fail("\")\"");
          take();
        }
      } else if (peek().kind == Token::Kind::kWord && peek().text[0] == '.') {
        if (!out.type.empty()) fail("a name");
        out.type = std::string(take().text);
        // ".param .u64 .ptr .global .align 16 name": qualifiers may follow the type.
      } else {
        break;
      }
    }
    if (out.type.empty()) fail("a type");
    do {
      Declarator name;
      if (peek().kind == Token::Kind::kWord && peek().text[0] != '.') {
        name.name = std::string(take().text);
      } else if (!is_parameter) {
        fail("a name");
      }
      if (accept("<")) {
        name.ranged = true;
        name.count = integer();
        expect(">");
        if (name.count > 10'000'000) fail("fewer registers");
      }
      while (accept("[")) {
        if (accept("]")) {
          name.dims.push_back(0);
        } else {
          name.dims.push_back(sum("an array size"));
          expect("]");
        }
      }
      if (!is_parameter && accept("=")) {
        name.has_initializer = true;
        name.initializer = initializer();
      }
      out.names.push_back(std::move(name));
    } while (!is_parameter && accept(","));
    return out;
  }

  // ---- statements -----------------------------------------------------------------------------------------------

  void skip_balanced(std::string_view open, std::string_view close) {
    expect(open);
    for (int depth = 1; depth > 0;) {
      if (peek().kind == Token::Kind::kEnd) fail(fmt::format("\"{}\"", close));
      if (peek().is(open)) ++depth;
      if (peek().is(close)) --depth;
      take();
    }
  }

  std::array<int, 2> location() {
    std::array<int, 2> out{};
    out[0] = static_cast<int>(integer());
    out[1] = static_cast<int>(integer());
    integer();
    while (accept(",")) {
      word("function_name or inlined_at");
      if (peek().kind == Token::Kind::kWord) {
        word("a label");
        if (accept("+")) integer();
      } else {
        integer();
        integer();
        integer();
      }
    }
    return out;
  }

  std::optional<Statement> statement() {
    Token const& token = peek();
    Statement out;
    out.line = token.line;
    if (token.is("{")) {
      take();
      out.kind = Statement::Kind::kBlock;
      if (++nesting > kMaxNesting) fail("fewer nested blocks");
      out.body = statements();
      --nesting;
      expect("}");
      return out;
    }
    if (accept(";")) return std::nullopt;
    if (token.is("@")) {
      take();
      out.guarded = true;
      out.guard = term();
      out.line = peek().line;
    }
    if (peek().kind != Token::Kind::kWord) fail("an instruction");
    std::string_view const text = peek().text;
    if (text[0] == '.') {
      if (out.guarded) fail("an instruction after the guard");
      if (is_space_directive(text) || is_linkage(text)) {
        out.kind = Statement::Kind::kDeclaration;
        out.declaration = declaration(false);
        expect(";");
        return out;
      }
      if (accept(".loc")) {
        out.kind = Statement::Kind::kLocation;
        out.location = location();
        return out;
      }
      if (accept(".pragma")) {
        out.kind = Statement::Kind::kPragma;
        out.text = std::string(take().text);
        while (accept(",")) take();
        expect(";");
        return out;
      }
      fail("an instruction, a label or a declaration");
    }
    std::string const name(take().text);
    if (peek().is(":")) {
      if (out.guarded) fail("an instruction after the guard");
      take();
      out.text = name;
      if (peek().is(".branchtargets") || peek().is(".calltargets")) {
        out.kind = Statement::Kind::kTargets;
        out.is_call_list = take().is(".calltargets");
        do {
          out.operands.push_back(operand());
        } while (accept(","));
        expect(";");
      } else if (accept(".callprototype")) {
        out.kind = Statement::Kind::kPrototype;
        out.prototype = std::make_shared<FunctionSyntax const>(prototype());
      } else {
        out.kind = Statement::Kind::kLabel;
      }
      return out;
    }
    out.text = name;
    if (!peek().is(";")) {
      do {
        out.operands.push_back(operand());
      } while (accept(","));
    }
    expect(";");
    return out;
  }

  std::vector<Statement> statements() {
    std::vector<Statement> out;
    while (!peek().is("}")) {
      if (peek().kind == Token::Kind::kEnd) fail("\"}\"");
      if (auto next = statement()) out.push_back(std::move(*next));
    }
    return out;
  }

  // ---- the module -----------------------------------------------------------------------------------------------

  std::vector<Declaration> parameters() {
    std::vector<Declaration> out;
    expect("(");
    if (accept(")")) return out;
    do {
      out.push_back(declaration(true));
    } while (accept(","));
    expect(")");
    return out;
  }

  /// `(.param .b32 _) _ (.param .b64 _);` behind .callprototype.
  FunctionSyntax prototype() {
    FunctionSyntax out;
    out.line = peek().line;
    if (peek().is("(")) out.returns = parameters();
    out.name = word("_");
    if (peek().is("(")) out.params = parameters();
    while (!accept(";")) {  // .noreturn, .abi_preserve
      if (peek().kind == Token::Kind::kEnd) fail("\";\"");
      take();
    }
    return out;
  }

  FunctionSyntax function(std::string linkage) {
    FunctionSyntax out;
    out.linkage = std::move(linkage);
    out.line = peek().line;
    out.is_entry = take().text == ".entry";
    if (!out.is_entry) {
      if (accept(".attribute")) skip_balanced("(", ")");
      if (peek().is("(")) out.returns = parameters();
    }
    out.name = word("a function name");
    if (peek().is("(")) out.params = parameters();
    while (peek().kind == Token::Kind::kWord && peek().text[0] == '.') {
      std::pair<std::string, std::vector<std::uint64_t>> directive;
      directive.first = std::string(take().text);
      if (directive.first == ".pragma") {
        take();
        expect(";");
        continue;
      }
      if (peek().kind == Token::Kind::kInteger) {
        do {
          directive.second.push_back(integer());
        } while (accept(","));
      }
      out.directives.push_back(std::move(directive));
    }
    if (accept(";")) return out;
    expect("{");
    out.has_body = true;
    out.body = statements();
    expect("}");
    return out;
  }

  ModuleSyntax module() {
    ModuleSyntax out;
    while (peek().kind != Token::Kind::kEnd) {
      if (accept(";")) continue;
      if (accept(".version")) {
        std::string_view const text = take().text;
        std::size_t const dot = text.find('.');
        auto const is_digit = [](char c) { return c >= '0' && c <= '9'; };
        bool const good =
            dot != std::string_view::npos && dot >= 1 && dot <= 2 && dot + 2 == text.size() &&
            std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(dot), is_digit) &&
            is_digit(text.back());
        if (!good) {
          --at;
          fail("a version such as 8.8");
        }
        out.version = text.back() - '0';
        for (std::size_t i = dot, ten = 10; i-- > 0; ten *= 10)
          out.version += static_cast<int>(ten) * (text[i] - '0');
      } else if (accept(".target")) {
        do {
          out.targets.push_back(word("a target"));
        } while (accept(","));
      } else if (accept(".address_size")) {
        out.address_size = static_cast<int>(integer());
      } else if (accept(".file")) {
        int const index = static_cast<int>(integer());
        if (peek().kind != Token::Kind::kString) fail("a file name");
        out.files[index] = std::string(take().text);
        while (accept(",")) integer();
      } else if (accept(".section")) {
        word("a section name");
        skip_balanced("{", "}");
      } else if (accept(".pragma")) {
        take();
        expect(";");
      } else if (accept(".alias")) {
        std::string const alias = word("a name");
        expect(",");
        out.aliases[alias] = word("a function name");
        expect(";");
      } else if (accept(".loc")) {
        location();
      } else {
        std::size_t const start = at;
        std::string linkage;
        while (peek().kind == Token::Kind::kWord && is_linkage(peek().text))
          linkage = std::string(take().text);
        if (peek().is(".entry") || peek().is(".func")) {
          out.functions.push_back(function(std::move(linkage)));
        } else {
          at = start;
          if (peek().kind != Token::Kind::kWord) fail("a directive");
          out.variables.push_back(declaration(false));
          expect(";");
        }
      }
    }
    if (out.version == 0) fail("a .version directive in the text");
    if (out.targets.empty()) fail("a .target directive in the text");
    return out;
  }
};

}  // namespace

ModuleSyntax parse(std::string_view text, std::string_view source_name) {
  Parser parser{tokenize(text, source_name), source_name};
  return parser.module();
}

}  // namespace deepwell::emu::ptx

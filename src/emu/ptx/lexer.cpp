// Splits PTX text into tokens.
#include "emu/ptx/lexer.hpp"

#include <bit>
#include <charconv>
#include <cstdlib>

#include "base/error.hpp"

namespace deepwell::emu::ptx {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_word_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%';
}
bool is_word(char c) { return is_word_start(c) || is_digit(c); }

struct Lexer {
  std::string_view text;
  std::string_view source_name;
  std::size_t at = 0;
  int line = 1;

  char peek(std::size_t ahead = 0) const { return at + ahead < text.size() ? text[at + ahead] : '\0'; }

  [[noreturn]] void fail(std::string const& what) const {
    throw Error(ErrorCode::kBadArgument, fmt::format("{}:{}: {}", source_name, line, what),
                std::string(source_name), what, "PTX");
  }

  void skip_space() {
    while (at < text.size()) {
      char const c = text[at];
      if (c == '\n') {
        ++line;
        ++at;
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v' || c == '\0') {
        ++at;
      } else if (c == '/' && peek(1) == '/') {
        while (at < text.size() && text[at] != '\n') ++at;
      } else if (c == '/' && peek(1) == '*') {
        at += 2;
        while (at < text.size() && !(text[at] == '*' && peek(1) == '/')) {
          if (text[at] == '\n') ++line;
          ++at;
        }
        if (at >= text.size()) fail("a comment that does not end");
        at += 2;
      } else {
        return;
      }
    }
  }

  /// A word, dots and "::" included as long as something follows them; a directive (`.reg`, `.b32`) ends at the next dot.
  Token word() {
    std::size_t const begin = at;
    bool const is_directive = peek() == '.';
    ++at;
    for (;;) {
      if (is_word(peek())) {
        ++at;
      } else if (peek() == '.' && is_word(peek(1)) && !is_directive) {
        at += 2;
      } else if (peek() == ':' && peek(1) == ':' && is_word(peek(2))) {
        at += 3;
      } else {
        break;
      }
    }
    return {Token::Kind::kWord, text.substr(begin, at - begin), 0, line};
  }

  Token number() {
    std::size_t const begin = at;
    auto const made = [&](Token::Kind kind, std::uint64_t bits) {
      return Token{kind, text.substr(begin, at - begin), bits, line};
    };
    auto const digits = [&](std::size_t from, std::size_t to, int base) {
      std::uint64_t value = 0;
      auto const result = std::from_chars(text.data() + from, text.data() + to, value, base);
      if (result.ec != std::errc() || result.ptr != text.data() + to) {
        fail(fmt::format("not a number: \"{}\"", text.substr(begin, to - begin)));
      }
      return value;
    };
    if (peek() == '0' && (peek(1) == 'f' || peek(1) == 'F' || peek(1) == 'd' || peek(1) == 'D')) {
      bool const single = peek(1) == 'f' || peek(1) == 'F';
      at += 2;
      std::size_t const first = at;
      while (is_hex(peek())) ++at;
      if (at - first != (single ? 8u : 16u))
        fail(fmt::format("a {} constant has {} hex digits", single ? "0f" : "0d", single ? 8 : 16));
      return made(single ? Token::Kind::kFloat32 : Token::Kind::kFloat64, digits(first, at, 16));
    }
    int base = 10;
    if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X')) base = 16;
    if (peek() == '0' && (peek(1) == 'b' || peek(1) == 'B')) base = 2;
    if (base != 10) {
      at += 2;
      std::size_t const first = at;
      while (is_hex(peek())) ++at;
      std::uint64_t const value = digits(first, at, base);
      if (peek() == 'U' || peek() == 'u') ++at;
      return made(Token::Kind::kInteger, value);
    }
    while (is_digit(peek())) ++at;
    bool real = false;
    if (peek() == '.' && is_digit(peek(1))) {
      real = true;
      ++at;
      while (is_digit(peek())) ++at;
    }
    if ((peek() == 'e' || peek() == 'E') &&
        (is_digit(peek(1)) || ((peek(1) == '-' || peek(1) == '+') && is_digit(peek(2))))) {
      real = true;
      at += 2;
      while (is_digit(peek())) ++at;
    }
    if (real) {
      double value = 0;
      std::from_chars(text.data() + begin, text.data() + at, value);
      return made(Token::Kind::kFloat64, std::bit_cast<std::uint64_t>(value));
    }
    bool const octal = text[begin] == '0' && at - begin > 1;
    std::uint64_t const value = digits(begin, at, octal ? 8 : 10);
    if (peek() == 'U' || peek() == 'u') ++at;
    return made(Token::Kind::kInteger, value);
  }

  Token next() {
    skip_space();
    if (at >= text.size()) return {Token::Kind::kEnd, "end of text", 0, line};
    char const c = text[at];
    if (is_word_start(c)) return word();
    if (c == '.' && is_word_start(peek(1))) return word();
    if (is_digit(c)) return number();
    std::size_t const begin = at;
    if (c == '"') {
      ++at;
      while (at < text.size() && text[at] != '"' && text[at] != '\n') at += text[at] == '\\' ? 2 : 1;
      if (peek() != '"') fail("a string that does not end on its line");
      ++at;
      return {Token::Kind::kString, text.substr(begin + 1, at - begin - 2), 0, line};
    }
    static constexpr std::string_view kPunctuation = "{}[]()<>,;:=+-*/@!|~&^?%";
    if (kPunctuation.find(c) != std::string_view::npos) {
      ++at;
      return {Token::Kind::kPunctuation, text.substr(begin, 1), 0, line};
    }
    fail(fmt::format("unexpected character with code {:#x}", static_cast<unsigned char>(c)));
  }
};

}  // namespace

std::vector<Token> tokenize(std::string_view text, std::string_view source_name) {
  Lexer lexer{text, source_name};
  std::vector<Token> tokens;
  tokens.reserve(text.size() / 4 + 1);
  do {
    tokens.push_back(lexer.next());
  } while (tokens.back().kind != Token::Kind::kEnd);
  return tokens;
}

}  // namespace deepwell::emu::ptx

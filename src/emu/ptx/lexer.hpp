// Splits PTX text into tokens. Words keep their dots: "add.rn.f32", "%tid.x" and ".param" are one token each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace deepwell::emu::ptx {

struct Token {
  enum class Kind : std::uint8_t { kWord, kInteger, kFloat32, kFloat64, kString, kPunctuation, kEnd };
  Kind kind = Kind::kEnd;
  std::string_view text;   // in the source
  std::uint64_t bits = 0;  // of a number: the integer, or the bit pattern of a float
  int line = 0;
  bool is(std::string_view what) const { return text == what && kind != Kind::kString && kind != Kind::kEnd; }
};

/// Throws Error kBadArgument naming source and line for text that is no token. Tokens point into `text`.
std::vector<Token> tokenize(std::string_view text, std::string_view source_name);

}  // namespace deepwell::emu::ptx

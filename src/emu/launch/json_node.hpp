// A place in a JSON document that knows its path, so that whatever is wrong there is an error with the path ("launches[0].grid[1]"),
// the value and what was expected.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace deepwell::emu {

class JsonNode {
 public:
  /// `value` is a nlohmann::json that outlives the node; the type stays in json_node.cpp.
  JsonNode(void const* value, std::string path) : value_(value), path_(std::move(path)) {}

  std::string const& path() const { return path_; }

  /// bad_argument(path, the value, expected).
  [[noreturn]] void fail(std::string expected) const;

  bool is_object() const;
  bool is_array() const;
  bool is_string() const;
  bool is_number() const;

  /// An object with no other members than these; fails otherwise.
  void require_members(std::initializer_list<std::string_view> known) const;
  bool has(std::string_view member) const;
  /// A member that has to be there.
  JsonNode at(std::string_view member) const;
  std::optional<JsonNode> find(std::string_view member) const;
  std::vector<std::pair<std::string, JsonNode>> members() const;

  /// An array of `least` to `most` elements.
  std::vector<JsonNode> elements(std::size_t least, std::size_t most) const;

  bool boolean() const;
  std::string text() const;
  /// A whole number between the two.
  std::uint64_t whole(std::uint64_t least, std::uint64_t most) const;
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  /// A number, or "nan", "inf", "-inf".
  double real() const;
  /// Index of a text among `names`; `expected` describes them.
  std::size_t one_of(std::initializer_list<std::string_view> names) const;

 private:
  void const* value_;
  std::string path_;
};

/// A parsed document. Nesting is limited. Throws Error kBadArgument with `name`, the place and the reason.
class JsonDocument {
 public:
  JsonDocument(std::string_view text, std::string_view name);
  ~JsonDocument();
  JsonDocument(JsonDocument const&) = delete;
  JsonDocument& operator=(JsonDocument const&) = delete;
  JsonNode root() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepwell::emu

// Values of a JSON document with their paths.
#include "emu/launch/json_node.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

namespace deepwell::emu {
namespace {

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxShown = 80;

using Json = nlohmann::json;

Json const& json(void const* value) { return *static_cast<Json const*>(value); }

std::string shown(Json const& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown - 3) + "...";
  return text;
}

}  // namespace

struct JsonDocument::Impl {
  Json root;
};

void JsonNode::fail(std::string expected) const {
  throw bad_argument(path_, shown(json(value_)), std::move(expected));
}

bool JsonNode::is_object() const { return json(value_).is_object(); }
bool JsonNode::is_array() const { return json(value_).is_array(); }
bool JsonNode::is_string() const { return json(value_).is_string(); }
bool JsonNode::is_number() const { return json(value_).is_number(); }

void JsonNode::require_members(std::initializer_list<std::string_view> known) const {
  if (!json(value_).is_object()) fail("an object");
  for (auto const& [name, member] : json(value_).items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string names;
    for (std::string_view const one : known) names += (names.empty() ? "" : ", ") + std::string(one);
    throw bad_argument(path_.empty() ? shown(name) : path_ + "." + name, shown(member),
                       "no such member; there are " + names);
  }
}

bool JsonNode::has(std::string_view member) const {
  return json(value_).is_object() && json(value_).contains(std::string(member));
}

JsonNode JsonNode::at(std::string_view member) const {
  if (auto found = find(member)) return *found;
  fail(fmt::format("an object with \"{}\"", member));
}

std::optional<JsonNode> JsonNode::find(std::string_view member) const {
  if (!json(value_).is_object()) fail("an object");
  auto const found = json(value_).find(std::string(member));
  if (found == json(value_).end()) return std::nullopt;
  return JsonNode(&*found, path_.empty() ? std::string(member) : path_ + "." + std::string(member));
}

std::vector<std::pair<std::string, JsonNode>> JsonNode::members() const {
  if (!json(value_).is_object()) fail("an object");
  std::vector<std::pair<std::string, JsonNode>> out;
  for (auto const& [name, member] : json(value_).items())
    out.emplace_back(name, JsonNode(&member, path_.empty() ? name : path_ + "." + name));
  return out;
}

std::vector<JsonNode> JsonNode::elements(std::size_t least, std::size_t most) const {
  if (!json(value_).is_array() || json(value_).size() < least || json(value_).size() > most) {
    fail(least == most ? fmt::format("an array of {}", least)
         : most == std::numeric_limits<std::size_t>::max()
             ? fmt::format("an array of at least {}", least)
             : fmt::format("an array of {} to {}", least, most));
  }
  std::vector<JsonNode> out;
  for (std::size_t i = 0; i < json(value_).size(); ++i)
    out.emplace_back(&json(value_)[i], fmt::format("{}[{}]", path_, i));
  return out;
}

bool JsonNode::boolean() const {
  if (!json(value_).is_boolean()) fail("true or false");
  return json(value_).get<bool>();
}

std::string JsonNode::text() const {
  if (!json(value_).is_string()) fail("a text");
  return json(value_).get<std::string>();
}

std::uint64_t JsonNode::whole(std::uint64_t least, std::uint64_t most) const {
  if (json(value_).is_number_unsigned()) {
    auto const out = json(value_).get<std::uint64_t>();
    if (out >= least && out <= most) return out;
  }
  fail(fmt::format("a whole number from {} to {}", least, most));
}

std::int64_t JsonNode::integer(std::int64_t least, std::int64_t most) const {
  if (json(value_).is_number_integer()) {
    bool const fits = !json(value_).is_number_unsigned() ||
                      json(value_).get<std::uint64_t>() <=
                          static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (fits && json(value_).get<std::int64_t>() >= least && json(value_).get<std::int64_t>() <= most)
      return json(value_).get<std::int64_t>();
  }
  fail(fmt::format("a whole number from {} to {}", least, most));
}

double JsonNode::real() const {
  if (json(value_).is_number()) return json(value_).get<double>();
  if (json(value_).is_string()) {
    auto const& name = json(value_).get_ref<std::string const&>();
    if (name == "nan") return std::numeric_limits<double>::quiet_NaN();
    if (name == "inf") return std::numeric_limits<double>::infinity();
    if (name == "-inf") return -std::numeric_limits<double>::infinity();
  }
  fail("a number, \"nan\", \"inf\" or \"-inf\"");
}

std::size_t JsonNode::one_of(std::initializer_list<std::string_view> names) const {
  if (json(value_).is_string()) {
    auto const found = std::find(names.begin(), names.end(), json(value_).get_ref<std::string const&>());
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  }
  std::string known;
  for (std::string_view const one : names) known += (known.empty() ? "" : ", ") + std::string(one);
  fail("one of " + known);
}

JsonDocument::JsonDocument(std::string_view text, std::string_view name) : impl_(std::make_unique<Impl>()) {
  try {
    bool too_deep = false;
    auto const limit = [&](int depth, Json::parse_event_t, Json&) {
      if (depth > kMaxDepth) too_deep = true;
      return depth <= kMaxDepth;
    };
    impl_->root = Json::parse(text, limit);
    if (too_deep)
      throw bad_argument(std::string(name), "deeper nesting", fmt::format("at most {} levels", kMaxDepth));
  } catch (Json::exception const& error) {
    throw bad_argument(std::string(name), error.what(), "a JSON document");
  }
}

JsonDocument::~JsonDocument() = default;
JsonNode JsonDocument::root() const { return {&impl_->root, ""}; }

}  // namespace deepwell::emu

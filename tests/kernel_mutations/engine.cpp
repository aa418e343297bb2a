// Finds the lines that a rule means and changes them.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <span>

#include "base/error.hpp"
#include "kernel_mutations/rules.hpp"

namespace deepwell::mutations {
namespace {

std::vector<std::string> lines_of(std::string const& text) {
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t const end = std::min(text.find('\n', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

/// Without blanks around, and with one blank where there are several.
std::string collapsed(std::string_view line) {
  std::string out;
  for (char c : line) {
    bool const blank = c == ' ' || c == '\t';
    if (blank && (out.empty() || out.back() == ' ')) continue;
    out += blank ? ' ' : c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

struct Step {
  bool back;
  std::string pattern;
};

/// A leading arrow belongs to the first pattern.
std::vector<Step> steps_of(std::string_view find) {
  std::vector<Step> out;
  bool back = find.starts_with("<- ");
  if (back || find.starts_with("-> ")) find.remove_prefix(3);
  for (;;) {
    std::size_t const forward_at = find.find(" -> "), back_at = find.find(" <- ");
    std::size_t const at = std::min(forward_at, back_at);
    out.push_back({back, std::string(find.substr(0, at))});
    if (at == std::string_view::npos) return out;
    back = back_at < forward_at;
    find.remove_prefix(at + 4);
  }
}

class Text {
 public:
  explicit Text(std::string const& ptx) : raw_(lines_of(ptx)) {
    for (std::string const& line : raw_) plain_.push_back(collapsed(line));
  }

  std::string const& plain(std::size_t line) const { return plain_[line]; }
  void set(std::size_t line, std::string text) { raw_[line] = std::move(text); }

  /// The line that `find` means; its first pattern is looked for anywhere (the index-th of all), or from `start` on.
  std::size_t find(std::string_view find, int index) const {
    std::vector<Step> const steps = steps_of(find);
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < plain_.size(); ++i) {
      if (is(i, steps[0].pattern)) found.push_back(i);
    }
    int const count = static_cast<int>(found.size());
    int const at = index < 0 ? count + index : index;
    DW_CHECK(at >= 0 && at < count, kInternal, "{} of {} lines that match {}", index, count,
             steps[0].pattern);
    return follow(found[static_cast<std::size_t>(at)], std::span(steps).subspan(1));
  }
  std::size_t find_from(std::size_t line, std::string_view find) const {
    return follow(line, steps_of(find));
  }

  std::string joined() const {
    std::string out;
    for (std::string const& line : raw_) out += line + '\n';
    return out;
  }

 private:
  bool is(std::size_t line, std::string const& pattern) const {
    std::vector<std::string> captures;
    return matches(pattern, plain_[line], captures);
  }

  std::size_t follow(std::size_t line, std::span<Step const> steps) const {
    for (Step const& step : steps) {
      std::size_t at = line;
      do {
        at += step.back ? std::size_t(-1) : 1;
        DW_CHECK(at < plain_.size(), kInternal, "no line {} {}", step.back ? "before" : "after",
                 step.pattern);
      } while (!is(at, step.pattern));
      line = at;
    }
    return line;
  }

  std::vector<std::string> raw_, plain_;
};

std::string filled(std::string_view become, std::string const& line,
                   std::vector<std::string> const& captures) {
  std::string out;
  for (std::size_t i = 0; i < become.size(); ++i) {
    if (become[i] != '$') {
      out += become[i];
      continue;
    }
    DW_CHECK(i + 1 < become.size() && std::isdigit(static_cast<unsigned char>(become[i + 1])) != 0, kInternal,
             "a $ without a digit in {}", become);
    std::size_t const number = static_cast<std::size_t>(become[++i] - '0');
    DW_CHECK(number <= captures.size(), kInternal, "no capture {} in {}", number, line);
    out += number == 0 ? line : captures[number - 1];
  }
  return out;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view text, std::vector<std::string>& captures) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] != '*') {
    return !text.empty() && (text[0] == pattern[0] || pattern[0] == '#') &&
           matches(pattern.substr(1), text.substr(1), captures);
  }
  bool const braces = pattern.size() > 1 && pattern[1] == '*';
  std::string_view const rest = pattern.substr(braces ? 2 : 1);
  std::size_t const depth = captures.size();
  for (std::size_t length = 0; length <= text.size(); ++length) {
    if (!braces && length > 0 && (text[length - 1] == '{' || text[length - 1] == '}')) return false;
    captures.emplace_back(text.substr(0, length));
    if (matches(rest, text.substr(length), captures)) return true;
    captures.resize(depth);
  }
  return false;
}

Mutated mutate(std::string const& ptx, Rule const& rule, int index) {
  Text text(ptx);
  std::size_t const line = text.find(rule.find, index);
  std::vector<std::string> captures;
  std::string const pattern = steps_of(rule.find).back().pattern;
  matches(pattern, text.plain(line), captures);
  Mutated out;
  auto const change = [&](std::size_t at, char const* become) {
    std::string const before = text.plain(at);
    std::string const after = filled(become, before, captures);
    text.set(at, after);
    if (after == before) return;
    out.before += (out.before.empty() ? "" : " ... ") + before;
    out.after += (out.after.empty() ? "" : " ... ") + (after.empty() ? "(dropped)" : after);
  };
  change(line, rule.become);
  for (Also const& also : rule.also) change(text.find_from(line, also.find), also.become);
  out.ptx = text.joined();
  DW_CHECK(out.ptx != ptx, kInternal, "{} changes nothing", rule.name);
  return out;
}

}  // namespace deepwell::mutations

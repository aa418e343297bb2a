// The mutations: a table of rules, each a place in PTX text and what becomes of it, and the engine that applies one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace deepwell::mutations {

/// What has to be said about the mutated kernel.
enum class Expect {
  kReport,   // it breaks a rule of the machine: a checker must report it, whatever the result is
  kAny,      // it computes something else: a report or a wrong result
  kNothing,  // nothing that the machine promises depends on it: right results and no report, whatever the seed
  kGap,      // it breaks a rule of the machine that no checker knows yet: right results and no report
};

/// A program that a rule is tried in, and where.
struct Site {
  char const* program;
  int index = 0;  // which of the lines that match the rule's first pattern; negative: from the end
};

/// Another line that changes with the rule's own: `find` goes on from there, `become` may use the captures of the rule's line.
struct Also {
  char const* find;
  char const* become;
};

/// Patterns match whole lines, blanks collapsed: `*` is any text without braces, `**` any text, each a capture; `#` is one
/// character (compilers differ in whether they write a type as u32, s32 or b32).
struct Rule {
  char const* name;
  /// "A" or "A -> B <- C": the site's line A, from there forward to the next line B, from there back to C. C changes.
  char const* find;
  /// The line's new text: $1 .. $9 are its captures, $0 the line; empty: the line is dropped.
  char const* become;
  Expect expect;
  std::vector<Site> sites;
  std::vector<Also> also = {};
  char const* kernel = "gemm_mx";  // beginning of the entry of the kernel that changes
  char const* reason = "";         // of kNothing and kGap
};

std::vector<Rule> const& rules();

struct Mutated {
  std::string ptx;
  std::string before, after;  // the rule's own line
};
/// Throws Error kInternal when the rule finds no line.
Mutated mutate(std::string const& ptx, Rule const& rule, int index);

/// Whether `text` matches `pattern`; captures are added.
bool matches(std::string_view pattern, std::string_view text, std::vector<std::string>& captures);

}  // namespace deepwell::mutations

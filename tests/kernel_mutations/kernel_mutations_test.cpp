// Every mutation of the PTX that the library compiles and launches is reported: by a checker of the emulator, or, where no rule of
// the machine is broken, as a wrong result. `kernel_mutations --table` prints what was found how.
#include <gtest/gtest.h>

#include <cctype>
#include <cstdio>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "base/options.hpp"
#include "kernel_mutations/mutating_backend.hpp"
#include "kernel_mutations/programs.hpp"
#include "kernel_mutations/rules.hpp"

namespace deepwell::mutations {
namespace {

std::string const kDevices[] = {"emu:sm_120a", "emu:sm_121a"};
constexpr std::uint64_t kSeeds = 8;  // of programs as they are, and of mutations until one shows them
constexpr std::uint64_t kMaxSteps = 400'000;  // warp-instructions of a CTA; no program needs half of it

/// What one run came to.
struct Found {
  bool report = false;
  std::string as;    // finding's name or "wrong result"; empty: nothing
  std::string line;  // first line of what was said
};

std::string first_line(std::string text) { return text.substr(0, text.find('\n')); }

Found run_once(std::string const& device, NamedProgram const& program, Rewrite rewrite, std::uint64_t seed) {
  auto backend = std::make_unique<MutatingBackend>(device + program.sms, std::move(rewrite));
  emu::Options options = backend->options();
  options.seed = seed;
  options.threads = 1;
  options.max_steps = kMaxSteps;
  backend->set_options(options);
  try {
    Context context(std::move(backend));
    std::string const wrong = program.program->run(context);
    return {.report = false, .as = wrong.empty() ? "" : "wrong result", .line = wrong};
  } catch (emu::Report const& report) {
    return {.report = true, .as = name_of(report.finding()), .line = first_line(report.what())};
  } catch (Error const& error) {
    // Inputs that changed are a wrong result; all else is a failure of the test.
    if (error.code() != ErrorCode::kDevice) throw;
    return {.report = false, .as = "wrong result", .line = first_line(error.what())};
  }
}

/// What is wrong with the program as it is, under any seed that mutations are run with; empty when it is right.
std::string const& unmutated(std::string const& device, NamedProgram const& program) {
  static std::map<std::pair<std::string, std::string>, std::string> known;
  auto const [entry, is_new] = known.try_emplace({device, program.name});
  for (std::uint64_t seed = 0; is_new && seed < kSeeds && entry->second.empty(); ++seed) {
    Found const found = run_once(device, program, {}, seed);
    if (!found.as.empty()) entry->second = fmt::format("seed {}: {}: {}", seed, found.as, found.line);
  }
  return entry->second;
}

bool must_be_found(Rule const& rule) { return rule.expect == Expect::kReport || rule.expect == Expect::kAny; }

struct Mutant {
  Rule const* rule;
  Site site;
};

void PrintTo(Mutant const& mutant, std::ostream* out) {
  *out << mutant.rule->name << ", in " << mutant.site.program << ", line " << mutant.site.index;
}

std::vector<Mutant> mutants() {
  std::vector<Mutant> out;
  for (Rule const& rule : rules()) {
    for (Site const& site : rule.sites) out.push_back({&rule, site});
  }
  return out;
}

struct Tried {
  Found found;  // of the first seed that shows something that counts
  std::uint64_t seeds = 0;
  std::string kernel, before, after;
  bool applied = false;
};

/// Runs a mutant until a seed shows it. A wrong result does not count where a report is due, unless no seed gives one.
Tried try_out(std::string const& device, Mutant const& mutant) {
  Tried out;
  Rule const& rule = *mutant.rule;
  Rewrite const rewrite = [&](std::string_view entry, std::string const& ptx) {
    if (!entry.starts_with(rule.kernel)) return ptx;
    Mutated const mutated = mutate(ptx, rule, mutant.site.index);
    out.kernel = std::string(entry);
    out.before = mutated.before;
    out.after = mutated.after;
    out.applied = true;
    return mutated.ptx;
  };
  NamedProgram const& program = program_of(mutant.site.program);
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Found const found = run_once(device, program, rewrite, seed);
    if (found.as.empty()) continue;
    bool const counts = found.report || rule.expect != Expect::kReport;
    if (counts || out.seeds == 0) {
      out.found = found;
      out.seeds = seed + 1;
    }
    if (counts) break;
  }
  return out;
}

class Mutations : public testing::TestWithParam<std::tuple<std::string, Mutant>> {};

TEST_P(Mutations, AreFound) {
  auto const& [device, mutant] = GetParam();
  Rule const& rule = *mutant.rule;
  ASSERT_EQ(unmutated(device, program_of(mutant.site.program)), "") << mutant.site.program;
  Tried const tried = try_out(device, mutant);
  ASSERT_TRUE(tried.applied) << mutant.site.program << " loads no kernel " << rule.kernel;
  std::string const what =
      fmt::format("{}, in program {}, kernel {}\n{}\n{}\n{}: {}", rule.name, mutant.site.program,
                  tried.kernel, tried.before, tried.after, tried.found.as, tried.found.line);
  if (!must_be_found(rule)) {
    EXPECT_EQ(tried.found.as, "") << rule.reason << "\n" << what;
  } else {
    EXPECT_NE(tried.found.as, "") << what;
    EXPECT_TRUE(tried.found.report || rule.expect != Expect::kReport) << what;
  }
}

std::string test_name(std::string text) {
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return text;
}

std::string mutant_name(testing::TestParamInfo<std::tuple<std::string, Mutant>> const& info) {
  auto const& [device, mutant] = info.param;
  return test_name(
      fmt::format("{}_{}_{}_{}", device.substr(4), info.index, mutant.rule->name, mutant.site.program));
}

INSTANTIATE_TEST_SUITE_P(All, Mutations,
                         testing::Combine(testing::ValuesIn(std::begin(kDevices), std::end(kDevices)),
                                          testing::ValuesIn(mutants())),
                         mutant_name);

class Unmutated : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(Unmutated, IsRight) {
  auto const& [device, name] = GetParam();
  NamedProgram const& program = program_of(name);
  EXPECT_EQ(program.program->kernel(arch_by_target(device.substr(4))), program.kernel) << program.what;
  EXPECT_EQ(unmutated(device, program), "");
}

std::vector<std::string> program_names() {
  std::vector<std::string> out;
  for (NamedProgram const& program : programs()) out.push_back(program.name);
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, Unmutated,
                         testing::Combine(testing::ValuesIn(std::begin(kDevices), std::end(kDevices)),
                                          testing::ValuesIn(program_names())),
                         [](auto const& info) {
                           return test_name(std::get<0>(info.param).substr(4) + "_" +
                                            std::get<1>(info.param));
                         });

TEST(Suite, HasEnough) {
  std::size_t count = 0;
  for (Mutant const& mutant : mutants()) count += must_be_found(*mutant.rule);
  EXPECT_GE(count, 45u);
}

/// Every program is there for some mutation.
TEST(Suite, UsesEveryProgram) {
  for (NamedProgram const& program : programs()) {
    bool used = false;
    for (Mutant const& mutant : mutants()) used |= program.name == mutant.site.program;
    EXPECT_TRUE(used) << program.name;
  }
}

TEST(Patterns, MatchWholeLines) {
  std::vector<std::string> captures;
  EXPECT_TRUE(matches("shl.b32 *, *, 13;", "shl.b32 %r1, %r2, 13;", captures));
  EXPECT_EQ(captures, (std::vector<std::string>{"%r1", "%r2"}));
  captures.clear();
  EXPECT_FALSE(matches("shl.b32 *, *, 1;", "shl.b32 %r1, %r2, 13;", captures));
  EXPECT_FALSE(matches("ld.v4 *, [*];", "ld.v4 {%r1}, [%r2];", captures));
  EXPECT_TRUE(captures.empty());
  EXPECT_TRUE(matches("setp.eq.#32 r1;", "setp.eq.b32 r1;", captures));
  EXPECT_FALSE(matches("setp.eq.#32 r1;", "setp.eq.b64 r1;", captures));
  EXPECT_TRUE(matches("mma**, {*, *};", "mma {%r1, %r2}, {3, 4};", captures));
  EXPECT_EQ(captures, (std::vector<std::string>{" {%r1, %r2}", "3", "4"}));
}

TEST(Patterns, FindTheirLine) {
  Rule const rule{.name = "test",
                  .find = "c -> b* <- a *",
                  .become = "x $1",
                  .expect = Expect::kAny,
                  .sites = {},
                  .also = {{"-> c", "$1 $0"}}};
  EXPECT_EQ(mutate("\ta  1\n\tc\n\ta\t2\n\tc\n\tb\n\ta 3\n\tc\n\tb\n", rule, 1).ptx,
            "\ta  1\n\tc\nx 2\n2 c\n\tb\n\ta 3\n\tc\n\tb\n");
  EXPECT_EQ(mutate("\ta  1\n\tc\n\ta\t2\n\tc\n\tb\n\ta 3\n\tc\n\tb\n", rule, -1).before, "a 3 ... c");
  EXPECT_THROW(mutate("\ta  1\n\tc\n", rule, 0), Error);
}

std::string cell(std::string text) {
  std::string out;
  for (char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

/// `text` with the long name of a kernel shortened.
std::string shortened(std::string text, std::string const& entry) {
  std::string const to = entry.substr(0, entry.find("_x"));
  for (std::size_t at = 0; !entry.empty() && (at = text.find(entry, at)) != std::string::npos;
       at += to.size())
    text.replace(at, entry.size(), to);
  return text;
}

/// Kernel, mutation and what became of it, on one device.
void print_table(std::string const& device) {
  std::printf(
      "| program | kernel | mutation | PTX before | after | found as | seeds | first line of the report |\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  for (Mutant const& mutant : mutants()) {
    Rule const& rule = *mutant.rule;
    NamedProgram const& program = program_of(mutant.site.program);
    Tried const tried = try_out(device, mutant);
    bool const gemm = tried.kernel.starts_with("gemm_mx");
    std::string as = tried.found.as, line = tried.found.line;
    if (as.empty()) {
      as = rule.expect == Expect::kNothing ? "nothing, rightly"
           : rule.expect == Expect::kGap   ? "nothing: a gap"
                                           : "NOT FOUND";
      line = rule.reason;
    }
    std::string const seeds = tried.seeds == 0 ? "-" : std::to_string(tried.seeds);
    std::printf("%s\n", fmt::format("| {} | {} | {} | `{}` | `{}` | {} | {} | {} |", program.name,
                                    gemm ? program.kernel : tried.kernel, rule.name, cell(tried.before),
                                    cell(tried.after.empty() ? "(dropped)" : tried.after), as, seeds,
                                    cell(shortened(line, tried.kernel)))
                            .c_str());
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace deepwell::mutations

int main(int argc, char** argv) {
  deepwell::set_option(deepwell::Option::kBackgroundBuilds, "0");
  deepwell::set_option(deepwell::Option::kLogLevel, "error");
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--table") {
      deepwell::mutations::print_table("emu:sm_120a");
      return 0;
    }
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

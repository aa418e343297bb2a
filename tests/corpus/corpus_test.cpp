// Small CUDA programs of many kinds, compiled as others compile theirs, give on the emulator, with every check on, what plain C++
// gives on the host. `corpus_tests --table` runs all compilers and targets and prints a table.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <thread>

#include "base/options.hpp"
#include "corpus/compilers.hpp"
#include "corpus/data.hpp"

namespace deepwell::corpus {
namespace {

constexpr int kSeeds = 3;

template <class T, class Bits>
bool off(std::byte const* got, std::byte const* expected, Tolerance tolerance, std::string& text) {
  T a, b;
  std::memcpy(&a, got, sizeof a);
  std::memcpy(&b, expected, sizeof b);
  if (std::bit_cast<Bits>(a) == std::bit_cast<Bits>(b) || (std::isnan(a) && std::isnan(b))) return false;
  T const unit = std::max(std::nextafter(std::abs(b), std::numeric_limits<T>::infinity()) - std::abs(b),
                          std::numeric_limits<T>::denorm_min());
  double const distance = std::abs(static_cast<double>(a) - static_cast<double>(b));
  bool const near = distance <= tolerance.absolute || distance <= tolerance.ulps * static_cast<double>(unit);
  if (near && (tolerance.ulps != 0 || tolerance.absolute != 0)) return false;
  text = fmt::format("{} ({:a}), expected {} ({:a})", a, a, b, b);
  return true;
}

/// What is wrong with a buffer; empty when nothing is.
std::string compare(std::size_t number, Parameter const& parameter, std::vector<std::byte> const& got) {
  std::string out;
  std::size_t const each = parameter.type == 'f' ? 4 : parameter.type == 'd' ? 8 : 4;
  int wrong = 0;
  for (std::size_t at = 0; at < got.size(); at += each) {
    std::size_t const bytes = std::min(each, got.size() - at);
    std::byte const *const a = got.data() + at, *const b = parameter.expected.data() + at;
    std::string text;
    bool differs = false;
    if (parameter.type == 'f') {
      differs = off<float, std::uint32_t>(a, b, parameter.tolerance, text);
    } else if (parameter.type == 'd') {
      differs = off<double, std::uint64_t>(a, b, parameter.tolerance, text);
    } else if (std::memcmp(a, b, bytes) != 0) {
      std::uint32_t is = 0, should = 0;
      std::memcpy(&is, a, bytes);
      std::memcpy(&should, b, bytes);
      text = fmt::format("{:#x}, expected {:#x}", is, should);
      differs = true;
    }
    if (differs && ++wrong <= 6)
      out += fmt::format("  parameter {}, element {}: {}\n", number, at / each, text);
  }
  if (wrong > 6) out += fmt::format("  {} elements of parameter {} differ\n", wrong, number);
  return out;
}

/// Runs once; what is wrong, or nothing.
std::string run(Entry const& entry, emu::Module const& module, emu::Profile const& profile,
                emu::Options options) {
  Data data(std::hash<std::string>{}("corpus") + 17);
  entry.fill(data);
  emu::Memory memory;
  std::vector<std::uint64_t> addresses;
  std::vector<std::byte> block;
  for (std::size_t p = 0; p < data.parameters.size(); ++p) {
    Parameter const& one = data.parameters[p];
    std::vector<std::byte> word = one.initial;
    if (one.is_buffer) {
      std::uint64_t const address = memory.allocate(one.bytes, fmt::format("parameter {}", p));
      addresses.push_back(address);
      if (!one.initial.empty()) memory.write(address, one.initial);
      word.resize(8);
      std::memcpy(word.data(), &address, 8);
    } else {
      addresses.push_back(0);
    }
    block.resize((block.size() + one.alignment - 1) / one.alignment * one.alignment);
    block.insert(block.end(), word.begin(), word.end());
  }
  std::string printed;
  options.output = [&](std::string_view text) { printed += text; };
  try {
    emu::launch(module, "kernel", entry.launch, block, memory, options, profile);
  } catch (emu::Report const& report) {
    if (!data.failure.empty() && std::string_view(report.what()).find(data.failure) != std::string_view::npos)
      return {};
    return fmt::format("  {}\n", report.what());
  }
  if (!data.failure.empty())
    return fmt::format("  it ended well, a report with \"{}\" was expected\n", data.failure);
  std::string out;
  for (std::size_t p = 0; p < data.parameters.size(); ++p) {
    Parameter const& one = data.parameters[p];
    if (one.expected.empty()) continue;
    std::vector<std::byte> got(one.expected.size());
    memory.read(addresses[p], got);
    out += compare(p, one, got);
  }
  if (printed != data.printed)
    out += fmt::format("  it printed\n{}\n  expected\n{}\n", printed, data.printed);
  return out;
}

/// Compiles and runs under several seeds, and without checks; what is wrong, or nothing.
std::string try_out(Entry const& entry, Compiler const& compiler, std::string const& target) {
  try {
    emu::Profile const profile = emu::parse_profile("emu:" + target);
    auto const module =
        emu::Module::parse(compile(compiler, entry.name, target), profile, entry.name + ".ptx");
    for (int seed = 0; seed < kSeeds; ++seed) {
      std::string const wrong = run(entry, *module, profile, {.seed = static_cast<std::uint64_t>(seed)});
      if (!wrong.empty()) return fmt::format("seed {}\n{}", seed, wrong);
    }
    return run(entry, *module, profile, {.check = false, .threads = 1});
  } catch (std::exception const& error) {
    return fmt::format("  {}\n", error.what());
  }
}

class Files : public testing::TestWithParam<Entry> {};

TEST_P(Files, GiveWhatTheHostGives) {
  constexpr char const* kTarget = "sm_120a";
  static std::vector<Compiler> const found = find_compilers(kTarget, {});
  ASSERT_FALSE(found.empty()) << "neither NVRTC nor nvcc for " << kTarget;
  std::string const wrong = try_out(GetParam(), found.front(), kTarget);
  EXPECT_TRUE(wrong.empty()) << found.front().name << ": " << wrong;
}

INSTANTIATE_TEST_SUITE_P(Corpus, Files, testing::ValuesIn(entries()),
                         [](auto const& info) { return info.param.name; });

/// Every file by every compiler for every target, on all cores; a cell has the targets. Returns how many failed.
int print_table(std::vector<std::string> const& nvrtc, std::vector<std::string> const& targets,
                std::string const& compiler, std::string const& only) {
  struct Job {
    std::size_t entry, column;
  };
  struct Column {
    Compiler compiler;
    std::string target;
  };
  std::vector<Column> columns;
  for (std::string const& target : targets) {
    for (Compiler const& one : find_compilers(target, nvrtc)) {
      if (compiler.empty() || one.name == compiler) columns.push_back({one, target});
    }
  }
  std::vector<Job> jobs;
  std::vector<std::vector<std::string>> results(entries().size(),
                                                std::vector<std::string>(columns.size(), "-"));
  for (std::size_t e = 0; e < entries().size(); ++e) {
    if (entries()[e].name.find(only) == std::string::npos) continue;
    for (std::size_t c = 0; c < columns.size(); ++c) jobs.push_back({e, c});
  }
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  int failed = 0;
  auto const work = [&] {
    for (std::size_t j; (j = next++) < jobs.size();) {
      Entry const& entry = entries()[jobs[j].entry];
      Column const& column = columns[jobs[j].column];
      std::string const wrong = try_out(entry, column.compiler, column.target);
      std::scoped_lock const lock(mutex);
      results[jobs[j].entry][jobs[j].column] = wrong.empty() ? "ok" : "FAILED";
      if (wrong.empty()) continue;
      ++failed;
      std::fprintf(
          stderr, "%s",
          fmt::format("{}, {}, {}:\n{}\n", entry.name, column.compiler.name, column.target, wrong).c_str());
    }
  };
  std::vector<std::thread> pool;
  for (unsigned t = 0; t < std::max(1u, std::thread::hardware_concurrency()); ++t) pool.emplace_back(work);
  for (std::thread& one : pool) one.join();
  std::vector<std::string> names;
  std::string head = "| file |", rule = "|---|";
  for (Column const& column : columns) {
    if (std::find(names.begin(), names.end(), column.compiler.name) != names.end()) continue;
    names.push_back(column.compiler.name);
    head += fmt::format(" {} |", column.compiler.name);
    rule += "---|";
  }
  std::printf("%s\n%s\n", head.c_str(), rule.c_str());
  for (std::size_t e = 0; e < entries().size(); ++e) {
    if (entries()[e].name.find(only) == std::string::npos) continue;
    std::string line = "| " + entries()[e].name + " |";
    for (std::string const& name : names) {
      for (std::size_t c = 0; c < columns.size(); ++c) {
        if (columns[c].compiler.name != name) continue;
        bool const ok = results[e][c] == "ok";
        line += fmt::format(" {}{}", ok ? "" : "FAILED on ", columns[c].target.substr(3));
      }
      line += " |";
    }
    std::printf("%s\n", line.c_str());
  }
  std::printf("\n%zu files, %zu ways to compile them, %d of %zu failed\n", entries().size(), columns.size(),
              failed, jobs.size());
  return failed;
}

}  // namespace
}  // namespace deepwell::corpus

int main(int argc, char** argv) {
  auto& all = deepwell::corpus::entries();
  std::sort(all.begin(), all.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
  bool table = false;
  std::string only, compiler;
  std::vector<std::string> targets = {"sm_120a", "sm_121a", "sm_120f", "sm_90a"};
  std::vector<std::string> nvrtc;
  for (int i = 1; i < argc; ++i) {
    std::string const argument = argv[i];
    if (argument == "--table") table = true;
    if (argument.starts_with("--only=")) only = argument.substr(7);
    if (argument.starts_with("--target=")) targets = {argument.substr(9)};
    if (argument.starts_with("--compiler=")) compiler = argument.substr(11);
    if (argument.starts_with("--nvrtc=")) nvrtc.push_back(argument.substr(8));
  }
  if (table) return deepwell::corpus::print_table(nvrtc, targets, compiler, only) == 0 ? 0 : 1;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

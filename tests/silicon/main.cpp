// The emulator against a GPU, instruction by instruction.
//
//   silicon make FILE [--target=sm_90a] [--ptxas=ptxas] [--only=TEXT]
//       makes the programs, assembles them and writes what the emulator gives; no GPU is needed
//   silicon run FILE --device=cuda --report=REPORT.md [--different=FILE]
//       runs them on a GPU: the table of the report, and what differs with the GPU's bits
//   silicon hash FILE --different=DIFFERENT
//       prints what the GPU gave, a line for each program whose results are exact or that ptxas refuses: tests/golden/silicon_sm90.txt
//   silicon show DIFFERENT [--only=TEXT]
//       prints such a file: output, thread and seed, both results, and the inputs of the thread
#include <unistd.h>
#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>

#include "backend/backend.hpp"
#include "silicon/program.hpp"
#include "silicon/runner.hpp"

namespace deepwell::silicon {
namespace {

constexpr std::string_view kMagic = "deepwell silicon 1";
constexpr std::string_view kRefused = "refused by ptxas";  // in place of a cubin

void put(std::ostream& file, std::string_view text) {
  std::uint64_t const size = text.size();
  file.write(reinterpret_cast<char const*>(&size), 8);
  file.write(text.data(), static_cast<std::streamsize>(size));
}
std::string get(std::istream& file) {
  std::uint64_t size = 0;
  file.read(reinterpret_cast<char*>(&size), 8);
  std::string out(file ? size : 0, 0);
  file.read(out.data(), static_cast<std::streamsize>(out.size()));
  return out;
}

std::string slurp(std::filesystem::path const& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Programs in one module: program i is the kernel `k<i>`.
struct Batch {
  std::size_t first = 0, count = 0;
  std::string cubin;  // empty where ptxas refuses it
};

std::string entry_name(std::size_t index) { return fmt::format("k{}", index); }

std::string assemble(std::vector<Program> const& all, Batch const& batch, std::string const& target,
                     std::string const& ptxas) {
  auto const folder = std::filesystem::temp_directory_path();
  auto const name = fmt::format("deepwell_silicon_{}_{}", getpid(), batch.first);
  auto const source = folder / (name + ".ptx"), cubin = folder / (name + ".cubin"),
             log = folder / (name + ".log");
  std::string text = fmt::format(".version 8.8\n.target {}\n.address_size 64\n", target);
  for (std::size_t i = batch.first; i < batch.first + batch.count; ++i) {
    std::string const& one = all[i].ptx;
    std::size_t const at = one.find(".visible .entry k(");
    text += ".visible .entry " + entry_name(i) + one.substr(at + 17);
  }
  std::ofstream(source) << text;
  std::string const command = fmt::format("{} -arch={} -o {} {} > {} 2>&1", ptxas, target, cubin.string(),
                                          source.string(), log.string());
  std::string out;
  if (std::system(command.c_str()) == 0) out = slurp(cubin);
  if (out.empty() && batch.count == 1) fmt::print("{}", slurp(log).substr(0, 300));
  for (auto const& path : {source, cubin, log}) std::filesystem::remove(path);
  return out;
}

/// Batches of programs; of one that ptxas refuses as a whole each program alone.
std::vector<Batch> assemble_all(std::vector<Program> const& all, std::string const& target,
                                std::string const& ptxas) {
  constexpr std::size_t kBatch = 32;
  std::vector<Batch> out;
  for (std::size_t first = 0; first < all.size(); first += kBatch) {
    Batch batch{first, std::min(kBatch, all.size() - first), {}};
    batch.cubin = assemble(all, batch, target, ptxas);
    if (!batch.cubin.empty()) {
      out.push_back(std::move(batch));
      continue;
    }
    for (std::size_t i = first; i < first + batch.count; ++i) {
      Batch one{i, 1, {}};
      one.cubin = assemble(all, one, target, ptxas);
      out.push_back(std::move(one));
    }
  }
  return out;
}

struct Options {
  std::string file, target = "sm_90a", ptxas = "ptxas", only, device = "cuda", report, different;
};

int make(Options const& options) {
  std::vector<Program> all = programs(options.target);
  if (!options.only.empty())
    std::erase_if(all, [&](Program const& p) { return p.name.find(options.only) == std::string::npos; });
  if (options.ptxas.empty()) {
    std::map<std::string, int> count;
    for (Program const& p : all) ++count[p.family];
    for (auto const& [family, number] : count) fmt::print("{} {}\n", family, number);
    return 0;
  }
  std::vector<Batch> const batches = assemble_all(all, options.target, options.ptxas);
  Runner runner("emu:" + options.target);
  std::ofstream file(options.file, std::ios::binary);
  put(file, kMagic);
  std::size_t made = 0, refused = 0;
  for (Batch const& batch : batches) {
    if (batch.cubin.empty()) {
      fmt::print("{}: ptxas refuses it, the emulator does not\n", all[batch.first].name);
      for (std::string_view const text :
           {std::string_view(kRefused), std::string_view("1"), std::string_view(all[batch.first].name),
            std::string_view(), std::string_view()})
        put(file, text);
      ++refused;
      continue;
    }
    put(file, batch.cubin);
    put(file, std::to_string(batch.count));
    for (std::size_t i = batch.first; i < batch.first + batch.count; ++i) {
      KernelImage image;
      image.entry = "k";
      image.target = options.target;
      image.ptx = all[i].ptx;
      std::vector<std::uint64_t> const expected = runner.run(all[i], image);
      put(file, all[i].name);
      put(file, entry_name(i));
      put(file, {reinterpret_cast<char const*>(expected.data()), expected.size() * 8});
      ++made;
    }
  }
  fmt::print("{} programs, {} that ptxas refuses\n", made, refused);
  return 0;
}

/// A file of `make`: calls body(cubin, name, entry, expected) for each program.
template <class Body>
void for_each_made(std::string const& path, Body const& body) {
  std::ifstream file(path, std::ios::binary);
  DW_CHECK(get(file) == kMagic, kBadArgument, "{} is not a file that `silicon make` wrote", path);
  for (std::string cubin = get(file); file && !cubin.empty(); cubin = get(file)) {
    for (int left = std::stoi(get(file)); left > 0; --left) {
      std::string const name = get(file), entry = get(file), expected = get(file);
      body(cubin, name, entry, expected);
    }
  }
}

double value_of(std::uint64_t bits, int width) {
  switch (width) {
    case 64: return std::bit_cast<double>(bits);
    case 32: return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    default: return 0;
  }
}

/// Units in the last place between two numbers of a width; infinite where one is NaN or infinite and the other is not that.
double ulps_between(std::uint64_t got, std::uint64_t expected, int width) {
  if (got == expected) return 0;
  std::uint64_t const sign = std::uint64_t{1} << (width - 1), mask = sign | (sign - 1);
  auto const line = [&](std::uint64_t code) {
    double const magnitude = static_cast<double>(code & (sign - 1));
    return (code & sign) != 0 ? -magnitude : magnitude;
  };
  return std::abs(line(got & mask) - line(expected & mask));
}

struct Tally {
  std::uint64_t programs = 0, values = 0, different = 0, bounded = 0, programs_different = 0;
  double worst = 0;
};

/// Compares one word by the program's rule; the worst distance goes to `worst`.
bool agrees(Program const& program, std::uint64_t got, std::uint64_t expected, double& worst) {
  if (got == expected) return true;
  if (program.ulps == 0) return false;
  for (int at = 0; at < 64; at += program.result_bits) {
    std::uint64_t const cut =
        program.result_bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << program.result_bits) - 1;
    std::uint64_t const g = got >> at & cut, e = expected >> at & cut;
    double const ulps = ulps_between(g, e, program.result_bits);
    double const difference = std::abs(value_of(g, program.result_bits) - value_of(e, program.result_bits));
    if (program.absolute > 0 && difference <= program.absolute) continue;
    worst = std::max(worst, ulps);
    if (ulps > program.ulps) return false;
    if (program.result_bits == 64) break;
  }
  return true;
}

int run(Options const& options) {
  std::map<std::string, Program> known;
  for (Program& program : programs(options.target)) known.emplace(program.name, std::move(program));
  Runner runner(options.device);
  std::map<std::string, Tally> families;
  std::vector<std::string> notes;
  std::ofstream different;
  if (!options.different.empty()) different.open(options.different, std::ios::binary);
  auto const start = std::chrono::steady_clock::now();
  for_each_made(options.file, [&](std::string const& cubin, std::string const& name, std::string const& entry,
                                  std::string const& expected) {
    if (cubin == kRefused) return;
    Program const& program = known.at(name);
    KernelImage image;
    image.entry = entry;
    image.target = options.target;
    image.cubin.resize(cubin.size());
    std::memcpy(image.cubin.data(), cubin.data(), cubin.size());
    std::vector<std::uint64_t> const got = runner.run(program, image);
    Tally& tally = families[program.family];
    ++tally.programs;
    tally.bounded += program.ulps > 0;
    std::size_t wrong = 0, first = 0;
    double worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      std::uint64_t word = 0;
      std::memcpy(&word, expected.data() + 8 * i, 8);
      if (agrees(program, got[i], word, worst)) continue;
      if (wrong++ == 0) first = i;
    }
    tally.values += got.size();
    tally.different += wrong;
    tally.programs_different += wrong > 0;
    tally.worst = std::max(tally.worst, worst);
    if (program.ulps > 0) notes.push_back(fmt::format("| `{}` | {} | {:.6g} |", name, program.bound, worst));
    if (wrong == 0) return;
    std::uint64_t word = 0;
    std::memcpy(&word, expected.data() + 8 * first, 8);
    fmt::print("{}: {} of {} differ, the first at {}: {:#x}, the emulator {:#x}\n", name, wrong, got.size(),
               first, got[first], word);
    if (different.is_open()) {
      put(different, name);
      put(different, {reinterpret_cast<char const*>(got.data()), got.size() * 8});
      put(different, expected);
    }
  });
  double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::ofstream report(options.report);
  report << "| family | programs | results compared | results that differ |\n|---|---|---|---|\n";
  Tally sum;
  for (auto const& [family, tally] : families) {
    report << fmt::format("| {} | {} | {} | {} |\n", family, tally.programs, tally.values, tally.different);
    sum.programs += tally.programs;
    sum.values += tally.values;
    sum.different += tally.different;
  }
  report << fmt::format("| all | {} | {} | {} |\n\n", sum.programs, sum.values, sum.different);
  report << "| within a bound | the manual's | worst, units in the last place |\n|---|---|---|\n";
  for (std::string const& note : notes) report << note << "\n";
  fmt::print("{} on {}: {} programs, {} results, {} differ, {:.1f} s\n", options.file,
             runner.backend().device().name, sum.programs, sum.values, sum.different, seconds);
  return sum.different == 0 ? 0 : 1;
}

int hash(Options const& options) {
  std::map<std::string, std::string> different;
  std::ifstream file(options.different, std::ios::binary);
  DW_CHECK(file.good(), kBadArgument, "{}: cannot be read", options.different);
  for (std::string name = get(file); file && !name.empty(); name = get(file)) {
    different[name] = get(file);
    get(file);
  }
  std::map<std::string, Program> known;
  for (Program& program : programs(options.target)) known.emplace(program.name, std::move(program));
  for_each_made(options.file, [&](std::string const& cubin, std::string const& name, std::string const&,
                                  std::string const& expected) {
    if (cubin == kRefused) {
      fmt::print("{} refused\n", name);
      return;
    }
    if (known.at(name).ulps > 0) return;
    auto const found = different.find(name);
    fmt::print("{} {:016x}\n", name, fnv(found == different.end() ? expected : found->second));
  });
  return 0;
}

int show(Options const& options) {
  std::map<std::string, Program> known;
  for (Program& program : programs(options.target)) known.emplace(program.name, std::move(program));
  std::ifstream file(options.file, std::ios::binary);
  for (std::string name = get(file); file && !name.empty(); name = get(file)) {
    std::string const got = get(file), expected = get(file);
    if (name.find(options.only) == std::string::npos) continue;
    Program const& program = known.at(name);
    std::size_t const threads = static_cast<std::size_t>(program.threads);
    std::size_t const words = static_cast<std::size_t>(program.outputs) * threads;
    for (std::size_t i = 0; i < got.size() / 8; ++i) {
      std::uint64_t g = 0, e = 0;
      std::memcpy(&g, got.data() + 8 * i, 8);
      std::memcpy(&e, expected.data() + 8 * i, 8);
      if (g == e) continue;
      std::size_t const seed = i / words, thread = i % words % threads;
      std::vector<std::uint64_t> const inputs = input_words(program, static_cast<int>(seed));
      fmt::print("{} seed {} output {} thread {}: {:#x}, the emulator {:#x}; inputs", name, seed,
                 i % words / threads, thread, g, e);
      for (std::size_t k = 0; k < program.inputs.size(); ++k)
        fmt::print(" {:#x}", inputs[k * threads + thread]);
      fmt::print("\n");
    }
  }
  return 0;
}

}  // namespace
}  // namespace deepwell::silicon

int main(int argc, char** argv) {
  using namespace deepwell;
  silicon::Options options;
  if (argc < 3) {
    std::cerr
        << "usage: silicon make|run|hash|show FILE [--target=] [--ptxas=] [--only=] [--device=] [--report=] "
           "[--different=]\n";
    return 2;
  }
  options.file = argv[2];
  for (int i = 3; i < argc; ++i) {
    std::string const argument = argv[i];
    for (auto const& [name, to] : {std::pair{"--target=", &options.target},
                                   {"--ptxas=", &options.ptxas},
                                   {"--only=", &options.only},
                                   {"--device=", &options.device},
                                   {"--report=", &options.report},
                                   {"--different=", &options.different}}) {
      if (argument.starts_with(name)) *to = argument.substr(std::strlen(name));
    }
  }
  try {
    std::string_view const verb = argv[1];
    if (verb == "make") return silicon::make(options);
    if (verb == "hash") return silicon::hash(options);
    return verb == "show" ? silicon::show(options) : silicon::run(options);
  } catch (std::exception const& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}

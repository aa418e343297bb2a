// Writes the PTX of a program: registers, loads of inputs, stores of outputs.
#pragma once

#include <string>

#include "base/error.hpp"
#include "silicon/program.hpp"

namespace deepwell::silicon {

class Builder {
 public:
  Builder(std::string family, std::string name, std::string target, int threads = 128)
      : target_(std::move(target)) {
    program_.family = std::move(family);
    program_.name = std::move(name);
    program_.threads = threads;
  }

  Program& program() { return program_; }

  /// A register of a width; bits == 1: a predicate.
  std::string reg(int bits) {
    std::string const name = fmt::format("%x{}", count_++);
    declarations_ += fmt::format("  .reg .{} {};\n", bits == 1 ? "pred" : fmt::format("b{}", bits), name);
    return name;
  }
  void line(std::string const& text) { body_ += "  " + text + "\n"; }
  void declare(std::string const& text) { declarations_ += "  " + text + "\n"; }
  void global(std::string const& text) { globals_ += text + "\n"; }

  /// A register that holds an input.
  std::string input(int bits, Data data) {
    if (bits == 128) {
      std::string const low = input(64, data), high = input(64, data), both = reg(128);
      line(fmt::format("mov.b128 {}, {{{}, {}}};", both, low, high));
      return both;
    }
    data.bits = bits == 1 ? 32 : bits;
    std::size_t const index = program_.inputs.size();
    program_.inputs.push_back(data);
    std::string const to = reg(bits == 1 ? 32 : bits);
    line(fmt::format("ld.global.b{} {}, [%in+{}];", bits == 1 ? 32 : bits, to,
                     index * 8 * static_cast<std::size_t>(program_.threads)));
    if (bits != 1) return to;
    std::string const predicate = reg(1);
    line(fmt::format("and.b32 {}, {}, 1;", to, to));
    line(fmt::format("setp.ne.u32 {}, {}, 0;", predicate, to));
    return predicate;
  }

  void output(std::string const& from, int bits) {
    if (bits == 128) {
      std::string const low = reg(64), high = reg(64);
      line(fmt::format("mov.b128 {{{}, {}}}, {};", low, high, from));
      output(low, 64);
      output(high, 64);
      return;
    }
    std::string value = from;
    if (bits == 1) {
      value = reg(32);
      line(fmt::format("selp.u32 {}, 1, 0, {};", value, from));
    }
    line(fmt::format(
        "st.global.b{} [%out+{}], {};", bits == 1 ? 32 : bits,
        static_cast<std::size_t>(program_.outputs) * 8 * static_cast<std::size_t>(program_.threads), value));
    ++program_.outputs;
  }

  Program finish() {
    program_.ptx = fmt::format(
        ".version 8.8\n.target {}\n.address_size 64\n{}.visible .entry k(.param .u64 in, .param .u64 out) "
        "{{\n"
        "  .reg .b64 %in, %out, %own;\n  .reg .b32 %thread;\n{}  mov.u32 %thread, %tid.x;\n"
        "  ld.param.u64 %in, [in];\n  ld.param.u64 %out, [out];\n  mul.wide.u32 %own, %thread, 8;\n"
        "  add.u64 %in, %in, %own;\n  add.u64 %out, %out, %own;\n{}  ret;\n}}\n",
        target_, globals_, declarations_, body_);
    return std::move(program_);
  }

 private:
  std::string target_, declarations_, body_, globals_;
  int count_ = 0;
  Program program_;
};

/// "{a, b}".
inline std::string braces(std::vector<std::string> const& registers) {
  return "{" + fmt::format("{}", fmt::join(registers, ", ")) + "}";
}

}  // namespace deepwell::silicon

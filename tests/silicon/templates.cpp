// Programs around instructions that touch memory or other lanes.
#include "silicon/templates.hpp"

#include <algorithm>
#include <map>

#include "emu/emu.hpp"
#include "emu/instr/table.hpp"
#include "silicon/builder.hpp"

namespace deepwell::silicon {
namespace {

using emu::Row;
using Parts = std::vector<std::string>;

bool has(Parts const& parts, std::string_view part) {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

int vector_of(Parts const& parts) {
  for (int count : {2, 4, 8}) {
    if (has(parts, fmt::format(".v{}", count))) return count;
  }
  return 1;
}

/// Registers of one instruction: a bare name or a vector.
std::string list(std::vector<std::string> const& registers) {
  return registers.size() == 1 ? registers[0] : braces(registers);
}

// ---- other lanes ----------------------------------------------------------------------------------------------------

void shuffles(std::vector<Program>& out, std::string const& opcode, std::string const& target) {
  for (std::string const clamp : {"0x1f", "0", "0x181f", "0x1c07"}) {
    Builder b("warp", opcode + " c=" + clamp, target);
    std::string const value = b.input(32, {}), lane = b.input(32, {.kind = Data::Kind::kIndex});
    std::string const to = b.reg(32), inside = b.reg(1);
    b.line(fmt::format("{} {}|{}, {}, {}, {}, 0xffffffff;", opcode, to, inside, value, lane, clamp));
    b.output(to, 32);
    b.output(inside, 1);
    out.push_back(b.finish());
  }
}

void warp_program(std::vector<Program>& out, std::string const& opcode, std::string const& target) {
  Parts const parts = emu::split_opcode(opcode);
  if (parts[0] == "shfl") return shuffles(out, opcode, target);
  if (parts[0] == "bar") return;  // synchronises, computes nothing: in the instruction cases
  Builder b("warp", opcode, target);
  std::string const to = b.reg(32), also = b.reg(1);
  if (parts[0] == "vote") {
    std::string const in = b.input(1, {.kind = Data::Kind::kBytes});
    bool const ballot = has(parts, ".ballot");
    b.line(fmt::format("{} {}, {}, 0xffffffff;", opcode, ballot ? to : also, in));
    b.output(ballot ? to : also, ballot ? 32 : 1);
  } else if (parts[0] == "match") {
    int const bits = parts.back() == ".b64" ? 64 : 32;
    std::string const in = b.input(bits, {.kind = Data::Kind::kIndex}), few = b.reg(bits);
    b.line(fmt::format("and.b{} {}, {}, {};", bits, few, in, has(parts, ".all") ? 0 : 7));
    bool const all = has(parts, ".all");
    b.line(fmt::format("{} {}{}, {}, 0xffffffff;", opcode, to, all ? "|" + also : "", few));
    b.output(to, 32);
    if (all) b.output(also, 1);
  } else if (parts[0] == "redux") {
    b.line(fmt::format("{} {}, {}, 0xffffffff;", opcode, to, b.input(32, {})));
    b.output(to, 32);
  } else if (parts[0] == "elect") {
    b.line(fmt::format("{} {}|{}, 0xffffffff;", opcode, to, also));
    b.output(to, 32);
    b.output(also, 1);
  } else {
    b.line(fmt::format("{} {};", opcode, to));
    b.output(to, 32);
  }
  out.push_back(b.finish());
}

// ---- memory of a thread's own ----------------------------------------------------------------------------------------

constexpr int kOwnBytes = 32;  // of every thread

enum class Where { kGlobal, kShared, kLocal, kElsewhere };
Where where(Parts const& parts) {
  for (std::string const& part : parts) {
    if (part == ".shared" || part == ".shared::cta") return Where::kShared;
    if (part == ".local") return Where::kLocal;
    if (part == ".shared::cluster" || part.starts_with(".param") || part == ".const")
      return Where::kElsewhere;
  }
  return Where::kGlobal;
}

/// Registers with the addresses of a thread's 32 bytes of the inputs, of the outputs, and in a space between.
struct Own {
  std::string in, out, here;
};
Own own_memory(Builder& b, Where at, int threads) {
  Own own{b.reg(64), b.reg(64), b.reg(64)};
  std::string const extra = b.reg(64);
  b.line(fmt::format("mul.wide.u32 {}, %thread, {};", extra, kOwnBytes - 8));
  b.line(fmt::format("add.u64 {}, %in, {};", own.in, extra));
  b.line(fmt::format("add.u64 {}, %out, {};", own.out, extra));
  if (at == Where::kShared) {
    b.declare(fmt::format(".shared .align 128 .b8 sm[{}];", threads * kOwnBytes));
    std::string const base = b.reg(32), offset = b.reg(32);
    b.line(fmt::format("mov.u32 {}, sm;", base));
    b.line(fmt::format("mad.lo.u32 {}, %thread, {}, {};", offset, kOwnBytes, base));
    b.line(fmt::format("cvt.u64.u32 {}, {};", own.here, offset));
  } else if (at == Where::kLocal) {
    b.declare(fmt::format(".local .align 32 .b8 lm[{}];", kOwnBytes));
    b.line(fmt::format("mov.u64 {}, lm;", own.here));
  } else {
    b.line(fmt::format("mov.u64 {}, {};", own.here, own.out));
  }
  return own;
}

char const* space_name(Where at) {
  return at == Where::kShared ? ".shared" : at == Where::kLocal ? ".local" : ".global";
}

void copy_own(Builder& b, std::string const& from, char const* from_space, std::string const& to,
              char const* to_space) {
  std::string const value = b.reg(64);
  for (int at = 0; at < kOwnBytes; at += 8) {
    b.line(fmt::format("ld{}.b64 {}, [{}+{}];", from_space, value, from, at));
    b.line(fmt::format("st{}.b64 [{}+{}], {};", to_space, to, at, value));
  }
}

/// 32 bytes a thread of inputs and outputs.
void take_own_slots(Builder& b, Data data = {.kind = Data::Kind::kBytes, .bits = 64}) {
  for (int i = 0; i < kOwnBytes / 8; ++i) b.program().inputs.push_back(data);
  b.program().outputs = kOwnBytes / 8;
}

void load_program(std::vector<Program>& out, std::string const& opcode, std::string const& target) {
  Parts const parts = emu::split_opcode(opcode);
  Where const at = where(parts);
  int const bits = emu::bits_of_type(parts.back());
  if (at == Where::kElsewhere || bits == 1) return;
  Builder b("ld, st", opcode, target);
  for (int i = 0; i < kOwnBytes / 8; ++i)
    b.program().inputs.push_back({.kind = Data::Kind::kBytes, .bits = 64});
  Own const own = own_memory(b, at, b.program().threads);
  if (at != Where::kGlobal) copy_own(b, own.in, ".global", own.here, space_name(at));
  bool const is_float = parts.back()[1] == 'f';
  int const wide = bits < 32 && !is_float ? 32 : bits;
  std::vector<std::string> registers;
  for (int i = 0; i < vector_of(parts); ++i) registers.push_back(b.reg(wide));
  b.line(fmt::format("{} {}, [{}];", opcode, list(registers), at == Where::kGlobal ? own.in : own.here));
  for (std::string const& one : registers) b.output(one, wide);
  out.push_back(b.finish());
}

void store_program(std::vector<Program>& out, std::string const& opcode, std::string const& target) {
  Parts const parts = emu::split_opcode(opcode);
  Where const at = where(parts);
  int const bits = emu::bits_of_type(parts.back());
  if (at == Where::kElsewhere || bits == 1) return;
  Builder b("ld, st", opcode, target);
  std::vector<std::string> registers;
  for (int i = 0; i < vector_of(parts); ++i)
    registers.push_back(b.input(std::max(bits, 16), {.kind = Data::Kind::kBytes}));
  b.program().outputs = kOwnBytes / 8;
  Own const own = own_memory(b, at, b.program().threads);
  std::string const zero = b.reg(64);
  b.line(fmt::format("mov.u64 {}, 0;", zero));
  for (int i = 0; i < kOwnBytes; i += 8)
    b.line(fmt::format("st{}.b64 [{}+{}], {};", space_name(at), own.here, i, zero));
  b.line(fmt::format("{} [{}], {};", opcode, own.here, list(registers)));
  if (at != Where::kGlobal) copy_own(b, own.here, space_name(at), own.out, ".global");
  out.push_back(b.finish());
}

// ---- atomics --------------------------------------------------------------------------------------------------------

void atomic_program(std::vector<Program>& out, std::string const& opcode, std::string const& target) {
  Parts const parts = emu::split_opcode(opcode);
  Where at = where(parts);
  bool const cluster = has(parts, ".shared::cluster");
  if (cluster) at = Where::kShared;
  if (at != Where::kGlobal && at != Where::kShared) return;
  if (has(parts, ".L2::cache_hint")) return;  // the same with a policy that changes no result
  int const bits = emu::bits_of_type(parts.back()), count = vector_of(parts);
  bool const returns = parts[0] == "atom";
  Builder b("atom, red", opcode, target);
  take_own_slots(b, {.kind = Data::Kind::kBits, .bits = 64});
  Own const own = own_memory(b, at, b.program().threads);
  copy_own(b, own.in, ".global", own.here, space_name(at));
  std::vector<std::string> to, from, other;
  for (int i = 0; i < count; ++i) {
    to.push_back(b.reg(bits));
    from.push_back(b.input(bits, {}));
  }
  std::string operands = fmt::format("[{}], {}", own.here, list(from));
  if (has(parts, ".cas")) {
    // Half of the threads compare with what is there.
    std::string const there = b.reg(bits), chosen = b.reg(bits), odd = b.reg(32), is_odd = b.reg(1);
    b.line(fmt::format("ld{}.b{} {}, [{}];", space_name(at), bits, there, own.here));
    b.line(fmt::format("and.b32 {}, %thread, 1;", odd));
    b.line(fmt::format("setp.ne.u32 {}, {}, 0;", is_odd, odd));
    if (bits == 128) {
      b.line(fmt::format("mov.b128 {}, {};", chosen, there));
    } else {
      b.line(fmt::format("selp.b{} {}, {}, {}, {};", bits, chosen, there, from[0], is_odd));
    }
    operands = fmt::format("[{}], {}, {}", own.here, chosen, b.input(bits, {}));
  }
  b.line(fmt::format("{} {}{};", opcode, returns ? list(to) + ", " : "", operands));
  if (at == Where::kShared) copy_own(b, own.here, ".shared", own.out, ".global");
  for (int i = 0; returns && i < count; ++i) b.output(to[static_cast<std::size_t>(i)], bits);
  out.push_back(b.finish());
}

// ---- matrices in shared memory --------------------------------------------------------------------------------------

void matrix_program(std::vector<Program>& out, std::string const& opcode, std::string const& target) {
  Parts const parts = emu::split_opcode(opcode);
  if (parts[0] == "movmatrix") return;  // on registers
  bool const loads = parts[0] == "ldmatrix";
  int const count = has(parts, ".x4") ? 4 : has(parts, ".x2") ? 2 : 1;
  Builder b("matrices", opcode, target);
  if (loads) {
    for (int i = 0; i < kOwnBytes / 8; ++i)
      b.program().inputs.push_back({.kind = Data::Kind::kBytes, .bits = 64});
  }
  std::vector<std::string> registers;
  for (int i = 0; i < count; ++i)
    registers.push_back(loads ? b.reg(32) : b.input(32, {.kind = Data::Kind::kBytes}));
  if (!loads) b.program().outputs = kOwnBytes / 8;
  Own const own = own_memory(b, Where::kShared, b.program().threads);
  if (loads) {
    copy_own(b, own.in, ".global", own.here, ".shared");
  } else {
    std::string const zero = b.reg(64);
    b.line(fmt::format("mov.u64 {}, 0;", zero));
    for (int i = 0; i < kOwnBytes; i += 8)
      b.line(fmt::format("st.shared.b64 [{}+{}], {};", own.here, i, zero));
  }
  b.line("bar.sync 0;");
  // Row 5 lane mod 64 of the warp's 1 KiB.
  std::string const row = b.reg(32), warp = b.reg(32), base = b.reg(32), wide = b.reg(64);
  b.line(fmt::format("mul.lo.u32 {}, %thread, 5;", row));
  b.line(fmt::format("and.b32 {}, {}, 63;", row, row));
  b.line(fmt::format("shr.u32 {}, %thread, 5;", warp));
  b.line(fmt::format("mov.u32 {}, sm;", base));
  b.line(fmt::format("mad.lo.u32 {}, {}, 1024, {};", base, warp, base));
  b.line(fmt::format("mad.lo.u32 {}, {}, 16, {};", base, row, base));
  b.line(fmt::format("cvt.u64.u32 {}, {};", wide, base));
  bool const generic = !has(parts, ".shared") && !has(parts, ".shared::cta");
  if (generic) b.line(fmt::format("cvta.shared.u64 {}, {};", wide, wide));
  if (loads) {
    b.line(fmt::format("{} {}, [{}];", opcode, braces(registers), wide));
    for (std::string const& one : registers) b.output(one, 32);
  } else {
    b.line(fmt::format("{} [{}], {};", opcode, wide, braces(registers)));
    b.line("bar.sync 0;");
    copy_own(b, own.here, ".shared", own.out, ".global");
  }
  out.push_back(b.finish());
}

// ---- fragments of wmma ----------------------------------------------------------------------------------------------

Data element_data(std::string const& type) {
  Data data{.kind = Data::Kind::kBytes, .bits = 64};
  if (type == ".f16") data = {.kind = Data::Kind::kNumbers, .format = num::Format::kF16, .bits = 64};
  if (type == ".bf16") data = {.kind = Data::Kind::kNumbers, .format = num::Format::kBf16, .bits = 64};
  return data;
}

/// One warp: a matrix of up to 4 KiB to fragments and these to the outputs, or the other way.
void fragment_program(std::vector<Program>& out, std::string const& opcode, Row const& row,
                      std::string const& target) {
  Parts const parts = emu::split_opcode(opcode);
  bool const loads = parts[1] == ".load", shared = has(parts, ".shared") || has(parts, ".shared::cta");
  bool const f64 = parts.back() == ".f64";
  // The number of registers is in the row: "d8x32, a, ?s32".
  std::string const operands(row.operands);
  int const registers = operands[operands.find('x') - 1] - '0', bits = f64 ? 64 : 32;
  constexpr int kBytes = 1024 * 4, kWords = kBytes / 8 / 32;
  Builder b("wmma", opcode, target, 32);
  std::string const base = b.reg(64), in_base = b.reg(64);
  std::vector<std::string> names;
  if (loads) {
    for (int i = 0; i < kWords; ++i) b.program().inputs.push_back(element_data(parts.back()));
    for (int i = 0; i < registers; ++i) names.push_back(b.reg(bits));
  } else {
    for (int i = 0; i < registers; ++i) names.push_back(b.input(bits, {.kind = Data::Kind::kBytes}));
    b.program().outputs = kWords;
  }
  b.line(fmt::format("sub.u64 {}, {}, %own;", in_base, loads ? "%in" : "%out"));
  std::string const word = b.reg(64), place = b.reg(64);
  if (shared) {
    b.declare(fmt::format(".shared .align 128 .b8 sm[{}];", kBytes));
    std::string const sm = b.reg(32);
    b.line(fmt::format("mov.u32 {}, sm;", sm));
    b.line(fmt::format("cvt.u64.u32 {}, {};", base, sm));
    b.line(fmt::format("add.u64 {}, {}, %own;", place, base));
    if (!loads) b.line(fmt::format("mov.u64 {}, 0;", word));
    for (int i = 0; i < kWords; ++i) {
      if (loads) b.line(fmt::format("ld.global.b64 {}, [%in+{}];", word, 256 * i));
      b.line(fmt::format("st.shared.b64 [{}+{}], {};", place, 256 * i, word));
    }
    b.line("bar.sync 0;");
  } else {
    b.line(fmt::format("mov.u64 {}, {};", base, in_base));
  }
  int const element = parts.back() == ".b1"                            ? 1
                      : parts.back() == ".s4" || parts.back() == ".u4" ? 4
                                                                       : emu::bits_of_type(parts.back());
  int const stride = element == 1 ? 256 : element == 4 ? 64 : element == 8 ? 32 : element == 16 ? 40 : 32;
  std::string const how = has(parts, ".global") ? "" : fmt::format(", {}", stride);
  b.line(loads ? fmt::format("{} {}, [{}]{};", opcode, braces(names), base, how)
               : fmt::format("{} [{}], {}{};", opcode, base, braces(names), how));
  if (loads) {
    for (std::string const& name : names) b.output(name, bits);
  } else if (shared) {
    b.line("bar.sync 0;");
    for (int i = 0; i < kWords; ++i) {
      b.line(fmt::format("ld.shared.b64 {}, [{}+{}];", word, place, 256 * i));
      b.line(fmt::format("st.global.b64 [%out+{}], {};", 256 * i, word));
    }
  }
  b.program().seeds = 3;
  out.push_back(b.finish());
}

/// Fragments in registers, copies where f16 has them.
void product_program(std::vector<Program>& out, std::string const& opcode, Row const& row,
                     std::string const& target) {
  Parts const parts = emu::split_opcode(opcode);
  bool const halves =
      opcode.find("16.f16.f") != std::string::npos || opcode.find("16.f32.f") != std::string::npos;
  Builder b("wmma", opcode, target);
  Data ab{.kind = Data::Kind::kBytes}, c{.kind = Data::Kind::kBytes};
  using num::Format;
  if (halves) ab = {.kind = Data::Kind::kNumbers, .format = Format::kF16};
  if (has(parts, ".bf16")) ab = {.kind = Data::Kind::kNumbers, .format = Format::kBf16};
  if (has(parts, ".tf32")) ab = {.kind = Data::Kind::kNumbers, .format = Format::kTf32};
  if (parts.back() == ".f16") c = {.kind = Data::Kind::kNumbers, .format = Format::kF16};
  if (parts.back() == ".f32") c = {.kind = Data::Kind::kNumbers, .format = Format::kF32};
  bool const f64 = has(parts, ".f64");
  if (f64) ab = c = {.kind = Data::Kind::kBinary64};
  int const bits = f64 ? 64 : 32;
  std::vector<int> counts;
  std::string const operands(row.operands);
  for (std::size_t at = operands.find('x'); at != std::string::npos; at = operands.find('x', at + 1))
    counts.push_back(operands[at - 1] - '0');
  auto const fragment = [&](int count, Data const& data, int distinct) {
    std::vector<std::string> names;
    for (int i = 0; i < distinct; ++i) names.push_back(b.input(bits, data));
    for (int i = distinct; i < count; ++i) names.push_back(names[static_cast<std::size_t>(i % distinct)]);
    return braces(names);
  };
  int const a_distinct = !halves ? counts[1] : has(parts, ".m32n8k16") ? 8 : has(parts, ".m8n32k16") ? 2 : 4;
  int const b_distinct = !halves ? counts[2] : has(parts, ".m32n8k16") ? 2 : has(parts, ".m8n32k16") ? 8 : 4;
  std::vector<std::string> d;
  for (int i = 0; i < counts[0]; ++i) d.push_back(b.reg(bits));
  std::string const a_text = fragment(counts[1], ab, a_distinct),
                    b_text = fragment(counts[2], ab, b_distinct), c_text = fragment(counts[3], c, counts[3]);
  b.line(fmt::format("{} {}, {}, {}, {};", opcode, braces(d), a_text, b_text, c_text));
  for (std::string const& name : d) b.output(name, bits);
  b.program().seeds = 12;
  out.push_back(b.finish());
}

// ---- which -----------------------------------------------------------------------------------------------------------

}  // namespace

bool parses(std::string const& ptx, std::string const& target) {
  try {
    emu::Module::parse(ptx, emu::parse_profile("emu:" + target));
    return true;
  } catch (Error const&) {
    return false;
  }
}

std::vector<std::string> some(std::vector<std::string> const& all, std::size_t most) {
  if (all.size() <= most) return all;
  std::map<std::string, int> seen;
  std::vector<std::string> out;
  std::size_t const step = all.size() / most;
  for (std::size_t i = 0; i < all.size(); ++i) {
    bool fresh = i % step == 0;
    for (std::string const& part : emu::split_opcode(all[i])) fresh = ++seen[part] <= 3 || fresh;
    if (fresh) out.push_back(all[i]);
  }
  return out;
}

namespace {

template <class Make>
void for_spellings(std::span<Row const> rows, std::string const& target, std::size_t most,
                   std::vector<Program>& out, Make const& make) {
  emu::Target const chip = emu::parse_target(target);
  for (Row const& row : rows) {
    if (!emu::has(chip, row.needs) || !reason_without(row).empty()) continue;
    // Of many spellings few are built, and of these some stay.
    std::map<std::string, Program> by_name;
    std::vector<std::string> names;
    for (std::string const& opcode : some(spellings(row), 10 * most)) {
      std::vector<Program> made;
      make(made, opcode, row);
      for (Program& one : made) {
        if (!parses(one.ptx, target)) continue;
        names.push_back(one.name);
        by_name.emplace(one.name, std::move(one));
      }
    }
    for (std::string const& name : some(names, most)) out.push_back(by_name.at(name));
  }
}

}  // namespace

void add_templates(std::vector<Program>& out, std::string const& target) {
  auto const simple = [&](auto const& make) {
    return [&, make](std::vector<Program>& to, std::string const& opcode, Row const&) {
      make(to, opcode, target);
    };
  };
  for_spellings(emu::warp_rows(), target, 20, out, simple(warp_program));
  for_spellings(emu::ldst_rows(), target, 120, out,
                [&](std::vector<Program>& to, std::string const& opcode, Row const&) {
                  opcode.starts_with("st") ? store_program(to, opcode, target)
                                           : load_program(to, opcode, target);
                });
  for_spellings(emu::atomic_rows(), target, 20, out, simple(atomic_program));
  for_spellings(emu::matrix_rows(), target, 12, out, simple(matrix_program));
  for_spellings(emu::wmma_rows(), target, 16, out,
                [&](std::vector<Program>& to, std::string const& opcode, Row const& row) {
                  if (opcode.starts_with("wmma.mma")) {
                    product_program(to, opcode, row, target);
                  } else {
                    fragment_program(to, opcode, row, target);
                  }
                });
}

}  // namespace deepwell::silicon

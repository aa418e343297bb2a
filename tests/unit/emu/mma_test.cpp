// mma.sync, ldmatrix, stmatrix, movmatrix and cvt in the running machine: fragments as the ISA's formulas place them,
// scale selectors, poison, target gating. Sums are exact here; the rounding of tensor cores is tested in unit/num.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "emu/emu.hpp"

namespace deepwell::emu {
namespace {

constexpr int kWordsPerLane = 16;  // of input, and of output

/// One warp runs `body`: %rd1 points at the lane's 16 input words, %rd2 at its 16 output words, `sm` is shared memory.
struct Machine {
  Memory memory;
  std::uint64_t in = 0, out = 0;

  std::vector<std::uint32_t> run(std::string const& body, std::vector<std::uint32_t> const& input,
                                 std::string const& target = "sm_120a") {
    Profile profile = parse_profile(target.starts_with("sm_9") ? "emu:sm_90a" : "emu:sm_120a");
    profile.target = target;  // also those that no board's row has: sm_120, sm_121f
    std::string const text = ".version 8.8\n.target " + target +
                             "\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
                             ".reg .pred %p<8>;\n.reg .b8 %b<8>;\n.reg .b16 %h<16>;\n.reg .b32 %r<64>;\n.reg "
                             ".f32 %f<32>;\n.reg .b64 "
                             "%rd<16>;\n.reg .f64 %fd<4>;\n.shared .align 128 .b8 sm[2048];\n"
                             "ld.param.u64 %rd1, [in];\nld.param.u64 %rd2, [out];\nmov.u32 %r60, %laneid;\n"
                             "mul.wide.u32 %rd3, %r60, 64;\nadd.u64 %rd1, %rd1, %rd3;\nadd.u64 %rd2, %rd2, "
                             "%rd3;\nmov.u32 %r61, sm;\n" +
                             body + "\nret;\n}\n";
    auto const module = Module::parse(text, profile, "mma_test.ptx");
    in = memory.allocate(32 * kWordsPerLane * 4, "in");
    out = memory.allocate(32 * kWordsPerLane * 4, "out");
    memory.write(in, std::as_bytes(std::span(input)));
    std::vector<std::uint32_t> zeros(32 * kWordsPerLane);
    memory.write(out, std::as_bytes(std::span(zeros)));
    std::array<std::uint64_t, 2> const parameters = {in, out};
    LaunchConfig config;
    config.block = {32, 1, 1};
    Options options;
    options.threads = 1;
    launch(*module, "k", config, std::as_bytes(std::span(parameters)), memory, options, profile);
    std::vector<std::uint32_t> result(32 * kWordsPerLane);
    memory.read(out, std::as_writable_bytes(std::span(result)));
    return result;
  }
};

std::vector<std::uint32_t> run(std::string const& body, std::vector<std::uint32_t> const& input,
                               std::string const& target = "sm_120a") {
  Machine machine;
  return machine.run(body, input, target);
}

/// The error's code and message, or a failure when there is none.
Error error_of(std::string const& body, std::vector<std::uint32_t> input = {},
               std::string const& target = "sm_120a") {
  input.resize(32 * kWordsPerLane);
  try {
    (void)run(body, input, target);
  } catch (Error const& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorCode::kInternal, "");
}

std::string load_registers(int first, int count, int word) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    out +=
        "ld.global.u32 %r" + std::to_string(first + i) + ", [%rd1+" + std::to_string(4 * (word + i)) + "];\n";
  }
  return out;
}
std::string store_registers(int first, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    out += "st.global.u32 [%rd2+" + std::to_string(4 * i) + "], %r" + std::to_string(first + i) + ";\n";
  }
  return out;
}
std::string vector_of(int first, int count) {
  std::string out = "{";
  for (int i = 0; i < count; ++i) out += (i ? ", %r" : "%r") + std::to_string(first + i);
  return out + "}";
}

/// Values that every format here but ue8m0 has, with their codes.
constexpr double kValues[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
struct Coder {
  char const* name;
  int bits;                // of one element in a register
  std::uint32_t codes[8];  // of kValues
  std::uint32_t sign;
};
constexpr Coder kCoders[] = {
    {"e4m3", 8, {0x00, 0x30, 0x38, 0x3c, 0x40, 0x44, 0x48, 0x4c}, 0x80},
    {"e5m2", 8, {0x00, 0x38, 0x3c, 0x3e, 0x40, 0x42, 0x44, 0x46}, 0x80},
    {"e3m2", 8, {0x00, 0x08, 0x0c, 0x0e, 0x10, 0x12, 0x14, 0x16}, 0x20},
    {"e2m3", 8, {0x00, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c}, 0x20},
    {"e2m1", 8, {0x00, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c}, 0x20},  // bits 5..2 of its container
    {"packed", 4, {0, 1, 2, 3, 4, 5, 6, 7}, 8},
    {"bf16", 16, {0x0000, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0}, 0x8000},
    {"f16", 16, {0x0000, 0x3800, 0x3c00, 0x3e00, 0x4000, 0x4200, 0x4400, 0x4600}, 0x8000},
    {"tf32",
     32,
     {0, 0x3f000000, 0x3f800000, 0x3fc00000, 0x40000000, 0x40400000, 0x40800000, 0x40c00000},
     0x80000000},
};
Coder const& coder(std::string const& name) {
  for (Coder const& c : kCoders) {
    if (name == c.name) return c;
  }
  throw std::runtime_error(name);
}

struct Matrices {
  int k;
  std::vector<double> a, b, c;  // [16][k], [k][8], [16][8]
};

Matrices random_matrices(int k, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Matrices out{k, {}, {}, {}};
  auto value = [&] {
    int const sign = random() % 2 ? 1 : -1;
    return sign * kValues[random() % 8];
  };
  for (int i = 0; i < 16 * k; ++i) out.a.push_back(value());
  for (int i = 0; i < 8 * k; ++i) out.b.push_back(value());
  for (int i = 0; i < 16 * 8; ++i) out.c.push_back(static_cast<double>(random() % 64) - 32);
  return out;
}

std::uint32_t code_of(Coder const& c, double value) {
  for (int i = 0; i < 8; ++i) {
    if (kValues[i] == std::fabs(value)) return c.codes[i] | (std::signbit(value) ? c.sign : 0);
  }
  throw std::runtime_error("no code");
}

/// The ISA's formulas by element number i: per = elements a register.
struct At {
  int row, col;
};
At a_at(int per, int lane, int i) {
  int const g = lane / 4, t = lane % 4, reg = i / per;
  return {reg % 2 == 0 ? g : g + 8, t * per + i % per + (reg >= 2 ? 4 * per : 0)};
}
At b_at(int per, int lane, int i) { return {lane % 4 * per + i % per + (i >= per ? 4 * per : 0), lane / 4}; }
At c_at(int lane, int i) { return {lane / 4 + (i >= 2 ? 8 : 0), lane % 4 * 2 + i % 2}; }

/// Words: 0-3 A, 4-5 B, 6-9 C (f32, or f16 in 6-7).
std::vector<std::uint32_t> lane_inputs(Matrices const& m, Coder const& ca, Coder const& cb, bool half) {
  std::vector<std::uint32_t> out(32 * kWordsPerLane);
  int const per = 32 / ca.bits;
  for (int lane = 0; lane < 32; ++lane) {
    std::uint32_t* const words = &out[static_cast<std::size_t>(lane * kWordsPerLane)];
    for (int i = 0; i < 16 * m.k / 32; ++i) {
      At const at = a_at(per, lane, i);
      words[i / per] |= code_of(ca, m.a[static_cast<std::size_t>(at.row * m.k + at.col)])
                        << (i % per * ca.bits);
    }
    for (int i = 0; i < 8 * m.k / 32; ++i) {
      At const at = b_at(per, lane, i);
      words[4 + i / per] |= code_of(cb, m.b[static_cast<std::size_t>(at.row * 8 + at.col)])
                            << (i % per * cb.bits);
    }
    for (int i = 0; i < 4; ++i) {
      At const at = c_at(lane, i);
      double const value = m.c[static_cast<std::size_t>(at.row * 8 + at.col)];
      if (half) {
        _Float16 const h = static_cast<_Float16>(value);
        words[6 + i / 2] |= std::uint32_t{std::bit_cast<std::uint16_t>(h)} << (16 * (i % 2));
      } else {
        words[6 + i] = std::bit_cast<std::uint32_t>(static_cast<float>(value));
      }
    }
  }
  return out;
}

void expect_sums(Matrices const& m, std::vector<std::uint32_t> const& got, bool half,
                 std::function<double(int, int, int)> const& scale) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      At const at = c_at(lane, i);
      double want = m.c[static_cast<std::size_t>(at.row * 8 + at.col)];
      for (int k = 0; k < m.k; ++k) {
        want += m.a[static_cast<std::size_t>(at.row * m.k + k)] *
                m.b[static_cast<std::size_t>(k * 8 + at.col)] * scale(at.row, at.col, k);
      }
      std::uint32_t const* const words = &got[static_cast<std::size_t>(lane * kWordsPerLane)];
      if (half) {
        _Float16 const h = static_cast<_Float16>(want);
        EXPECT_EQ(words[i / 2] >> (16 * (i % 2)) & 0xffff, std::bit_cast<std::uint16_t>(h))
            << "lane " << lane << " " << i;
      } else {
        EXPECT_EQ(words[i], std::bit_cast<std::uint32_t>(static_cast<float>(want) + 0.0f))
            << "lane " << lane << " element " << i;
      }
    }
  }
}
double unit(int, int, int) { return 1; }

std::string mma_body(std::string const& opcode, int a_registers, int b_registers, bool half,
                     std::string const& scales = "") {
  int const c_registers = half ? 2 : 4;
  return load_registers(0, a_registers, 0) + load_registers(4, b_registers, 4) +
         load_registers(6, c_registers, 6) + opcode + " " + vector_of(20, c_registers) + ", " +
         vector_of(0, a_registers) + ", " + vector_of(4, b_registers) + ", " + vector_of(6, c_registers) +
         scales + ";\n" + store_registers(20, c_registers);
}

void expect_plain(std::string const& opcode, std::string const& a, std::string const& b, int k, bool half,
                  std::string const& target) {
  SCOPED_TRACE(opcode + " on " + target);
  Coder const &ca = coder(a), &cb = coder(b);
  int const a_registers = 16 * k * ca.bits / 1024, b_registers = std::max(1, a_registers / 2);
  Matrices const m = random_matrices(k, std::hash<std::string>()(opcode));
  expect_sums(m, run(mma_body(opcode, a_registers, b_registers, half), lane_inputs(m, ca, cb, half), target),
              half, unit);
}

TEST(Mma, WideFormats) {
  for (std::string const target : {"sm_120a", "sm_121f", "sm_90a", "sm_120"}) {
    expect_plain("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "f16", "f16", 16, false, target);
    expect_plain("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", "f16", "f16", 8, false, target);
    expect_plain("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16", "f16", "f16", 16, true, target);
    expect_plain("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16", "f16", "f16", 8, true, target);
    expect_plain("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "bf16", "bf16", 16, false, target);
    expect_plain("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", "bf16", "bf16", 8, false, target);
    expect_plain("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", "tf32", "tf32", 8, false, target);
    expect_plain("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", "tf32", "tf32", 4, false, target);
    expect_plain("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32", "e4m3", "e5m2", 32, false, target);
    expect_plain("mma.sync.aligned.m16n8k16.row.col.f32.e5m2.e4m3.f32", "e5m2", "e4m3", 16, false, target);
    expect_plain("mma.sync.aligned.m16n8k32.row.col.f16.e4m3.e4m3.f16", "e4m3", "e4m3", 32, true, target);
    expect_plain("mma.sync.aligned.m16n8k16.row.col.f16.e4m3.e4m3.f16", "e4m3", "e4m3", 16, true, target);
  }
}

TEST(Mma, EightBitPairs) {
  for (std::string const a : {"e4m3", "e5m2", "e3m2", "e2m3", "e2m1"}) {
    for (std::string const b : {"e4m3", "e5m2", "e3m2", "e2m3", "e2m1"}) {
      expect_plain("mma.sync.aligned.kind::f8f6f4.m16n8k32.row.col.f32." + a + "." + b + ".f32", a, b, 32,
                   false, "sm_120a");
      expect_plain("mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f16." + a + "." + b + ".f16", a, b, 32,
                   true, "sm_120f");
    }
  }
}

/// Every lane's scale word holds four codes; only the selected byte of the selected lanes may count. The other lanes'
/// registers are never written at all.
void expect_scaled(std::string const& opcode, std::string const& a, std::string const& b, int k, int blocks,
                   int byte_a, int thread_a, int byte_b, int thread_b, bool ue4m3, bool ids_in_registers) {
  SCOPED_TRACE(opcode + " ids " + std::to_string(byte_a) + std::to_string(thread_a) + std::to_string(byte_b) +
               std::to_string(thread_b));
  Coder const &ca = coder(a), &cb = coder(b);
  Matrices const m = random_matrices(k, 77 + std::hash<std::string>()(opcode));
  std::vector<std::uint32_t> input = lane_inputs(m, ca, cb, false);
  std::mt19937 random(5);
  // ue4m3 codes of 2^-1, 1, 2, 4 and of 1.5; ue8m0 codes around 1.
  auto code = [&] {
    static constexpr std::uint8_t kFine[] = {0x30, 0x38, 0x40, 0x48, 0xbc};
    return ue4m3 ? kFine[random() % 5] : static_cast<std::uint8_t>(125 + random() % 5);
  };
  auto value = [&](std::uint8_t c) {
    if (!ue4m3) return std::ldexp(1.0, c - 127);
    return c == 0xbc ? 1.5 : std::ldexp(1.0, (c >> 3) - 7);
  };
  double scale_a[16][4], scale_b[8][4];
  auto fill = [&](int word, int rows, int byte, auto&& lane_of_row, auto&& table) {
    for (int row = 0; row < rows; ++row) {
      std::uint32_t packed = 0;
      for (int i = 0; i < 4; ++i) {
        std::uint8_t const c = code();
        packed |= std::uint32_t{c} << (8 * i);
        if (i >= byte && i < byte + blocks) table[row][i - byte] = value(c);
      }
      input[static_cast<std::size_t>(lane_of_row(row) * kWordsPerLane + word)] = packed;
    }
  };
  fill(
      10, 16, byte_a, [&](int row) { return 4 * (row % 8) + 2 * thread_a + row / 8; }, scale_a);
  fill(
      11, 8, byte_b, [&](int col) { return 4 * col + thread_b; }, scale_b);
  std::string ids_a = "{" + std::to_string(byte_a) + ", " + std::to_string(thread_a) + "}";
  std::string ids_b = "{" + std::to_string(byte_b) + ", " + std::to_string(thread_b) + "}";
  std::string prologue = "and.b32 %r40, %r60, 3;\nshr.u32 %r41, %r40, 1;\nsetp.eq.u32 %p1, %r41, " +
                         std::to_string(thread_a) + ";\nsetp.eq.u32 %p2, %r40, " + std::to_string(thread_b) +
                         ";\n@%p1 ld.global.u32 %r10, [%rd1+40];\n@%p2 ld.global.u32 %r11, [%rd1+44];\n";
  if (ids_in_registers) {
    int const ids[] = {byte_a, thread_a, byte_b, thread_b};
    for (int i = 0; i < 4; ++i)
      prologue += "mov.u16 %h" + std::to_string(i) + ", " + std::to_string(ids[i]) + ";\n";
    ids_a = "{%h0, %h1}";
    ids_b = "{%h2, %h3}";
  }
  std::string const scales = ids_in_registers ? ", {%r10}, " + ids_a + ", {%r11}, " + ids_b
                                              : ", %r10, " + ids_a + ", %r11, " + ids_b;
  auto const got = run(prologue + mma_body(opcode, 4, 2, false, scales), input);
  int const per_block = k / blocks;
  expect_sums(m, got, false, [&](int row, int col, int i) {
    return scale_a[row][i / per_block] * scale_b[col][i / per_block];
  });
}

TEST(Mma, BlockScaled) {
  for (std::string const a : {"e4m3", "e5m2", "e3m2", "e2m3", "e2m1"}) {
    for (std::string const b : {"e4m3", "e5m2", "e3m2", "e2m3", "e2m1"}) {
      expect_scaled("mma.sync.aligned.kind::mxf8f6f4.block_scale.scale_vec::1X.m16n8k32.row.col.f32." + a +
                        "." + b + ".f32.ue8m0",
                    a, b, 32, 1, 0, 0, 0, 0, false, false);
    }
  }
  std::string const opcode =
      "mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.f32.e4m3.e2m1.f32.ue8m0";
  for (int byte : {0, 1, 2, 3}) {
    for (int thread : {0, 1, 2, 3})
      expect_scaled(opcode, "e4m3", "e2m1", 32, 1, 3 - byte, thread % 2, byte, thread, false,
                    thread % 2 == 0);
  }
}

TEST(Mma, PackedFp4) {
  for (int byte : {0, 2}) {
    expect_scaled(
        "mma.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::2X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue8m0",
        "packed", "packed", 64, 2, byte, 1, 2 - byte, 3, false, true);
    expect_scaled("mma.sync.aligned.kind::mxf4.block_scale.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue8m0",
                  "packed", "packed", 64, 2, byte, 0, byte, 1, false, false);
  }
  expect_scaled(
      "mma.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::4X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue4m3",
      "packed", "packed", 64, 4, 0, 1, 0, 2, true, false);
}

TEST(Mma, Integers) {
  std::mt19937 random(3);
  std::vector<std::uint32_t> input(32 * kWordsPerLane);
  for (auto& word : input) word = static_cast<std::uint32_t>(random());
  auto element = [&](int lane, int word, int byte, bool is_signed) {
    int const value =
        static_cast<int>(input[static_cast<std::size_t>(lane * kWordsPerLane + word)] >> (8 * byte) & 0xff);
    return is_signed && value > 127 ? value - 256 : value;
  };
  for (bool saturate : {false, true}) {
    for (int k : {16, 32}) {
      std::string const opcode = "mma.sync.aligned.m16n8k" + std::to_string(k) + ".row.col" +
                                 (saturate ? ".satfinite" : "") + ".s32.s8.u8.s32";
      auto const got = run(mma_body(opcode, k / 8, k / 16, false), input);
      long long a[16][32] = {}, b[32][8] = {};
      for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < k / 2; ++i)
          a[a_at(4, lane, i).row][a_at(4, lane, i).col] = element(lane, i / 4, i % 4, true);
        for (int i = 0; i < k / 4; ++i)
          b[b_at(4, lane, i).row][b_at(4, lane, i).col] = element(lane, 4 + i / 4, i % 4, false);
      }
      for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < 4; ++i) {
          long long want =
              static_cast<std::int32_t>(input[static_cast<std::size_t>(lane * kWordsPerLane + 6 + i)]);
          for (int j = 0; j < k; ++j) want += a[c_at(lane, i).row][j] * b[j][c_at(lane, i).col];
          if (saturate) want = std::clamp(want, -2147483648LL, 2147483647LL);
          EXPECT_EQ(got[static_cast<std::size_t>(lane * kWordsPerLane + i)],
                    static_cast<std::uint32_t>(want));
        }
      }
    }
  }
}

TEST(Mma, ErrorsNameTheCause) {
  std::string const f16 = "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32";
  std::string const scaled =
      "mma.sync.aligned.kind::mxf8f6f4.block_scale.scale_vec::1X.m16n8k32.row.col.f32.e4m3.e4m3.f32.ue8m0";
  // A register of A that was never written.
  Error error = error_of(load_registers(0, 1, 0) + load_registers(4, 1, 4) + load_registers(6, 4, 6) + f16 +
                         " {%r20,%r21,%r22,%r23},{%r0,%r1},{%r4},{%r6,%r7,%r8,%r9};");
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  EXPECT_NE(std::string(error.what()).find("operand a of mma"), std::string::npos) << error.what();
  // Half a warp.
  error = error_of(load_registers(0, 2, 0) + load_registers(4, 1, 4) + load_registers(6, 4, 6) +
                   "setp.lt.u32 %p1, %r60, 16;\n@%p1 " + f16 +
                   " {%r20,%r21,%r22,%r23},{%r0,%r1},{%r4},{%r6,%r7,%r8,%r9};");
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  // Selectors out of range, or not uniform.
  std::string const operands = load_registers(0, 4, 0) + load_registers(4, 2, 4) + load_registers(6, 6, 6);
  std::string const vectors = " {%r20,%r21,%r22,%r23},{%r0,%r1,%r2,%r3},{%r4,%r5},{%r6,%r7,%r8,%r9},{%r10},";
  error = error_of(operands + "mov.u16 %h0, 4;\n" + scaled + vectors + "{%h0,0},{%r11},{0,0};");
  EXPECT_NE(std::string(error.what()).find("byte-id of scale a is 4, expected 0 to 3"), std::string::npos)
      << error.what();
  error = error_of(operands + "mov.u16 %h0, 2;\n" + scaled + vectors + "{0,%h0},{%r11},{0,0};");
  EXPECT_NE(std::string(error.what()).find("thread-id of scale a is 2, expected 0 to 1"), std::string::npos)
      << error.what();
  error = error_of(operands + "cvt.u16.u32 %h0, %r60;\n" + scaled + vectors + "{0,0},{%r11},{%h0,0};");
  EXPECT_NE(std::string(error.what()).find("same in all lanes"), std::string::npos) << error.what();
  // A scale that was never written.
  error = error_of(load_registers(0, 4, 0) + load_registers(4, 2, 4) + load_registers(6, 5, 6) + scaled +
                   vectors + "{0,0},{%r11},{0,0};");
  EXPECT_NE(std::string(error.what()).find("scale b of mma"), std::string::npos) << error.what();
  // Targets that lack it, pairs that do not exist.
  for (std::string const target : {"sm_90a", "sm_120"}) {
    EXPECT_EQ(error_of(operands + scaled + vectors + "{0,0},{%r11},{0,0};", {}, target).code(),
              ErrorCode::kUnsupported);
  }
  std::string const fp4 =
      "mma.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::4X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue8m0";
  EXPECT_EQ(error_of(operands + fp4 + vectors + "{0,0},{%r11},{0,0};").code(), ErrorCode::kUnsupported);
}

/// Lane l writes its 16 input words to shared memory at 64 l, so row r of 16 bytes holds words 4r to 4r + 3.
std::string fill_shared() {
  std::string out = "mad.lo.u32 %r59, %r60, 64, %r61;\n";
  for (int i = 0; i < 16; ++i) {
    out += "ld.global.u32 %r58, [%rd1+" + std::to_string(4 * i) + "];\nst.shared.u32 [%r59+" +
           std::to_string(4 * i) + "], %r58;\n";
  }
  return out + "bar.warp.sync 0xffffffff;\n";
}

std::vector<std::uint32_t> random_words(int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::vector<std::uint32_t> out(32 * kWordsPerLane);
  for (auto& word : out) word = static_cast<std::uint32_t>(random());
  return out;
}
std::uint8_t byte_at(std::vector<std::uint32_t> const& words, int address) {
  return static_cast<std::uint8_t>(words[static_cast<std::size_t>(address / 4)] >> (8 * (address % 4)));
}

/// Row i of the tile lies at 16 * (5 i mod 64): addresses are per lane, in no order.
int row_address(int row) { return 16 * (5 * row % 64); }
std::string row_pointer() {
  return "mul.lo.u32 %r50, %r60, 5;\nand.b32 %r50, %r50, 63;\nmad.lo.u32 %r50, %r50, 16, %r61;\n";
}

TEST(Matrix, LoadsPlaceEveryByte) {
  struct Form {
    std::string opcode;
    int registers;
    std::function<std::uint32_t(std::vector<std::uint32_t> const&, int lane, int reg)> want;
  };
  auto half = [](std::vector<std::uint32_t> const& in, int row, int col) {
    return std::uint32_t{byte_at(in, row_address(row) + 2 * col)} |
           std::uint32_t{byte_at(in, row_address(row) + 2 * col + 1)} << 8;
  };
  auto plain = [=](std::vector<std::uint32_t> const& in, int lane, int reg) {
    return half(in, 8 * reg + lane / 4, 2 * (lane % 4)) | half(in, 8 * reg + lane / 4, 2 * (lane % 4) + 1)
                                                              << 16;
  };
  auto transposed = [=](std::vector<std::uint32_t> const& in, int lane, int reg) {
    return half(in, 8 * reg + 2 * (lane % 4), lane / 4) | half(in, 8 * reg + 2 * (lane % 4) + 1, lane / 4)
                                                              << 16;
  };
  auto element = [](std::vector<std::uint32_t> const& in, int row, int i, int bits) {
    std::uint32_t value = 0;
    for (int bit = 0; bit < bits; ++bit) {
      int const position = i * bits + bit;
      value |= static_cast<std::uint32_t>(byte_at(in, row_address(row) + position / 8) >> (position % 8) & 1)
               << bit;
    }
    return value;
  };
  auto widened = [=](int bits) {
    return [=](std::vector<std::uint32_t> const& in, int lane, int reg) {
      std::uint32_t out = 0;
      for (int i = 0; i < 4; ++i) out |= element(in, 8 * reg + lane / 4, 4 * (lane % 4) + i, bits) << (8 * i);
      return out;
    };
  };
  auto wide_transposed = [=](int bits) {
    return [=](std::vector<std::uint32_t> const& in, int lane, int reg) {
      std::uint32_t out = 0;
      for (int i = 0; i < 4; ++i)
        out |= element(in, 16 * (reg / 2) + 4 * (lane % 4) + i, lane / 4 + 8 * (reg % 2), bits) << (8 * i);
      return out;
    };
  };
  std::vector<Form> const forms = {
      {"ldmatrix.sync.aligned.m8n8.x1.shared.b16", 1, plain},
      {"ldmatrix.sync.aligned.x2.m8n8.shared.b16", 2, plain},
      {"ldmatrix.sync.aligned.m8n8.x4.shared::cta.b16", 4, plain},
      {"ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16", 1, transposed},
      {"ldmatrix.sync.aligned.x2.trans.m8n8.shared.b16", 2, transposed},
      {"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", 4, transposed},
      {"ldmatrix.sync.aligned.m8n16.x1.shared.b8x16.b4x16_p64", 1, widened(4)},
      {"ldmatrix.sync.aligned.m8n16.x2.shared.b8x16.b4x16_p64", 2, widened(4)},
      {"ldmatrix.sync.aligned.m8n16.x4.shared.b8x16.b4x16_p64", 4, widened(4)},
      {"ldmatrix.sync.aligned.m8n16.x2.shared.b8x16.b6x16_p32", 2, widened(6)},
      {"ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8", 2, wide_transposed(8)},
      {"ldmatrix.sync.aligned.m16n16.x2.trans.shared.b8", 4, wide_transposed(8)},
      {"ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8x16.b4x16_p64", 2, wide_transposed(4)},
      {"ldmatrix.sync.aligned.m16n16.x2.trans.shared.b8x16.b6x16_p32", 4, wide_transposed(6)},
  };
  auto const input = random_words(8);
  for (Form const& form : forms) {
    SCOPED_TRACE(form.opcode);
    auto const got = run(fill_shared() + row_pointer() + form.opcode + " " + vector_of(20, form.registers) +
                             ", [%r50];\n" + store_registers(20, form.registers),
                         input);
    for (int lane = 0; lane < 32; ++lane) {
      for (int reg = 0; reg < form.registers; ++reg) {
        ASSERT_EQ(got[static_cast<std::size_t>(lane * kWordsPerLane + reg)], form.want(input, lane, reg))
            << lane << " " << reg;
      }
    }
  }
}

TEST(Matrix, StoresAreTheInverseOfLoads) {
  auto const input = random_words(9);
  struct Pair {
    std::string store, load;
    int registers;
  };
  std::vector<Pair> const pairs = {
      {"stmatrix.sync.aligned.m8n8.x1.shared.b16", "ldmatrix.sync.aligned.m8n8.x1.shared.b16", 1},
      {"stmatrix.sync.aligned.x2.m8n8.shared.b16", "ldmatrix.sync.aligned.m8n8.x2.shared.b16", 2},
      {"stmatrix.sync.aligned.m8n8.x4.shared.b16", "ldmatrix.sync.aligned.m8n8.x4.shared.b16", 4},
      {"stmatrix.sync.aligned.x1.trans.m8n8.shared.b16", "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16", 1},
      {"stmatrix.sync.aligned.m8n8.x2.trans.shared.b16", "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16", 2},
      {"stmatrix.sync.aligned.m8n8.x4.trans.shared.b16", "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", 4},
  };
  for (Pair const& pair : pairs) {
    SCOPED_TRACE(pair.store);
    auto const got =
        run(row_pointer() + load_registers(0, pair.registers, 0) + pair.store + " [%r50], " +
                vector_of(0, pair.registers) + ";\nbar.warp.sync 0xffffffff;\n" + pair.load + " " +
                vector_of(20, pair.registers) + ", [%r50];\n" + store_registers(20, pair.registers),
            input);
    for (int lane = 0; lane < 32; ++lane) {
      for (int reg = 0; reg < pair.registers; ++reg) {
        std::size_t const at = static_cast<std::size_t>(lane * kWordsPerLane + reg);
        ASSERT_EQ(got[at], input[at]);
      }
    }
  }
  // m16n8: an accumulator tile, converted to bytes, lands column by column: 16 bytes of column n in row n of shared memory.
  for (int matrices : {1, 2, 4}) {
    std::string const count = std::to_string(matrices);
    auto const got = run(
        "mad.lo.u32 %r50, %r60, 16, %r61;\n" + load_registers(0, matrices, 0) +
            "stmatrix.sync.aligned.m16n8.x" + count + ".trans.shared.b8 [%r50], " + vector_of(0, matrices) +
            ";\nbar.warp.sync 0xffffffff;\nsetp.lt.u32 %p1, %r60, " + std::to_string(8 * matrices) +
            ";\n@%p1 ld.shared.v4.u32 {%r20,%r21,%r22,%r23}, [%r50];\n@%p1 st.global.v4.u32 [%rd2], "
            "{%r20,%r21,%r22,%r23};\n",
        input);
    for (int lane = 0; lane < 32; ++lane) {
      for (int reg = 0; reg < matrices; ++reg) {
        for (int i = 0; i < 4; ++i) {
          At const at = c_at(lane, i);
          // Matrix `reg` is the 16 x 8 tile; its column n is row 8 reg + n of 16 bytes.
          std::uint32_t const word =
              got[static_cast<std::size_t>((8 * reg + at.col) * kWordsPerLane + at.row / 4)];
          ASSERT_EQ(word >> (8 * (at.row % 4)) & 0xff,
                    input[static_cast<std::size_t>(lane * kWordsPerLane + reg)] >> (8 * i) & 0xff);
        }
      }
    }
  }
}

TEST(Matrix, MoveTransposes) {
  auto const input = random_words(10);
  auto const got = run(
      load_registers(0, 1, 0) + "movmatrix.sync.aligned.m8n8.trans.b16 %r20, %r0;\n" + store_registers(20, 1),
      input);
  auto element = [](std::vector<std::uint32_t> const& words, int row, int col) {
    return words[static_cast<std::size_t>((4 * row + col / 2) * kWordsPerLane)] >> (16 * (col % 2)) & 0xffff;
  };
  for (int row = 0; row < 8; ++row) {
    for (int col = 0; col < 8; ++col) EXPECT_EQ(element(got, row, col), element(input, col, row));
  }
}

TEST(Matrix, ErrorsAndPoison) {
  // Half of the tile was never written: the lanes that get it hold poison, which an MMA then reports.
  std::string const load = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0,%r1,%r2,%r3}, [%r50];\n";
  std::string const pointer = "mad.lo.u32 %r50, %r60, 16, %r61;\n";
  std::string const some =
      "setp.lt.u32 %p1, %r60, 31;\nmov.u32 %r49, 0;\n@%p1 st.shared.v4.u32 [%r50], "
      "{%r49,%r49,%r49,%r49};\nbar.warp.sync 0xffffffff;\n";
  std::string const use =
      "mov.u32 %r4, 0;\nmov.u32 %r5, 0;\nmma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%r20,%r21,%r22,%r23},{%r0,%r1,%r2,%r3},{%r4,%r5},{%r4,%r4,%r4,%r4};\n";
  Error error = error_of(pointer + some + load + use);
  EXPECT_NE(std::string(error.what()).find("operand a of mma"), std::string::npos) << error.what();
  (void)run(pointer + some + load + "st.global.u32 [%rd2], %r0;\n",
            std::vector<std::uint32_t>(32 * kWordsPerLane));
  // Misaligned, out of bounds, not shared memory.
  EXPECT_EQ(error_of("mad.lo.u32 %r50, %r60, 24, %r61;\n" + load).code(), ErrorCode::kDevice);
  EXPECT_EQ(error_of("mad.lo.u32 %r50, %r60, 4096, %r61;\n" + load).code(), ErrorCode::kDevice);
  EXPECT_EQ(error_of("ldmatrix.sync.aligned.m8n8.x1.b16 {%r0}, [%rd1];\n").code(), ErrorCode::kDevice);
  EXPECT_EQ(
      error_of(pointer + "ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8 {%r0,%r1}, [%r50];\n", {}, "sm_90a")
          .code(),
      ErrorCode::kUnsupported);
}

/// One instruction on words x and y of every lane; result in %r20.
std::vector<std::uint32_t> convert(std::string const& code, std::vector<std::uint32_t> const& x,
                                   std::vector<std::uint32_t> const& y = {},
                                   std::string const& target = "sm_120a") {
  std::vector<std::uint32_t> input(32 * kWordsPerLane);
  for (std::size_t i = 0; i < x.size(); ++i) {
    input[i * kWordsPerLane] = x[i];
    input[i * kWordsPerLane + 1] = i < y.size() ? y[i] : 0;
  }
  auto const got = run(load_registers(0, 2, 0) + code + "\n" + store_registers(20, 1), input, target);
  std::vector<std::uint32_t> out;
  for (std::size_t i = 0; i < x.size(); ++i) out.push_back(got[i * kWordsPerLane]);
  return out;
}
std::uint32_t f32(float value) { return std::bit_cast<std::uint32_t>(value); }
using Words = std::vector<std::uint32_t>;

TEST(Convert, PackedFormats) {
  // The first source goes to the upper half.
  EXPECT_EQ(convert("cvt.rn.bf16x2.f32 %r20, %r0, %r1;", {f32(1.0f), f32(-2.0f), 0x7fc12345},
                    {f32(0.5f), f32(3e38f), f32(-0.0f)}),
            (Words{0x3f803f00, 0xc0007f62, 0x7fff8000}));
  EXPECT_EQ(convert("cvt.rn.relu.bf16x2.f32 %r20, %r0, %r1;", {f32(-1.0f)}, {f32(1.0f)}),
            (Words{0x00003f80}));
  EXPECT_EQ(convert("cvt.rz.f16x2.f32 %r20, %r0, %r1;", {f32(1e9f)}, {f32(1.9999f)}), (Words{0x7bff3fff}));
  EXPECT_EQ(convert("cvt.rn.satfinite.e4m3x2.f32 %h0, %r0, %r1;\ncvt.u32.u16 %r20, %h0;",
                    {f32(448.0f), f32(-1000.0f)}, {f32(1.0625f), 0x7fc00000}),
            (Words{0x7e38, 0xfe7f}));
  EXPECT_EQ(convert("cvt.rn.satfinite.e5m2x2.f16x2 %h0, %r0;\ncvt.u32.u16 %r20, %h0;", {0x3c00bc00}),
            (Words{0x3cbc}));
  EXPECT_EQ(convert("cvt.u16.u32 %h0, %r0;\ncvt.rn.f16x2.e4m3x2 %r20, %h0;", {0x387e, 0xff01}),
            (Words{0x3c005f00, 0x7fff1800}));
  EXPECT_EQ(convert("cvt.u16.u32 %h0, %r0;\ncvt.rn.f16x2.e5m2x2 %r20, %h0;", {0x3c7c}, {}, "sm_90a"),
            (Words{0x3c007c00}));
  EXPECT_EQ(convert("{ .reg .b8 %n; cvt.rn.satfinite.e2m1x2.f32 %n, %r0, %r1; mov.b16 %h0, {%n, %n}; "
                    "cvt.u32.u16 %r20, %h0; }",
                    {f32(6.0f), f32(0.25f)}, {f32(-1.5f), f32(0.26f)}),
            (Words{0x7b7b, 0x0101}));
  EXPECT_EQ(
      convert(
          "{ .reg .b8 %n, %m; cvt.u16.u32 %h0, %r0; mov.b16 {%n, %m}, %h0; cvt.rn.f16x2.e2m1x2 %r20, %n; }",
          {0x00c7}),
      (Words{0xc0004600}));
  EXPECT_EQ(convert("cvt.rn.satfinite.e2m3x2.f32 %h0, %r0, %r1;\ncvt.u32.u16 %r20, %h0;", {f32(7.5f)},
                    {f32(-0.125f)}),
            (Words{0x1f21}));
  EXPECT_EQ(convert("cvt.rn.satfinite.relu.e3m2x2.f32 %h0, %r0, %r1;\ncvt.u32.u16 %r20, %h0;", {f32(100.0f)},
                    {f32(-3.0f)}),
            (Words{0x1f00}));
  EXPECT_EQ(convert("cvt.rp.satfinite.ue8m0x2.f32 %h0, %r0, %r1;\ncvt.u32.u16 %r20, %h0;",
                    {f32(1.0f), f32(-1.5f), f32(3.4e38f)}, {f32(1.1f), 0, 0x7fc00000}),
            (Words{0x7f80, 0x8000, 0xfeff}));
  EXPECT_EQ(convert("cvt.rz.satfinite.ue8m0x2.bf16x2 %h0, %r0;\ncvt.u32.u16 %r20, %h0;", {0x3fc04080}),
            (Words{0x7f81}));
  EXPECT_EQ(convert("cvt.u16.u32 %h0, %r0;\ncvt.rn.bf16x2.ue8m0x2 %r20, %h0;", {0xff00, 0x7f80}),
            (Words{0x7fff0040, 0x3f804000}));
}

TEST(Convert, ScalarFormats) {
  auto half = [](std::string const& instruction) { return instruction + "\ncvt.u32.u16 %r20, %h0;"; };
  auto from = [](std::string const& instruction) { return "cvt.u16.u32 %h0, %r0;\n" + instruction; };
  EXPECT_EQ(convert(half("cvt.rn.f16.f32 %h0, %r0;"), {f32(65519.0f), f32(65520.0f), 0xffc00000}),
            (Words{0x7bff, 0x7c00, 0x7fff}));
  EXPECT_EQ(convert(half("cvt.rn.satfinite.f16.f32 %h0, %r0;"), {f32(-1e9f)}), (Words{0xfbff}));
  EXPECT_EQ(convert(half("cvt.rm.bf16.f32 %h0, %r0;"), {f32(1.0001f), f32(-1.0001f)}),
            (Words{0x3f80, 0xbf81}));
  EXPECT_EQ(convert(half("cvt.rn.sat.f16.f32 %h0, %r0;"), {f32(2.0f), f32(-1.0f), 0x7fc00000}),
            (Words{0x3c00, 0, 0}));
  EXPECT_EQ(convert("cvt.rna.tf32.f32 %r20, %r0;", {0x3f801000, 0x3f800fff, 0x7fc01234}),
            (Words{0x3f802000, 0x3f800000, 0x7fc00000}));
  EXPECT_EQ(convert("cvt.rn.tf32.f32 %r20, %r0;", {0x3f801000, 0x7f800001}), (Words{0x3f800000, 0x7fffe000}));
  EXPECT_EQ(convert(from("cvt.f32.f16 %r20, %h0;"), {0x3c00, 0x0001, 0xfc00, 0xfe01}),
            (Words{f32(1.0f), f32(0x1p-24f), 0xff800000, 0x7fffffff}));
  EXPECT_EQ(convert(from("cvt.f32.bf16 %r20, %h0;"), {0x3f80, 0x0001, 0xffc1}),
            (Words{f32(1.0f), 0x00010000, 0xffc10000}));
  EXPECT_EQ(convert(from("cvt.rzi.s32.f16 %r20, %h0;"), {0xc280, 0x7c00, 0x7e00, 0x3800}),
            (Words{0xfffffffd, 0x7fffffff, 0, 0}));
  EXPECT_EQ(convert(from("cvt.rni.u32.bf16 %r20, %h0;"), {0x3f00, 0x3fc0, 0xbf80, 0x4f80}),
            (Words{0, 2, 0, 0xffffffff}));
  EXPECT_EQ(convert(from("cvt.rzi.s8.f16 %r20, %h0;"), {0x5c00, 0xdc00, 0xc500}),
            (Words{0x7f, 0xffffff80, 0xfffffffb}));
  EXPECT_EQ(convert(half("cvt.rn.f16.s32 %h0, %r0;"), {0xffffffff, 2049, 100000}),
            (Words{0xbc00, 0x6800, 0x7c00}));
  EXPECT_EQ(convert(half("cvt.rz.bf16.u32 %h0, %r0;"), {0xffffffff}), (Words{0x4f7f}));
  EXPECT_EQ(convert(half("cvt.rn.f16.s8 %h0, %r0;"), {0x80}), (Words{0xd800}));
  EXPECT_EQ(convert(half("cvt.u16.u32 %h1, %r0;\ncvt.rni.f16.f16 %h0, %h1;"), {0x4100, 0x4300, 0xb700}),
            (Words{0x4000, 0x4400, 0x8000}));
  EXPECT_EQ(convert(half("cvt.u16.u32 %h1, %r0;\ncvt.rn.bf16.f16 %h0, %h1;"), {0x3c08, 0x7c00}),
            (Words{0x3f81, 0x7f80}));
  EXPECT_EQ(convert(half("cvt.u16.u32 %h1, %r0;\ncvt.rn.f16.bf16 %h0, %h1;"), {0x4780, 0x3f81}),
            (Words{0x7c00, 0x3c08}));
  EXPECT_EQ(convert("mov.b64 %rd5, {%r0, %r1};\ncvt.rn.bf16.u64 %h0, %rd5;\ncvt.u32.u16 %r20, %h0;",
                    {0x00000001, 0}, {0x80800000, 0x80800000}),
            (Words{0x5f01, 0x5f00}));  // above a tie by 1 in 2^63, and the tie itself
  EXPECT_EQ(convert("cvt.u16.u32 %h0, %r0;\ncvt.f64.f16 %fd0, %h0;\nmov.b64 {%r1, %r20}, %fd0;", {0x3c00}),
            (Words{0x3ff00000}));
}

TEST(Convert, Gating) {
  std::string const fp4 = "{ .reg .b8 %n; mov.u32 %r0, 0; cvt.rn.satfinite.e2m1x2.f32 %n, %r0, %r0; }";
  for (std::string const target : {"sm_90a", "sm_120"})
    EXPECT_EQ(error_of(fp4, {}, target).code(), ErrorCode::kUnsupported);
  EXPECT_EQ(error_of("mov.u32 %r0, 0;\ncvt.rn.relu.satfinite.relu.e4m3x2.f32 %h0, %r0, %r0;").code(),
            ErrorCode::kUnsupported);
  EXPECT_EQ(error_of("mov.u32 %r0, 0;\ncvt.rn.e4m3x2.f32 %h0, %r0, %r0;").code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace deepwell::emu

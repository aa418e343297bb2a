// Random inputs of programs.
#include <bit>
#include <cmath>

#include "silicon/program.hpp"

namespace deepwell::silicon {
namespace {

using num::Format;

struct Random {
  std::uint64_t state;
  std::uint64_t operator()() {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return (*this)() % n; }
};

std::uint64_t bits_with_corners(Random& random, int bits) {
  static constexpr std::uint64_t kCorners32[] = {
      0,          1,          2,          0x1f,       0x20,       0x3f,       0x40,       0x7fffffff,
      0x80000000, 0x80000001, 0xffffffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0x00800000,
      0x007fffff, 0x807fffff, 0x7f7fffff, 0x3f800000, 0xbf800000, 0x4b800001, 0x3f000000, 0x7c007c00,
      0xfc017e00, 0x03ff0400, 0x7f807f80, 0x00010080, 0x477fe000, 0x43e00000};
  static constexpr std::uint64_t kCorners64[] = {0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
                                                 0x0010000000000000, 0x000fffffffffffff, 0x7fefffffffffffff,
                                                 0x3ff0000000000000, 0x8000000000000000, 0x7fffffffffffffff,
                                                 0xffffffffffffffff, 0x41dfffffffc00000, 0x47efffffe0000000};
  std::uint64_t const r = random(), more = random();
  switch (r & 3) {
    case 0: {
      std::uint64_t const corner = kCorners32[(r >> 8) % std::size(kCorners32)];
      if (bits < 64) return corner;
      return (r & 4) != 0 ? kCorners64[(r >> 8) % std::size(kCorners64)]
                          : corner | ((r & 8) != 0 ? corner << 32 : 0);
    }
    case 1: return more >> (r >> 8) % 64;
    case 2: return more;
    default: break;
  }
  if (bits == 64 && (r & 4) != 0)
    return (more & 0x800fffffffffffff) | ((std::uint64_t{1023 - 32} + (r >> 8) % 64) << 52);
  std::uint64_t const exponents = (std::uint64_t{127 - 16} + (r >> 8) % 32) << 23;
  return (more & 0x807fffff807fffff) | exponents | exponents << 32;
}

int element_bits(Format format) {
  return format == Format::kE3m2 || format == Format::kE2m3 ? 8 : num::info(format).code_bits;
}

/// A code of the format. Style 0: within some binades of one; 1: any finite code; 2: any code, specials often.
std::uint64_t number(Random& random, Format format, int style) {
  if (format == Format::kTf32 || format == Format::kF32) {
    std::uint64_t code = random() & 0xffffffff;
    if (style == 0) code = (code & 0x807fffff) | (std::uint64_t{127 - 6} + random.below(12)) << 23;
    if (style == 1) code = (code & 0x807fffff) | random.below(255) << 23;
    if (style == 2 && random.below(4) == 0) {
      static constexpr std::uint32_t kSpecial[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
                                                   0xffffffff, 0,          0x80000000, 1,
                                                   0x007fffff, 0x7f7fffff};
      code = kSpecial[random.below(std::size(kSpecial))];
    }
    return code;
  }
  num::FormatInfo const& info = num::info(format);
  std::uint64_t const all = (std::uint64_t{1} << info.code_bits) - 1;
  std::uint64_t code = random() & all;
  std::uint64_t const sign = info.is_signed ? std::uint64_t{1} << (info.code_bits - 1) : 0;
  if (style == 0) {
    int const span = std::min(8, (1 << info.exponent_bits) / 2);
    std::uint64_t const exponent =
        static_cast<std::uint64_t>(info.bias - span / 2) + random.below(static_cast<std::uint64_t>(span));
    std::uint64_t const fraction = (std::uint64_t{1} << info.fraction_bits) - 1;
    code = (code & (sign | fraction)) | exponent << info.fraction_bits;
  }
  if (style <= 1 && (code & ~sign) > info.max_code) code = (code & sign) | (code % (info.max_code + 1));
  if (style == 2 && random.below(4) == 0) {
    std::uint64_t const top =
        info.exponent_bits > 0 ? ((std::uint64_t{1} << info.exponent_bits) - 1) << info.fraction_bits : 0;
    std::uint64_t const special[] = {0, 1, info.max_code, top, top | 1, all & ~sign};
    code = (code & sign) | special[random.below(std::size(special))];
  }
  return code;
}

std::uint64_t numbers(Random& random, Data const& data, int style) {
  int const width = element_bits(data.format);
  std::uint64_t out = 0;
  for (int at = 0; at + width <= data.bits; at += width) out |= number(random, data.format, style) << at;
  return out;
}

std::uint64_t binary64(Random& random, int style) {
  std::uint64_t const bits = random();
  if (style == 0) return (bits & 0x800fffffffffffff) | (std::uint64_t{1023 - 6} + random.below(12)) << 52;
  if (style == 1) return (bits & 0x800fffffffffffff) | random.below(2047) << 52;
  return random.below(4) == 0 ? bits_with_corners(random, 64) : bits;
}

std::uint64_t places(Random& random, bool tf32) {
  static constexpr std::uint64_t kPairs[] = {0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110};
  std::uint64_t out = 0;
  for (int at = 0; at < 32; at += 4)
    out |= (tf32 ? (random() & 1 ? 0b0100u : 0b1110u) : kPairs[random.below(6)]) << at;
  return out;
}

std::uint64_t word(Random& random, Data const& data, int style) {
  switch (data.kind) {
    case Data::Kind::kBits: return bits_with_corners(random, data.bits);
    case Data::Kind::kNumbers: return numbers(random, data, style);
    case Data::Kind::kBinary64: return binary64(random, style);
    case Data::Kind::kAngles: {
      double const unit = static_cast<double>(random() >> 11) * 0x1p-53;
      return std::bit_cast<std::uint32_t>(static_cast<float>((2 * unit - 1) * 3.14159));
    }
    case Data::Kind::kPlaces: return places(random, data.format == Format::kTf32);
    case Data::Kind::kBytes: return random();
    case Data::Kind::kNans64: {
      std::uint64_t const bits = bits_with_corners(random, 64);
      return random() & 1 ? bits
                          : (random() & 0x8007ffffffffffff) | 0x7ff0000000000001 | (random() & 1) << 51;
    }
    case Data::Kind::kIndex: return random.below(64);
    case Data::Kind::kMask: return random();
  }
  return 0;
}

}  // namespace

std::vector<std::uint64_t> input_words(Program const& program, int seed) {
  Random random{0x5eedu + static_cast<std::uint64_t>(seed) * 0x1000003u + program.name.size() * 77u};
  std::vector<std::uint64_t> out;
  for (Data const& data : program.inputs) {
    std::uint64_t const cut = data.bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << data.bits) - 1;
    std::uint64_t shared = 0;
    for (int thread = 0; thread < program.threads; ++thread) {
      if (thread % 32 == 0) shared = random();
      std::uint64_t const value = data.kind == Data::Kind::kMask ? shared : word(random, data, seed % 3);
      out.push_back(value & cut);
    }
  }
  return out;
}

}  // namespace deepwell::silicon

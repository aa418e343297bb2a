// What the launch sheets of third-party kernels share: memory, parameter blocks, random data, verdicts.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "emu/emu.hpp"

namespace deepwell::third_party {

/// Kernel parameters in launch order, each aligned to its size (a by-value struct: to its strictest member).
class Params {
 public:
  template <class T>
  Params& add(T const& value, std::size_t alignment = alignof(T)) {
    while (bytes_.size() % alignment != 0) bytes_.push_back(std::byte{0});
    std::byte raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof value);
    bytes_.insert(bytes_.end(), raw, raw + sizeof value);
    return *this;
  }
  /// Pads a by-value struct to its size.
  Params& pad_to(std::size_t size) {
    bytes_.resize(size);
    return *this;
  }
  std::span<std::byte const> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

/// A device allocation with typed host access.
template <class T>
class Buffer {
 public:
  Buffer(emu::Memory& memory, std::size_t count, std::string label)
      : memory_(memory), count_(count), address_(memory.allocate(count * sizeof(T), std::move(label))) {}
  Buffer(emu::Memory& memory, std::vector<T> const& values, std::string label)
      : Buffer(memory, values.size(), std::move(label)) {
    memory.write(address_, std::as_bytes(std::span(values)));
  }
  std::uint64_t address() const { return address_; }
  std::vector<T> read() const {
    std::vector<T> out(count_);
    memory_.read(address_, std::as_writable_bytes(std::span(out)));
    return out;
  }
  void fill(int byte) { memory_.fill(address_, count_ * sizeof(T), static_cast<std::byte>(byte)); }

 private:
  emu::Memory& memory_;
  std::size_t count_;
  std::uint64_t address_;
};

/// What one run of one kernel found.
struct Finding {
  std::size_t compared = 0;
  std::size_t wrong = 0;
  double worst = 0;  // largest error in units of its bound
  std::string first_wrong;

  void check(double got, double want, double bound, std::string const& where) {
    ++compared;
    bool const both_equal = got == want || (std::isnan(got) && std::isnan(want));
    double const error = both_equal ? 0 : std::abs(got - want) / bound;
    if (error > worst || std::isnan(error)) worst = error;
    if (!(error <= 1)) note(fmt::format("{}: got {}, expected {} (bound {})", where, got, want, bound));
  }
  void check_same(std::uint64_t got, std::uint64_t want, std::string const& where) {
    ++compared;
    if (got != want) note(fmt::format("{}: got {:#x}, expected {:#x}", where, got, want));
  }
  void note(std::string text) {
    if (wrong++ == 0) first_wrong = std::move(text);
  }
};

/// A module, the kernel whose name contains all of `parts`, and what launches share.
struct Kernel {
  std::shared_ptr<emu::Module const> module;
  std::string name;
  emu::Profile profile;
  std::uint64_t seed = 0;
  emu::Statistics total;
  bool race = true;

  void launch(emu::Memory& memory, emu::LaunchConfig const& config, Params const& params) {
    emu::Options options;
    options.seed = seed;
    options.race = race;
    emu::Statistics const s = emu::launch(*module, name, config, params.bytes(), memory, options, profile);
    total.warp_instructions += s.warp_instructions;
    total.mma += s.mma;
    total.ctas += s.ctas;
  }
};

struct Sheet {
  std::string file;                // PTX file name without extension
  std::vector<std::string> parts;  // that the entry's mangled name contains
  std::string what;
  std::function<Finding(Kernel&, std::mt19937&)> run;
  /// What the checkers are known to say of it, rightly: a part of the report. Its numbers are then compared without them.
  std::string known_report = {};
};

std::vector<Sheet> small_sheets();
std::vector<Sheet> cache_sheets();
std::vector<Sheet> attention_sheets();
std::vector<Sheet> gemm_sheets();

// Number formats, written here once more so that nothing is judged by the code it tests.
inline float bf16_to_float(std::uint16_t bits) {
  std::uint32_t const wide = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}
inline std::uint16_t float_to_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
/// The magnitude of an e4m3 byte (sign ignored); 0x7f is NaN.
double e4m3_magnitude(std::uint8_t byte);
/// The value of an e2m1 nibble.
double e2m1_value(unsigned nibble);
/// Nearest e4m3 byte, ties to even, saturating at 448.
std::uint8_t to_e4m3(double value);
/// Nearest e2m1 nibble, ties to even, saturating at 6.
unsigned to_e2m1(double value);

}  // namespace deepwell::third_party

// The host's side of a file of the corpus: how it is launched, what goes in and what must come out.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "emu/emu.hpp"

namespace deepwell::corpus {

/// How far off a result may be.
struct Tolerance {
  double ulps = 0;      // in units of the last place of the expected float or double
  double absolute = 0;  // or so far
};

struct Parameter {
  bool is_buffer = true;
  std::size_t alignment = 8;        // of a scalar
  std::vector<std::byte> initial;   // empty: never written
  std::vector<std::byte> expected;  // empty: not compared
  std::size_t bytes = 0;
  char type = 'i';  // what `expected` is: i bytes, f floats, d doubles
  Tolerance tolerance;
};

/// The parameters of one launch, in the order in which they are given.
class Data {
 public:
  explicit Data(std::uint64_t seed) : state_(seed) {}

  /// Numbers for inputs: the same in every run.
  std::uint64_t bits();
  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1p-53;
  }
  template <class T>
  std::vector<T> random(std::size_t count) {  // all bits
    std::vector<T> out(count);
    for (T& one : out) one = static_cast<T>(bits());
    return out;
  }
  template <class T>
  std::vector<T> random(std::size_t count, double low, double high) {
    std::vector<T> out(count);
    for (T& one : out) one = static_cast<T>(uniform(low, high));
    return out;
  }

  template <class T>
  std::vector<T> in(std::vector<T> values) {
    Parameter& to = buffer(values.size() * sizeof(T));
    to.initial = bytes_of(values);
    return values;
  }
  /// A buffer that the kernel writes.
  template <class T>
  void out(std::vector<T> const& expected, Tolerance tolerance = {}) {
    Parameter& to = buffer(expected.size() * sizeof(T));
    to.expected = bytes_of(expected);
    to.type = std::is_same_v<T, float> ? 'f' : std::is_same_v<T, double> ? 'd' : 'i';
    to.tolerance = tolerance;
  }
  template <class T>
  void inout(std::vector<T> const& initial, std::vector<T> const& expected, Tolerance tolerance = {}) {
    out(expected, tolerance);
    parameters.back().initial = bytes_of(initial);
  }
  /// A buffer for the kernel alone; poison at first.
  void scratch(std::size_t bytes) { buffer(bytes); }
  template <class T>
  void value(T const& value) {
    Parameter& to = parameters.emplace_back();
    to.is_buffer = false;
    to.alignment = alignof(T);
    to.initial = bytes_of(std::vector<T>{value});
  }
  /// What printf writes altogether.
  void prints(std::string text) { printed = std::move(text); }
  /// The run must end with a report that contains `text`.
  void fails(std::string text) { failure = std::move(text); }

  std::vector<Parameter> parameters;
  std::string printed, failure;

 private:
  template <class T>
  static std::vector<std::byte> bytes_of(std::vector<T> const& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::vector<std::byte> out(values.size() * sizeof(T));
    std::memcpy(out.data(), values.data(), out.size());
    return out;
  }
  Parameter& buffer(std::size_t bytes) {
    parameters.emplace_back().bytes = bytes;
    return parameters.back();
  }
  std::uint64_t state_;
};

/// One file: its kernel is named `kernel`.
struct Entry {
  std::string name;
  emu::LaunchConfig launch;
  std::function<void(Data&)> fill;
};
inline void PrintTo(Entry const& entry, std::ostream* out) { *out << entry.name; }
/// All files, by name.
std::vector<Entry>& entries();

struct Registration {
  Registration(std::string_view path, emu::LaunchConfig const& launch, std::function<void(Data&)> fill);
};

// ---- formats of few bits, from their definition ----------------------------------------------------------------------

/// A binary format: bits of the exponent and of the fraction; whether it has infinities, and the largest finite number.
struct Format {
  int exponent = 5, fraction = 10;
  bool has_infinity = true;
  double largest = 65504;
  int bias() const { return (1 << (exponent - 1)) - 1; }
};
inline constexpr Format kHalf{5, 10, true, 65504}, kBf16{8, 7, true, 0x1.fep127}, kE4m3{4, 3, false, 448},
    kE5m2{5, 2, true, 57344}, kE2m1{2, 1, false, 6}, kE2m3{2, 3, false, 7.5}, kE3m2{3, 2, false, 28};

/// `x` rounded to the nearest number of the format, ties to even; beyond the largest: infinity, or the largest if `saturate`.
double rounded(double x, Format format, bool saturate = false);
/// The number that the code stands for; a NaN where it is none.
double decoded(std::uint32_t code, Format format);
/// The code of a number that the format has.
std::uint32_t encoded(double x, Format format);

}  // namespace deepwell::corpus

// CORPUS(launch, [](Data& data) {...}): the file's launch and data.
#define CORPUS(...)                                                         \
  namespace {                                                               \
  using deepwell::corpus::Data;                                             \
  deepwell::corpus::Registration const registration(__FILE__, __VA_ARGS__); \
  }

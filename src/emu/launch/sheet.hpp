// A list of launches with everything that they need, as plain data: modules, buffers, tensor maps, parameters, schedules. What
// `deepwell emulate --launch`, deepwell.emulate() and C++ programs give to the emulator. sheet_json.hpp reads it from JSON.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emu/emu.hpp"
#include "emu/launch/element.hpp"

namespace deepwell::emu {

/// What a buffer has to hold afterwards. Where both tolerances are 0 the bits have to be equal, NaN's too; else an element may be
/// off by absolute + relative * |expected|, and a NaN equals a NaN, an infinity itself.
struct Expected {
  std::vector<std::byte> bytes;  // as many as the buffer's
  double absolute = 0, relative = 0;
};

/// Where an address or a map goes inside the bytes of a parameter or buffer.
struct SheetReference {
  enum class Kind : std::uint8_t { kBuffer, kTensorMap };
  std::size_t at = 0;
  Kind kind = Kind::kBuffer;
  std::size_t index = 0;     // into Sheet::buffers or Sheet::tensor_maps
  std::uint64_t offset = 0;  // added to a buffer's address
};

/// Global memory with a name. `initial` has `bytes` bytes, or none: then the buffer was never written (poison). Bytes for which
/// `written` has a 0 are poison too; empty: there are none. References are filled in on top.
struct SheetBuffer {
  std::string name;
  ElementType const* type = nullptr;
  std::vector<std::uint64_t> shape;
  std::uint64_t bytes = 0;
  std::uint64_t address = 0;  // 0: behind those that have one, in the order of the list
  std::vector<std::byte> initial;
  std::vector<std::uint8_t> written;
  std::vector<SheetReference> references;
  std::string output;  // path of the file that its contents go to, .npy or raw; empty: none
  std::optional<Expected> expected;
};

/// `spec.base` is filled in when the buffer has an address.
struct SheetTensorMap {
  std::string name;
  std::size_t buffer = 0;  // index into Sheet::buffers
  std::uint64_t offset = 0;
  TensorMapSpec spec;
};

/// A parameter's bytes; those of references are filled in: 8 of an address, 128 of a map.
struct SheetParam {
  std::vector<std::byte> bytes;
  std::vector<SheetReference> references;
  std::optional<std::size_t> at;  // byte offset in the parameter block, instead of its place in the order
};

struct SheetLaunch {
  std::size_t module = 0;  // index into Sheet::modules
  std::string kernel;      // empty: the module's only one
  LaunchConfig config;
  std::vector<SheetParam> params;  // all with `at`, or none
  int stream = 0;
  bool programmatic = false;
  std::vector<std::size_t> after;  // as GridLaunch's
};

struct SheetModule {
  std::string name;  // in reports: the file's
  std::string ptx;
};

/// Where the instructions that run are written to, one a line (trace.hpp); what is not given is not looked at.
struct SheetTrace {
  std::string file;  // empty: nowhere
  std::optional<std::size_t> launch;
  std::optional<std::array<std::uint32_t, 3>> cta;
  std::optional<int> warp;
  std::uint64_t most_bytes = std::uint64_t{1} << 30;  // then it ends, with a line that says so
};

struct Sheet {
  Profile profile;
  Options options;                                      // with the first seed
  std::uint64_t seeds = 1;                              // runs, each on fresh buffers
  bool every_seed = false;                              // goes on after a finding
  std::uint64_t memory_bytes = std::uint64_t{8} << 30;  // of all buffers together, at most
  SheetTrace trace;
  std::vector<SheetModule> modules;
  std::vector<SheetBuffer> buffers;
  std::vector<SheetTensorMap> tensor_maps;
  std::vector<SheetLaunch> launches;
};

struct SheetFinding {
  std::uint64_t seed = 0;
  Finding finding = Finding::kProgram;
  std::string kernel, message;
  CodePlace place;
};

/// How a buffer compares with what was expected.
struct Comparison {
  std::uint64_t compared = 0, mismatches = 0,
                undefined = 0;                      // elements; undefined: never written, also mismatches
  std::uint64_t first = 0, worst = 0;               // indices of the first mismatch and of the largest error
  double worst_error = 0;                           // |got - expected|, NaN where one of them is
  std::uint64_t first_got = 0, first_expected = 0;  // bits
  bool ok() const { return mismatches == 0; }
};

struct BufferResult {
  std::vector<std::byte> bytes;
  std::vector<std::uint8_t> written;  // by byte: 1 where it was ever written
  std::uint64_t address = 0;
  std::uint64_t undefined_bytes = 0;
  std::optional<Comparison> comparison;
};

/// What is left of the last seed that ran; `launches` is empty where that seed had a finding.
struct SheetResult {
  static constexpr std::size_t kMaxOutputBytes = std::size_t{1} << 20;
  std::uint64_t seeds_run = 0;
  double seconds = 0;  // in launches, all seeds
  std::string output;  // of printf, all seeds, as much as kMaxOutputBytes
  std::vector<SheetFinding> findings;
  std::vector<std::string> kernels;  // by launch
  std::vector<Statistics> launches;
  std::vector<BufferResult> buffers;
  bool ok() const;  // no finding, every comparison holds
};

/// Parses the modules, checks and places the parameters, and runs the launches under each seed. Throws Error for a sheet that cannot
/// be run: PTX that does not parse, parameters that do not fit the kernel ("launches[1].params[2]"), maps that the driver refuses
/// ("tensor_maps.a.boxDim[0]").
SheetResult run_sheet(Sheet const& sheet);

/// Elements that differ by more than `expected` allows.
Comparison compare(ElementType const& type, std::span<std::byte const> got,
                   std::span<std::uint8_t const> written, Expected const& expected);

/// "8", "0x1p-3", "nan": one element as text.
std::string element_text(ElementType const& type, std::uint64_t bits);

}  // namespace deepwell::emu

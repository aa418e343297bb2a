// Runs a sheet: buffers and parameters into emulated memory, launches under each seed, buffers back.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>

#include "emu/launch/sheet.hpp"
#include "emu/launch/trace.hpp"
#include "emu/mem/memory.hpp"

namespace deepwell::emu {
namespace {

/// A launch with its kernel found and its parameters in their places, addresses still open.
struct Placed {
  std::shared_ptr<Module const> module;
  std::string kernel;
  std::vector<std::byte> block;
  std::vector<SheetReference> references;  // `at` in the block
};

KernelInfo const& find_kernel(std::vector<KernelInfo> const& kernels, std::string const& wanted,
                              std::string const& path) {
  std::string names;
  for (KernelInfo const& kernel : kernels) {
    if (kernel.name == wanted || (wanted.empty() && kernels.size() == 1)) return kernel;
    names += (names.empty() ? "" : ", ") + kernel.name;
  }
  throw bad_argument(path + ".kernel", wanted.empty() ? "none" : wanted,
                     names.empty() ? "a module with at least one .entry" : "one of " + names);
}

/// Bytes of the block that each parameter takes: those of the kernel in order, or where it says.
std::vector<std::size_t> places_of(SheetLaunch const& launch, KernelInfo const& kernel,
                                   std::string const& path) {
  std::vector<std::size_t> out;
  bool const by_offset = !launch.params.empty() && launch.params[0].at.has_value();
  if (!by_offset && launch.params.size() != kernel.params.size()) {
    throw bad_argument(path + ".params", fmt::format("{} parameters", launch.params.size()),
                       fmt::format("the {} of {}", kernel.params.size(), kernel.name));
  }
  std::vector<bool> taken(kernel.param_bytes, false);
  for (std::size_t i = 0; i < launch.params.size(); ++i) {
    SheetParam const& param = launch.params[i];
    std::string const own = fmt::format("{}.params[{}]", path, i);
    std::size_t const size = param.bytes.size();
    if (param.at.has_value() != by_offset)
      throw bad_argument(own, by_offset ? "no \"at\"" : "an \"at\"", "\"at\" in every parameter or in none");
    if (!by_offset) {
      ParamInfo const& info = kernel.params[i];
      if (size != info.bytes) {
        throw bad_argument(own, fmt::format("{} bytes", size),
                           fmt::format("the {} bytes of {} (offset {})", info.bytes, info.name, info.offset));
      }
      out.push_back(info.offset);
      continue;
    }
    std::size_t const at = *param.at;
    if (at > kernel.param_bytes || size > kernel.param_bytes - at) {
      throw bad_argument(
          own, fmt::format("bytes {} to {}", at, at + size),
          fmt::format("bytes within the {} of {}'s parameters", kernel.param_bytes, kernel.name));
    }
    for (std::size_t k = at; k < at + size; ++k) {
      if (taken[k]) throw bad_argument(own, fmt::format("byte {}", k), "a byte that no parameter before has");
      taken[k] = true;
    }
    out.push_back(at);
  }
  return out;
}

void check_reference(Sheet const& sheet, SheetReference const& reference, std::uint64_t bytes,
                     std::string const& path) {
  bool const is_map = reference.kind == SheetReference::Kind::kTensorMap;
  std::size_t const known = is_map ? sheet.tensor_maps.size() : sheet.buffers.size();
  std::size_t const size = is_map ? 128 : 8;
  DW_CHECK(reference.index < known && size <= bytes && reference.at <= bytes - size, kBadArgument,
           "{}: a reference to nothing, or one that lies outside of its {} bytes", path, bytes);
}

Placed place(Sheet const& sheet, std::size_t index,
             std::vector<std::shared_ptr<Module const>> const& modules) {
  SheetLaunch const& launch = sheet.launches[index];
  std::string const path = fmt::format("launches[{}]", index);
  DW_CHECK(launch.module < modules.size(), kBadArgument, "{}.module: got {}, expected one of {} modules",
           path, launch.module, modules.size());
  Placed out;
  out.module = modules[launch.module];
  std::vector<KernelInfo> const kernels = out.module->kernels();
  KernelInfo const& kernel = find_kernel(kernels, launch.kernel, path);
  out.kernel = kernel.name;
  out.block.resize(kernel.param_bytes);
  std::vector<std::size_t> const places = places_of(launch, kernel, path);
  for (std::size_t i = 0; i < launch.params.size(); ++i) {
    SheetParam const& param = launch.params[i];
    std::copy(param.bytes.begin(), param.bytes.end(),
              out.block.begin() + static_cast<std::ptrdiff_t>(places[i]));
    for (SheetReference reference : param.references) {
      check_reference(sheet, reference, param.bytes.size(), fmt::format("{}.params[{}]", path, i));
      reference.at += places[i];
      out.references.push_back(reference);
    }
  }
  return out;
}

/// The driver's names of a map's fields, for messages.
std::string driver_name(std::string_view field) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"data_type", "tensorDataType"},
      {"rank", "tensorRank"},
      {"base", "globalAddress"},
      {"dims", "globalDim"},
      {"strides_bytes", "globalStrides"},
      {"box", "boxDim"},
      {"element_strides", "elementStrides"},
      {"l2_promotion", "l2Promotion"},
      {"oob_fill", "oobFill"}};
  constexpr std::string_view kPrefix = "tensor map ";
  if (field.starts_with(kPrefix)) field.remove_prefix(kPrefix.size());
  std::string_view const plain = field.substr(0, field.find('['));
  for (auto const& [ours, drivers] : kNames) {
    if (plain == ours) return std::string(drivers) + std::string(field.substr(plain.size()));
  }
  return std::string(field);
}

std::array<std::byte, 128> encode(SheetTensorMap const& map, std::uint64_t base) {
  TensorMapSpec spec = map.spec;
  spec.base = base + map.offset;
  std::string const path = "tensor_maps." + map.name;
  try {
    return encode_tensor_map(spec);
  } catch (Error const& error) {
    if (error.argument().empty()) throw with_context(error, path);
    bool const is_base = error.argument() == "tensor map base";
    throw bad_argument(path + "." + driver_name(error.argument()),
                       is_base ? fmt::format("{:#x} (offset {})", spec.base, map.offset) : error.got(),
                       error.expected());
  }
}

/// One seed's memory.
struct Prepared {
  explicit Prepared(std::uint64_t bytes) : memory(bytes) {}
  Memory memory;
  std::vector<std::uint64_t> addresses;          // by buffer
  std::vector<std::array<std::byte, 128>> maps;  // by tensor map
};

/// What a reference stands for: 8 or 128 bytes.
std::vector<std::byte> bytes_of(SheetReference const& reference, Prepared const& prepared) {
  if (reference.kind == SheetReference::Kind::kTensorMap) {
    auto const& map = prepared.maps[reference.index];
    return {map.begin(), map.end()};
  }
  std::uint64_t const address = prepared.addresses[reference.index] + reference.offset;
  std::vector<std::byte> out(8);
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<std::byte>(address >> (8 * i));
  return out;
}

void poison_unwritten(Memory& memory, std::uint64_t address, std::vector<std::uint8_t> const& written) {
  for (std::size_t begin = 0; begin < written.size();) {
    std::size_t end = begin;
    while (end < written.size() && written[end] == written[begin]) ++end;
    if (written[begin] == 0) memory.poison(address + begin, end - begin);
    begin = end;
  }
}

/// Gives every buffer its address: first where they are said, from low to high.
void place_buffers(Sheet const& sheet, Prepared& prepared) {
  std::vector<std::size_t> order(sheet.buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  auto const key = [&](std::size_t i) { return sheet.buffers[i].address - 1; };  // 0 comes last
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  prepared.addresses.resize(sheet.buffers.size());
  for (std::size_t const i : order) {
    SheetBuffer const& buffer = sheet.buffers[i];
    if (buffer.address == 0) {
      prepared.addresses[i] = prepared.memory.allocate(buffer.bytes, buffer.name);
      continue;
    }
    prepared.addresses[i] = buffer.address;
    try {
      prepared.memory.allocate_at(buffer.address, buffer.bytes, buffer.name);
    } catch (Error const& error) {
      if (error.argument() != "address") throw;
      throw bad_argument("buffers." + buffer.name + ".address", error.got(), error.expected());
    }
  }
}

void fill_memory(Sheet const& sheet, Prepared& prepared) {
  Memory& memory = prepared.memory;
  place_buffers(sheet, prepared);
  for (std::size_t i = 0; i < sheet.buffers.size(); ++i) {
    SheetBuffer const& buffer = sheet.buffers[i];
    std::string const path = "buffers." + buffer.name;
    DW_CHECK(buffer.initial.empty() || buffer.initial.size() == buffer.bytes, kBadArgument,
             "{}: {} initial bytes, expected {} or none", path, buffer.initial.size(), buffer.bytes);
    DW_CHECK(buffer.written.empty() || buffer.written.size() == buffer.bytes, kBadArgument,
             "{}: {} marks of written bytes, expected {} or none", path, buffer.written.size(), buffer.bytes);
    for (SheetReference const& one : buffer.references) check_reference(sheet, one, buffer.bytes, path);
    memory.write(prepared.addresses[i], buffer.initial);
    poison_unwritten(memory, prepared.addresses[i], buffer.written);
  }
  for (SheetTensorMap const& map : sheet.tensor_maps) {
    DW_CHECK(map.buffer < sheet.buffers.size(), kBadArgument, "tensor_maps.{}: no such buffer", map.name);
    prepared.maps.push_back(encode(map, prepared.addresses[map.buffer]));
  }
  for (std::size_t i = 0; i < sheet.buffers.size(); ++i) {
    for (SheetReference const& one : sheet.buffers[i].references)
      memory.write(prepared.addresses[i] + one.at, bytes_of(one, prepared));
  }
}

std::vector<GridLaunch> resolve(Sheet const& sheet, std::vector<Placed> const& placed,
                                Prepared const& prepared) {
  std::vector<GridLaunch> out;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    SheetLaunch const& launch = sheet.launches[i];
    GridLaunch grid{.module = placed[i].module,
                    .kernel = placed[i].kernel,
                    .config = launch.config,
                    .params = placed[i].block,
                    .stream = launch.stream,
                    .programmatic = launch.programmatic,
                    .after = launch.after};
    for (SheetReference const& reference : placed[i].references) {
      std::vector<std::byte> const bytes = bytes_of(reference, prepared);
      std::copy(bytes.begin(), bytes.end(), grid.params.begin() + static_cast<std::ptrdiff_t>(reference.at));
    }
    out.push_back(std::move(grid));
  }
  return out;
}

/// Runs without checks do not keep what was written: everything counts as written.
BufferResult read_back(SheetBuffer const& buffer, Memory const& memory, std::uint64_t address, bool checked,
                       bool compared) {
  BufferResult out;
  out.address = address;
  out.bytes.resize(buffer.bytes);
  out.written.resize(buffer.bytes, 1);
  memory.read(address, out.bytes);
  if (checked) memory.read_written(address, out.written);
  out.undefined_bytes =
      buffer.bytes - static_cast<std::uint64_t>(std::count(out.written.begin(), out.written.end(), 1));
  if (compared && buffer.expected)
    out.comparison = compare(*buffer.type, out.bytes, out.written, *buffer.expected);
  return out;
}

bool within(double got, double expected, Expected const& allowed) {
  if (std::isnan(got) || std::isnan(expected)) return std::isnan(got) && std::isnan(expected);
  if (std::isinf(got) || std::isinf(expected)) return got == expected;
  return std::abs(got - expected) <= allowed.absolute + allowed.relative * std::abs(expected);
}

}  // namespace

bool SheetResult::ok() const {
  return findings.empty() && std::all_of(buffers.begin(), buffers.end(), [](BufferResult const& buffer) {
           return !buffer.comparison || buffer.comparison->ok();
         });
}

std::string element_text(ElementType const& type, std::uint64_t bits) {
  if (type.kind == ElementType::Kind::kUnsigned) return fmt::format("{}", bits);
  if (type.kind == ElementType::Kind::kSigned)
    return fmt::format("{}", static_cast<std::int64_t>(bits << (64 - type.bits)) >> (64 - type.bits));
  return fmt::format("{} ({:#x})", element_value(type, bits), bits);
}

Comparison compare(ElementType const& type, std::span<std::byte const> got,
                   std::span<std::uint8_t const> written, Expected const& expected) {
  Comparison out;
  DW_CHECK(got.size() == expected.bytes.size(), kBadArgument, "{} expected bytes for a buffer of {}",
           expected.bytes.size(), got.size());
  bool const exact = expected.absolute == 0 && expected.relative == 0;
  std::size_t const width = type.bits == 4 ? 1 : static_cast<std::size_t>(type.bits) / 8;
  out.compared = elements_of(type, got.size());
  double worst = -1;
  for (std::uint64_t i = 0; i < out.compared; ++i) {
    std::uint64_t const mine = element_bits(type, got, i), wanted = element_bits(type, expected.bytes, i);
    std::size_t const at = static_cast<std::size_t>(type.bits == 4 ? i / 2 : i * width);
    bool const defined =
        written.empty() || std::all_of(written.begin() + static_cast<std::ptrdiff_t>(at),
                                       written.begin() + static_cast<std::ptrdiff_t>(at + width),
                                       [](std::uint8_t byte) { return byte != 0; });
    double const a = element_value(type, mine), b = element_value(type, wanted);
    double const error = mine == wanted || (std::isnan(a) && std::isnan(b)) || a == b ? 0 : std::abs(a - b);
    if (std::isnan(error) ? !std::isnan(worst) : error > worst) {
      worst = error;
      out.worst = i;
    }
    if (!defined) ++out.undefined;
    if (defined && (mine == wanted || (!exact && within(a, b, expected)))) continue;
    if (out.mismatches++ == 0) {
      out.first = i;
      out.first_got = mine;
      out.first_expected = wanted;
    }
  }
  out.worst_error = out.compared == 0 ? 0 : worst;
  return out;
}

SheetResult run_sheet(Sheet const& sheet) {
  SheetResult out;
  std::vector<std::shared_ptr<Module const>> modules;
  for (SheetModule const& module : sheet.modules)
    modules.push_back(Module::parse(module.ptx, sheet.profile, module.name));
  std::vector<Placed> placed;
  for (std::size_t i = 0; i < sheet.launches.size(); ++i) {
    placed.push_back(place(sheet, i, modules));
    out.kernels.push_back(placed.back().kernel);
  }
  std::uint64_t bytes = 0;
  for (SheetBuffer const& buffer : sheet.buffers) {
    if (buffer.bytes > sheet.memory_bytes - bytes) {
      throw bad_argument("buffers." + buffer.name,
                         fmt::format("{} bytes after {} of others", buffer.bytes, bytes),
                         fmt::format("at most {} bytes in all", sheet.memory_bytes));
    }
    bytes += buffer.bytes;
  }
  Options options = sheet.options;
  options.output = [&](std::string_view text) {
    if (sheet.options.output) sheet.options.output(text);
    out.output += text.substr(
        0, SheetResult::kMaxOutputBytes - std::min(out.output.size(), SheetResult::kMaxOutputBytes));
  };
  TraceWriter trace(sheet.trace);
  if (!sheet.trace.file.empty()) options.trace = [&](TraceStep const& step) { trace.write(step); };
  for (; out.seeds_run < sheet.seeds; ++options.seed) {
    trace.begin_seed(options.seed);
    Prepared prepared(sheet.memory_bytes);
    fill_memory(sheet, prepared);
    std::vector<GridLaunch> const launches = resolve(sheet, placed, prepared);
    auto const start = std::chrono::steady_clock::now();
    out.launches.clear();
    try {
      out.launches = launch_list(launches, prepared.memory, options, sheet.profile);
    } catch (Report const& report) {
      out.findings.push_back({.seed = options.seed,
                              .finding = report.finding(),
                              .kernel = report.argument(),
                              .message = report.what(),
                              .place = report.place()});
    }
    out.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ++out.seeds_run;
    out.buffers.clear();
    for (std::size_t i = 0; i < sheet.buffers.size(); ++i) {
      out.buffers.push_back(read_back(sheet.buffers[i], prepared.memory, prepared.addresses[i], options.check,
                                      !out.launches.empty()));
    }
    if (!sheet.every_seed && !out.ok()) break;
  }
  return out;
}

}  // namespace deepwell::emu

// Reads a launch file: buffers, modules, launches, options. Parameters and tensor maps are read in sheet_params.cpp.
#include "emu/launch/sheet_json.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/file.hpp"
#include "emu/launch/fill.hpp"
#include "emu/launch/json_node.hpp"
#include "emu/launch/npy.hpp"
#include "emu/launch/sheet_params.hpp"

namespace deepwell::emu {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 34;
constexpr std::size_t kMaxBuffers = 4096, kMaxLaunches = 512, kMaxModules = 64;

std::string read_input(SheetSource const& source, JsonNode const& node) {
  std::filesystem::path const path = sheet_file(source, node.path(), node.text());
  try {
    if (std::filesystem::file_size(path) > kMaxFileBytes) node.fail("a file of at most 16 GiB");
    return read_text_file(path);
  } catch (std::filesystem::filesystem_error const& error) {
    node.fail(fmt::format("a readable file, {} is not: {}", path.string(), error.code().message()));
  }
}

std::span<std::byte const> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// Elements and bytes of a shape; false when there are more than `most` bytes.
bool size_of(ElementType const& type, std::span<std::uint64_t const> shape, std::uint64_t most,
             std::uint64_t& bytes) {
  std::uint64_t count = 1;
  for (std::uint64_t const dim : shape) {
    if (dim != 0 && count > most * 2 / dim) return false;
    count *= dim;
  }
  if (type.bits == 4 && count % 2 != 0) return false;
  bytes = bytes_of(type, count);
  return bytes <= most;
}

class Reader {
 public:
  Reader(SheetSource const& source, JsonNode root) : source_(source), root_(std::move(root)) {}

  Sheet read() {
    sheet_.memory_bytes = source_.most_memory_bytes;
    root_.require_members(
        {"$schema", "comment", "target", "modules", "buffers", "tensor_maps", "launches", "options"});
    std::string target = source_.target;
    if (auto const own = root_.find("target"); own && target.empty()) target = own->text();
    if (target.empty()) target = "sm_120a";
    sheet_.profile = parse_profile(target);
    if (auto const options = root_.find("options")) read_options(*options);
    read_modules();
    if (auto const buffers = root_.find("buffers")) {
      for (auto const& [name, node] : buffers->members()) read_buffer(name, node);
    }
    if (auto const maps = root_.find("tensor_maps")) read_tensor_maps(*maps, sheet_);
    for (auto const& [index, node] : structs_) {
      SheetParam const contents = read_struct(node, sheet_.buffers[index].bytes, sheet_);
      sheet_.buffers[index].initial = contents.bytes;
      sheet_.buffers[index].references = contents.references;
    }
    for (JsonNode const& node : root_.at("launches").elements(1, kMaxLaunches)) read_launch(node);
    return std::move(sheet_);
  }

 private:
  void read_options(JsonNode const& node) {
    node.require_members({"check", "race", "seed", "seeds", "every_seed", "max_steps", "max_total_steps",
                          "statistics", "threads", "data_seed", "memory_bytes", "trace"});
    Options& options = sheet_.options;
    constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();
    if (auto const one = node.find("check")) options.check = one->boolean();
    if (auto const one = node.find("race")) options.race = one->boolean();
    if (auto const one = node.find("seed")) options.seed = one->whole(0, kAny);
    if (auto const one = node.find("seeds")) sheet_.seeds = one->whole(1, 1'000'000);
    if (auto const one = node.find("every_seed")) sheet_.every_seed = one->boolean();
    if (auto const one = node.find("max_steps")) options.max_steps = one->whole(0, kAny);
    if (auto const one = node.find("max_total_steps")) options.max_total_steps = one->whole(0, kAny);
    if (auto const one = node.find("statistics")) options.statistics = one->boolean();
    if (auto const one = node.find("threads")) options.threads = static_cast<int>(one->whole(0, 1024));
    if (auto const one = node.find("trace")) read_trace(*one);
    if (auto const one = node.find("data_seed")) data_seed_ = one->whole(0, kAny);
    if (auto const one = node.find("memory_bytes"))
      sheet_.memory_bytes = one->whole(1, source_.most_memory_bytes);
  }

  void read_trace(JsonNode const& node) {
    node.require_members({"file", "launch", "cta", "warp"});
    SheetTrace& trace = sheet_.trace;
    JsonNode const file = node.at("file");
    trace.file = sheet_file(source_, file.path(), file.text()).string();
    if (auto const one = node.find("launch")) trace.launch = one->whole(0, kMaxLaunches);
    if (auto const one = node.find("warp")) trace.warp = static_cast<int>(one->whole(0, 1024));
    if (auto const one = node.find("cta")) {
      trace.cta.emplace();
      auto const dims = one->elements(3, 3);
      for (std::size_t d = 0; d < 3; ++d)
        (*trace.cta)[d] = static_cast<std::uint32_t>(dims[d].whole(0, 0x7fffffff));
    }
  }

  void read_modules() {
    if (source_.module) {
      sheet_.modules.push_back(*source_.module);
      module_names_.emplace_back();
    }
    auto const modules = root_.find("modules");
    if (!modules) return;
    for (auto const& [name, node] : modules->members()) {
      if (sheet_.modules.size() == kMaxModules) node.fail(fmt::format("at most {} modules", kMaxModules));
      node.require_members({"file", "text"});
      if (node.has("file") == node.has("text")) node.fail("\"file\" or \"text\"");
      module_names_.push_back(name);
      if (auto const file = node.find("file")) {
        sheet_.modules.push_back({.name = file->text(), .ptx = read_input(source_, *file)});
      } else {
        sheet_.modules.push_back({.name = name, .ptx = node.at("text").text()});
      }
    }
  }

  ElementType const& type_of(JsonNode const& node) {
    ElementType const* const type = find_element_type(node.text());
    if (type == nullptr) node.fail("one of " + element_type_names());
    return *type;
  }

  /// Bytes of a file for `buffer`, whose type and shape a .npy file may give.
  std::vector<std::byte> read_file(SheetBuffer& buffer, JsonNode const& node, JsonNode const& file) {
    std::string const data = read_input(source_, file);
    std::span<std::byte const> bytes = as_bytes(data);
    if (file.text().ends_with(".npy")) {
      NpyHeader const header = parse_npy(bytes, file.path());
      bytes = bytes.subspan(header.data_at);
      ElementType const* const own = element_type_of_npy(header.descriptor);
      if (buffer.type == nullptr) buffer.type = own;
      if (buffer.type == nullptr)
        throw bad_argument(file.path(), header.descriptor,
                           "elements of a known type, or a \"dtype\" beside it");
      bool const same_width =
          own == nullptr || own->bits == buffer.type->bits || (own->bits == 8 && buffer.type->bits == 4);
      if (!same_width)
        throw bad_argument(file.path(), header.descriptor,
                           fmt::format("elements as wide as {}", buffer.type->name));
      if (!has_shape_) {
        buffer.shape = header.shape;
        if (buffer.type->bits == 4) {
          if (buffer.shape.empty() || buffer.shape.back() > sheet_.memory_bytes)
            throw bad_argument(file.path(), "no last dimension",
                               "bytes of two elements along the last dimension");
          buffer.shape.back() *= 2;
        }
      }
    } else {
      if (buffer.type == nullptr) buffer.type = find_element_type("u8");
      if (!has_shape_) buffer.shape = {elements_of(*buffer.type, bytes.size())};
    }
    if (!size_of(*buffer.type, buffer.shape, sheet_.memory_bytes, buffer.bytes) ||
        buffer.bytes != bytes.size()) {
      throw bad_argument(file.path(), fmt::format("{} bytes", bytes.size()),
                         fmt::format("as many as the buffer's dtype and shape make ({})", node.path()));
    }
    return {bytes.begin(), bytes.end()};
  }

  void read_shape(SheetBuffer& buffer, JsonNode const& node) {
    for (JsonNode const& dim : node.elements(0, 32))
      buffer.shape.push_back(dim.whole(0, std::uint64_t{1} << 40));
  }

  void read_expected(SheetBuffer& buffer, JsonNode const& node) {
    node.require_members({"file", "values", "fill", "seed", "absolute", "relative"});
    int const given = int{node.has("file")} + int{node.has("values")} + int{node.has("fill")};
    if (given != 1) node.fail("one of \"file\", \"values\", \"fill\"");
    Expected out;
    std::uint64_t const count = elements_of(*buffer.type, buffer.bytes);
    if (auto const file = node.find("file")) {
      has_shape_ = true;
      out.bytes = read_file(buffer, node, *file);
    } else if (auto const values = node.find("values")) {
      out.bytes = values_of(*values, *buffer.type, count);
    } else {
      std::uint64_t seed = data_seed_;
      if (auto const own = node.find("seed")) seed = own->whole(0, std::numeric_limits<std::uint64_t>::max());
      out.bytes = fill_buffer(node.at("fill"), *buffer.type, count, seed, buffer.name);
      if (out.bytes.empty() && buffer.bytes != 0) node.at("fill").fail("contents, not \"poison\"");
    }
    if (auto const one = node.find("absolute")) out.absolute = tolerance(*one);
    if (auto const one = node.find("relative")) out.relative = tolerance(*one);
    buffer.expected = std::move(out);
  }

  static double tolerance(JsonNode const& node) {
    double const value = node.real();
    if (!(value >= 0)) node.fail("a number that is not negative");
    return value;
  }

  /// "0x700000000"; whether it can be had is seen when the buffer is placed.
  static std::uint64_t read_address(JsonNode const& node) {
    std::string const text = node.text();
    std::uint64_t address = 0;
    char const* const end = text.data() + text.size();
    bool const is_hex = text.starts_with("0x") && text.size() > 2;
    auto const read = std::from_chars(text.data() + (is_hex ? 2 : 0), end, address, 16);
    if (!is_hex || read.ec != std::errc() || read.ptr != end || address == 0)
      node.fail("an address that is not zero: \"0x700000000\"");
    return address;
  }

  void read_buffer(std::string const& name, JsonNode const& node) {
    if (sheet_.buffers.size() == kMaxBuffers) node.fail(fmt::format("at most {} buffers", kMaxBuffers));
    node.require_members(
        {"dtype", "shape", "file", "fill", "values", "struct", "seed", "output", "expect", "address"});
    SheetBuffer buffer;
    buffer.name = name;
    if (auto const address = node.find("address")) buffer.address = read_address(*address);
    auto const array = std::find_if(source_.arrays.begin(), source_.arrays.end(),
                                    [&](HostArray const& one) { return one.name == name; });
    bool const from_array = array != source_.arrays.end();
    int const given = int{node.has("file")} + int{node.has("values")} + int{node.has("fill")} +
                      int{node.has("struct")} + int{from_array};
    if (given != 1) node.fail("one of \"file\", \"fill\", \"values\", \"struct\"");
    if (auto const dtype = node.find("dtype")) buffer.type = &type_of(*dtype);
    auto const shape = node.find("shape");
    has_shape_ = shape.has_value();
    if (shape) read_shape(buffer, *shape);
    if (auto const file = node.find("file")) {
      buffer.initial = read_file(buffer, node, *file);
    } else {
      if (buffer.type == nullptr || !shape) node.fail("\"dtype\" and \"shape\"");
      if (!size_of(*buffer.type, buffer.shape, sheet_.memory_bytes, buffer.bytes)) {
        shape->fail(fmt::format("a shape of at most {} bytes{}", sheet_.memory_bytes,
                                buffer.type->bits == 4 ? ", with an even number of elements" : ""));
      }
      std::uint64_t const count = elements_of(*buffer.type, buffer.bytes);
      std::uint64_t seed = data_seed_;
      if (auto const own = node.find("seed")) seed = own->whole(0, std::numeric_limits<std::uint64_t>::max());
      if (auto const fill = node.find("fill")) {
        buffer.initial = fill_buffer(*fill, *buffer.type, count, seed, name);
      } else if (auto const values = node.find("values")) {
        buffer.initial = values_of(*values, *buffer.type, count);
      } else if (auto const members = node.find("struct")) {
        structs_.emplace_back(sheet_.buffers.size(), *members);  // when all buffers and maps are known
      } else {
        if (array->bytes.size() != buffer.bytes)
          node.fail(fmt::format("a dtype and shape of the array's {} bytes", array->bytes.size()));
        buffer.initial.assign(array->bytes.begin(), array->bytes.end());
        buffer.written.assign(array->written.begin(), array->written.end());
      }
    }
    if (auto const output = node.find("output"))
      buffer.output = sheet_file(source_, output->path(), output->text()).string();
    if (auto const expected = node.find("expect")) read_expected(buffer, *expected);
    sheet_.buffers.push_back(std::move(buffer));
  }

  std::array<std::uint32_t, 3> read_extent(JsonNode const& node) {
    std::array<std::uint32_t, 3> out{1, 1, 1};
    constexpr std::uint64_t kMost = 0x7fffffff;
    if (node.is_number()) {
      out[0] = static_cast<std::uint32_t>(node.whole(1, kMost));
      return out;
    }
    auto const dims = node.elements(1, 3);
    for (std::size_t d = 0; d < dims.size(); ++d)
      out[d] = static_cast<std::uint32_t>(dims[d].whole(1, kMost));
    return out;
  }

  void read_launch(JsonNode const& node) {
    node.require_members({"module", "kernel", "grid", "block", "cluster", "dynamic_shared_bytes",
                          "cooperative", "programmatic", "stream", "after", "params"});
    SheetLaunch out;
    if (sheet_.modules.empty()) node.fail("a PTX file: as FILE, or in \"modules\"");
    if (auto const module = node.find("module")) {
      auto const found = std::find(module_names_.begin(), module_names_.end(), module->text());
      if (found == module_names_.end() || module->text().empty()) module->fail("a name in \"modules\"");
      out.module = static_cast<std::size_t>(found - module_names_.begin());
    } else if (!source_.module && sheet_.modules.size() > 1) {
      node.fail("a \"module\", as there are several");
    }
    if (auto const kernel = node.find("kernel")) out.kernel = kernel->text();
    if (auto const grid = node.find("grid")) out.config.grid = read_extent(*grid);
    out.config.block = read_extent(node.at("block"));
    if (auto const cluster = node.find("cluster")) out.config.cluster = read_extent(*cluster);
    if (auto const bytes = node.find("dynamic_shared_bytes"))
      out.config.dynamic_smem_bytes = bytes->whole(0, std::uint64_t{1} << 30);
    if (auto const flag = node.find("cooperative")) out.config.cooperative = flag->boolean();
    if (auto const flag = node.find("programmatic")) out.programmatic = flag->boolean();
    if (auto const stream = node.find("stream")) out.stream = static_cast<int>(stream->whole(0, 1'000'000));
    if (auto const after = node.find("after")) {
      std::size_t const index = sheet_.launches.size();
      for (JsonNode const& one : after->elements(0, kMaxLaunches)) {
        if (index == 0) one.fail("no launch, as there is none before this one");
        out.after.push_back(one.whole(0, index - 1));
      }
    }
    if (auto const params = node.find("params")) out.params = read_params(*params, sheet_);
    sheet_.launches.push_back(std::move(out));
  }

  SheetSource const& source_;
  JsonNode root_;
  Sheet sheet_;
  std::vector<std::string> module_names_;  // by module; the first may be FILE, without a name
  std::uint64_t data_seed_ = 0;
  std::vector<std::pair<std::size_t, JsonNode>> structs_;  // by buffer
  bool has_shape_ = false;                                 // of the buffer being read
};

}  // namespace

std::filesystem::path sheet_file(SheetSource const& source, std::string const& path,
                                 std::string const& file) {
  if (!source.folder) throw bad_argument(path, file, "no file: the document has no folder");
  std::filesystem::path const folder = std::filesystem::weakly_canonical(*source.folder);
  std::error_code wrong;
  std::filesystem::path const out = std::filesystem::weakly_canonical(folder / file, wrong);
  bool const has_nul = file.find('\0') != std::string::npos;
  if (file.empty() || has_nul || wrong) throw bad_argument(path, file, "the name of a file");
  bool const inside =
      std::mismatch(folder.begin(), folder.end(), out.begin(), out.end()).first == folder.end();
  if (!inside && !source.anywhere)
    throw bad_argument(path, file, "a file in the folder of the launch file (or --any-path)");
  return out;
}

Sheet parse_sheet(SheetSource const& source) {
  JsonDocument const document(source.text, source.name);
  try {
    return Reader(source, document.root()).read();
  } catch (Error const& error) {
    throw with_context(error, source.name);
  }
}

}  // namespace deepwell::emu

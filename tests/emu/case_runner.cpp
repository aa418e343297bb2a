// Reads and runs instruction cases.
#include "emu/case_runner.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace deepwell::testing {
namespace {

struct Type {
  char kind = 'u';
  std::size_t bytes = 4;
};

Type parse_type(std::string const& text) {
  if (text.size() < 2 || std::string_view("busf").find(text[0]) == std::string_view::npos) {
    throw bad_argument("type", text, "b8 to b64, u8 to u64, s8 to s64, f32 or f64");
  }
  int const bits = std::stoi(text.substr(1));
  if (bits != 8 && bits != 16 && bits != 32 && bits != 64)
    throw bad_argument("type", text, "8, 16, 32 or 64 bits");
  return {text[0], static_cast<std::size_t>(bits) / 8};
}

std::uint64_t parse_value(std::string const& text, Type type) {
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
    return std::stoull(text, nullptr, 16);
  if (type.kind == 'f') {
    double const value = std::stod(text);  // takes inf and nan too
    if (type.bytes == 4) return std::bit_cast<std::uint32_t>(static_cast<float>(value));
    return std::bit_cast<std::uint64_t>(value);
  }
  if (text[0] == '-') return static_cast<std::uint64_t>(std::stoll(text));
  return std::stoull(text);
}

struct Values {
  std::vector<std::byte> bytes;
  std::vector<bool> compared;
};

std::uint64_t next_random(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

Values parse_values(std::vector<std::string> const& words, Type type, std::size_t count) {
  std::vector<std::uint64_t> values;
  Values out;
  auto const add = [&](std::uint64_t value, bool compare = true) {
    if (values.size() >= count)
      throw bad_argument("values", "more than the buffer holds", std::to_string(count));
    values.push_back(value);
    out.compared.push_back(compare);
  };
  for (std::size_t w = 0; w < words.size(); ++w) {
    std::string const& word = words[w];
    if (word == "*") {
      add(0, false);
    } else if (word == "iota") {
      std::string const start = words.at(w + 1), step = words.at(w + 2);
      w += 2;
      for (std::size_t k = 0; values.size() < count; ++k) {
        if (type.kind == 'f') {
          double const value = std::stod(start) + static_cast<double>(k) * std::stod(step);
          add(type.bytes == 4 ? std::bit_cast<std::uint32_t>(static_cast<float>(value))
                              : std::bit_cast<std::uint64_t>(value));
        } else {
          add(parse_value(start, type) + k * parse_value(step, type));
        }
      }
    } else if (word == "fill") {
      std::uint64_t const value = parse_value(words.at(++w), type);
      while (values.size() < count) add(value);
    } else if (word == "random") {
      std::uint64_t state = std::stoull(words.at(++w));
      if (w + 2 < words.size() + 0 && w + 2 <= words.size() - 1) {
        double const low = std::stod(words.at(w + 1)), high = std::stod(words.at(w + 2));
        w += 2;
        while (values.size() < count) {
          double const unit = static_cast<double>(next_random(state) >> 11) * 0x1p-53;
          double const value = low + unit * (high - low);
          if (type.kind != 'f') {
            add(static_cast<std::uint64_t>(static_cast<std::int64_t>(std::floor(value))));
          } else {
            add(type.bytes == 4 ? std::bit_cast<std::uint32_t>(static_cast<float>(value))
                                : std::bit_cast<std::uint64_t>(value));
          }
        }
      } else {
        while (values.size() < count) add(next_random(state));
      }
    } else if (std::size_t const star = word.find('*'); star != std::string::npos && star > 0) {
      std::size_t const times = std::stoull(word.substr(0, star));
      bool const any = word.substr(star + 1) == "*";
      std::uint64_t const value = any ? 0 : parse_value(word.substr(star + 1), type);
      for (std::size_t k = 0; k < times; ++k) add(value, !any);
    } else {
      add(parse_value(word, type));
    }
  }
  if (values.size() != count)
    throw bad_argument("values", std::to_string(values.size()), fmt::format("{} values", count));
  out.bytes.resize(count * type.bytes);
  for (std::size_t k = 0; k < count; ++k) {
    for (std::size_t b = 0; b < type.bytes; ++b)
      out.bytes[k * type.bytes + b] = static_cast<std::byte>(values[k] >> (8 * b));
  }
  return out;
}

std::vector<std::string> words_of(std::string const& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

std::array<std::uint32_t, 3> parse_shape(std::string text) {
  std::array<std::uint32_t, 3> out{1, 1, 1};
  std::replace(text.begin(), text.end(), 'x', ' ');
  std::vector<std::string> const words = words_of(text);
  for (std::size_t k = 0; k < words.size() && k < 3; ++k)
    out[k] = static_cast<std::uint32_t>(std::stoul(words[k]));
  return out;
}

/// The parts of "a,b,c".
std::vector<std::string> split(std::string text) {
  std::replace(text.begin(), text.end(), ',', ' ');
  return words_of(text);
}

std::vector<std::uint64_t> parse_list(std::string const& text) {
  std::vector<std::uint64_t> out;
  for (std::string const& word : split(text)) out.push_back(std::stoull(word));
  return out;
}

/// Text without the blanks around it.
std::string trimmed(std::string const& text) {
  std::size_t const first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

CaseLaunch parse_launch(std::string const& text) {
  CaseLaunch out;
  for (std::string const& word : words_of(text)) {
    std::size_t const equals = word.find('=');
    if (equals == std::string::npos) throw bad_argument("launch", word, "name=value");
    std::string const name = word.substr(0, equals), value = word.substr(equals + 1);
    if (name == "grid") {
      out.spec.grid = parse_shape(value);
    } else if (name == "block") {
      auto const shape = parse_shape(value);
      out.spec.threads = shape[0];
      out.spec.threads_y = shape[1];
      out.spec.threads_z = shape[2];
    } else if (name == "cluster") {
      out.spec.cluster = parse_shape(value);
    } else if (name == "smem") {
      out.spec.dynamic_smem_bytes = static_cast<std::uint32_t>(std::stoul(value));
    } else if (name == "entry") {
      out.entry = value;
    } else if (name == "stream") {
      out.stream = std::stoi(value);
    } else if (name == "programmatic") {
      out.programmatic = std::stoi(value) != 0;
    } else if (name == "after") {
      for (std::uint64_t const index : parse_list(value)) out.after.push_back(index);
    } else if (name == "args") {
      out.args = split(value);
    } else {
      throw bad_argument("launch", word,
                         "grid=, block=, cluster=, smem=, entry=, stream=, programmatic=, after= or args=");
    }
  }
  return out;
}

CaseParam parse_map(std::vector<std::string> const& words) {
  CaseParam out;
  out.kind = CaseParam::Kind::kMap;
  out.name = words.at(0);
  if (words.at(1) != "of") throw bad_argument("map", words[1], "of");
  out.map_of = words.at(2);
  if (!out.map_of.empty() && out.map_of.back() == ':') out.map_of.pop_back();
  for (std::size_t w = 3; w < words.size(); ++w) {
    std::size_t const equals = words[w].find('=');
    std::string const name = words[w].substr(0, equals), value = words[w].substr(equals + 1);
    if (name == "element") {
      using Element = TensorMapSpec::Element;
      static std::pair<char const*, Element> const kNames[] = {{"u8", Element::kU8},
                                                               {"u16", Element::kU16},
                                                               {"s32", Element::kI32},
                                                               {"f32", Element::kF32},
                                                               {"bf16", Element::kBf16},
                                                               {"u4align8", Element::kPacked4Align8},
                                                               {"u4align16", Element::kPacked4Align16}};
      auto const found = std::find_if(std::begin(kNames), std::end(kNames),
                                      [&](auto const& known) { return value == known.first; });
      if (found == std::end(kNames))
        throw bad_argument("element", value, "u8, u16, s32, f32, bf16, u4align8 or u4align16");
      out.map.element = found->second;
    } else if (name == "dims") {
      auto const list = parse_list(value);
      out.map.rank = static_cast<int>(list.size());
      std::copy_n(list.begin(), std::min<std::size_t>(5, list.size()), out.map.dims.begin());
    } else if (name == "strides") {
      auto const list = parse_list(value);
      std::copy_n(list.begin(), std::min<std::size_t>(4, list.size()), out.map.strides_bytes.begin());
    } else if (name == "box") {
      auto const list = parse_list(value);
      for (std::size_t k = 0; k < list.size() && k < 5; ++k)
        out.map.box[k] = static_cast<std::uint32_t>(list[k]);
    } else if (name == "swizzle") {
      using Swizzle = TensorMapSpec::Swizzle;
      out.map.swizzle = value == "32B"    ? Swizzle::k32B
                        : value == "64B"  ? Swizzle::k64B
                        : value == "128B" ? Swizzle::k128B
                                          : Swizzle::kNone;
      if (value != "none" && out.map.swizzle == Swizzle::kNone)
        throw bad_argument("swizzle", value, "none, 32B, 64B or 128B");
    } else {
      throw bad_argument("map", words[w], "element=, dims=, strides=, box= or swizzle=");
    }
  }
  return out;
}

void parse_directive(Case& one, std::string const& text) {
  std::size_t const colon = text.find(':');
  std::string const head = text.substr(0, colon),
                    rest = colon == std::string::npos ? "" : text.substr(colon + 1);
  std::vector<std::string> const words = words_of(head);
  if (words.empty()) return;
  std::string const& what = words[0];
  if (what == "isa") {
    one.isa = rest;
  } else if (what == "targets") {
    one.targets = words_of(rest);
    if (one.targets == std::vector<std::string>{"all"})
      one.targets = {"sm_90a", "sm_120a", "sm_121a", "sm_120f"};
  } else if (what == "launch") {
    one.launches.push_back(parse_launch(rest));
  } else if (what == "ulps") {
    one.ulps = std::stoull(rest);
  } else if (what == "error") {
    one.error = trimmed(rest);
  } else if (what == "bug" || what == "open") {
    std::string& text = what == "bug" ? one.bug : one.open;
    for (std::string const& word : words_of(rest)) text += (text.empty() ? "" : " ") + word;
  } else if (what == "finding") {
    for (std::string const& word : words_of(rest)) {
      if (word != "or") one.findings.push_back(word);
    }
  } else if (what == "mentions") {
    one.mentions.push_back(trimmed(rest));
  } else if (what == "seeds") {
    if (trimmed(rest) != "some") throw bad_argument("seeds", rest, "some");
    one.every_seed = false;
  } else if (what == "param") {
    CaseParam param;
    param.kind = CaseParam::Kind::kScalar;
    param.type = words.at(1);
    param.count = 1;
    if (words.size() > 3) param.name = words[2];
    param.initial = parse_values({words.back()}, parse_type(param.type), 1).bytes;
    one.params.push_back(std::move(param));
  } else if (what == "map") {
    std::vector<std::string> all = words;
    all.erase(all.begin());
    for (std::string const& word : words_of(rest)) all.push_back(word);
    one.params.push_back(parse_map(all));
  } else if (what == "in" || what == "out" || what == "inout") {
    CaseParam param;
    param.name = words.at(1);
    param.type = words.at(2);
    param.count = std::stoull(words.at(3));
    Type const type = parse_type(param.type);
    std::vector<std::string> values = words_of(rest);
    if (what == "inout") {
      auto const arrow = std::find(values.begin(), values.end(), "->");
      if (arrow == values.end()) throw bad_argument("inout", rest, "start values -> expected values");
      param.initial = parse_values({values.begin(), arrow}, type, param.count).bytes;
      values.erase(values.begin(), arrow + 1);
    }
    Values parsed = parse_values(values, type, param.count);
    if (what == "in") {
      param.initial = std::move(parsed.bytes);
    } else {
      param.expected = std::move(parsed.bytes);
      param.compared = std::move(parsed.compared);
    }
    one.params.push_back(std::move(param));
  }
}

std::uint64_t bits_at(std::byte const* at, std::size_t bytes) {
  std::uint64_t bits = 0;
  for (std::size_t b = 0; b < bytes; ++b) bits |= std::to_integer<std::uint64_t>(at[b]) << (8 * b);
  return bits;
}

std::string element_text(std::byte const* at, Type type) {
  std::uint64_t const bits = bits_at(at, type.bytes);
  if (type.kind == 'f') {
    double const value = type.bytes == 4 ? std::bit_cast<float>(static_cast<std::uint32_t>(bits))
                                         : std::bit_cast<double>(bits);
    return fmt::format("{} ({:#x})", value, bits);
  }
  return fmt::format("{} ({:#x})", bits, bits);
}

/// How many floating-point numbers of that width lie between two bit patterns; equal zeros of both signs are 0 apart.
std::uint64_t ulps_between(std::uint64_t a, std::uint64_t b, std::size_t bytes) {
  std::uint64_t const sign = std::uint64_t{1} << (8 * bytes - 1);
  auto const magnitude = [&](std::uint64_t v) { return v & ~sign; };
  if (((a ^ b) & sign) != 0) return magnitude(a) + magnitude(b);
  return std::max(a, b) - std::min(a, b);
}

/// Buffers of one run, released at its end.
struct Buffers {
  Backend& backend;
  std::vector<DeviceAddress> addresses;
  ~Buffers() {
    for (DeviceAddress const address : addresses) {
      try {
        if (address != 0) backend.release(address);
      } catch (Error const&) {
        // After a fault the device takes nothing back; the fault itself is what the case reports.
      }
    }
  }
};

template <class T>
void append(std::vector<std::byte>& block, T const& value, std::size_t alignment) {
  block.resize((block.size() + alignment - 1) / alignment * alignment);
  auto const* const bytes = reinterpret_cast<std::byte const*>(&value);
  block.insert(block.end(), bytes, bytes + sizeof value);
}

std::shared_ptr<LoadedKernel> load(Case const& one, std::string_view target, Backend& backend) {
  KernelImage image;
  DW_CHECK(one.launches.size() == 1, kBadArgument, "{}: a case has one launch", one.name);
  image.entry = one.launches[0].entry;
  image.target = std::string(target);
  image.ptx = ptx_for(one, target);
  return backend.load(image, one.launches[0].spec.dynamic_smem_bytes);
}

/// What each parameter's buffer holds afterwards; empty where the case expects nothing of it.
std::vector<std::vector<std::byte>> memory_after(Case const& one, LoadedKernel const& kernel,
                                                 Backend& backend) {
  Buffers buffers{backend, {}};
  for (CaseParam const& param : one.params) {
    if (param.kind != CaseParam::Kind::kBuffer) {
      buffers.addresses.push_back(0);
      continue;
    }
    buffers.addresses.push_back(backend.allocate(bytes_of(param)));
    if (!param.initial.empty()) backend.copy_to_device(buffers.addresses.back(), param.initial, nullptr);
  }
  backend.launch(kernel, one.launches[0].spec,
                 parameter_block(one, one.launches[0].args, buffers.addresses, backend));
  backend.synchronize(nullptr);
  std::vector<std::vector<std::byte>> out(one.params.size());
  for (std::size_t p = 0; p < one.params.size(); ++p) {
    out[p].resize(one.params[p].expected.size());
    if (!out[p].empty()) backend.copy_to_host(out[p], buffers.addresses[p], nullptr);
  }
  return out;
}

std::string run_unguarded(Case const& one, std::string_view target, Backend& backend) {
  auto const kernel = load(one, target, backend);
  auto const memory = memory_after(one, *kernel, backend);
  bool const emulated = backend.device().id.rfind("emu", 0) == 0;
  std::string out;
  for (std::size_t p = 0; p < one.params.size(); ++p) {
    if (!memory[p].empty()) out += compare(one.params[p], memory[p], emulated ? 0 : one.ulps);
  }
  return out;
}

/// One random value of a width: a corner of integers and floats, few bits, all bits, or a float near 1, in equal shares.
std::uint64_t random_value(std::size_t bytes, std::uint64_t& state) {
  static constexpr std::uint64_t kCorners32[] = {
      0,          1,          2,          0x1f,       0x20,       0x3f,       0x40,       0x7fffffff,
      0x80000000, 0x80000001, 0xffffffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0x00800000,
      0x007fffff, 0x807fffff, 0x7f7fffff, 0x3f800000, 0xbf800000, 0x4b800001, 0x3f000000, 0x7c007c00,
      0xfc017e00, 0x03ff0400, 0x7f807f80, 0x00010080, 0x477fe000, 0x43e00000};
  std::uint64_t const r = next_random(state), more = next_random(state);
  switch (r & 3) {
    case 0: {
      std::uint64_t const corner = kCorners32[(r >> 8) % std::size(kCorners32)];
      if (bytes < 8) return corner;
      static constexpr std::uint64_t kCorners64[] = {
          0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x0010000000000000,
          0x000fffffffffffff, 0x7fefffffffffffff, 0x3ff0000000000000, 0x8000000000000000,
          0x7fffffffffffffff, 0xffffffffffffffff, 0x41dfffffffc00000, 0x47efffffe0000000};
      return (r & 4) != 0 ? kCorners64[(r >> 8) % std::size(kCorners64)]
                          : corner | ((r & 8) != 0 ? corner << 32 : 0);
    }
    case 1: return more >> (r >> 8) % 64;
    case 2: return more;
    default: {
      if (bytes == 8 && (r & 4) != 0)
        return (more & 0x800fffffffffffff) | ((std::uint64_t{1023 - 32} + (r >> 8) % 64) << 52);
      std::uint64_t const exponents = (std::uint64_t{127 - 16} + (r >> 8) % 32) << 23;
      return (more & 0x807fffff807fffff) | exponents | exponents << 32;
    }
  }
}

/// Empties a line of the other variant and takes the mark off one that stays.
void keep(std::string& line, Variant variant) {
  std::size_t const mark = line.rfind("//@ ");
  if (mark == std::string::npos) return;
  std::string const of = trimmed(line.substr(mark + 4));
  if (of != "bug" && of != "fixed") throw bad_argument("mark", line.substr(mark), "//@ bug or //@ fixed");
  if (variant == Variant::kWhole)
    throw bad_argument("mark", line.substr(mark), "a planted bug, read as a variant");
  if ((of == "bug") == (variant == Variant::kBug)) {
    line.erase(mark);
    line.erase(line.find_last_not_of(' ') + 1);
  } else {
    line.clear();
  }
}

}  // namespace

std::string ptx_for(Case const& one, std::string_view target) {
  std::string out = one.ptx;
  std::size_t const mark = out.find("@TARGET@");
  if (mark != std::string::npos) out.replace(mark, 8, target);
  return out;
}

std::size_t bytes_of(CaseParam const& param) { return param.count * parse_type(param.type).bytes; }

std::string compare(CaseParam const& param, std::vector<std::byte> const& got, std::uint64_t ulps) {
  Type const type = parse_type(param.type);
  std::string out;
  int wrong = 0;
  for (std::size_t k = 0; k < param.count; ++k) {
    if (!param.compared[k]) continue;
    std::uint64_t const is = bits_at(got.data() + k * type.bytes, type.bytes);
    std::uint64_t const expected = bits_at(param.expected.data() + k * type.bytes, type.bytes);
    if (ulps == 0 ? is == expected : ulps_between(is, expected, type.bytes) <= ulps) continue;
    if (++wrong <= 8) {
      out += fmt::format("  {}[{}] is {}, expected {}\n", param.name, k,
                         element_text(got.data() + k * type.bytes, type),
                         element_text(param.expected.data() + k * type.bytes, type));
    }
  }
  if (wrong > 8) out += fmt::format("  {}: {} of {} elements differ\n", param.name, wrong, param.count);
  return out;
}

std::vector<std::byte> parameter_block(Case const& one, std::vector<std::string> const& args,
                                       std::vector<DeviceAddress> const& addresses, Backend& backend) {
  auto const index_of = [&](std::string const& name, char const* what) {
    for (std::size_t p = 0; p < one.params.size(); ++p) {
      if (one.params[p].name == name) return p;
    }
    throw bad_argument(what, name, "the name of a parameter");
  };
  std::vector<std::size_t> order;
  for (std::string const& name : args) order.push_back(index_of(name, "args"));
  for (std::size_t p = 0; args.empty() && p < one.params.size(); ++p) order.push_back(p);
  std::vector<std::byte> block;
  for (std::size_t const p : order) {
    CaseParam const& param = one.params[p];
    switch (param.kind) {
      case CaseParam::Kind::kBuffer: append(block, addresses[p], 8); break;
      case CaseParam::Kind::kScalar: {
        block.resize((block.size() + param.initial.size() - 1) / param.initial.size() * param.initial.size());
        block.insert(block.end(), param.initial.begin(), param.initial.end());
        break;
      }
      case CaseParam::Kind::kMap: {
        TensorMapSpec spec = param.map;
        spec.base = addresses[index_of(param.map_of, "map")];
        append(block, backend.encode(spec), 64);
        break;
      }
    }
  }
  return block;
}

Case read_case(std::string const& path, std::string name, Variant variant) {
  std::ifstream file(path);
  DW_CHECK(file.good(), kBadArgument, "{}: cannot be read", path);
  Case one;
  one.name = std::move(name);
  one.path = path;
  std::string directive, first_entry;
  int number = 0, directive_line = 0;
  auto const flush = [&] {
    try {
      if (!directive.empty()) parse_directive(one, directive);
    } catch (std::exception const& error) {
      throw Error(ErrorCode::kBadArgument, fmt::format("{}:{}: {}", path, directive_line, error.what()),
                  path);
    }
    directive.clear();
  };
  for (std::string line; std::getline(file, line);) {
    ++number;
    keep(line, variant);
    one.ptx += line + "\n";
    if (line.rfind("//   ", 0) == 0) {
      directive += " " + line.substr(2);
      continue;
    }
    flush();
    if (line.rfind("// ", 0) == 0) {
      directive = line.substr(3);
      directive_line = number;
    }
    if (std::size_t const at = line.find(".entry "); at != std::string::npos && first_entry.empty()) {
      std::string const rest = line.substr(at + 7);
      first_entry = rest.substr(0, rest.find_first_of(" ("));
    }
  }
  flush();
  if (one.launches.empty()) one.launches.emplace_back();
  for (CaseLaunch& launch : one.launches) {
    if (launch.entry.empty()) launch.entry = first_entry;
  }
  DW_CHECK(!one.targets.empty() && (!one.isa.empty() || !one.bug.empty()), kBadArgument,
           "{}: a case needs `// isa:` and `// targets:`", path);
  bool const compares = std::any_of(one.params.begin(), one.params.end(),
                                    [](CaseParam const& p) { return !p.expected.empty(); });
  DW_CHECK(one.bug.empty() == one.findings.empty(), kBadArgument,
           "{}: `// bug:` and `// finding:` come together", path);
  DW_CHECK(compares || !one.error.empty(), kBadArgument, "{}: a case expects memory or an error", path);
  return one;
}

std::vector<Case> read_cases(std::string const& folder) {
  std::vector<Case> out;
  for (auto const& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".ptx") continue;
    out.push_back(read_case(entry.path().string(),
                            std::filesystem::relative(entry.path(), folder).replace_extension().string()));
  }
  std::sort(out.begin(), out.end(), [](Case const& a, Case const& b) { return a.name < b.name; });
  return out;
}

Case instruction_case(std::string const& line, std::string const& target) {
  std::vector<std::string> const words = words_of(line);
  DW_CHECK(words.size() >= 3, kBadArgument, "instruction \"{}\": expected opcode, result type, source types",
           line);
  Case one;
  one.name = words[0];
  one.launches.resize(1);
  one.launches[0].entry = "instruction";
  one.targets = {target};
  std::string params, body, operands;
  for (std::size_t k = 1; k < words.size(); ++k) {
    bool const predicate = words[k] == "p";
    std::string const type = predicate ? "b32" : words[k];
    CaseParam param;
    param.name = fmt::format("x{}", k);
    param.type = type;
    param.count = 32;
    std::size_t const bytes = parse_type(type).bytes;
    (k == 1 ? param.expected : param.initial).resize(32 * bytes);
    param.compared.resize(32);
    one.params.push_back(std::move(param));
    params += fmt::format("{}.param .u64 p{}", k == 1 ? "" : ", ", k);
    body += fmt::format("  .reg .{} %x{};\n  .reg .pred %p{};\n", type, k, k);
    body +=
        fmt::format("  ld.param.u64 %l{}, [p{}];\n  mad.wide.u32 %l{}, %t, {}, %l{};\n", k, k, k, bytes, k);
    if (k > 1) body += fmt::format("  ld.global.{} %x{}, [%l{}];\n", type, k, k);
    if (k > 1 && predicate)
      body += fmt::format("  and.b32 %x{}, %x{}, 1;\n  setp.ne.u32 %p{}, %x{}, 0;\n", k, k, k, k);
    operands += fmt::format("{}%{}{}", k == 1 ? "" : ", ", predicate ? "p" : "x", k);
  }
  bool const predicate = words[1] == "p";
  body += fmt::format("  {} {};\n", words[0], operands);
  if (predicate) body += "  selp.u32 %x1, 1, 0, %p1;\n";
  body += fmt::format("  st.global.{} [%l1], %x1;\n  ret;\n", predicate ? "b32" : words[1]);
  one.ptx = fmt::format(
      ".version 8.8\n.target {}\n.address_size 64\n.visible .entry instruction({}) {{\n"
      "  .reg .b64 %l<9>;\n  .reg .b32 %t;\n  mov.u32 %t, %tid.x;\n{}}}\n",
      target, params, body);
  return one;
}

std::vector<std::byte> measure(Case const& one, std::string_view target, Backend& backend, int seeds) {
  auto const kernel = load(one, target, backend);
  std::vector<std::byte> out;
  for (int seed = 0; seed < seeds; ++seed) {
    Case changed = one;
    std::uint64_t state = 0x5eed + static_cast<std::uint64_t>(seed);
    for (CaseParam& param : changed.params) {
      if (!param.expected.empty()) continue;
      std::size_t const bytes = parse_type(param.type).bytes;
      for (std::size_t k = 0; k < param.count; ++k) {
        std::uint64_t const value = random_value(bytes, state);
        for (std::size_t b = 0; b < bytes; ++b)
          param.initial[k * bytes + b] = static_cast<std::byte>(value >> (8 * b));
      }
    }
    for (std::vector<std::byte> const& memory : memory_after(changed, *kernel, backend))
      out.insert(out.end(), memory.begin(), memory.end());
  }
  return out;
}

std::string run_case(Case const& one, std::string_view target, Backend& backend) {
  try {
    std::string const wrong = run_unguarded(one, target, backend);
    if (one.error.empty()) return wrong;
    return fmt::format("  it ran, but an error with \"{}\" was expected\n", one.error);
  } catch (Error const& error) {
    if (!one.error.empty() && std::string_view(error.what()).find(one.error) != std::string_view::npos)
      return {};
    return fmt::format("  {}\n", error.what());
  }
}

}  // namespace deepwell::testing

// Results of a sheet as JSON and as files.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "emu/launch/npy.hpp"
#include "emu/launch/sheet_json.hpp"

namespace deepwell::emu {
namespace {

using Json = nlohmann::ordered_json;

Json place_json(CodePlace const& place) {
  Json out{{"cta", place.cta}, {"warp", nullptr}, {"lane", nullptr}};
  if (place.warp >= 0) out["warp"] = place.warp;
  if (place.lane >= 0) out["lane"] = place.lane;
  out["line"] = place.line;
  out["instruction"] = place.instruction;
  out["source"] = place.source;
  return out;
}

Json finding_json(SheetFinding const& finding) {
  Json out{{"finding", name_of(finding.finding)},
           {"seed", finding.seed},
           {"kernel", finding.kernel},
           {"message", finding.message},
           {"place", nullptr}};
  if (finding.place.line > 0) out["place"] = place_json(finding.place);
  return out;
}

Json number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

Json comparison_json(SheetBuffer const& buffer, Comparison const& comparison) {
  Json out{{"ok", comparison.ok()},
           {"compared", comparison.compared},
           {"mismatches", comparison.mismatches},
           {"undefined", comparison.undefined},
           {"worst_error", number(comparison.worst_error)},
           {"worst_index", comparison.worst},
           {"absolute", number(buffer.expected->absolute)},
           {"relative", number(buffer.expected->relative)}};
  if (!comparison.ok()) {
    out["first"] = {{"index", comparison.first},
                    {"got", element_text(*buffer.type, comparison.first_got)},
                    {"expected", element_text(*buffer.type, comparison.first_expected)}};
  }
  return out;
}

}  // namespace

std::string to_json(Sheet const& sheet, SheetResult const& result, bool compact) {
  Json out{{"ok", result.ok()},
           {"target", sheet.profile.target},
           {"checked", sheet.options.check},
           {"first_seed", sheet.options.seed},
           {"seeds", result.seeds_run},
           {"seconds", result.seconds},
           {"printed", result.output}};
  out["findings"] = Json::array();
  for (SheetFinding const& finding : result.findings) out["findings"].push_back(finding_json(finding));
  out["launches"] = Json::array();
  for (std::size_t i = 0; i < result.kernels.size(); ++i) {
    Json launch{{"kernel", result.kernels[i]}, {"statistics", nullptr}};
    if (i < result.launches.size()) launch["statistics"] = Json::parse(to_json(result.launches[i]));
    out["launches"].push_back(std::move(launch));
  }
  out["buffers"] = Json::object();
  for (std::size_t i = 0; i < result.buffers.size(); ++i) {
    SheetBuffer const& buffer = sheet.buffers[i];
    BufferResult const& got = result.buffers[i];
    Json one{{"dtype", buffer.type->name},
             {"shape", buffer.shape},
             {"bytes", buffer.bytes},
             {"address", fmt::format("{:#x}", got.address)},
             {"undefined_bytes", got.undefined_bytes}};
    if (!buffer.output.empty()) one["output"] = buffer.output;
    if (got.comparison) one["expected"] = comparison_json(buffer, *got.comparison);
    out["buffers"][buffer.name] = std::move(one);
  }
  return out.dump(compact ? -1 : 2, ' ', false, Json::error_handler_t::replace);
}

void write_outputs(Sheet const& sheet, SheetResult const& result) {
  for (std::size_t i = 0; i < result.buffers.size(); ++i) {
    SheetBuffer const& buffer = sheet.buffers[i];
    if (buffer.output.empty()) continue;
    std::vector<std::byte> const& bytes = result.buffers[i].bytes;
    std::ofstream file(buffer.output, std::ios::binary | std::ios::trunc);
    if (buffer.output.ends_with(".npy")) {
      std::vector<std::uint64_t> shape = buffer.shape;
      if (buffer.type->bits == 4) {  // two elements a byte, as they lie in memory
        bool const in_rows = !shape.empty() && shape.back() % 2 == 0;
        if (in_rows) {
          shape.back() /= 2;
        } else {
          shape = {bytes.size()};
        }
      }
      file << write_npy(buffer.type->npy, shape, bytes);
    } else {
      file.write(reinterpret_cast<char const*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    file.close();
    if (!file)
      throw bad_argument("buffers." + buffer.name + ".output", buffer.output, "a file that can be written");
  }
}

}  // namespace deepwell::emu

// The instructions of a run as text.
#include "emu/launch/trace.hpp"

#include <bit>

namespace deepwell::emu {
namespace {

std::string values_text(TraceStep const& step, TraceStep::Result const& result) {
  auto const one = [&](std::size_t lane) -> std::string {
    if (((result.undefined >> lane) & 1) != 0) return "undefined";
    return fmt::format("{:#x}", result.values[lane]);
  };
  if (step.lanes == 0) return {};
  auto const first = static_cast<std::size_t>(std::countr_zero(step.lanes));
  bool same = true;
  std::string all;
  for (std::size_t lane = 0; lane < result.values.size(); ++lane) {
    bool const ran = ((step.lanes >> lane) & 1) != 0;
    same = same && (!ran || one(lane) == one(first));
    all += (lane == 0 ? "" : " ") + (ran ? one(lane) : std::string("?"));
  }
  return same ? one(first) : all;
}

}  // namespace

std::string trace_line(TraceStep const& step) {
  std::string out =
      fmt::format("launch {} cta {},{},{} warp {} lanes {:#010x} line {} {}", step.launch, step.cta[0],
                  step.cta[1], step.cta[2], step.warp, step.lanes, step.line, step.instruction);
  char const* separator = " -> ";
  for (TraceStep::Result const& result : step.results) {
    out += fmt::format("{}{} = {}", separator, result.name, values_text(step, result));
    separator = "; ";
  }
  return out;
}

TraceWriter::TraceWriter(SheetTrace const& wanted) : wanted_(wanted) {
  if (wanted.file.empty()) return;
  file_.open(wanted.file, std::ios::trunc);
  if (!file_) throw bad_argument("options.trace.file", wanted.file, "a file that can be written");
}

void TraceWriter::put(std::string const& line) {
  if (bytes_ > wanted_.most_bytes) return;
  bytes_ += line.size() + 1;
  if (bytes_ > wanted_.most_bytes) {
    file_ << "and more: the trace ends after " << wanted_.most_bytes << " bytes\n";
    return;
  }
  file_ << line << '\n';
}

void TraceWriter::begin_seed(std::uint64_t seed) { put(fmt::format("seed {}", seed)); }

void TraceWriter::write(TraceStep const& step) {
  if (wanted_.launch && *wanted_.launch != step.launch) return;
  if (wanted_.cta && *wanted_.cta != step.cta) return;
  if (wanted_.warp && *wanted_.warp != step.warp) return;
  put(trace_line(step));
}

}  // namespace deepwell::emu

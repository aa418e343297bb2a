// Reports about a running program, and the general rule of poison.
#include <bit>

#include "emu/run/machine.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {

char const* name_of(Finding finding) {
  switch (finding) {
    case Finding::kProgram: return "program";
    case Finding::kMemory: return "memory";
    case Finding::kPoison: return "poison";
    case Finding::kRace: return "race";
    case Finding::kBarrier: return "barrier";
    case Finding::kDeadlock: return "deadlock";
    case Finding::kCopy: return "copy";
    case Finding::kTensorMap: return "tensor-map";
    case Finding::kDependency: return "dependency";
    case Finding::kResource: return "resource";
  }
  return "?";
}

std::string describe_place(Launch const& launch, std::array<std::uint32_t, 3> const& cta, int warp_id,
                           int lane, Instr const& instr) {
  InstrText const& info = *instr.info;
  std::string where =
      fmt::format("kernel {}, CTA ({},{},{}), warp {}", launch.kernel, cta[0], cta[1], cta[2], warp_id);
  if (lane >= 0) {
    auto const tid = thread_of(launch, warp_id, lane);
    where += fmt::format(", lane {} (thread ({},{},{}))", lane, tid[0], tid[1], tid[2]);
  }
  Module::Impl const& module = launch.module->impl();
  where += fmt::format(", {}:{} `{}`", module.source_name, info.line, info.text);
  if (info.source_file != 0) {
    auto const file = module.files.find(info.source_file);
    where += fmt::format(" ({}:{})", file == module.files.end() ? "?" : file->second, info.source_line);
  }
  return where;
}

namespace {

CodePlace place_of(Warp const& warp, Instr const& instr, int lane) {
  InstrText const& info = *instr.info;
  CodePlace out{.cta = warp.cta->id,
                .warp = warp.id,
                .lane = lane,
                .line = info.line,
                .instruction = info.text,
                .source = {}};
  auto const& files = warp.launch->module->impl().files;
  if (auto const file = files.find(info.source_file); info.source_file != 0 && file != files.end())
    out.source = fmt::format("{}:{}", file->second, info.source_line);
  return out;
}

}  // namespace

void fail(Warp& warp, Instr const& instr, int lane, std::string const& message, Finding finding) {
  throw Report(
      finding,
      fmt::format("{}: {}", describe_place(*warp.launch, warp.cta->id, warp.id, lane, instr), message),
      std::string(warp.launch->kernel), place_of(warp, instr, lane));
}

void Warp::report_poison(Instr const& instr, Value const& value, Mask mask, char const* what) {
  Mask const bad = poison_of(value) & mask;
  fail(*this, instr, std::countr_zero(bad),
       fmt::format("{} ({}) was never defined (lanes {:#010x})", what, function->register_names[value.number],
                   bad),
       Finding::kPoison);
}

void Warp::propagate_slow(Instr const& instr, Mask mask) {
  Mask lanes = 0;
  for (std::size_t k = 1; k < instr.ops.size(); ++k) {
    Operand const& operand = instr.ops[k];
    lanes |= poison_of(operand.value) | poison_of(operand.second);
    for (Value const& element : operand.elements) lanes |= poison_of(element);
  }
  if (instr.ops.empty()) return;
  Operand const& to = instr.ops[0];
  if (to.kind == Operand::Kind::kVector) {
    for (Value const& element : to.elements) set_poison(element, mask, lanes);
  } else {
    set_poison(to.value, mask, lanes);
    if (to.kind == Operand::Kind::kPair) set_poison(to.second, mask, lanes);
  }
}

}  // namespace deepwell::emu

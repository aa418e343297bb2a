// Puts the functions that a kernel may reach into the kernel's own code.
#include "emu/run/link.hpp"

#include <algorithm>
#include <map>

namespace deepwell::emu {
namespace {

/// Numbers of the functions that may be reached, each after those that it calls (but for recursion).
class Reach {
 public:
  Reach(std::vector<Function const*> const& functions, std::vector<bool> const& address_taken)
      : functions_(functions), address_taken_(address_taken), seen_(functions.size(), false) {}

  void visit(Function const& from) {
    for (CallSite const& site : from.calls) {
      if (!site.is_indirect && site.builtin == Builtin::kNone) visit(site.function);
    }
    if (!from.calls_indirectly) return;
    for (std::uint32_t k = 0; k < functions_.size(); ++k) {
      if (address_taken_[k] && functions_[k] != nullptr) visit(k);
    }
  }
  std::vector<std::uint32_t> order;

 private:
  void visit(std::uint32_t number) {
    if (seen_[number]) return;
    seen_[number] = true;
    visit(*functions_[number]);
    order.push_back(number);
  }
  std::vector<Function const*> const& functions_;
  std::vector<bool> const& address_taken_;
  std::vector<bool> seen_;
};

/// Where a function's things lie in the kernel.
struct Moved {
  std::uint32_t pc = 0, register_bytes = 0, registers = 0, names = 0, calls = 0;
  void value(Value& value) const {
    if (!value.is_register()) return;
    value.offset += register_bytes;
    value.index += registers;
    value.number += names;
  }
  void passed(std::vector<Passed>& list) const {
    for (Passed& one : list) value(one.value);
  }
};

void append(Function& out, Function const& from) {
  // Register number 0 of every function is never poison: they share it.
  Moved const by{.pc = static_cast<std::uint32_t>(out.code.size()),
                 .register_bytes = out.register_bytes,
                 .registers = out.register_count - 1,
                 .names = static_cast<std::uint32_t>(out.register_names.size()) - 1,
                 .calls = static_cast<std::uint32_t>(out.calls.size())};
  for (Instr instr : from.code) {
    for (Operand& operand : instr.ops) {
      by.value(operand.value);
      by.value(operand.second);
      for (Value& element : operand.elements) by.value(element);
      operand.target += by.pc;
      for (std::uint32_t& target : operand.targets) target += by.pc;
    }
    by.value(instr.guard);
    if (instr.row->pattern == "call [.uni]") instr.aux[0] += by.calls;
    out.code.push_back(std::move(instr));
  }
  for (CallSite site : from.calls) {
    by.passed(site.results);
    by.passed(site.arguments);
    out.calls.push_back(std::move(site));
  }
  for (SpecialUse use : from.specials) {
    by.value(use.value);
    out.specials.push_back(use);
  }
  out.register_names.insert(out.register_names.end(), from.register_names.begin() + 1,
                            from.register_names.end());
  out.register_bytes += (from.register_bytes + 63) / 64 * 64;
  out.register_count += from.register_count - 1;
  out.dynamic_shared_alignment = std::max(out.dynamic_shared_alignment, from.dynamic_shared_alignment);
}

std::vector<Slot> slots_of(Function const& function) {
  std::map<std::uint32_t, Slot> slots;
  auto const add = [&](Value const& value) {
    if (!value.is_register()) return;
    std::uint32_t const bytes = value.bits == 1 ? 0 : value.bits <= 32 ? 4 : value.bits / 8u;
    slots[value.offset] = {value.offset, value.index, bytes};
  };
  for (Instr const& instr : function.code) {
    for (Operand const& operand : instr.ops) {
      add(operand.value);
      add(operand.second);
      for (Value const& element : operand.elements) add(element);
    }
    add(instr.guard);
  }
  for (Passed const& one : function.inputs) add(one.value);
  for (Passed const& one : function.results) add(one.value);
  for (SpecialUse const& use : function.specials) slots.erase(use.value.offset);
  std::vector<Slot> out;
  for (auto const& [offset, slot] : slots) out.push_back(slot);
  return out;
}

}  // namespace

Function link(Function const& kernel, std::vector<Function const*> const& functions,
              std::vector<bool> const& address_taken) {
  Reach reach(functions, address_taken);
  reach.visit(kernel);
  Function out;
  out.name = kernel.name;
  out.is_entry = true;
  out.parameters = kernel.parameters;
  out.param_bytes = kernel.param_bytes;
  out.local_bytes = kernel.local_bytes;
  out.static_shared_bytes = kernel.static_shared_bytes;
  out.max_ntid = kernel.max_ntid, out.required_ntid = kernel.required_ntid;
  out.required_cluster = kernel.required_cluster;
  out.line = kernel.line;
  out.register_names.resize(1);
  out.callee_of.assign(functions.size(), -1);
  for (std::uint32_t const number : reach.order) {
    Function const& from = *functions[number];
    out.callee_of[number] = static_cast<std::int32_t>(out.callees.size());
    Moved const by{.register_bytes = out.register_bytes, .registers = out.register_count - 1};
    Callee callee{.function = &from,
                  .start = static_cast<std::uint32_t>(out.code.size()),
                  .inputs = from.inputs,
                  .results = from.results,
                  .local_bytes = from.local_bytes,
                  .local_alignment = from.local_alignment,
                  .frame = from.frame,
                  .frame_addresses = from.frame_addresses,
                  .slots = slots_of(from)};
    by.passed(callee.inputs);
    by.passed(callee.results);
    by.value(callee.frame);
    for (auto& [value, offset] : callee.frame_addresses) by.value(value);
    for (Slot& slot : callee.slots) {
      slot.offset += by.register_bytes;
      slot.index += by.registers;
    }
    out.callees.push_back(std::move(callee));
    append(out, from);
  }
  out.start = static_cast<std::uint32_t>(out.code.size());
  append(out, kernel);
  return out;
}

}  // namespace deepwell::emu

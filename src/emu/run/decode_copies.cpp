// Loads of bytes that may be undefined, since the program only copies them: fields and padding of structures.
#include <algorithm>

#include "emu/run/decoder.hpp"

namespace deepwell::emu::decoding {

void Decoder::mark_bit_field_stores() {
  std::vector<Instr>& code = function->code;
  auto const is = [&](std::size_t pc, char const* name) { return code[pc].info->parts[0] == name; };
  auto const same = [](Value const& a, Value const& b) {
    return a.is_register() && b.is_register() && a.index == b.index;
  };
  for (std::size_t pc = 0; pc + 3 < code.size(); ++pc) {
    if (!is(pc, "ld") || !is(pc + 1, "and") || !same(code[pc].v(0), code[pc + 1].v(1)) ||
        !code[pc + 1].v(2).is_constant())
      continue;
    std::size_t k = pc + 2;
    Value last = code[pc + 1].v(0);
    for (; k < std::min(pc + 7, code.size() - 1) && !is(k, "or") && !is(k, "st"); ++k) {
    }
    if (is(k, "or") && (same(code[k].v(1), last) || same(code[k].v(2), last))) last = code[k++].v(0);
    if (k >= code.size() || !is(k, "st") || !same(code[k].v(1), last)) continue;
    Operand const &from = code[pc].ops[1], &to = code[k].ops[0];
    if (same(from.value, to.value) && from.displacement == to.displacement) code[pc].aux[6] = 1;
  }
}

void Decoder::mark_copies() {
  std::vector<bool> used(function->register_count, false);
  auto const use = [&](Value const& value) {
    if (value.is_register()) used[value.index] = true;
  };
  for (Instr const& instr : function->code) {
    use(instr.guard);
    bool const loads = instr.info->parts[0] == "ld", stores = instr.info->parts[0] == "st";
    for (std::size_t k = 0; k < instr.ops.size(); ++k) {
      if ((loads && k == 0) || (stores && k == 1)) continue;
      use(instr.ops[k].value);
      use(instr.ops[k].second);
      for (Value const& element : instr.ops[k].elements) use(element);
    }
  }
  for (Instr& instr : function->code) {
    if (instr.info->parts[0] != "ld" || instr.aux[6] != 0) continue;
    std::vector<Value> const& to = instr.ops[0].elements;
    if (std::none_of(to.begin(), to.end(),
                     [&](Value const& one) { return !one.is_register() || used[one.index]; }))
      instr.aux[6] = 2;
  }
}

}  // namespace deepwell::emu::decoding

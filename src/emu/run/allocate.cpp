// Lets registers that are never alive together share storage. Liveness is that of one thread: every lane has its own
// element of a register, so divergence changes nothing.
#include "emu/run/allocate.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <map>

namespace deepwell::emu {
namespace {

using Set = std::vector<std::uint64_t>;

bool test(Set const& set, std::uint32_t k) { return (set[k / 64] >> (k % 64)) & 1; }
void insert(Set& set, std::uint32_t k) { set[k / 64] |= std::uint64_t{1} << (k % 64); }

template <class F>
void for_values(Operand& operand, F&& f) {
  f(operand.value);
  f(operand.second);
  for (Value& element : operand.elements) f(element);
}

/// Registers that are not the code's alone: filled in when a warp starts or a function is called.
template <class F>
void for_pinned(Function& function, F&& f) {
  for (SpecialUse& use : function.specials) f(use.value);
  for (std::vector<Passed>* const list : {&function.inputs, &function.results}) {
    for (Passed& one : *list) {
      if (one.value.is_register()) f(one.value);
    }
  }
  if (function.frame.is_register()) f(function.frame);
  for (auto& [value, offset] : function.frame_addresses) f(value);
}

struct Access {
  std::vector<std::uint32_t> uses, kills;  // register numbers; a kill writes every lane that executes
};

Access access_of(Instr& instr, CompiledRow const& row) {
  Access out;
  bool const is_mov = row.base == "mov";
  for (std::size_t k = 0; k < instr.ops.size(); ++k) {
    char const role = row.operands[k].role;
    bool const writes = role == 'd' || (role == 'x' && is_mov && k == 0);
    for_values(instr.ops[k], [&](Value const& value) {
      if (!value.is_register()) return;
      // Behind a guard the old value survives in some lanes.
      if (writes && !instr.guard.exists()) {
        out.kills.push_back(value.index);
      } else {
        out.uses.push_back(value.index);
      }
    });
  }
  if (instr.guard.is_register()) out.uses.push_back(instr.guard.index);
  return out;
}

struct Block {
  std::uint32_t begin = 0, end = 0;
  std::vector<std::uint32_t> next;
  Set reads, writes, in, out;  // reads: before any write in the block
};

std::vector<Block> blocks_of(Function& function, std::vector<CompiledRow const*> const& rows,
                             std::size_t words) {
  auto const count = static_cast<std::uint32_t>(function.code.size());
  std::vector<bool> leader(count + 1, false);
  leader[0] = true;
  auto const targets_of = [&](Instr const& instr) {
    std::vector<std::uint32_t> out;
    for (Operand const& operand : instr.ops) {
      if (operand.kind == Operand::Kind::kLabel) out.push_back(operand.target);
      out.insert(out.end(), operand.targets.begin(), operand.targets.end());
    }
    return out;
  };
  for (std::uint32_t pc = 0; pc < count; ++pc) {
    for (std::uint32_t const target : targets_of(function.code[pc])) leader[target] = leader[pc + 1] = true;
  }
  std::vector<Block> blocks;
  std::vector<std::uint32_t> block_at(count + 1, 0);
  for (std::uint32_t pc = 0; pc < count; ++pc) {
    if (leader[pc]) {
      blocks.emplace_back();
      blocks.back().begin = pc;
      blocks.back().reads = blocks.back().writes = blocks.back().in = blocks.back().out = Set(words, 0);
    }
    Block& block = blocks.back();
    block.end = pc + 1;
    block_at[pc] = static_cast<std::uint32_t>(blocks.size() - 1);
    Access const access = access_of(function.code[pc], *rows[pc]);
    for (std::uint32_t const k : access.uses) {
      if (!test(block.writes, k)) insert(block.reads, k);
    }
    for (std::uint32_t const k : access.kills) insert(block.writes, k);
  }
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    Block& block = blocks[b];
    Instr const& last = function.code[block.end - 1];
    for (std::uint32_t const target : targets_of(last)) block.next.push_back(block_at[target]);
    // Falling through is assumed even behind an unconditional branch: it only lengthens lifetimes.
    if (b + 1 < blocks.size()) block.next.push_back(static_cast<std::uint32_t>(b + 1));
  }
  return blocks;
}

/// False where it takes too long, as code may be made to.
bool solve(std::vector<Block>& blocks, std::size_t words) {
  constexpr std::uint64_t kMostWork = 2'000'000'000;  // words looked at
  std::uint64_t work = 0;
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t b = blocks.size(); b-- > 0;) {
      Block& block = blocks[b];
      work += (block.next.size() + 1) * words;
      if (work > kMostWork) return false;
      for (std::uint32_t const next : block.next) {
        for (std::size_t w = 0; w < words; ++w) block.out[w] |= blocks[next].in[w];
      }
      for (std::size_t w = 0; w < words; ++w) {
        std::uint64_t const in = block.reads[w] | (block.out[w] & ~block.writes[w]);
        changed |= in != block.in[w];
        block.in[w] = in;
      }
    }
  }
  return true;
}

}  // namespace

void share_registers(Function& function, std::vector<CompiledRow const*> const& rows) {
  std::uint32_t const count = function.register_count;
  std::size_t const words = (count + 63) / 64;
  std::vector<Block> blocks = blocks_of(function, rows, words);
  if (blocks.size() * words > 16'000'000) return;  // an absurdly large function keeps one place a register
  if (!solve(blocks, words)) return;

  struct Life {
    std::uint32_t begin = ~0u, end = 0;
    std::uint8_t bits = 0;
  };
  std::vector<Life> lives(count);
  auto const extend = [&](std::uint32_t k, std::uint32_t at) {
    lives[k].begin = std::min(lives[k].begin, at);
    lives[k].end = std::max(lives[k].end, at);
  };
  auto const end_of_code = static_cast<std::uint32_t>(function.code.size());
  auto const pin = [&](std::uint32_t k) {
    extend(k, 0);
    extend(k, end_of_code);
  };
  for (Block const& block : blocks) {
    for (std::uint32_t k = 1; k < count; ++k) {
      if (test(block.in, k)) extend(k, block.begin);
      if (test(block.out, k)) extend(k, block.end);
    }
  }
  for (std::uint32_t pc = 0; pc < end_of_code; ++pc) {
    for (Operand& operand : function.code[pc].ops) {
      for_values(operand, [&](Value const& value) {
        if (!value.is_register()) return;
        extend(value.index, pc);
        lives[value.index].bits = value.bits;
      });
    }
    Value const& guard = function.code[pc].guard;
    if (guard.is_register()) {
      extend(guard.index, pc);
      lives[guard.index].bits = 1;
    }
  }
  for (std::uint32_t k = 1; k < count; ++k) {
    if (test(blocks[0].in, k)) pin(k);
  }
  for_pinned(function, [&](Value const& value) {
    pin(value.index);
    lives[value.index].bits = value.bits;
  });

  // Linear scan: a place is free again after the last instruction that touches its register, never within it.
  std::vector<std::uint32_t> order;
  for (std::uint32_t k = 1; k < count; ++k) {
    if (lives[k].begin != ~0u) order.push_back(k);
  }
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return lives[a].begin != lives[b].begin ? lives[a].begin < lives[b].begin : a < b;
  });
  struct Slot {
    std::uint32_t offset, index;
  };
  std::map<int, std::vector<Slot>> free_slots;  // by lane bytes
  std::multimap<std::uint32_t, std::pair<int, Slot>> busy;
  std::vector<Slot> place(count);
  std::uint32_t bytes = 0, slots = 1;
  auto const lane_bytes = [](int bits) { return bits == 1 ? 2 : bits <= 32 ? 4 : bits / 8; };
  for (std::uint32_t const k : order) {
    while (!busy.empty() && busy.begin()->first < lives[k].begin) {
      free_slots[busy.begin()->second.first].push_back(busy.begin()->second.second);
      busy.erase(busy.begin());
    }
    int const size = lane_bytes(lives[k].bits);
    std::vector<Slot>& available = free_slots[size];
    if (available.empty()) {
      available.push_back({bytes, slots++});
      bytes += static_cast<std::uint32_t>(size) * kLanes;
    }
    place[k] = available.back();
    available.pop_back();
    busy.emplace(lives[k].end, std::pair{size, place[k]});
  }
  auto const move = [&](Value& value) {
    if (!value.is_register()) return;
    value.offset = place[value.index].offset;
    value.index = place[value.index].index;
  };
  for (Instr& instr : function.code) {
    for (Operand& operand : instr.ops) for_values(operand, move);
    move(instr.guard);
  }
  for_pinned(function, move);
  for (CallSite& site : function.calls) {
    for (Passed& one : site.results) move(one.value);
    for (Passed& one : site.arguments) move(one.value);
  }
  function.register_bytes = bytes;
  function.register_count = slots;
}

}  // namespace deepwell::emu

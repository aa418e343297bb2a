// What names and numbers stand for: constants of the pool, registers, special registers, symbols, functions.
#include <cstring>

#include "emu/run/decoder.hpp"

namespace deepwell::emu::decoding {

SpecialRegister const* find_special(std::string_view name) {
  static std::unordered_map<std::string_view, SpecialRegister> const table = {
      {"%tid.x", {Special::kTidX, 32}},
      {"%tid.y", {Special::kTidY, 32}},
      {"%tid.z", {Special::kTidZ, 32}},
      {"%ntid.x", {Special::kNtidX, 32}},
      {"%ntid.y", {Special::kNtidY, 32}},
      {"%ntid.z", {Special::kNtidZ, 32}},
      {"%ctaid.x", {Special::kCtaidX, 32}},
      {"%ctaid.y", {Special::kCtaidY, 32}},
      {"%ctaid.z", {Special::kCtaidZ, 32}},
      {"%nctaid.x", {Special::kNctaidX, 32}},
      {"%nctaid.y", {Special::kNctaidY, 32}},
      {"%nctaid.z", {Special::kNctaidZ, 32}},
      {"%laneid", {Special::kLaneid, 32}},
      {"%warpid", {Special::kWarpid, 32}},
      {"%nwarpid", {Special::kNwarpid, 32}},
      {"%smid", {Special::kSmid, 32}},
      {"%nsmid", {Special::kNsmid, 32}},
      {"%gridid", {Special::kGridid, 64}},
      {"%lanemask_eq", {Special::kLanemaskEq, 32}},
      {"%lanemask_le", {Special::kLanemaskLe, 32}},
      {"%lanemask_lt", {Special::kLanemaskLt, 32}},
      {"%lanemask_ge", {Special::kLanemaskGe, 32}},
      {"%lanemask_gt", {Special::kLanemaskGt, 32}},
      {"%dynamic_smem_size", {Special::kDynamicSmem, 32}},
      {"%total_smem_size", {Special::kTotalSmem, 32}},
      {"%aggr_smem_size", {Special::kAggrSmem, 32}},
      {"%reserved_smem_offset_begin", {Special::kReservedSmemBegin, 32}},
      {"%reserved_smem_offset_end", {Special::kReservedSmemEnd, 32}},
      {"%reserved_smem_offset_cap", {Special::kReservedSmemCap, 32}},
      {"%reserved_smem_offset_0", {Special::kReservedSmem0, 32}},
      {"%reserved_smem_offset_1", {Special::kReservedSmem1, 32}},
      {"%clusterid.x", {Special::kClusteridX, 32}},
      {"%clusterid.y", {Special::kClusteridY, 32}},
      {"%clusterid.z", {Special::kClusteridZ, 32}},
      {"%nclusterid.x", {Special::kNclusteridX, 32}},
      {"%nclusterid.y", {Special::kNclusteridY, 32}},
      {"%nclusterid.z", {Special::kNclusteridZ, 32}},
      {"%cluster_ctaid.x", {Special::kClusterCtaidX, 32}},
      {"%cluster_ctaid.y", {Special::kClusterCtaidY, 32}},
      {"%cluster_ctaid.z", {Special::kClusterCtaidZ, 32}},
      {"%cluster_nctaid.x", {Special::kClusterNctaidX, 32}},
      {"%cluster_nctaid.y", {Special::kClusterNctaidY, 32}},
      {"%cluster_nctaid.z", {Special::kClusterNctaidZ, 32}},
      {"%cluster_ctarank", {Special::kClusterCtarank, 32}},
      {"%cluster_nctarank", {Special::kClusterNctarank, 32}},
      {"%is_explicit_cluster", {Special::kIsExplicitCluster, 1}},
      {"%clock", {Special::kClock, 32}},
      {"%clock_hi", {Special::kClockHi, 32}},
      {"%clock64", {Special::kClock64, 64}},
      {"%globaltimer", {Special::kGlobaltimer, 64}},
      {"%globaltimer_lo", {Special::kGlobaltimerLo, 32}},
      {"%globaltimer_hi", {Special::kGlobaltimerHi, 32}},
  };
  auto const found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}

std::uint32_t Decoder::new_pool_entry(int bits) {
  auto const offset = static_cast<std::uint32_t>(module.pool.size());
  std::size_t const each = bits <= 32 ? 4 : static_cast<std::size_t>(bits) / 8;
  module.pool.resize(module.pool.size() + each * kLanes);
  return offset;
}

Value Decoder::constant(std::uint64_t number, int bits) {
  if (bits < 64) number &= (std::uint64_t{1} << bits) - 1;
  auto const [entry, is_new] = pool_numbers.try_emplace({bits, number}, 0);
  if (is_new) {
    entry->second = new_pool_entry(bits);
    for (int lane = 0; lane < kLanes; ++lane) {
      if (bits <= 32) {
        auto const narrow = static_cast<std::uint32_t>(number);
        std::memcpy(module.pool.data() + entry->second + 4 * lane, &narrow, 4);
      } else {
        std::memcpy(module.pool.data() + entry->second + static_cast<std::size_t>(bits / 8) * lane, &number,
                    8);
      }
    }
  }
  return {.kind = Value::Kind::kConstant,
          .negated = false,
          .bits = static_cast<std::uint8_t>(bits),
          .offset = entry->second,
          .index = 0};
}

Value Decoder::variable_address(std::uint32_t variable, std::int64_t addend, int bits) {
  auto const [entry, is_new] = pool_variables.try_emplace({bits, variable, addend}, 0);
  if (is_new) {
    entry->second = new_pool_entry(bits);
    module.pool_fixups.push_back({entry->second, static_cast<std::uint8_t>(bits), variable, addend});
  }
  return {.kind = Value::Kind::kConstant,
          .negated = false,
          .bits = static_cast<std::uint8_t>(bits),
          .offset = entry->second,
          .index = 0};
}

Value Decoder::new_register(std::string const& name, int bits, RegisterType type) {
  Value value{.kind = Value::Kind::kRegister,
              .negated = false,
              .bits = static_cast<std::uint8_t>(bits),
              .type = type,
              .offset = function->register_bytes,
              .index = function->register_count++};
  std::uint32_t const bytes = bits == 1    ? 64
                              : bits <= 32 ? 128
                                           : static_cast<std::uint32_t>(bits) / 8 * kLanes;
  function->register_bytes += bytes;
  function->register_names.resize(function->register_count);
  function->register_names[value.index] = name;
  value.number = value.index;
  return value;
}

Value Decoder::find_register(Scope* scope, std::string const& name) {
  std::size_t digits = name.size();
  while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') --digits;
  for (; scope != nullptr; scope = scope->parent) {
    if (auto const found = scope->registers.find(name); found != scope->registers.end()) return found->second;
    if (auto const plain = scope->declared.find(name); plain != scope->declared.end()) {
      return scope->registers[name] = new_register(name, plain->second.bits, plain->second.type);
    }
    // %r10 may be a member of %r<20>, or of %r1<5>: the prefix can end at any digit.
    for (std::size_t cut = digits; cut < name.size() && !scope->ranges.empty(); ++cut) {
      if (name[cut] == '0' && cut + 1 < name.size()) continue;
      auto const range = scope->ranges.find(name.substr(0, cut));
      if (range == scope->ranges.end() || name.size() - cut > 9) continue;
      if (std::stoull(name.substr(cut)) >= range->second.count) continue;
      return scope->registers[name] = new_register(name, range->second.type.bits, range->second.type.type);
    }
  }
  return {};
}

Symbol const* Decoder::find_symbol(Scope* scope, std::string const& name) {
  for (; scope != nullptr; scope = scope->parent) {
    if (auto const found = scope->symbols.find(name); found != scope->symbols.end()) return &found->second;
  }
  return nullptr;
}

Value Decoder::special(Special which, int bits, std::uint64_t addend) {
  auto const [entry, is_new] = special_values.try_emplace({which, bits, addend}, Value{});
  if (is_new) {
    entry->second = new_register("a special register", bits);
    function->specials.push_back({which, entry->second, addend});
  }
  return entry->second;
}

Value Decoder::frame() {
  if (!function->frame.exists()) function->frame = new_register("the frame", 64);
  return function->frame;
}

Value Decoder::frame_address(std::uint64_t offset, int bits) {
  auto const [entry, is_new] = frame_values.try_emplace({offset, bits}, Value{});
  if (is_new) {
    entry->second = new_register("an address in the frame", bits);
    function->frame_addresses.emplace_back(entry->second, offset);
  }
  return entry->second;
}

std::optional<std::uint32_t> Decoder::find_callable(std::string name) const {
  if (auto const alias = syntax.aliases.find(name); alias != syntax.aliases.end()) name = alias->second;
  auto const found = callable_numbers.find(name);
  if (found == callable_numbers.end()) return std::nullopt;
  return found->second;
}

std::uint64_t Decoder::pointer_to(std::uint32_t callable) {
  address_taken[callable] = true;
  return kFunctionWindow + 16 * (std::uint64_t{callable} + 1);
}

}  // namespace deepwell::emu::decoding

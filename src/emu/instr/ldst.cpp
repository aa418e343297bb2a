// Instruction family: ld, ldu, st with vectors, cache operators and memory orders (PTX ISA 9.7.9). Memory orders matter to the
// race checker alone: a CTA's accesses happen in program order, and global accesses are host atomics.
#include <algorithm>
#include <bit>
#include <functional>

#include "emu/instr/lanes.hpp"
#include "emu/mem/memory.hpp"
#include "emu/run/observe.hpp"

namespace deepwell::emu {
namespace {

/// aux[0]: Space, aux[1]: bytes of an element, aux[2]: elements, aux[3]: signed, aux[4]: MemoryOrder, aux[5] of ld: the bytes that
/// are used, 0: all, aux[6] of ld: 1 it gives no poison (an assignment to a bit field), 2 poison where all bytes are (a copy).
struct Shape {
  Space space;
  unsigned bytes;
  std::size_t count;
};
Shape shape_of(Instr const& i) { return {static_cast<Space>(i.aux[0]), i.aux[1], i.aux[2]}; }

/// Resolves the lanes of one instruction: the allocation (or the CTA's shared memory) that held one lane's address is tried
/// first for the next, everything else goes through resolve().
class LaneResolver {
 public:
  LaneResolver(Warp& warp, Instr const& instr, Space space, std::size_t bytes, Access access)
      : warp_(warp), instr_(instr), space_(space), bytes_(bytes), access_(access) {}

  Place operator()(int lane, u64 address) {
    u64 const offset = address - low_;
    if (offset < size_ && size_ - offset >= bytes_ && (address & (bytes_ - 1)) == 0) {
      return {data_ + offset, shadow_ == nullptr ? nullptr : shadow_ + offset, found_, owner_,
              address_ + offset};
    }
    return resolve_and_remember(lane, address);
  }

 private:
  Place resolve_and_remember(int lane, u64 address) {
    Place const place = resolve(warp_, instr_, lane, space_, address, bytes_, bytes_, access_);
    Cta& cta = *warp_.cta;
    if (place.space == Space::kGlobal) {
      Allocation const& held =
          warp_.launch->global->allocations[static_cast<std::size_t>(warp_.last_allocation)];
      if (held.heap == nullptr) remember(place, address - held.base, held.bytes, address);
    } else if (place.space == Space::kShared) {
      std::ptrdiff_t const offset = place.data - cta.shared.data();
      bool const own = std::less_equal<>{}(cta.shared.data(), place.data) &&
                       std::less<>{}(place.data, cta.shared.data() + cta.shared.size());
      if (own) remember(place, static_cast<u64>(offset), cta.shared.size(), address);
    }
    return place;
  }
  void remember(Place const& place, u64 offset, u64 size, u64 address) {
    data_ = place.data - offset;
    shadow_ = place.shadow == nullptr ? nullptr : place.shadow - offset;
    found_ = place.space;
    owner_ = place.owner;
    address_ = place.address - offset;
    low_ = address - offset;
    size_ = size;
  }

  Warp& warp_;
  Instr const& instr_;
  Space space_;
  std::size_t bytes_;
  Access access_;
  u64 low_ = 0, size_ = 0, address_ = 0;
  Cta const* owner_ = nullptr;
  std::byte* data_ = nullptr;
  std::uint8_t* shadow_ = nullptr;
  Space found_ = Space::kGeneric;
};

bool defined(Place const& place, unsigned bytes) {
  if (place.shadow == nullptr) return true;
  if (bytes == 4) {
    u32 flags;
    std::memcpy(&flags, place.shadow, 4);
    return flags == 0x01010101u;
  }
  return place.initialised(bytes);
}

/// Whether what element `k` of a load gives counts as never defined: some byte that matters was never written.
bool is_poison(Instr const& i, Place const& place, unsigned bytes, std::size_t k) {
  if ((i.aux[5] | i.aux[6]) == 0) return !defined(place, bytes);
  if (i.aux[6] == 1 || place.shadow == nullptr) return false;
  unsigned matter = 0, undefined = 0;
  for (unsigned b = 0; b < bytes; ++b) {
    bool const matters = i.aux[5] == 0 || (i.aux[5] >> (k * bytes + b) & 1) != 0;
    matter += matters;
    undefined += matters && place.shadow[b] == 0;
  }
  return i.aux[6] == 2 ? undefined == matter && matter != 0 : undefined != 0;
}

u64 sign_extended(u64 value, unsigned bytes) {
  unsigned const shift = 64 - 8 * bytes;
  return static_cast<u64>(static_cast<i64>(value << shift) >> shift);
}

void load_element(Warp& w, Place const& place, unsigned bytes, bool is_signed, Value const& to, int lane) {
  if (to.is_sink()) return;
  if (bytes == 16) {
    std::memcpy(&w.d128(to)[lane], place.data, 16);
  } else {
    u64 value = load_bits(place, bytes);
    if (is_signed) value = sign_extended(value, bytes);
    if (to.bits == 64) {
      w.d64(to)[lane] = value;
    } else if (to.bits == 128) {
      w.d128(to)[lane] = {value, is_signed && (value >> 63) != 0 ? ~u64{0} : 0};
    } else {
      u32 const width = to.bits;
      w.d32(to)[lane] = width == 32 ? static_cast<u32>(value) : static_cast<u32>(value) & ((1u << width) - 1);
    }
  }
}

Outcome load(Warp& w, Instr const& i, Mask mask) {
  Shape const shape = shape_of(i);
  bool const is_signed = i.aux[3] != 0;
  std::size_t const total = shape.bytes * shape.count;
  u64 address[kLanes];
  addresses_of(w, i, i.ops[1], mask, address);
  std::vector<Value> const& to = i.ops[0].elements;
  Mask poison[8] = {};
  LaneResolver place_of(w, i, shape.space, total, Access::kRead);
  Place places[kLanes];
  for_lanes(mask, [&](int lane) {
    Place place = places[lane] = place_of(lane, address[lane]);
    for (std::size_t k = 0; k < shape.count; ++k) {
      if (w.check && is_poison(i, place, shape.bytes, k)) poison[k] |= Mask{1} << lane;
      load_element(w, place, shape.bytes, is_signed, to[k], lane);
      place.data += shape.bytes;
      if (place.shadow != nullptr) place.shadow += shape.bytes;
    }
  });
  if (w.check) {
    for (std::size_t k = 0; k < shape.count; ++k) w.set_poison(to[k], mask, poison[k]);
  }
  if ((i.aux[4] & race::kStrong) != 0) ++w.cta->cluster->polls;
  observe(w, i,
          {.mask = mask,
           .places = places,
           .bytes = total,
           .kind = race::kRead,
           .order = MemoryOrder::from_bits(i.aux[4])});
  return Outcome::kNext;
}

Outcome store(Warp& w, Instr const& i, Mask mask) {
  Shape const shape = shape_of(i);
  std::size_t const total = shape.bytes * shape.count;
  u64 address[kLanes];
  addresses_of(w, i, i.ops[0], mask, address);
  std::vector<Value> const& from = i.ops[1].elements;
  bool changed = false;
  bool const compares = observed(w);
  Mask unchanged = 0;
  std::byte before[128];
  DW_CHECK(total <= sizeof before, kInternal, "a store of {} bytes", total);
  LaneResolver place_of(w, i, shape.space, total, Access::kWrite);
  Place places[kLanes];
  for_lanes(mask, [&](int lane) {
    Place place = places[lane] = place_of(lane, address[lane]);
    bool const had_values = compares && place.initialised(static_cast<unsigned>(total));
    if (had_values) std::memcpy(before, place.data, total);
    for (std::size_t k = 0; k < shape.count; ++k) {
      Value const& value = from[k];
      bool const poisoned = w.check && ((w.poison_of(value) >> lane) & 1) != 0;
      if (poisoned && place.space == Space::kGlobal) {
        w.report_poison(i, value, Mask{1} << lane, "the value that is stored to global memory");
      }
      if (shape.bytes == 16) {
        std::memcpy(place.data, &w.s128(value)[lane], 16);
        changed = true;
      } else {
        u64 const bits = value.bits == 128  ? w.s128(value)[lane].lo
                         : value.bits == 64 ? w.s64(value)[lane]
                                            : w.s32(value)[lane];
        store_bits(place, shape.bytes, bits);
        changed = true;
      }
      place.mark(shape.bytes, !poisoned);
      place.data += shape.bytes;
      if (place.shadow != nullptr) place.shadow += shape.bytes;
    }
    if (had_values && std::memcmp(before, places[lane].data, total) == 0) unchanged |= Mask{1} << lane;
  });
  if (changed) ++w.cta->cluster->progress;
  observe(w, i,
          {.mask = mask,
           .places = places,
           .bytes = total,
           .kind = race::kWrite,
           .order = MemoryOrder::from_bits(i.aux[4]),
           .values = &from,
           .unchanged = unchanged});
  return Outcome::kNext;
}

Space space_named(Instr const& i) {
  for (std::string const& part : i.info->parts) {
    if (part == ".global") return Space::kGlobal;
    if (part == ".shared" || part == ".shared::cta" || part == ".shared::cluster") return Space::kShared;
    if (part == ".local") return Space::kLocal;
    if (part == ".const") return Space::kConst;
    if (part == ".param" || part == ".param::entry" || part == ".param::func") return Space::kParam;
  }
  return Space::kGeneric;
}

void decode(Instr& i, Operand const& address, Operand const& data) {
  Space space = space_named(i);
  // Parameters of calls are declared in the body and live in local memory here.
  if (space == Space::kParam && address.symbol_space == Space::kLocal) space = Space::kLocal;
  check_address(i, address, space);
  std::string const& type = i.info->parts.back();
  static constexpr struct {
    std::string_view name;
    unsigned bytes;
  } kTypes[] = {{"8", 1}, {"16", 2}, {"32", 4}, {"64", 8}, {"128", 16}};
  unsigned bytes = 0;
  for (auto const& known : kTypes) {
    if (std::string_view(type).substr(2) == known.name) bytes = known.bytes;
  }
  std::size_t const count = data.elements.size();
  if (bytes * count > 32) throw unsupported(i, "an access is at most 32 bytes wide");
  i.aux[0] = static_cast<u32>(space);
  i.aux[1] = bytes;
  i.aux[2] = static_cast<u32>(count);
  i.aux[3] = type[1] == 's' ? 1 : 0;
  i.aux[4] = memory_order(i, false).bits();
}

/// What ptxas asks of orders, scopes and cache operators.
void check_modifiers(Instr const& i, bool is_load) {
  auto const space = static_cast<Space>(i.aux[0]);
  auto const any = [&](std::initializer_list<std::string_view> names) {
    return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return i.has(name); });
  };
  bool const scoped = any({".cta", ".cluster", ".gpu", ".sys"});
  bool const ordered = any({".relaxed", ".acquire", ".release"});
  bool const operated = any({".ca", ".cg", ".cs", ".lu", ".cv", ".wb", ".wt"});
  auto const any_of_cache = [&](std::string_view level) {
    return std::any_of(i.info->parts.begin(), i.info->parts.end(),
                       [&](std::string const& part) { return part.starts_with(level); });
  };
  if (i.has(is_load ? ".release" : ".acquire"))
    throw unsupported(
        i, is_load ? "a load acquires, it does not release" : "a store releases, it does not acquire");
  if (scoped != ordered)
    throw unsupported(i, "a scope goes with .relaxed, .acquire or .release, and these need one");
  if (i.has(".mmio") &&
      !(i.has(".relaxed") && i.has(".sys") && (space == Space::kGlobal || space == Space::kGeneric)))
    throw unsupported(i, ".mmio is .mmio.relaxed.sys, in global memory");
  if ((ordered || i.has(".volatile")) && (operated || i.has(".nc")))
    throw unsupported(i, "cache operators and .nc go with weak accesses");
  if (i.has(".mmio") && i.aux[2] > 1) throw unsupported(i, ".mmio accesses are no vectors");
  if ((ordered || i.has(".volatile")) && (i.has(".const") || i.has(".local") || i.has(".param") ||
                                          i.has(".param::entry") || i.has(".param::func")))
    throw unsupported(i, "orders are for global and shared memory");
  if (any({is_load ? ".wb" : ".ca", is_load ? ".wt" : ".lu"}) || (!is_load && i.has(".cv")))
    throw unsupported(i, "no such cache operator here");
  if (i.has(".nc") && (!is_load || space != Space::kGlobal))
    throw unsupported(i, ".nc is for loads of global memory");
  if (i.has(".nc") && any({".lu", ".cv", ".weak"}))
    throw unsupported(i, ".nc goes with .ca, .cg or .cs alone");
  bool const cached = space == Space::kGlobal || space == Space::kGeneric;
  if (!cached && (any_of_cache(".L1::") || any_of_cache(".L2::")))
    throw unsupported(i, "cache policies are for global memory");
  if (any_of_cache(".L1::") && (operated || i.has(".volatile")))
    throw unsupported(i, ".L1::... goes with no cache operator and not with .volatile");
  if (i.has(".L2::cache_hint") != (i.ops.size() == 3))
    throw unsupported(i, ".L2::cache_hint goes with a policy operand");
  if (!is_load && any({".L2::64B", ".L2::128B", ".L2::256B"}))
    throw unsupported(i, "a store fetches nothing ahead");
  if (any({".L2::evict_normal", ".L2::evict_first", ".L2::evict_last"}) && i.aux[1] * i.aux[2] != 32)
    throw unsupported(i, ".L2::evict_... goes with accesses of 32 bytes");
  if (i.info->parts[0] == "ldu" && (i.aux[1] * i.aux[2] > 16 || i.aux[2] == 8))
    throw unsupported(i, "ldu loads at most 4 elements and 16 bytes");
  if (!is_load && space == Space::kParam) throw unsupported(i, "a kernel's parameters are read-only");
  if (!is_load && space == Space::kConst) throw unsupported(i, "constant memory is read-only");
}

/// v8, and v4 of 64 bits, are 32-byte accesses: global memory alone, sm_100 on.
void check_width(Instr const& i, BindContext const& context) {
  if (i.aux[1] == 16 && i.aux[2] > 1) throw unsupported(i, "there are no vectors of 128-bit elements");
  if (i.aux[2] == 8 && i.aux[1] < 4) throw unsupported(i, "8 elements have 32 bits each");
  if (i.aux[1] * i.aux[2] <= 16) return;
  if (static_cast<Space>(i.aux[0]) != Space::kGlobal && static_cast<Space>(i.aux[0]) != Space::kGeneric)
    throw unsupported(i, "32-byte accesses are for global memory alone");
  if (!has(context.target, Needs::kSm100) || context.ptx_version < 88) {
    throw unsupported(i, "32-byte accesses need sm_100 or later and PTX 8.8");
  }
}

Exec bind_load(Instr& i, BindContext const& context) {
  decode(i, i.ops[1], i.ops[0]);
  check_width(i, context);
  check_modifiers(i, true);
  return &load;
}
Exec bind_store(Instr& i, BindContext const& context) {
  decode(i, i.ops[0], i.ops[1]);
  check_width(i, context);
  check_modifiers(i, false);
  return &store;
}

#define DW_SPACES \
  "[.const|.global|.local|.param|.param::entry|.param::func|.shared|.shared::cta|.shared::cluster]"
#define DW_CACHE                                                                              \
  "[.ca|.cg|.cs|.lu|.cv|.wb|.wt] [.nc] "                                                      \
  "[.L1::evict_normal|.L1::evict_unchanged|.L1::evict_first|.L1::evict_last|"                 \
  ".L1::no_allocate] [.L2::evict_normal|.L2::evict_first|.L2::evict_last] [.L2::cache_hint] " \
  "[.L2::64B|.L2::128B|.L2::256B] "
#define DW_TYPES "[.v2|.v4|.v8] (.b8|.u8|.s8|.b16|.u16|.s16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64|.b128)"
#define DW_ORDER "[.mmio] [.weak|.volatile|.relaxed|.acquire|.release] [.cta|.cluster|.gpu|.sys] "

constexpr Row kRows[] = {
    {.pattern = "ld " DW_ORDER DW_SPACES " " DW_CACHE DW_TYPES,
     .operands = "dvT, a, ?si64",
     .section = "9.7.9 ld",
     .bind = &bind_load},
    {.pattern = "ldu [.global] " DW_TYPES, .operands = "dvT, a", .section = "9.7.9 ldu", .bind = &bind_load},
    {.pattern = "st " DW_ORDER DW_SPACES " " DW_CACHE DW_TYPES,
     .operands = "a, svT, ?si64",
     .section = "9.7.9 st",
     .bind = &bind_store},
};

}  // namespace

std::span<Row const> ldst_rows() { return kRows; }

}  // namespace deepwell::emu

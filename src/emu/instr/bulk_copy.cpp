// Instruction family: cp.async.bulk and its reductions and prefetch. A load reads global memory and writes shared memory when it
// completes; a store reads shared memory at one time and writes global memory at another.
#include "emu/instr/bulk.hpp"

namespace deepwell::emu {
namespace {

std::vector<std::uint8_t> all_valid(std::size_t bytes) { return std::vector<std::uint8_t>(bytes, 1); }

// Operands: shared destination, global source (or shared::cta when aux[3]), size, mbarrier, CTA mask.
Outcome exec_bulk_load(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t to[kLanes], from[kLanes], barrier[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  addresses_of(warp, instr, instr.ops[3], mask, barrier);
  warp.require_defined(instr, instr.v(2), mask, "the size");
  Cta* const cta = warp.cta;
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::size_t const bytes = bulk_size(warp, instr.v(2), lane);
      std::uint32_t const at = shared_address(Space::kShared, to[lane], "the destination");
      check_aligned(at, 16, "the destination");
      check_aligned(from[lane], 16, "the source");
      auto const targets =
          destinations(warp, instr, lane, at, shared_address(Space::kShared, barrier[lane], "the mbarrier"));
      std::uint64_t const source = from[lane];
      bool const shared_source = instr.aux[3] != 0;
      if (!shared_source) in_global(source, "the source");
      // One operation for each target: each is known to be over by its own mbarrier.
      std::vector<ObservedOperation> observed;
      for (Destination const& target : targets) {
        ObservedOperation const& one = observed.emplace_back(warp, instr, Mask{1} << lane, true);
        if (shared_source) {
          one.shared(lane, *cta, shared_address(Space::kShared, source, "the source"), bytes, race::kRead);
        } else {
          one.global(lane, source, bytes, race::kRead);
        }
        one.shared(lane, *cta, target.address, bytes, race::kWrite);
        one.signals(lane, *cta, target.mbarrier);
      }
      post_copy(warp, instr, lane, "cp.async.bulk", [=] {
        CtaBulkMemory memory(*cta);
        std::vector<std::byte> data(bytes);
        std::vector<std::uint8_t> valid(bytes);
        if (shared_source) {
          memory.read_shared(shared_address(Space::kShared, source, "the source"), data, valid);
        } else {
          memory.read_global(source, data, valid);
        }
        for (std::size_t t = 0; t < targets.size(); ++t) {
          Destination const& target = targets[t];
          memory.write_shared(target.address, data, valid);
          observed[t].done_in_phase(*cta, target.mbarrier);
          mbarrier_change(*cta, target.mbarrier, [&](Mbarrier& object) { object.complete_tx(bytes); });
        }
      });
    });
  });
  return Outcome::kNext;
}

Exec bind_bulk_load(Instr& instr, BindContext const&) {
  bind_multicast(instr, 4);
  instr.aux[3] = !instr.has(".global");
  return exec_bulk_load;
}

// Operands: global destination, shared source, size, then a 16-bit byte mask with .cp_mask (aux[2] is its index).
Outcome exec_bulk_store(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t to[kLanes], from[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  warp.require_defined(instr, instr.v(2), mask, "the size");
  Cta* const cta = warp.cta;
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::size_t const bytes = bulk_size(warp, instr.v(2), lane);
      std::uint32_t const at = shared_address(Space::kShared, from[lane], "the source");
      std::uint64_t const target = in_global(to[lane], "the destination");
      check_aligned(at, 16, "the source");
      check_aligned(target, 16, "the destination");
      std::uint64_t const byte_mask =
          instr.aux[2] != 0 ? warp.lane_of(instr.v(static_cast<int>(instr.aux[2])), lane) : 0xffff;
      AsyncCopyPtr const copy = bulk_copy(warp, instr, lane);
      copy->observed.shared(lane, *cta, at, bytes, race::kRead);
      for (std::size_t i = 0; i < bytes; i += byte_mask == 0xffff ? bytes : 1) {
        if (byte_mask != 0xffff && (byte_mask >> (i % 16) & 1) == 0) continue;
        copy->observed.global(lane, target + i, byte_mask == 0xffff ? bytes : 1, write_kind(instr));
      }
      post_store(
          warp, instr, lane, copy,
          [=] {
            CtaBulkMemory memory(*cta);
            GlobalPiece whole{target, std::vector<std::byte>(bytes), all_valid(bytes),
                              "cp.async.bulk to global memory"};
            memory.read_shared(at, whole.data, whole.valid);
            std::vector<GlobalPiece> pieces;
            if (byte_mask == 0xffff) {
              pieces.push_back(std::move(whole));
              return pieces;
            }
            for (std::size_t i = 0; i < bytes; ++i) {
              if ((byte_mask >> (i % 16) & 1) == 0) continue;
              pieces.push_back({target + i, {whole.data[i]}, {whole.valid[i]}, whole.where});
            }
            return pieces;
          },
          applier(cta, instr, static_cast<TensorMapType>(instr.aux[5])));
    });
  });
  return Outcome::kNext;
}

Exec bind_bulk_store(Instr& instr, BindContext const&) {
  bool const cp_mask = instr.has(".cp_mask");
  std::size_t const hint = instr.has(".L2::cache_hint");
  if (instr.ops.size() != 3 + hint + std::size_t{cp_mask})
    throw unsupported(instr, "operands and modifiers do not fit together");
  instr.aux[2] = cp_mask ? static_cast<std::uint32_t>(3 + hint) : 0;
  return exec_bulk_store;
}

TensorMapType element_type(Instr const& instr) {
  std::string const& type = instr.info->parts.back();
  if (type == ".u32" || type == ".b32") return TensorMapType::kU32;
  if (type == ".s32") return TensorMapType::kS32;
  if (type == ".u64" || type == ".b64") return TensorMapType::kU64;
  if (type == ".s64") return TensorMapType::kS64;
  if (type == ".f16") return TensorMapType::kF16;
  if (type == ".bf16") return TensorMapType::kBf16;
  if (type == ".f32") return TensorMapType::kF32;
  return TensorMapType::kF64;
}

void bind_element(Instr& instr) {
  bind_reduction(instr);
  TensorMapType const type = element_type(instr);
  instr.aux[5] = static_cast<std::uint32_t>(type);
  check_reduce(static_cast<ReduceOp>(instr.aux[4] - 1), type);
}

Exec bind_bulk_reduce(Instr& instr, BindContext const&) {
  bind_cache_hint(instr, 3);
  bind_element(instr);
  return exec_bulk_store;
}

// cp.reduce.async.bulk into the shared memory of a CTA of the cluster. Operands: destination, source, size, mbarrier.
Outcome exec_bulk_reduce_shared(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t to[kLanes], from[kLanes], barrier[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  addresses_of(warp, instr, instr.ops[3], mask, barrier);
  warp.require_defined(instr, instr.v(2), mask, "the size");
  Cta* const cta = warp.cta;
  auto const op = static_cast<ReduceOp>(instr.aux[4] - 1);
  auto const type = static_cast<TensorMapType>(instr.aux[5]);
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::size_t const bytes = bulk_size(warp, instr.v(2), lane);
      std::uint32_t const at = shared_address(Space::kShared, to[lane], "the destination");
      std::uint32_t const source = shared_address(Space::kShared, from[lane], "the source");
      check_aligned(at, 16, "the destination");
      check_aligned(source, 16, "the source");
      auto const target = destinations(warp, instr, lane, at,
                                       shared_address(Space::kShared, barrier[lane], "the mbarrier"))[0];
      ObservedOperation const observed(warp, instr, Mask{1} << lane, true);
      observed.shared(lane, *cta, source, bytes, race::kRead);
      observed.shared(lane, *cta, target.address, bytes,
                      race::kRead | race::kWrite | race::kStrong | race::scope_bits(race::Scope::kCluster));
      observed.signals(lane, *cta, target.mbarrier);
      post_copy(warp, instr, lane, "cp.reduce.async.bulk", [=] {
        CtaBulkMemory memory(*cta);
        std::vector<std::byte> data(bytes), with(bytes);
        std::vector<std::uint8_t> valid(bytes), with_valid(bytes);
        memory.read_shared(target.address, data, valid);
        memory.read_shared(source, with, with_valid);
        reduce_elements(op, type, data, with);
        for (std::size_t i = 0; i < bytes; ++i) valid[i] = valid[i] && with_valid[i];
        memory.write_shared(target.address, data, valid);
        observed.done_in_phase(*cta, target.mbarrier);
        mbarrier_change(*cta, target.mbarrier, [&](Mbarrier& object) { object.complete_tx(bytes); });
      });
    });
  });
  return Outcome::kNext;
}

Exec bind_bulk_reduce_shared(Instr& instr, BindContext const&) {
  bind_element(instr);
  return exec_bulk_reduce_shared;
}

// Operands: global address, size.
Outcome exec_bulk_prefetch(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t from[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, from);
  warp.require_defined(instr, instr.v(1), mask, "the size");
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::uint64_t const bytes = warp.lane_of(instr.v(1), lane);
      DW_REQUIRE(bytes % 16 == 0, kCopy, "the size of a bulk prefetch is {}; a multiple of 16 is needed",
                 bytes);
      check_aligned(in_global(from[lane], "the source"), 16, "the source");
    });
  });
  return Outcome::kNext;
}

Exec bind_bulk_prefetch(Instr& instr, BindContext const&) {
  bind_cache_hint(instr, 2);
  return exec_bulk_prefetch;
}

constexpr std::string_view kBulk = "9.7.9.25.4.1 cp.async.bulk",
                           kBulkReduce = "9.7.9.25.4.2 cp.reduce.async.bulk",
                           kBulkPrefetch = "9.7.9.25.4.3 cp.async.bulk.prefetch";

// clang-format off
constexpr Row kRows[] = {
    {.pattern = "cp .async .bulk .shared::cluster .global .mbarrier::complete_tx::bytes [.multicast::cluster] [.L2::cache_hint]", .operands = "a, a, si32, a, ?xi, xi", .ptx = 80, .needs = Needs::kSm90, .section = kBulk, .bind = bind_bulk_load},
    {.pattern = "cp .async .bulk .shared::cta .global .mbarrier::complete_tx::bytes [.L2::cache_hint]", .operands = "a, a, si32, a, ?xi", .ptx = 86, .needs = Needs::kSm90, .section = kBulk, .bind = bind_bulk_load},
    {.pattern = "cp .async .bulk .shared::cluster .shared::cta .mbarrier::complete_tx::bytes", .operands = "a, a, si32, a", .ptx = 80, .needs = Needs::kSm90, .section = kBulk, .bind = bind_bulk_load},
    {.pattern = "cp .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint]", .operands = "a, a, si32, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kBulk, .bind = bind_bulk_store},
    {.pattern = "cp .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint] .cp_mask", .operands = "a, a, si32, ?xi, xi", .ptx = 86, .needs = Needs::kSm100, .section = kBulk, .bind = bind_bulk_store},
    {.pattern = "cp .reduce .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint] (.and|.or|.xor) (.b32|.b64)", .operands = "a, a, si32, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce},
    {.pattern = "cp .reduce .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint] .add (.u32|.s32|.u64|.f32|.f64)", .operands = "a, a, si32, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce},
    {.pattern = "cp .reduce .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint] .add .noftz (.f16|.bf16)", .operands = "a, a, si32, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce},
    {.pattern = "cp .reduce .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint] (.inc|.dec) .u32", .operands = "a, a, si32, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce},
    {.pattern = "cp .reduce .async .bulk .global .shared::cta .bulk_group [.L2::cache_hint] (.min|.max) (.u32|.s32|.u64|.s64|.f16|.bf16)", .operands = "a, a, si32, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce},
    {.pattern = "cp .reduce .async .bulk .shared::cluster .shared::cta .mbarrier::complete_tx::bytes (.and|.or|.xor) .b32", .operands = "a, a, si32, a", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce_shared},
    {.pattern = "cp .reduce .async .bulk .shared::cluster .shared::cta .mbarrier::complete_tx::bytes .add (.u32|.s32|.u64)", .operands = "a, a, si32, a", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce_shared},
    {.pattern = "cp .reduce .async .bulk .shared::cluster .shared::cta .mbarrier::complete_tx::bytes (.inc|.dec) .u32", .operands = "a, a, si32, a", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce_shared},
    {.pattern = "cp .reduce .async .bulk .shared::cluster .shared::cta .mbarrier::complete_tx::bytes (.min|.max) (.u32|.s32)", .operands = "a, a, si32, a", .ptx = 80, .needs = Needs::kSm90, .section = kBulkReduce, .bind = bind_bulk_reduce_shared},
    {.pattern = "cp .async .bulk .prefetch .L2 .global [.L2::cache_hint]", .operands = "a, si32, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kBulkPrefetch, .bind = bind_bulk_prefetch},
};
// clang-format on

}  // namespace

std::span<Row const> bulk_copy_rows() { return kRows; }

}  // namespace deepwell::emu

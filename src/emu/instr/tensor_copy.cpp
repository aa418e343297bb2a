// Instruction family: cp.async.bulk.tensor, its reductions and prefetch: boxes of tensor maps.
#include <algorithm>
#include <utility>
#include <vector>

#include "emu/instr/bulk.hpp"

namespace deepwell::emu {
namespace {

struct TensorOperand {
  TensorMapSpec map;
  std::vector<std::int32_t> coordinates;
  Place place;
};

/// The tensor map and coordinates that `[map, {c0, ...}]` names. Reports through fail() by itself.
TensorOperand tensor_operand(Warp& warp, Instr const& instr, Operand const& operand, std::uint64_t address,
                             int lane) {
  Place const place = resolve(warp, instr, lane, Space::kGeneric, address, 128, 64, Access::kRead);
  TensorOperand out;
  out.place = place;
  if (warp.check && !place.initialised(128)) {
    fail(warp, instr, lane,
         fmt::format("the tensor map at {} was never written completely",
                     describe_address(*warp.cta, Space::kGeneric, address)),
         Finding::kTensorMap);
  }
  out.map = reported(warp, instr, lane, [&] { return unpack_tensor_map(std::span(place.data, 128)); });
  for (Value const& element : operand.elements) {
    out.coordinates.push_back(
        static_cast<std::int32_t>(static_cast<std::uint32_t>(warp.lane_of(element, lane))));
  }
  return out;
}

void require_coordinates(Warp& warp, Instr const& instr, Operand const& operand, Mask mask) {
  for (Value const& element : operand.elements) warp.require_defined(instr, element, mask, "a coordinate");
}

void bind_dimensions(Instr& instr, std::size_t operand) {
  std::size_t const dimensions = static_cast<std::size_t>(instr.choice[0]) + 1;
  if (instr.ops[operand].elements.size() != dimensions) {
    throw unsupported(instr, fmt::format("{} coordinates are needed, got {}", dimensions,
                                         instr.ops[operand].elements.size()));
  }
}

// Operands: shared destination, [map, coordinates], mbarrier, CTA mask.
Outcome exec_tensor_load(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t to[kLanes], map[kLanes], barrier[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, map);
  addresses_of(warp, instr, instr.ops[2], mask, barrier);
  require_coordinates(warp, instr, instr.ops[1], mask);
  Cta* const cta = warp.cta;
  for_lanes(mask, [&](int lane) {
    TensorOperand const from = tensor_operand(warp, instr, instr.ops[1], map[lane], lane);
    reported(warp, instr, lane, [&] {
      std::uint32_t const at = shared_address(Space::kShared, to[lane], "the destination");
      auto const targets =
          destinations(warp, instr, lane, at, shared_address(Space::kShared, barrier[lane], "the mbarrier"));
      for (Destination const& target : targets) {
        Tile const tile = instr.aux[3] != 0 ? Tile::gather4(from.map, from.coordinates, target.address)
                                            : Tile(from.map, from.coordinates, target.address);
        ObservedOperation const observed(warp, instr, Mask{1} << lane, true);
        if (observed.watched()) {
          observed.tensor_map(lane, from.place);
          ObservingMemory effects(observed, lane, *cta);
          tile.load(effects);
          observed.signals(lane, *cta, target.mbarrier);
        }
        post_copy(warp, instr, lane, "cp.async.bulk.tensor load", [cta, tile, target, observed] {
          CtaBulkMemory memory(*cta);
          tile.load(memory);
          observed.done_in_phase(*cta, target.mbarrier);
          mbarrier_change(*cta, target.mbarrier,
                          [&](Mbarrier& object) { object.complete_tx(tile.transaction_bytes()); });
        });
      }
    });
  });
  return Outcome::kNext;
}

Exec bind_gather4(Instr& instr, BindContext const&) {
  if (instr.ops[1].elements.size() != 5) throw unsupported(instr, "tile::gather4 needs 5 coordinates");
  bind_multicast(instr, 3);
  instr.aux[3] = 1;
  return exec_tensor_load;
}

Exec bind_tensor_load(Instr& instr, BindContext const&) {
  bind_dimensions(instr, 1);
  bind_multicast(instr, 3);
  return exec_tensor_load;
}

// Operands: [map, coordinates], shared source.
Outcome exec_tensor_store(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t map[kLanes], from[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, map);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  require_coordinates(warp, instr, instr.ops[0], mask);
  Cta* const cta = warp.cta;
  std::vector<std::pair<int, TensorOperand>> stores;
  // Whether an earlier lane stores the same tile to the same place: a whole warp may execute one store.
  auto const again = [&](int lane, TensorOperand const& to) {
    return instr.aux[4] == 0 && std::any_of(stores.begin(), stores.end(), [&](auto const& other) {
             return map[other.first] == map[lane] && from[other.first] == from[lane] &&
                    other.second.coordinates == to.coordinates;
           });
  };
  for_lanes(mask, [&](int lane) {
    TensorOperand const to = tensor_operand(warp, instr, instr.ops[0], map[lane], lane);
    reported(warp, instr, lane, [&] {
      Tile const tile(to.map, to.coordinates, shared_address(Space::kShared, from[lane], "the source"));
      auto const type = static_cast<TensorMapType>(to.map.data_type);
      if (instr.aux[4] != 0) check_reduce(static_cast<ReduceOp>(instr.aux[4] - 1), type);
      AsyncCopyPtr const copy = bulk_copy(warp, instr, lane);
      if (copy->observed.watched()) {
        copy->observed.tensor_map(lane, to.place);
        ObservingMemory effects(copy->observed, lane, *cta);
        std::vector<GlobalPiece> const pieces = tile.gather(effects);
        if (!again(lane, to)) {
          for (GlobalPiece const& piece : pieces)
            copy->observed.global(lane, piece.address, piece.data.size(), write_kind(instr));
        }
        stores.emplace_back(lane, to);
      }
      post_store(
          warp, instr, lane, copy,
          [cta, tile] {
            CtaBulkMemory memory(*cta);
            return tile.gather(memory);
          },
          applier(cta, instr, type));
    });
  });
  return Outcome::kNext;
}

Exec bind_tensor_store(Instr& instr, BindContext const&) {
  bind_dimensions(instr, 0);
  bind_cache_hint(instr, 2);
  return exec_tensor_store;
}

Exec bind_tensor_reduce(Instr& instr, BindContext const&) {
  bind_dimensions(instr, 0);
  bind_cache_hint(instr, 2);
  bind_reduction(instr);
  return exec_tensor_store;
}

// A prefetch moves nothing that a program can see; the map must be one, the buffer need not exist.
Outcome exec_tensor_prefetch(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t map[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, map);
  require_coordinates(warp, instr, instr.ops[0], mask);
  for_lanes(mask, [&](int lane) {
    TensorOperand const from = tensor_operand(warp, instr, instr.ops[0], map[lane], lane);
    reported(warp, instr, lane, [&] { Tile(from.map, from.coordinates, 0); });
  });
  return Outcome::kNext;
}

Exec bind_tensor_prefetch(Instr& instr, BindContext const&) {
  bind_dimensions(instr, 0);
  bind_cache_hint(instr, 1);
  return exec_tensor_prefetch;
}

// Tensor maps of the machine are tiled ones.
Exec bind_im2col(Instr& instr, BindContext const&) {
  throw unsupported(instr, "im2col tensor maps are not modelled; tiled ones are");
}

constexpr std::string_view kTensor = "9.7.9.25.5.2 cp.async.bulk.tensor",
                           kTensorReduce = "9.7.9.25.5.3 cp.reduce.async.bulk.tensor",
                           kTensorPrefetch = "9.7.9.25.5.4 cp.async.bulk.prefetch.tensor";

// clang-format off
constexpr Row kRows[] = {
    {.pattern = "cp .async .bulk .tensor (.1d|.2d|.3d|.4d|.5d) .shared::cluster .global [.tile] .mbarrier::complete_tx::bytes [.multicast::cluster] [.L2::cache_hint]", .operands = "a, ac, a, ?xi, xi", .ptx = 80, .needs = Needs::kSm90, .section = kTensor, .bind = bind_tensor_load},
    {.pattern = "cp .async .bulk .tensor (.1d|.2d|.3d|.4d|.5d) .shared::cta .global [.tile] .mbarrier::complete_tx::bytes [.L2::cache_hint]", .operands = "a, ac, a, ?xi", .ptx = 86, .needs = Needs::kSm90, .section = kTensor, .bind = bind_tensor_load},
    {.pattern = "cp .async .bulk .tensor .2d .shared::cta .global .tile::gather4 .mbarrier::complete_tx::bytes [.L2::cache_hint]", .operands = "a, ac, a, ?xi", .ptx = 86, .needs = Needs::kSm100, .section = kTensor, .bind = bind_gather4},
    {.pattern = "cp .async .bulk .tensor (.1d|.2d|.3d|.4d|.5d) .global .shared::cta [.tile] .bulk_group [.L2::cache_hint]", .operands = "ac, a, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kTensor, .bind = bind_tensor_store},
    {.pattern = "cp .reduce .async .bulk .tensor (.1d|.2d|.3d|.4d|.5d) .global .shared::cta (.add|.min|.max|.inc|.dec|.and|.or|.xor) [.tile] .bulk_group [.L2::cache_hint]", .operands = "ac, a, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kTensorReduce, .bind = bind_tensor_reduce},
    {.pattern = "cp .async .bulk .prefetch .tensor (.1d|.2d|.3d|.4d|.5d) .L2 .global [.tile] [.L2::cache_hint]", .operands = "ac, ?xi", .ptx = 80, .needs = Needs::kSm90, .section = kTensorPrefetch, .bind = bind_tensor_prefetch},
    {.pattern = "cp .async .bulk .tensor (.3d|.4d|.5d) (.shared::cluster|.shared::cta) .global (.im2col|.im2col::w|.im2col::w::128) .mbarrier::complete_tx::bytes [.multicast::cluster] [.L2::cache_hint]", .operands = "a, ac, a, x, ?x, x", .ptx = 80, .needs = Needs::kSm90, .section = kTensor, .bind = bind_im2col, .note = "refused by name"},
    {.pattern = "cp .async .bulk .tensor (.3d|.4d|.5d) .global .shared::cta .im2col_no_offs .bulk_group [.L2::cache_hint]", .operands = "ac, a, ?x", .ptx = 80, .needs = Needs::kSm90, .section = kTensor, .bind = bind_im2col, .note = "refused by name"},
    {.pattern = "cp .reduce .async .bulk .tensor (.3d|.4d|.5d) .global .shared::cta (.add|.min|.max|.inc|.dec|.and|.or|.xor) .im2col_no_offs .bulk_group [.L2::cache_hint]", .operands = "ac, a, ?x", .ptx = 80, .needs = Needs::kSm90, .section = kTensorReduce, .bind = bind_im2col, .note = "refused by name"},
    {.pattern = "cp .async .bulk .prefetch .tensor (.3d|.4d|.5d) .L2 .global (.im2col|.im2col::w|.im2col::w::128) [.L2::cache_hint]", .operands = "ac, x, ?x", .ptx = 80, .needs = Needs::kSm90, .section = kTensorPrefetch, .bind = bind_im2col, .note = "refused by name"},
};
// clang-format on

}  // namespace

std::span<Row const> tensor_copy_rows() { return kRows; }

}  // namespace deepwell::emu

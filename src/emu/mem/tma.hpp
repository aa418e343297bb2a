// Tile copies of the TMA unit: which bytes of global and shared memory one box touches, and the loops that move them.
// The memories are behind an interface, so that this needs no machine.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "emu/mem/tensor_map.hpp"

namespace deepwell::emu {

/// What a bulk copy touches. `valid[i]` is 0 for a byte that was never written. Every function checks its range and throws a
/// Fault.
class BulkMemory {
 public:
  virtual ~BulkMemory() = default;
  virtual void read_global(std::uint64_t address, std::span<std::byte> data,
                           std::span<std::uint8_t> valid) = 0;
  virtual void write_global(std::uint64_t address, std::span<std::byte const> data,
                            std::span<std::uint8_t const> valid) = 0;
  /// Atomic read-modify-write of one element.
  virtual void update_global(std::uint64_t address, std::size_t bytes,
                             std::function<void(std::span<std::byte>)> const& update) = 0;
  virtual void read_shared(std::uint32_t address, std::span<std::byte> data,
                           std::span<std::uint8_t> valid) = 0;
  virtual void write_shared(std::uint32_t address, std::span<std::byte const> data,
                            std::span<std::uint8_t const> valid) = 0;
};

enum class ReduceOp { kAdd, kMin, kMax, kInc, kDec, kAnd, kOr, kXor };
char const* name_of(ReduceOp op);

/// Combines `count` elements: into[i] = op(into[i], with[i]). Throws Error when the operation has no meaning for the type.
void reduce_elements(ReduceOp op, TensorMapType type, std::span<std::byte> into,
                     std::span<std::byte const> with);
/// Throws Error (kUnsupported) when cp.reduce.async.bulk.tensor has no such operation on the type.
void check_reduce(ReduceOp op, TensorMapType type);

/// A contiguous piece of global memory that a store or reduction touches, and the bytes for it.
struct GlobalPiece {
  std::uint64_t address = 0;
  std::vector<std::byte> data;
  std::vector<std::uint8_t> valid;
  std::string where;  // begins the message of errors
};
void store_pieces(BulkMemory& memory, std::span<GlobalPiece const> pieces);
/// Atomic per element. Poison in the pieces is an error.
void reduce_pieces(BulkMemory& memory, std::span<GlobalPiece const> pieces, ReduceOp op, TensorMapType type);

/// One box of one tensor map at given coordinates (innermost first; may be negative or past the end).
class Tile {
 public:
  /// Checks the map's rules, the coordinates' rules and the alignment of the shared address (128 bytes).
  Tile(TensorMapSpec const& map, std::span<std::int32_t const> coordinates, std::uint32_t shared_address);

  /// tile::gather4: one row of box[0] elements from each of four places of a 2-d map, at {column, row 0, ..., row 3}.
  static Tile gather4(TensorMapSpec const& map, std::span<std::int32_t const> coordinates,
                      std::uint32_t shared_address);

  /// Bytes that complete_tx counts: the whole box, packed, also where it lies outside the tensor.
  std::uint32_t transaction_bytes() const { return transaction_bytes_; }
  /// Bytes of shared memory from the shared address on: with a swizzle each row takes a whole swizzle span.
  std::uint32_t shared_bytes() const { return shared_bytes_; }

  /// Global to shared; elements outside the tensor are filled with zeros or NaN.
  void load(BulkMemory& memory) const;
  /// Reads shared memory: what a store or reduction brings to global memory. Clipped as on SM 9.0 hardware: rows outside the
  /// tensor are dropped, but the inner dimension is rounded up to whole 16 bytes. Negative coordinates are an error.
  std::vector<GlobalPiece> gather(BulkMemory& memory) const;
  /// Map and coordinates in words, for reports.
  std::string describe() const;

 private:
  struct Row {
    std::uint64_t global = 0;  // address of the first element inside the tensor
    std::uint32_t shared = 0;  // before the swizzle
    std::uint32_t skip = 0;    // bytes of the row before the first element inside, packed
    std::uint32_t inside = 0;  // bytes inside the tensor, packed; 0 when the whole row is outside
  };
  void set_sizes();
  template <class Body>
  void for_each_row(std::int64_t inner_limit_bytes, Body const& body) const;
  std::int64_t inner_bytes() const;  // of the tensor's first dimension
  void write_row(BulkMemory& memory, Row const& row, std::span<std::byte const> data,
                 std::span<std::uint8_t const> valid) const;
  void read_row(BulkMemory& memory, Row const& row, std::span<std::byte> data,
                std::span<std::uint8_t> valid) const;
  void fill(std::span<std::byte> row) const;

  TensorMapSpec map_;
  TensorMapType type_;
  TensorMapSwizzle swizzle_;
  std::array<std::int64_t, 5> coordinates_{};
  std::array<std::int64_t, 4> rows_{};  // of gather4
  bool gathers_ = false;
  std::array<std::uint32_t, 5> steps_{};  // elements that are traversed along each dimension
  std::uint32_t shared_address_;
  std::uint32_t row_bytes_ = 0;         // packed
  std::uint32_t shared_row_bytes_ = 0;  // as laid out in shared memory
  std::uint32_t pitch_ = 0;             // from row to row in shared memory
  std::uint32_t transaction_bytes_ = 0, shared_bytes_ = 0;
};

}  // namespace deepwell::emu

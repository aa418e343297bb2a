// Kinds of instructions: the family (file) whose rows hold the instruction's row decides; ld, st and atomics also by space.
#include "emu/instr/kind.hpp"

#include <functional>

namespace deepwell::emu {
namespace {

bool holds(std::span<Row const> rows, Row const* row) {
  return std::less_equal<>{}(rows.data(), row) && std::less<>{}(row, rows.data() + rows.size());
}

/// ld, st, atom and red keep their space in aux[0].
InstructionKind kind_of_space(Instr const& instr) {
  switch (static_cast<Space>(instr.aux[0])) {
    case Space::kGlobal: return InstructionKind::kGlobal;
    case Space::kShared: return InstructionKind::kShared;
    case Space::kLocal: return InstructionKind::kLocal;
    case Space::kParam:
    case Space::kConst: return InstructionKind::kConstant;
    case Space::kGeneric: break;
  }
  return InstructionKind::kGeneric;
}

}  // namespace

InstructionKind kind_of(Instr const& instr) {
  using Kind = InstructionKind;
  static constexpr struct {
    std::span<Row const> (*rows)();
    Kind kind;
  } kFamilies[] = {{alu_integer_rows, Kind::kInteger},
                   {alu_bits_rows, Kind::kInteger},
                   {alu_video_rows, Kind::kInteger},
                   {alu_float_rows, Kind::kFloat},
                   {alu_half_rows, Kind::kFloat},
                   {alu_compare_rows, Kind::kCompare},
                   {alu_convert_rows, Kind::kConvert},
                   {convert_rows, Kind::kConvert},
                   {move_rows, Kind::kMove},
                   {control_rows, Kind::kControl},
                   {call_rows, Kind::kControl},
                   {barrier_rows, Kind::kBarrier},
                   {warp_rows, Kind::kWarp},
                   {mma_rows, Kind::kMma},
                   {mma_other_rows, Kind::kMma},
                   {mma_sparse_rows, Kind::kMma},
                   {async_copy_rows, Kind::kAsyncCopy},
                   {bulk_copy_rows, Kind::kAsyncCopy},
                   {tensor_copy_rows, Kind::kAsyncCopy},
                   {mbarrier_rows, Kind::kMbarrier},
                   {fence_rows, Kind::kFence},
                   {tensor_map_op_rows, Kind::kTensorMap},
                   {cluster_rows, Kind::kCluster},
                   {grid_dependency_rows, Kind::kGrid}};
  for (auto const& family : kFamilies) {
    if (holds(family.rows(), instr.row)) return family.kind;
  }
  if (holds(ldst_rows(), instr.row) || holds(atomic_rows(), instr.row)) return kind_of_space(instr);
  if (holds(wmma_rows(), instr.row)) return instr.is_mma ? Kind::kMma : kind_of_space(instr);
  if (holds(matrix_rows(), instr.row))
    return instr.ops[0].kind == Operand::Kind::kAddress || instr.ops[1].kind == Operand::Kind::kAddress
               ? Kind::kShared
               : Kind::kWarp;  // movmatrix
  throw Error(ErrorCode::kInternal, fmt::format("`{}` is of no kind", instr.info->opcode));
}

CopyKind copy_kind_of(Instr const& instr) {
  if (holds(tensor_copy_rows(), instr.row)) return CopyKind::kTensor;
  if (!holds(async_copy_rows(), instr.row) && !holds(bulk_copy_rows(), instr.row)) return CopyKind::kNone;
  return instr.has(".bulk") ? CopyKind::kBulk : CopyKind::kPlain;
}

}  // namespace deepwell::emu

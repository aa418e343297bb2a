// From checkpoint tensors to cases.
#include "check/model.hpp"

#include <cstring>
#include <set>

#include "base/error.hpp"
#include "checkpoint/deepseek_v4.hpp"

namespace deepwell::check {
namespace {

using ref::ScaleFormat;

bool ends_with(std::string_view text, std::string_view tail) {
  return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
}

/// How a weight is split over ranks.
enum class Split { kNone, kRows, kK };
Split split_of(std::string_view layer) {
  if (ends_with(layer, ".wq_b") || ends_with(layer, ".wo_a")) return Split::kRows;
  if (ends_with(layer, ".wo_b")) return Split::kK;
  return Split::kNone;
}

struct Weight {
  StoredTensor const* weight;
  StoredTensor const* scale;
  Dtype dtype;
  std::int64_t rows, k;
  int gran_mn, gran_k;
};

Case case_of(Weight const& weight, std::string const& layer, std::int64_t m, std::int64_t rows,
             std::int64_t k, std::int64_t groups, std::string const& part) {
  Case c;
  c.data = DataKind::kRandom;
  c.m = m, c.k = k;
  c.label = layer + part;
  c.a = {.dtype = Dtype::kE4m3, .scale = ScaleFormat::kPacked, .gran_mn = 1, .gran_k = 128};
  c.b = {.dtype = weight.dtype,
         .scale = ScaleFormat::kUe8m0,
         .gran_mn = weight.gran_mn,
         .gran_k = weight.gran_k};
  c.b.layout = ScaleLayout::kRows;
  if (groups == 0) {
    c.n = rows;
  } else {
    c.op = Op::kEinsum;
    c.batch = groups, c.n = rows / groups;
    c.flat_weights = true;
    c.token_major = false;
  }
  return c;
}

void add_cases(ModelCases& out, Weight const& weight, std::string const& layer, int tp, std::int64_t m) {
  bool const einsum = ends_with(layer, ".wo_a");
  Split const split = tp > 1 ? split_of(layer) : Split::kNone;
  std::int64_t const rows = split == Split::kRows ? weight.rows / tp : weight.rows;
  std::int64_t const k = split == Split::kK ? weight.k / tp : weight.k;
  std::int64_t const groups = einsum ? kV4OutputGroups / (split == Split::kRows ? tp : 1) : 0;
  bool const whole_blocks =
      (split != Split::kRows || (weight.rows % tp == 0 && rows % weight.gran_mn == 0)) &&
      (split != Split::kK || (weight.k % tp == 0 && k % weight.gran_k == 0));
  if (!whole_blocks) {
    out.skipped.push_back(
        {weight.weight->name, fmt::format("[{}, {}] does not split into {} parts of whole scale blocks",
                                          weight.rows, weight.k, tp)});
    return;
  }
  if (einsum && (rows % groups != 0 || rows / groups % weight.gran_mn != 0)) {
    out.skipped.push_back(
        {weight.weight->name, fmt::format("{} rows are not {} groups of whole scale blocks", rows, groups)});
    return;
  }
  std::set<int> const ranks = split == Split::kNone ? std::set<int>{0} : std::set<int>{0, tp - 1};
  for (int rank : ranks) {
    ModelCase c;
    c.weight = weight.weight, c.scale = weight.scale;
    std::string const part = split == Split::kNone ? "" : fmt::format(" rank {}/{}", rank, tp);
    c.what = case_of(weight, layer, m, rows, k, groups, part);
    c.first_row = split == Split::kRows ? rank * rows : 0;
    c.first_k = split == Split::kK ? rank * k : 0;
    out.cases.push_back(c);
  }
}

}  // namespace

ModelCase::Weights ModelCase::load() const {
  Weights out;
  std::int64_t const rows = what.n * what.batch, bits = bits_of(what.b.dtype);
  std::int64_t const pitch = weight->shape[1], row_bytes = what.k * bits / 8;
  out.codes.resize(static_cast<std::size_t>(rows * row_bytes));
  for (std::int64_t row = 0; row < rows; ++row) {
    std::memcpy(out.codes.data() + row * row_bytes,
                weight->bytes.data() + (first_row + row) * pitch + first_k * bits / 8,
                static_cast<std::size_t>(row_bytes));
  }
  std::int64_t const scale_rows = ceil_div(rows, what.b.gran_mn),
                     scale_cols = ceil_div(what.k, what.b.gran_k);
  out.scales.resize(static_cast<std::size_t>(scale_rows * scale_cols));
  for (std::int64_t row = 0; row < scale_rows; ++row) {
    std::memcpy(
        out.scales.data() + row * scale_cols,
        scale->bytes.data() + (first_row / what.b.gran_mn + row) * scale->shape[1] + first_k / what.b.gran_k,
        static_cast<std::size_t>(scale_cols));
  }
  return out;
}

ModelCases find_model_cases(SafetensorsFile const& file, int tp, std::int64_t m) {
  if (tp != 1 && tp != 2 && tp != 4 && tp != 8)
    throw bad_argument("tp", fmt::format("{}", tp), "1, 2, 4 or 8");
  ModelCases out;
  for (StoredTensor const& tensor : file.tensors()) {
    bool const fp8 = tensor.dtype == Dtype::kE4m3, fp4 = tensor.dtype == Dtype::kI8;
    if (!ends_with(tensor.name, ".weight") || (!fp8 && !fp4)) continue;
    std::string const layer = tensor.name.substr(0, tensor.name.size() - 7);
    auto const skip = [&](std::string reason) { out.skipped.push_back({tensor.name, std::move(reason)}); };
    if (tensor.shape.size() != 2 || tensor.shape[0] < 1 || tensor.shape[1] < 1) {
      skip("not a matrix");
      continue;
    }
    Weight weight{.weight = &tensor,
                  .scale = file.find(layer + ".scale"),
                  .dtype = fp8 ? Dtype::kE4m3 : Dtype::kE2m1,
                  .rows = tensor.shape[0],
                  .k = tensor.shape[1] * (fp8 ? 1 : 2),
                  .gran_mn = fp8 ? 128 : 1,
                  .gran_k = fp8 ? 128 : 32};
    std::vector<std::int64_t> const expected{ceil_div(weight.rows, weight.gran_mn),
                                             ceil_div(weight.k, weight.gran_k)};
    if (weight.scale == nullptr) {
      skip("no " + layer + ".scale");
    } else if (weight.scale->dtype != Dtype::kUe8m0) {
      skip(fmt::format("its scale is {}, not F8_E8M0", weight.scale->dtype_name));
    } else if (weight.scale->shape != expected) {
      skip(fmt::format("its scale is not [{}, {}]: one per {} x {}", expected[0], expected[1], weight.gran_mn,
                       weight.gran_k));
    } else if (weight.k % 32 != 0) {
      skip(fmt::format("k = {} is no multiple of 32", weight.k));
    } else {
      add_cases(out, weight, layer, tp, m);
    }
  }
  return out;
}

}  // namespace deepwell::check

// The lightning indexer's logits, FP8: of rows of queries against one range of keys each, or of each request's newest tokens against
// its pages of keys. What deep_gemm calls fp8_fp4_mqa_logits, fp8_fp4_paged_mqa_logits and get_paged_mqa_logits_metadata.
//
//   logits[i, j] = scale[j] * sum over heads of max(0, <q[i, h], key[j]>) * weights[i, h]
//
// Lengths, ranges and block tables are read on the device only: what does not fit there is bounded and noted (plan/deepwell/notes.h).
// A logit is never NaN: it is -inf then.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "deepwell/mqa_logits.h"
#include "ops/choose.hpp"
#include "ops/context.hpp"
#include "tensor/tensor.hpp"

namespace deepwell {

/// Row i sees keys start[i] <= j < end[i]. An empty range is none; one that is reversed, begins before key 0, reaches past the keys or,
/// compressed, is longer than a row of logits is clipped and noted (kClippedKeys).
struct MqaLogitsCall {
  TensorView q;           // e4m3 [rows, heads, dim], last stride 1
  TensorView keys;        // e4m3 [keys, dim], last stride 1
  TensorView scales;      // f32 [keys], contiguous
  TensorView weights;     // f32 [rows, heads], last stride 1
  TensorView start, end;  // i32 [rows], contiguous
  /// f32, last stride 1. Compressed: [rows, any], element [i, j - start[i]] (a range clipped in front counts from where it was
  /// clipped). Else [rows, keys], element [i, j]. Elements outside of a row's keys are not touched, or -inf with `clean`.
  TensorView logits;
  bool compressed = true;
  bool clean = false;  // only without compression
  Stream stream = nullptr;
};

/// Row r = request * next_n + t sees keys 0 <= j < lengths[request, t] of the request's pages. Lengths below 0 or above the columns of
/// `logits` are clipped and noted (kClippedKeys). Keys whose entry of the block table is not below the number of pages, or lies past its
/// columns, get -inf and are noted (kBadPage). Entries past the longest row of a request are not read.
struct PagedMqaLogitsCall {
  TensorView q;  // e4m3 [requests, next_n, heads, dim], last stride 1
  TensorView
      cache;  // u8 [pages, page, 1, dim + 4], pages anything apart: first all values [page, dim], then all scales f32 [page]
  TensorView weights;      // f32 [requests * next_n, heads], last stride 1
  TensorView lengths;      // i32 [requests, next_n], contiguous
  TensorView block_table;  // i32 [requests, any], last stride 1
  TensorView schedule;     // i32 [any, 2], or none; advice that is not needed
  TensorView
      indices;  // i32 [requests] with next_n 1, or none: each token has its own row of the block table, so it is not needed
  TensorView logits;  // f32 [requests * next_n, longest], last stride 1
  Stream stream = nullptr;
};

/// schedule[i] is where the i-th of n equal shares of the work begins, schedule[n] is the end.
struct MqaScheduleCall {
  TensorView lengths;   // i32 [requests, next_n], contiguous
  TensorView indices;   // i32 [requests], or none
  int page = 64;        // keys of a page
  TensorView schedule;  // i32 [n + 1, 2], contiguous
  Stream stream = nullptr;
};

/// The part of a call that may choose a kernel.
struct MqaShape {
  bool paged = false;
  std::int64_t rows = 1;  // of a request
  std::int64_t heads = 64, dim = 128, page = 0;
};

/// Throw Error: kBadArgument naming argument, value and expectation, kUnsupported for sizes that no kernel takes. Nothing was launched
/// then.
void fp8_mqa_logits(Context& context, MqaLogitsCall const& call);
void fp8_paged_mqa_logits(Context& context, PagedMqaLogitsCall const& call);
void paged_mqa_logits_schedule(Context& context, MqaScheduleCall const& call);

/// Elements between the rows of a result, as deep_gemm's have them: rows begin at multiples of 1024 bytes.
constexpr std::int64_t mqa_logits_pitch(std::int64_t columns) { return align_up(columns, 256); }

Verdict accepts_mqa(MqaShape const& shape, Arch const& arch);
MqaPlan mqa_plan(MqaShape const& shape, Arch const& arch);  // of an accepted shape

std::string plan_name(MqaPlan const& plan);
std::uint64_t plan_key(MqaPlan const& plan);
std::string mqa_source(MqaPlan const& plan, Arch const& arch);
std::string mqa_schedule_source();
/// How the stores of kernels know the kernel of a plan, and the one of schedules.
KernelStore::Item kernel_item(MqaPlan const& plan, Arch const& arch);
KernelStore::Item mqa_schedule_item();
std::vector<MqaPlan> all_mqa_plans(Arch const& arch);
std::vector<MqaPlan> representative_mqa_plans(Arch const& arch);  // one or more of every form

}  // namespace deepwell

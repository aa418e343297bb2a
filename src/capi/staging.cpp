// Host tensors to emulated memory and back.
#include "capi/staging.hpp"

#include <algorithm>
#include <cstring>

#include "base/log.hpp"
#include "ops/gemm/checks.hpp"

namespace deepwell {
namespace {

constexpr DeviceAddress kAlignment = 256;  // of what a backend allocates

std::byte* on_host(DeviceAddress address) {
  return reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(address));
}

/// Copies the elements of `view` from bytes that are a copy of those it spans.
void copy_elements(TensorView const& view, std::byte const* from, std::byte* to) {
  struct Axis {
    std::size_t stride_bytes, size;
  };
  auto const element_bytes = static_cast<std::size_t>(std::max(bits_of(view.dtype) / 8, 1));
  std::vector<Axis> axes;
  for (int i = 0; i < view.rank; ++i) {
    if (view.shape[i] > 1) {
      axes.push_back({static_cast<std::size_t>(view.strides[i]) * element_bytes,
                      static_cast<std::size_t>(view.shape[i])});
    }
  }
  std::sort(axes.begin(), axes.end(),
            [](Axis const& left, Axis const& right) { return left.stride_bytes < right.stride_bytes; });
  std::size_t run_bytes = element_bytes;  // elements without gaps
  auto outer = axes.begin();
  for (; outer != axes.end() && outer->stride_bytes == run_bytes; ++outer) run_bytes *= outer->size;
  axes.erase(axes.begin(), outer);

  std::vector<std::size_t> at(axes.size(), 0);
  std::size_t offset = 0;
  for (;;) {
    std::memcpy(to + offset, from + offset, run_bytes);
    std::size_t axis = 0;
    for (; axis < axes.size(); ++axis) {
      offset += axes[axis].stride_bytes;
      if (++at[axis] < axes[axis].size) break;
      offset -= axes[axis].stride_bytes * axes[axis].size;
      at[axis] = 0;
    }
    if (axis == axes.size()) return;
  }
}

}  // namespace

Staging::~Staging() {
  for (Area const& area : areas_) {
    if (area.allocation == 0) continue;
    try {
      context_.backend().release_async(area.allocation, stream_);
    } catch (std::exception const& error) {
      log_error("staged tensors could not be released: {}", error.what());
    }
  }
}

void Staging::allocate(Area& area) {
  std::size_t const before = area.host % kAlignment;
  area.allocation = context_.backend().allocate_async(before + area.bytes, stream_);
  area.device = area.allocation + before;
}

void Staging::copy_in(std::vector<HostTensor> const& tensors) {
  for (HostTensor const& tensor : tensors) {
    checks::Range const range = checks::check_view(tensor.name, *tensor.view, tensor.view->rank);
    if (range.bytes > 0)
      staged_.push_back(
          {.tensor = tensor, .host = range.begin, .bytes = static_cast<std::size_t>(range.bytes)});
  }
  std::stable_sort(staged_.begin(), staged_.end(),
                   [](Staged const& left, Staged const& right) { return left.host < right.host; });
  for (Staged const& one : staged_) {
    if (areas_.empty() || one.host >= areas_.back().host + areas_.back().bytes)
      areas_.push_back({.host = one.host, .bytes = 0});
    Area& area = areas_.back();
    area.bytes = std::max(area.bytes, static_cast<std::size_t>(one.host - area.host) + one.bytes);
  }
  for (Area& area : areas_) {
    allocate(area);
    context_.backend().copy_to_device(area.device, {on_host(area.host), area.bytes}, stream_);
  }
  auto area = areas_.begin();
  for (Staged& one : staged_) {
    while (one.host >= area->host + area->bytes) ++area;
    one.tensor.view->data = area->device + (one.host - area->host);
  }
}

void Staging::copy_back() {
  std::vector<std::pair<Staged const*, std::vector<std::byte>>> written;
  for (Staged const& one : staged_) {
    if (!one.tensor.written) continue;
    std::vector<std::byte>& bytes = written.emplace_back(&one, one.bytes).second;
    context_.backend().copy_to_host(bytes, one.tensor.view->data, stream_);
  }
  for (auto const& [one, bytes] : written) copy_elements(*one->tensor.view, bytes.data(), on_host(one->host));
}

std::string Staging::describe() const {
  std::string text;
  for (Staged const& one : staged_)
    text += fmt::format("{}{} at {:#x}", text.empty() ? "" : ", ", one.tensor.name, one.tensor.view->data);
  return text;
}

}  // namespace deepwell

// The call stack of a warp.
#include "emu/run/calls.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace deepwell::emu {

Warp::Warp() = default;
Warp::~Warp() = default;

namespace {

std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }
Mask bit(int lane) { return Mask{1} << lane; }

/// Local memory of every lane holds at least `bytes`.
void grow_local(Warp& warp, std::size_t bytes) {
  if (bytes <= warp.local_stride) return;
  std::size_t const stride = std::max<std::size_t>({bytes, 2 * warp.local_stride, 256});
  LazyArray<std::byte> local(stride * kLanes);
  LazyArray<std::uint8_t> shadow(warp.check ? stride * kLanes : 0);
  for (std::size_t lane = 0; lane < kLanes && warp.local_stride != 0; ++lane) {
    std::memcpy(local.data() + lane * stride, warp.local.data() + lane * warp.local_stride,
                warp.local_stride);
    if (!shadow.empty()) {
      std::memcpy(shadow.data() + lane * stride, warp.local_shadow.data() + lane * warp.local_stride,
                  warp.local_stride);
    }
  }
  warp.local = std::move(local);
  warp.local_shadow = std::move(shadow);
  warp.local_stride = stride;
}

std::size_t local_at(Warp const& warp, int lane, std::uint32_t offset) {
  return static_cast<std::size_t>(lane) * warp.local_stride +
         warp.calls->base[static_cast<std::size_t>(lane)] + offset;
}

/// Puts `lane`'s `from` behind what is in CallStack::passed.
void gather(Warp& warp, Passed const& from, int lane) {
  CallStack& calls = *warp.calls;
  std::size_t const at = calls.passed.size();
  calls.passed.resize(at + from.bytes);
  calls.passed_shadow.resize(at + from.bytes, 1);
  if (from.in_memory) {
    std::size_t const source = local_at(warp, lane, from.offset);
    std::memcpy(calls.passed.data() + at, warp.local.data() + source, from.bytes);
    if (warp.check)
      std::memcpy(calls.passed_shadow.data() + at, warp.local_shadow.data() + source, from.bytes);
    return;
  }
  if (from.value.bits == 128) {
    std::memcpy(calls.passed.data() + at, &warp.s128(from.value)[lane], from.bytes);
  } else {
    std::uint64_t const bits = warp.lane_of(from.value, lane);
    std::memcpy(calls.passed.data() + at, &bits, std::min<std::size_t>(8, from.bytes));
  }
  bool const poisoned = warp.check && (warp.poison_of(from.value) >> lane & 1) != 0;
  std::fill_n(calls.passed_shadow.begin() + static_cast<std::ptrdiff_t>(at), from.bytes, poisoned ? 0 : 1);
}

/// Takes `bytes` at `at` of CallStack::passed into `to`; moves `at` on.
void scatter(Warp& warp, Passed const& to, int lane, std::size_t& at) {
  CallStack& calls = *warp.calls;
  std::byte const* const data = calls.passed.data() + at;
  std::uint8_t const* const shadow = calls.passed_shadow.data() + at;
  at += to.bytes;
  if (to.in_memory) {
    std::size_t const target = local_at(warp, lane, to.offset);
    std::memcpy(warp.local.data() + target, data, to.bytes);
    if (warp.check) std::memcpy(warp.local_shadow.data() + target, shadow, to.bytes);
    return;
  }
  if (to.value.is_sink()) return;
  if (to.value.bits == 128) {
    std::memcpy(&warp.d128(to.value)[lane], data, to.bytes);
  } else {
    std::uint64_t bits = 0;
    std::memcpy(&bits, data, std::min<std::size_t>(8, to.bytes));
    warp.set_lane(to.value, lane, bits);
  }
  if (warp.check) {
    bool const defined = std::all_of(shadow, shadow + to.bytes, [](std::uint8_t one) { return one != 0; });
    warp.set_poison(to.value, bit(lane), defined ? 0 : bit(lane));
  }
}

void save(Warp& warp, Callee const& callee, int lane) {
  std::vector<std::byte>& to = warp.calls->saved[static_cast<std::size_t>(lane)];
  auto const l = static_cast<std::size_t>(lane);
  for (Slot const& slot : callee.slots) {
    std::size_t const at = to.size();
    to.resize(at + slot.lane_bytes + 1);
    std::byte const* const from = warp.base[0] + slot.offset;
    std::uint8_t flags = warp.check ? warp.poison[slot.index] >> lane & 1 : 0;
    if (slot.lane_bytes == 0) {
      Mask bits;
      std::memcpy(&bits, from, 4);
      flags = static_cast<std::uint8_t>(flags | (bits >> lane & 1) << 1);
    } else {
      std::memcpy(to.data() + at, from + l * slot.lane_bytes, slot.lane_bytes);
    }
    to[at + slot.lane_bytes] = std::byte{flags};
  }
}

void restore(Warp& warp, Callee const& callee, int lane) {
  std::vector<std::byte>& from = warp.calls->saved[static_cast<std::size_t>(lane)];
  auto const l = static_cast<std::size_t>(lane);
  for (std::size_t k = callee.slots.size(); k-- > 0;) {
    Slot const& slot = callee.slots[k];
    std::size_t const at = from.size() - slot.lane_bytes - 1;
    auto const flags = std::to_integer<std::uint8_t>(from[at + slot.lane_bytes]);
    std::byte* const to = warp.base[0] + slot.offset;
    if (slot.lane_bytes == 0) {
      Mask bits;
      std::memcpy(&bits, to, 4);
      bits = (bits & ~bit(lane)) | ((flags & 2) != 0 ? bit(lane) : 0);
      std::memcpy(to, &bits, 4);
    } else {
      std::memcpy(to + l * slot.lane_bytes, from.data() + at, slot.lane_bytes);
    }
    if (warp.check) {
      warp.poison[slot.index] = (warp.poison[slot.index] & ~bit(lane)) | ((flags & 1) != 0 ? bit(lane) : 0);
    }
    from.resize(at);
  }
}

[[noreturn]] void overflow(Warp& warp, Instr const& instr, int lane, std::string const& what) {
  fail(warp, instr, lane, fmt::format("stack overflow: {}", what), Finding::kResource);
}

/// Local memory of a lane reaches up to `top`; what is new was never written.
void set_top(Warp& warp, Instr const& instr, int lane, std::uint64_t top) {
  auto const l = static_cast<std::size_t>(lane);
  CallStack& calls = *warp.calls;
  if (top + calls.saved[l].size() > kMaxLocalBytes) {
    overflow(warp, instr, lane,
             fmt::format("{} bytes of local memory in {} calls inside each other, a thread has {}",
                         top + calls.saved[l].size(), calls.frames[l].size(), kMaxLocalBytes));
  }
  grow_local(warp, top);
  std::uint32_t const before = calls.top[l];
  calls.top[l] = static_cast<std::uint32_t>(top);
  if (warp.check && top > before)
    std::memset(warp.local_shadow.data() + l * warp.local_stride + before, 0, top - before);
}

}  // namespace

CallStack& calls_of(Warp& warp) {
  if (warp.calls == nullptr) {
    warp.calls = std::make_unique<CallStack>();
    warp.calls->top.fill(warp.function->local_bytes);
    warp.calls->active.resize(warp.function->callees.size());
  }
  return *warp.calls;
}

std::uint32_t extend_frame(Warp& warp, Instr const& instr, int lane, std::uint64_t bytes,
                           std::uint32_t alignment) {
  CallStack& calls = calls_of(warp);
  std::uint64_t const at = align_up(calls.top[static_cast<std::size_t>(lane)], alignment);
  if (bytes > kMaxLocalBytes) bytes = kMaxLocalBytes + 1;
  set_top(warp, instr, lane, at + bytes);
  return static_cast<std::uint32_t>(at);
}

void enter(Warp& warp, Instr const& instr, Mask mask, std::uint32_t number) {
  CallStack& calls = calls_of(warp);
  Callee const& callee = warp.function->callees[number];
  CallSite const& site = warp.function->calls[instr.aux[0]];
  auto const call = static_cast<std::uint32_t>(&instr - warp.function->code.data());
  for_lanes(mask, [&](int lane) {
    auto const l = static_cast<std::size_t>(lane);
    if (calls.frames[l].size() >= kMaxCallDepth)
      overflow(warp, instr, lane, fmt::format("{} calls inside each other", kMaxCallDepth));
    calls.passed.clear();
    calls.passed_shadow.clear();
    for (Passed const& argument : site.arguments) gather(warp, argument, lane);
    bool const again = calls.active[number][l]++ != 0;
    if (again) save(warp, callee, lane);
    calls.frames[l].push_back({call, number, calls.base[l], calls.top[l], again});
    std::uint64_t const base = align_up(calls.top[l], callee.local_alignment);
    set_top(warp, instr, lane, base + callee.local_bytes);
    calls.base[l] = static_cast<std::uint32_t>(base);
    if (warp.check) {
      for (Slot const& slot : callee.slots) warp.poison[slot.index] |= bit(lane);
    }
    if (callee.frame.exists()) {
      warp.set_lane(callee.frame, lane, base);
      warp.set_poison(callee.frame, bit(lane), 0);
    }
    for (auto const& [value, offset] : callee.frame_addresses) {
      warp.set_lane(value, lane, base + offset);
      warp.set_poison(value, bit(lane), 0);
    }
    std::size_t at = 0;
    for (Passed const& input : callee.inputs) scatter(warp, input, lane, at);
  });
  Fragment& here = warp.fragment();
  if (mask == here.lanes) {
    here.pc = callee.start;
    return;
  }
  Fragment taken;
  taken.lanes = mask;
  taken.pc = callee.start;
  taken.backward = here.backward;
  here.lanes &= ~mask;
  warp.fragments.push_back(taken);  // `here` is invalid from now on
}

void leave(Warp& warp, Mask mask) {
  CallStack& calls = *warp.calls;
  std::array<std::uint32_t, kLanes> back{};
  for_lanes(mask, [&](int lane) {
    auto const l = static_cast<std::size_t>(lane);
    CallFrame const frame = calls.frames[l].back();
    calls.frames[l].pop_back();
    Callee const& callee = warp.function->callees[frame.callee];
    calls.passed.clear();
    calls.passed_shadow.clear();
    for (Passed const& result : callee.results) gather(warp, result, lane);
    --calls.active[frame.callee][l];
    if (frame.saved) restore(warp, callee, lane);
    calls.base[l] = frame.caller_base;
    calls.top[l] = frame.caller_top;
    std::size_t at = 0;
    CallSite const& site = warp.function->calls[warp.function->code[frame.call].aux[0]];
    for (Passed const& result : site.results) scatter(warp, result, lane, at);
    back[l] = frame.call + 1;
  });
  Mask const staying = warp.fragment().lanes & ~mask;
  bool reuse = staying == 0;
  if (!reuse) {
    warp.fragment().lanes = staying;
    warp.fragment().pc += 1;
  }
  std::uint32_t const backward = warp.fragment().backward;
  for (Mask rest = mask; rest != 0;) {
    std::uint32_t const pc = back[static_cast<std::size_t>(std::countr_zero(rest))];
    Mask together = 0;
    for_lanes(rest,
              [&](int lane) { together |= back[static_cast<std::size_t>(lane)] == pc ? bit(lane) : 0; });
    rest &= ~together;
    if (reuse) {
      warp.fragment().lanes = together;
      warp.fragment().pc = pc;
      reuse = false;
    } else {
      Fragment other;
      other.lanes = together;
      other.pc = pc;
      other.backward = backward;
      warp.fragments.push_back(other);
    }
  }
}

PassedBits read_passed(Warp& warp, Passed const& from, int lane) {
  calls_of(warp).passed.clear();
  warp.calls->passed_shadow.clear();
  gather(warp, from, lane);
  PassedBits out;
  std::memcpy(&out.bits, warp.calls->passed.data(), std::min<std::size_t>(8, from.bytes));
  out.defined = std::all_of(warp.calls->passed_shadow.begin(), warp.calls->passed_shadow.end(),
                            [](std::uint8_t one) { return one != 0; });
  return out;
}

void write_passed(Warp& warp, Passed const& to, int lane, PassedBits what) {
  CallStack& calls = calls_of(warp);
  calls.passed.assign(std::max<std::size_t>(8, to.bytes), std::byte{0});
  calls.passed_shadow.assign(calls.passed.size(), what.defined ? 1 : 0);
  std::memcpy(calls.passed.data(), &what.bits, 8);
  std::size_t at = 0;
  scatter(warp, to, lane, at);
}

}  // namespace deepwell::emu

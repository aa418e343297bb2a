// Functions of the CUDA runtime that kernels call: printf and assert.
#include <algorithm>
#include <bit>
#include <cstdio>

#include "base/log.hpp"
#include "emu/instr/call.hpp"
#include "emu/instr/lanes.hpp"
#include "emu/run/calls.hpp"

namespace deepwell::emu {
namespace {

constexpr std::size_t kMaxText = 64 * 1024;

u64 argument(Warp& w, Instr const& i, CallSite const& site, std::size_t k, int lane) {
  PassedBits const value = read_passed(w, site.arguments[k], lane);
  if (!value.defined)
    fail(w, i, lane, fmt::format("argument {} of the call was never defined", k + 1), Finding::kPoison);
  return value.bits;
}

/// A text that ends with a zero, at a generic address.
std::string text_at(Warp& w, Instr const& i, int lane, u64 address) {
  std::string out;
  if (address == 0) return "(null)";
  for (; out.size() < kMaxText; ++address) {
    Place const place = resolve(w, i, lane, Space::kGeneric, address, 1, 1, Access::kRead);
    char const c = static_cast<char>(load_bits(place, 1));
    if (c == 0) break;
    out += c;
  }
  return out;
}

/// The arguments of printf: values one after the other, each at a multiple of its size.
class Arguments {
 public:
  Arguments(Warp& warp, Instr const& instr, int lane, u64 address)
      : warp_(warp), instr_(instr), lane_(lane), address_(address) {}
  u64 next(unsigned bytes) {
    address_ = (address_ + bytes - 1) / bytes * bytes;
    Place const place = resolve(warp_, instr_, lane_, Space::kGeneric, address_, bytes, bytes, Access::kRead);
    ++count_;
    if (warp_.check && !place.initialised(bytes))
      fail(warp_, instr_, lane_, fmt::format("argument {} of printf was never defined", count_),
           Finding::kPoison);
    address_ += bytes;
    return load_bits(place, bytes);
  }
  int count() const { return count_; }

 private:
  Warp& warp_;
  Instr const& instr_;
  int lane_;
  u64 address_;
  int count_ = 0;
};

template <class T>
std::string print(std::string const& spec, T value) {
  int const length = std::snprintf(nullptr, 0, spec.c_str(), value);
  std::string out(static_cast<std::size_t>(std::max(0, length)), '\0');
  std::snprintf(out.data(), out.size() + 1, spec.c_str(), value);
  return out;
}

/// What one lane prints. Conversions are C's, without %n.
std::string formatted(Warp& w, Instr const& i, int lane, std::string const& format, Arguments& arguments) {
  std::string out;
  for (std::size_t at = 0; at < format.size();) {
    if (format[at] != '%') {
      out += format[at++];
      continue;
    }
    std::size_t const begin = at++;
    std::string spec = "%";
    auto const take = [&](std::string_view set) {
      bool const is = at < format.size() && set.find(format[at]) != std::string_view::npos;
      if (is) spec += format[at++];
      return is;
    };
    auto const number = [&] {
      if (at < format.size() && format[at] == '*') {
        ++at;
        spec += std::to_string(std::clamp(static_cast<i32>(arguments.next(4)), -4096, 4096));
      } else {
        std::size_t const first = at;
        while (take("0123456789")) {
        }
        if (at - first > 4) fail(w, i, lane, fmt::format("printf: a width or precision in \"{}\"", format));
      }
    };
    while (take("-+ #0")) {
    }
    number();
    if (take(".")) number();
    std::size_t const size_at = at;
    while (at < format.size() && std::string_view("hlLqjzt").find(format[at]) != std::string_view::npos) ++at;
    std::string const size = format.substr(size_at, at - size_at);
    char const conversion = at < format.size() ? format[at++] : '\0';
    bool const is_wide =
        size == "l" || size == "ll" || size == "q" || size == "j" || size == "z" || size == "t";
    switch (conversion) {
      case '%': out += '%'; break;
      case 'd':
      case 'i': {
        u64 const bits = arguments.next(is_wide ? 8 : 4);
        i64 value = is_wide ? static_cast<i64>(bits) : static_cast<i32>(bits);
        if (size == "h") value = static_cast<i16>(bits);
        if (size == "hh") value = static_cast<i8>(bits);
        out += print(spec + "lld", static_cast<long long>(value));
        break;
      }
      case 'u':
      case 'o':
      case 'x':
      case 'X': {
        u64 bits = arguments.next(is_wide ? 8 : 4);
        if (size == "h") bits &= 0xffff;
        if (size == "hh") bits &= 0xff;
        out += print(spec + "ll" + conversion, static_cast<unsigned long long>(bits));
        break;
      }
      case 'c': out += print(spec + "c", static_cast<int>(arguments.next(4) & 0xff)); break;
      case 's': out += print(spec + "s", text_at(w, i, lane, arguments.next(8)).c_str()); break;
      case 'p': out += fmt::format("{:#x}", arguments.next(8)); break;
      case 'f':
      case 'F':
      case 'e':
      case 'E':
      case 'g':
      case 'G':
      case 'a':
      case 'A': out += print(spec + conversion, std::bit_cast<double>(arguments.next(8))); break;
      default:
        fail(w, i, lane,
             fmt::format("printf: the conversion \"{}\" in \"{}\" is none that device code has",
                         format.substr(begin, at - begin), format));
    }
  }
  return out;
}

}  // namespace

void device_printf(Warp& w, Instr const& i, Mask mask, CallSite const& site) {
  std::string all;
  for_lanes(mask, [&](int lane) {
    std::string const format = text_at(w, i, lane, argument(w, i, site, 0, lane));
    Arguments arguments(w, i, lane, argument(w, i, site, 1, lane));
    all += formatted(w, i, lane, format, arguments);
    if (!site.results.empty())
      write_passed(w, site.results[0], lane, {static_cast<u64>(arguments.count()), true});
  });
  Launch const& launch = *w.launch;
  std::scoped_lock const lock(launch.output_mutex);
  if (launch.options.output) {
    launch.options.output(all);
  } else {
    log_info("kernel {}: {}", launch.kernel, all);
  }
}

void device_assert_fail(Warp& w, Instr const& i, Mask mask, CallSite const& site) {
  int const lane = std::countr_zero(mask);
  std::string const message = text_at(w, i, lane, argument(w, i, site, 0, lane)),
                    file = text_at(w, i, lane, argument(w, i, site, 1, lane)),
                    function = text_at(w, i, lane, argument(w, i, site, 3, lane));
  auto const thread = thread_of(*w.launch, w.id, lane);
  fail(w, i, lane,
       fmt::format("{}:{}: {}: block: [{},{},{}], thread: [{},{},{}] Assertion `{}` failed.", file,
                   argument(w, i, site, 2, lane), function, w.cta->id[0], w.cta->id[1], w.cta->id[2],
                   thread[0], thread[1], thread[2], message));
}

}  // namespace deepwell::emu

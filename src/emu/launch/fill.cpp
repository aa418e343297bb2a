// Fills of buffers.
#include "emu/launch/fill.hpp"

#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>

#include "emu/launch/json_node.hpp"

namespace deepwell::emu {
namespace {

class Draws {
 public:
  Draws(std::uint64_t seed, std::string_view name) : state_(seed) {
    for (char const c : name) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  std::uint64_t bits() {  // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double unit() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // [0, 1)
  double normal() {                                                      // Box and Muller's first
    double const radius = std::sqrt(-2.0 * std::log(1.0 - unit()));
    return radius * std::cos(2.0 * std::numbers::pi * unit());
  }

 private:
  std::uint64_t state_;
};

constexpr char const* kFills =
    "\"poison\", \"zero\", \"random\", \"iota\", or an object with one of constant, uniform, normal, "
    "integers";

template <class Bits>
std::vector<std::byte> filled(ElementType const& type, std::uint64_t count, Bits&& bits_at) {
  std::vector<std::byte> out(bytes_of(type, count));
  for (std::uint64_t i = 0; i < count; ++i) set_element_bits(type, out, i, bits_at(i));
  return out;
}

std::pair<double, double> two_reals(JsonNode const& node) {
  auto const both = node.elements(2, 2);
  double const first = both[0].real(), second = both[1].real();
  if (!std::isfinite(first) || !std::isfinite(second)) node.fail("two finite numbers");
  return {first, second};
}

}  // namespace

std::uint64_t element_of(JsonNode const& value, ElementType const& type) {
  if (value.is_string()) {
    std::string const text = value.text();
    if (text.starts_with("0x")) {
      std::uint64_t bits = 0;
      auto const [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), bits, 16);
      bool const fits = type.bits == 64 || bits >> type.bits == 0;
      if (text.size() == 2 || error != std::errc() || end != text.data() + text.size() || !fits)
        value.fail(fmt::format("at most {} bits of {} in hexadecimal", type.bits, type.name));
      return bits;
    }
  }
  if (type.is_float()) return element_from(type, value.real());
  std::uint64_t const all = ~std::uint64_t{0} >> (64 - type.bits);
  if (type.kind == ElementType::Kind::kUnsigned) return value.whole(0, all);
  auto const largest = static_cast<std::int64_t>(all >> 1);
  return static_cast<std::uint64_t>(value.integer(-largest - 1, largest)) & all;
}

std::vector<std::byte> values_of(JsonNode const& values, ElementType const& type, std::uint64_t count) {
  auto const list = values.elements(count, count);
  return filled(type, count, [&](std::uint64_t i) { return element_of(list[i], type); });
}

std::vector<std::byte> fill_buffer(JsonNode const& fill, ElementType const& type, std::uint64_t count,
                                   std::uint64_t seed, std::string_view name) {
  Draws draws(seed, name);
  std::uint64_t const all = ~std::uint64_t{0} >> (64 - type.bits);
  if (fill.is_string()) {
    std::string const text = fill.text();
    if (text == "poison") return {};
    if (text == "zero") return std::vector<std::byte>(bytes_of(type, count));
    if (text == "random") return filled(type, count, [&](std::uint64_t) { return draws.bits() & all; });
    if (text == "iota") {
      return filled(type, count, [&](std::uint64_t i) {
        return type.is_float() ? element_from(type, static_cast<double>(i)) : i & all;
      });
    }
    fill.fail(kFills);
  }
  auto const members = fill.is_object() ? fill.members() : std::vector<std::pair<std::string, JsonNode>>();
  if (members.size() != 1) fill.fail(kFills);
  auto const& [kind, value] = members[0];
  if (kind == "constant") {
    std::uint64_t const bits = element_of(value, type);
    return filled(type, count, [&](std::uint64_t) { return bits; });
  }
  if (kind == "uniform") {
    auto const [low, high] = two_reals(value);
    if (!(low <= high)) value.fail("the lower bound first");
    return filled(type, count,
                  [&](std::uint64_t) { return element_from(type, low + draws.unit() * (high - low)); });
  }
  if (kind == "normal") {
    auto const [mean, deviation] = two_reals(value);
    return filled(type, count,
                  [&](std::uint64_t) { return element_from(type, mean + draws.normal() * deviation); });
  }
  if (kind == "integers") {
    auto const both = value.elements(2, 2);
    constexpr std::int64_t kLimit = std::int64_t{1} << 53;
    std::int64_t const low = both[0].integer(-kLimit, kLimit), high = both[1].integer(-kLimit, kLimit);
    if (low > high) value.fail("the lower bound first");
    auto const span = static_cast<std::uint64_t>(high - low) + 1;
    return filled(type, count, [&](std::uint64_t) {
      return element_from(type, static_cast<double>(low + static_cast<std::int64_t>(draws.bits() % span)));
    });
  }
  fill.fail(kFills);
}

}  // namespace deepwell::emu

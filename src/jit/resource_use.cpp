// Parsing of ptxas's verbose lines: "Used 60 registers, used 1 barriers, 1024 bytes smem".
#include "jit/resource_use.hpp"

#include <charconv>

#include "base/error.hpp"

namespace deepwell::jit {
namespace {

// The number right before `unit` at or after `from`; -1 when there is none.
int number_before(std::string_view text, std::string_view unit) {
  std::size_t const at = text.find(unit);
  if (at == std::string_view::npos) return -1;
  std::size_t begin = at;
  while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') --begin;
  int value = -1;
  std::from_chars(text.data() + begin, text.data() + at, value);
  return value;
}

std::string_view line_at(std::string_view text, std::size_t at) {
  std::size_t const begin = text.rfind('\n', at) + 1;  // npos + 1 is 0
  return text.substr(begin, text.find('\n', at) - begin);
}

}  // namespace

ResourceUse resource_use(std::string_view log) {
  std::size_t const used = log.rfind(" registers");
  std::size_t const frame = log.rfind(" bytes stack frame");
  DW_CHECK(used != std::string_view::npos && frame != std::string_view::npos, kInternal,
           "the compiler's log has no report of ptxas: {}", log);
  std::string_view const use_line = line_at(log, used), frame_line = line_at(log, frame);
  ResourceUse use;
  auto const take = [](int value, int& field) {
    if (value >= 0) field = value;
  };
  take(number_before(use_line, " registers"), use.registers);
  take(number_before(use_line, " barriers"), use.barriers);
  take(number_before(use_line, " bytes smem"), use.static_smem_bytes);
  take(number_before(frame_line, " bytes stack frame"), use.stack_bytes);
  take(number_before(frame_line, " bytes spill stores"), use.spill_store_bytes);
  take(number_before(frame_line, " bytes spill loads"), use.spill_load_bytes);
  return use;
}

}  // namespace deepwell::jit

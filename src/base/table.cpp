// Aligned text tables; widths follow Unicode code points, not bytes.
#include "base/table.hpp"

#include <algorithm>
#include <cstdint>

#include "base/error.hpp"

namespace deepwell {
namespace {

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 1;
};

/// The code point at the front of `text`; a byte that begins no valid sequence stands for itself.
CodePoint front_code_point(std::string_view text) {
  auto const byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  std::uint8_t const first = byte(0);
  std::size_t const length = first >= 0xF0 && first < 0xF8 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
  if (length == 1 || first >= 0xF8 || text.size() < length) return {first, 1};
  std::uint32_t value = first & (0xFFu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {first, 1};
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  return {value, length};
}

std::size_t width_of(std::uint32_t code) {
  bool const combining = (code >= 0x300 && code <= 0x36F) || (code >= 0x200B && code <= 0x200F) ||
                         (code >= 0xFE00 && code <= 0xFE0F) || (code >= 0x20D0 && code <= 0x20FF);
  if (combining) return 0;
  bool const wide = (code >= 0x1100 && code <= 0x115F) || (code >= 0x2E80 && code <= 0xA4CF) ||
                    (code >= 0xAC00 && code <= 0xD7A3) || (code >= 0xF900 && code <= 0xFAFF) ||
                    (code >= 0xFE30 && code <= 0xFE6F) || (code >= 0xFF00 && code <= 0xFF60) ||
                    (code >= 0x1F300 && code <= 0x1FAFF) || (code >= 0x20000 && code <= 0x3FFFD);
  return wide ? 2 : 1;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    CodePoint const point = front_code_point(text);
    width += width_of(point.value);
    text.remove_prefix(point.bytes);
  }
  return width;
}

std::string fit_to_width(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  if (width == 0) return {};
  std::string fitted;
  std::size_t used = 0;
  while (!text.empty()) {
    CodePoint const point = front_code_point(text);
    std::size_t const next = used + width_of(point.value);
    if (next > width - 1) break;
    fitted.append(text.substr(0, point.bytes));
    used = next;
    text.remove_prefix(point.bytes);
  }
  return fitted + "…";
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  DW_CHECK(!columns_.empty(), kInternal, "a table needs at least one column");
}

void Table::add(std::vector<std::string> cells) {
  DW_CHECK(cells.size() == columns_.size(), kInternal, "a row of {} cells in a table of {} columns",
           cells.size(), columns_.size());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    for (char& c : cells[i]) {
      if (c == '\n' || c == '\t' || c == '\r') c = ' ';
    }
    if (columns_[i].max_width > 0) cells[i] = fit_to_width(cells[i], columns_[i].max_width);
  }
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (Column const& column : columns_) widths.push_back(display_width(column.title));
  for (auto const& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  }

  std::string out;
  auto const add_line = [&](auto const& cell_of) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      std::string const& cell = cell_of(i);
      std::string const gap(widths[i] - display_width(cell), ' ');
      if (i > 0) line += "  ";
      line += columns_[i].align == Align::kRight ? gap + cell : cell + gap;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  };
  add_line([&](std::size_t i) -> std::string const& { return columns_[i].title; });
  std::vector<std::string> rules;
  for (std::size_t const width : widths) rules.emplace_back(width, '-');
  add_line([&](std::size_t i) -> std::string const& { return rules[i]; });
  for (auto const& row : rows_) add_line([&](std::size_t i) -> std::string const& { return row[i]; });
  return out;
}

}  // namespace deepwell

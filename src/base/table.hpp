// Text tables with aligned columns, for terminals and logs. Makes strings; printing them is the caller's.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace deepwell {

/// Columns that a UTF-8 text takes on a terminal: code points, combining marks as 0, East Asian wide ones as 2. Bytes that
/// are no UTF-8 count one each.
std::size_t display_width(std::string_view text);

/// `text` cut to at most `width` columns, the last one an ellipsis when something was cut.
std::string fit_to_width(std::string_view text, std::size_t width);

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
    std::size_t max_width = 0;  // longer cells are cut; 0: no limit
  };

  explicit Table(std::vector<Column> columns);

  /// Adds a row; throws Error kInternal when the number of cells is not the number of columns. Line breaks and tabs in a
  /// cell become spaces.
  void add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  /// Title line, a rule, the rows; two spaces between columns, no trailing spaces, a line break after each line.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace deepwell

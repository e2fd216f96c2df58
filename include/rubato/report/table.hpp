// SPDX-License-Identifier: MIT
// A table as aligned text: a line of titles, a rule, one line a row.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>

namespace rubato::report {

/// Alignment of a column: numbers are at the right, so that their digits are below each other.
enum class side : std::uint8_t { left, right };

struct column {
  std::string title;
  side aligned = side::right;
};

/// Collects rows and lays them out once. Widths count bytes, which is right for ASCII.
class text_table {
 public:
  explicit text_table(std::vector<column> columns) : columns_{std::move(columns)} {}

  /// Requires one cell for each column.
  void add_row(std::vector<std::string> cells) {
    RUBATO_EXPECTS(cells.size() == columns_.size(), "a row of a table must have one cell a column");
    rows_.push_back(std::move(cells));
  }

  /// Columns are two spaces apart; no line ends in spaces, each ends in a newline.
  [[nodiscard]] auto text() const -> std::string {
    auto titles = std::vector<std::string>{};
    auto rule = std::vector<std::string>{};
    auto const widths = column_widths();
    for (auto c = std::size_t{0}; c < columns_.size(); ++c) {
      titles.push_back(columns_[c].title);
      rule.emplace_back(widths[c], '-');
    }
    auto text = line(titles, widths) + line(rule, widths);
    for (auto const& row : rows_) text += line(row, widths);
    return text;
  }

 private:
  auto column_widths() const -> std::vector<std::size_t> {
    auto widths = std::vector<std::size_t>{};
    for (auto const& c : columns_) widths.push_back(c.title.size());
    for (auto const& row : rows_)
      for (auto c = std::size_t{0}; c < row.size(); ++c) widths[c] = (std::max)(widths[c], row[c].size());
    return widths;
  }

  auto line(std::vector<std::string> const& cells, std::vector<std::size_t> const& widths) const -> std::string {
    auto text = std::string{};
    for (auto c = std::size_t{0}; c < cells.size(); ++c) {
      auto const gap = std::string(widths[c] - cells[c].size(), ' ');
      if (c != 0) text += "  ";
      text += columns_[c].aligned == side::right ? gap + cells[c] : cells[c] + gap;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text + '\n';
  }

  std::vector<column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace rubato::report

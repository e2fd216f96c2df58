// SPDX-License-Identifier: MIT
// A map of scenarios as a script for gnuplot: which run is first in each, and by how much. Each axis may be of several
// factors, one within the other. report/gnuplot.hpp draws it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/report/detail/canvas.hpp>
#include <rubato/report/numbers.hpp>

namespace rubato::report {

/// What varies along an axis, with the names of its values.
struct heat_factor {
  std::string name;
  std::vector<std::string> levels{};
};

/// `lead`: how many times sooner than the second; infinite if no other arrives, NaN if that is not known. `winner` is
/// empty if nobody arrives.
struct heat_cell {
  std::string winner{};
  double lead = 1;
};

struct heat_map {
  std::string title;
  std::string note{};                   ///< below the title, in small letters
  std::vector<heat_factor> rows{};      ///< the outermost first
  std::vector<heat_factor> columns{};   ///< likewise
  std::vector<heat_cell> cells{};       ///< row by row; the last factor of each axis varies fastest
  std::string what = "times sooner than the second";  ///< the meaning of the numbers, for the legend

  /// Throws config_error unless there is one cell for each combination of levels.
  void check() const;
};

namespace detail {

inline auto combinations(std::vector<heat_factor> const& factors) -> std::size_t {
  auto count = std::size_t{1};
  for (auto const& f : factors) count *= f.levels.size();
  return count;
}

/// Names of the winners by how often they win, and their numbers of cells; ties by name. The first gets the first
/// colour.
inline auto winners_of(heat_map const& map) -> std::vector<std::pair<std::string, std::size_t>> {
  auto counts = std::map<std::string, std::size_t>{};
  for (auto const& c : map.cells)
    if (!c.winner.empty()) ++counts[c.winner];
  auto winners = std::vector<std::pair<std::string, std::size_t>>(counts.begin(), counts.end());
  std::sort(winners.begin(), winners.end(), [](auto const& a, auto const& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  return winners;
}

/// With the palette's yellow, which is no colour for lines but one for boxes; grey for winners after the eighth.
inline auto fill_of(std::size_t k) -> std::string { return k < 7 ? colour_of(k) : k == 7 ? "#f0e442" : "#8a8a8a"; }

/// The colour in full for a lead of four times or more, and a quarter of it for none.
inline auto shade_of(std::string_view colour, double lead) -> std::string {
  auto const strength = std::isnan(lead) ? 0 : std::clamp(std::log2((std::max)(lead, 1.0)) / 2, 0.0, 1.0);
  return paler(colour, 0.75 * (1 - strength));
}

inline auto lead_text(double lead) -> std::string {
  if (std::isnan(lead)) return {};
  if (std::isinf(lead)) return "alone";
  return fixed(lead, lead < 9.95 ? 1 : 0);
}

/// Where everything stands, in pixels.
struct heat_layout {
  static constexpr auto edge = 20.0, line = 22.0, row = 28.0;
  double labels = 0;  // width of the columns of labels at the left, all together
  std::vector<double> label_widths{};
  double column = 0;  // width of a cell
  point corner{};     // of the first cell
  point end{};        // beyond the last
  double legend = 0;  // height of its first row
};

/// Of a label of the columns, as wide as its group of cells; the narrowest cell that gives each label its room.
inline auto column_width(std::vector<heat_factor> const& columns) -> double {
  auto width = 58.0;
  auto group = combinations(columns);
  for (auto const& f : columns) {
    group /= f.levels.size();
    for (auto const& level : f.levels)
      width = (std::max)(width, (text_width(level, 12) + 12) / static_cast<double>(group));
  }
  return width;
}

inline auto layout_of(heat_map const& map) -> heat_layout {
  auto place = heat_layout{};
  for (auto const& f : map.rows) {
    auto width = text_width(f.name, 11) + 16;
    for (auto const& level : f.levels) width = (std::max)(width, text_width(level, 12) + 16);
    place.label_widths.push_back(width);
    place.labels += width;
  }
  auto names = 0.0;
  for (auto const& f : map.columns) names = (std::max)(names, text_width(f.name, 11) + 10);
  if (place.labels < names) {
    if (!place.label_widths.empty()) place.label_widths.front() += names - place.labels;
    place.labels = names;
  }
  place.column = column_width(map.columns);
  auto const top = map.note.empty() ? 52.0 : 70.0;
  place.corner = {heat_layout::edge + place.labels,
                  top + heat_layout::line * static_cast<double>(map.columns.size() + (map.rows.empty() ? 0 : 1))};
  place.end = {place.corner.x + place.column * static_cast<double>(combinations(map.columns)),
               place.corner.y + heat_layout::row * static_cast<double>(combinations(map.rows))};
  place.legend = place.end.y + 26;
  return place;
}

inline void put_cells(canvas& sheet, heat_map const& map, heat_layout const& place) {
  auto const winners = winners_of(map);
  auto const across = combinations(map.columns);
  for (auto k = std::size_t{0}; k < map.cells.size(); ++k) {
    auto const& cell = map.cells[k];
    auto const who =
        std::find_if(winners.begin(), winners.end(), [&](auto const& w) { return w.first == cell.winner; });
    auto const colour = who == winners.end()
                            ? std::string{"#f2f2f2"}
                            : shade_of(fill_of(static_cast<std::size_t>(who - winners.begin())), cell.lead);
    auto const x = place.corner.x + place.column * static_cast<double>(k % across);
    auto const y = place.corner.y + heat_layout::row * static_cast<double>(k / across);
    sheet.box({x + 0.5, y + 0.5}, {x + place.column - 0.5, y + heat_layout::row - 0.5}, colour);
    sheet.text({x + place.column / 2, y + heat_layout::row / 2}, who == winners.end() ? "none" : lead_text(cell.lead),
               {11, text_on(colour), align::center});
  }
}

/// Whether a line belongs before this group: for every factor but the innermost, unless an outer one draws it.
inline auto has_line(std::vector<heat_factor> const& factors, std::size_t depth, std::size_t group) -> bool {
  return depth + 1 < factors.size() && group % factors[depth].levels.size() != 0;
}
inline auto group_ink(std::size_t depth, std::size_t factors) -> ink {
  return {"#202020", depth == 0 && factors > 2 ? 2.4 : 1.2};
}

inline void put_columns(canvas& sheet, heat_map const& map, heat_layout const& place) {
  auto groups = std::size_t{1};
  auto const rows_named = map.rows.empty() ? 0 : 1;
  for (auto depth = std::size_t{0}; depth < map.columns.size(); ++depth) {
    auto const& f = map.columns[depth];
    auto const below = static_cast<double>(map.columns.size() - depth + static_cast<std::size_t>(rows_named));
    auto const y = place.corner.y - heat_layout::line * below;
    groups *= f.levels.size();
    auto const width = (place.end.x - place.corner.x) / static_cast<double>(groups);
    sheet.text({place.corner.x - 10, y + heat_layout::line / 2}, f.name, {11, "#606060", align::right});
    for (auto g = std::size_t{0}; g < groups; ++g) {
      auto const x = place.corner.x + width * static_cast<double>(g);
      sheet.text({x + width / 2, y + heat_layout::line / 2}, f.levels[g % f.levels.size()],
                 {12, "#202020", align::center});
      if (has_line(map.columns, depth, g))
        sheet.line({x, y + 3}, {x, place.end.y}, group_ink(depth, map.columns.size()));
    }
  }
}

inline void put_rows(canvas& sheet, heat_map const& map, heat_layout const& place) {
  auto groups = std::size_t{1};
  auto x = heat_layout::edge;
  for (auto depth = std::size_t{0}; depth < map.rows.size(); ++depth) {
    auto const& f = map.rows[depth];
    groups *= f.levels.size();
    auto const height = (place.end.y - place.corner.y) / static_cast<double>(groups);
    sheet.text({x, place.corner.y - heat_layout::line / 2}, f.name, {11, "#606060"});
    for (auto g = std::size_t{0}; g < groups; ++g) {
      auto const y = place.corner.y + height * static_cast<double>(g);
      sheet.text({x, y + height / 2}, f.levels[g % f.levels.size()]);
      if (has_line(map.rows, depth, g)) sheet.line({x, y}, {place.end.x, y}, group_ink(depth, map.rows.size()));
    }
    x += place.label_widths[depth];
  }
}

/// Winners with their numbers of cells, and the shades; returns the height below it.
inline auto put_legend(canvas& sheet, heat_map const& map, heat_layout const& place) -> double {
  auto at = point{heat_layout::edge, place.legend};
  auto const step_to = [&](double width) {
    if (at.x > heat_layout::edge && at.x + width > sheet.width() - heat_layout::edge)
      at = {heat_layout::edge, at.y + heat_layout::line};
  };
  auto const winners = winners_of(map);
  for (auto k = std::size_t{0}; k < winners.size(); ++k) {
    auto const words =
        winners[k].first + "  " + std::to_string(winners[k].second) + " of " + std::to_string(map.cells.size());
    auto const width = 22 + text_width(words, 12) + 20;
    step_to(width);
    sheet.box({at.x, at.y - 7}, {at.x + 14, at.y + 7}, fill_of(k));
    sheet.text({at.x + 22, at.y}, words);
    at.x += width;
  }
  constexpr auto shades =
      std::array<std::pair<double, std::string_view>, 4>{{{1, "1"}, {1.6, "1.6"}, {2.5, "2.5"}, {4, "4 or more"}}};
  at = {heat_layout::edge, at.y + heat_layout::line};
  sheet.text(at, map.what + ":", {11, "#606060"});
  at.x += text_width(map.what, 11) + 18;
  for (auto const& [lead, words] : shades) {
    sheet.box({at.x, at.y - 7}, {at.x + 14, at.y + 7}, shade_of("#505050", lead));
    sheet.text({at.x + 20, at.y}, words, {11, "#606060"});
    at.x += 20 + text_width(words, 11) + 14;
  }
  return at.y + 20;
}

}  // namespace detail

inline void heat_map::check() const {
  for (auto const* const axis : {&rows, &columns}) {
    for (auto const& f : *axis)
      if (f.levels.empty()) throw config_error{"the factor '" + f.name + "' of a map has no values"};
  }
  auto const wanted = detail::combinations(rows) * detail::combinations(columns);
  if (cells.size() == wanted) return;
  throw config_error{"a map of these factors has " + std::to_string(wanted) + " cells, not " +
                     std::to_string(cells.size())};
}

/// The script draws an SVG to gnuplot's standard output: the colour of a cell is its winner, the shade and the number
/// are its lead. Equal maps give equal text. Throws config_error where check() does.
[[nodiscard]] inline auto heat_map_script(heat_map const& map) -> std::string {
  using detail::heat_layout;
  map.check();
  auto const place = detail::layout_of(map);
  auto const width = (std::max)(place.end.x + heat_layout::edge, 560.0);
  auto unsized = detail::canvas{width, 0};
  auto sheet = detail::canvas{width, detail::put_legend(unsized, map, place)};
  auto const room = width - 2 * heat_layout::edge;
  sheet.text({heat_layout::edge, 22}, detail::fitted(map.title, 15, room), {15, "#000000"});
  sheet.text({heat_layout::edge, 44}, detail::fitted(map.note, 11, room), {11, "#505050"});
  detail::put_cells(sheet, map, place);
  detail::put_columns(sheet, map, place);
  detail::put_rows(sheet, map, place);
  static_cast<void>(detail::put_legend(sheet, map, place));
  return sheet.terminal() + sheet.script();
}

}  // namespace rubato::report

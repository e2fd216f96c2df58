// SPDX-License-Identifier: MIT
// A sheet for gnuplot: texts, lines and boxes at places in pixels, counted from the upper left corner. Pictures consist
// of these beside their curves, because gnuplot's own titles and legends fit only one plot.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/report/numbers.hpp>

namespace rubato::report::detail {

/// Okabe and Ito's palette, told apart by every kind of colour vision; without its yellow, too pale for a line on
/// white.
inline auto colour_of(std::size_t k) -> std::string {
  constexpr auto colours =
      std::array<std::string_view, 7>{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"};
  return std::string{colours[k % colours.size()]};
}

/// Red, green and blue of "#rrggbb".
inline auto parts_of(std::string_view colour) -> std::array<int, 3> {
  auto const digit = [&](std::size_t at) {
    auto const letter = colour[at];
    return letter <= '9' ? letter - '0' : letter - 'a' + 10;
  };
  return {16 * digit(1) + digit(2), 16 * digit(3) + digit(4), 16 * digit(5) + digit(6)};
}

/// The colour mixed with this share of white, from 0 to 1.
inline auto paler(std::string_view colour, double white) -> std::string {
  constexpr auto digits = std::string_view{"0123456789abcdef"};
  auto mixed = std::string{"#"};
  for (auto const part : parts_of(colour)) {
    auto const value = static_cast<std::size_t>(std::lround(part + white * (255 - part)));
    mixed += digits[value / 16];
    mixed += digits[value % 16];
  }
  return mixed;
}

/// The colour in which text can be read on this one.
inline auto text_on(std::string_view colour) -> std::string {
  auto const [red, green, blue] = parts_of(colour);
  return 0.299 * red + 0.587 * green + 0.114 * blue < 140 ? "#ffffff" : "#202020";
}

/// A gnuplot string. Control characters would end the line, so they become spaces.
inline auto plot_string(std::string_view text) -> std::string {
  auto quoted = std::string{"'"};
  for (auto const letter : text) {
    if (letter == '\'') quoted += '\'';
    quoted += static_cast<unsigned char>(letter) < 0x20 ? ' ' : letter;
  }
  return quoted + '\'';
}

inline auto begins_letter(char byte) -> bool { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

/// In pixels, estimated: fonts differ between machines.
inline auto text_width(std::string_view text, double size) -> double {
  return 0.56 * size * static_cast<double>(std::count_if(text.begin(), text.end(), begins_letter));
}

/// The text, or as much of it as has this width, with dots after it. Cuts no letter of several bytes.
inline auto fitted(std::string_view text, double size, double pixels) -> std::string {
  if (text_width(text, size) <= pixels) return std::string{text};
  while (!text.empty() && text_width(text, size) + text_width("...", size) > pixels) {
    while (!begins_letter(text.back())) text.remove_suffix(1);
    text.remove_suffix(1);
  }
  return std::string{text} + "...";
}

struct point {
  double x = 0;
  double y = 0;
};
struct ink {
  std::string colour = "#202020";
  double width = 1;
  std::string dash = "1";
};
enum class align : std::uint8_t { left, center, right };
struct letters {
  double size = 12;
  std::string colour = "#202020";
  align at = align::left;
};

/// Collects what is to be drawn, in its order: boxes below, then lines and texts.
class canvas {
 public:
  canvas(double width, double height) : width_{width}, height_{height} {}

  [[nodiscard]] auto width() const -> double { return width_; }
  [[nodiscard]] auto height() const -> double { return height_; }

  /// Its middle is at the height of `at`.
  void text(point at, std::string_view words, letters const& style = {}) {
    if (words.empty()) return;
    auto const* const side = style.at == align::left ? "left" : style.at == align::center ? "center" : "right";
    items_ += "set label " + plot_string(words) + " at first " + place(at) + ' ' + side + " font 'DejaVu Sans," +
              shortest(style.size) + "' textcolor rgb '" + style.colour + "' front\n";
  }
  void line(point from, point to, ink const& pen) {
    items_ += "set arrow from first " + place(from) + " to first " + place(to) + " nohead lw " + shortest(pen.width) +
              " dt " + pen.dash + " lc rgb '" + pen.colour + "' front\n";
  }
  void box(point corner, point opposite, std::string const& colour) {
    items_ += "set object rectangle from first " + place(corner) + " to first " + place(opposite) + " fc rgb '" +
              colour + "' fs solid noborder back\n";
  }

  /// The terminal for a picture of this size, which writes an SVG.
  [[nodiscard]] auto terminal() const -> std::string {
    return "set terminal svg size " + fixed(width_, 0) + ',' + fixed(height_, 0) +
           " noenhanced font 'DejaVu Sans,13' background rgb 'white'\n";
  }
  /// Margins of a plot in the picture, from the upper left to the lower right corner of its frame.
  [[nodiscard]] auto frame(point corner, point opposite) const -> std::string {
    return "set lmargin at screen " + fixed(corner.x / width_, 4) + "\nset rmargin at screen " +
           fixed(opposite.x / width_, 4) + "\nset tmargin at screen " + fixed(1 - corner.y / height_, 4) +
           "\nset bmargin at screen " + fixed(1 - opposite.y / height_, 4) + '\n';
  }
  /// A plot of nothing, over the whole picture, that draws all.
  [[nodiscard]] auto script() const -> std::string {
    return frame({0, 0}, {width_, height_}) + "unset border\nunset tics\nunset key\nset xrange [0:" + shortest(width_) +
           "]\nset yrange [" + shortest(height_) + ":0]\n" + items_ +
           "plot NaN notitle\nunset label\nunset arrow\nunset object\n";
  }

 private:
  static auto place(point p) -> std::string { return fixed(p.x, 1) + ',' + fixed(p.y, 1); }

  double width_;
  double height_;
  std::string items_;
};

}  // namespace rubato::report::detail

// SPDX-License-Identifier: MIT
// The picture of a race as a script for gnuplot, which draws it in report/gnuplot.hpp: loss and accuracy against time.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/report/numbers.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {

struct plot_options {
  double target_loss = -std::numeric_limits<double>::infinity();  ///< drawn as a dashed line if it is finite
  std::string title = "loss and accuracy against time";           ///< for screen readers
  std::string program = "gnuplot";                                ///< a name on the PATH, or a path
};

namespace detail {

struct interval {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void cover(double x) {
    if (!std::isfinite(x)) return;
    low = (std::min)(low, x);
    high = (std::max)(high, x);
  }
  auto empty() const -> bool { return low > high; }
};

/// What the panels must show.
struct plot_extent {
  interval seconds;
  interval loss;
  interval accuracy;
};

inline auto extent_of(std::span<run_result const> results, double target) -> plot_extent {
  auto extent = plot_extent{};
  for (auto const& r : results) {
    for (auto const& m : r.history) {
      extent.seconds.cover(seconds_of(m.at));
      extent.loss.cover(m.loss);
      extent.accuracy.cover(m.accuracy);
    }
  }
  if (!extent.loss.empty()) extent.loss.cover(target);
  return extent;
}

/// Okabe and Ito's palette, told apart by every kind of colour vision; without its yellow, too pale for a line on
/// white.
inline auto colour_of(std::size_t k) -> std::string {
  constexpr auto colours =
      std::array<std::string_view, 7>{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"};
  return std::string{colours[k % colours.size()]};
}

/// Solid for the first seven lines; when a colour is used again, it has another dash.
inline auto dash_of(std::size_t k) -> std::string { return std::to_string(1 + k / 7); }

/// A gnuplot string. Control characters would end the line, so they become spaces.
inline auto plot_string(std::string_view text) -> std::string {
  auto quoted = std::string{"'"};
  for (auto const letter : text) {
    if (letter == '\'') quoted += '\'';
    quoted += static_cast<unsigned char>(letter) < 0x20 ? ' ' : letter;
  }
  return quoted + '\'';
}

inline auto plot_number(double x) -> std::string { return std::isfinite(x) ? shortest(x) : "NaN"; }

/// Positions of tics on a logarithmic axis: powers of ten, 1-2-5 or 1-2-3-5-7, the coarsest that gives four of them.
/// Empty when the axis is too short for that.
inline auto log_tics(interval shown) -> std::vector<double> {
  auto const ladders = std::array<std::vector<double>, 3>{{{1}, {1, 2, 5}, {1, 1.5, 2, 3, 4, 5, 7}}};
  auto const first = static_cast<int>(std::floor(std::log10(shown.low)));
  auto const last = static_cast<int>(std::floor(std::log10(shown.high)));
  for (auto const& ladder : ladders) {
    auto tics = std::vector<double>{};
    auto const stride = ladder.size() == 1 ? (std::max)(1, (last - first) / 8) : 1;
    for (auto decade = first; decade <= last; decade += stride)
      for (auto const rung : ladder)
        if (auto const tic = rung * std::pow(10.0, decade); tic >= shown.low && tic <= shown.high) tics.push_back(tic);
    if (tics.size() >= 4) return tics;
  }
  return {};
}

inline auto log_axis(interval shown) -> std::string {
  auto script = "set logscale y\nset yrange [" + shortest(shown.low) + ':' + shortest(shown.high) + "]\n";
  auto const tics = log_tics(shown);
  if (tics.empty()) return script + "set ytics autofreq\n";
  script += "set ytics (";
  for (auto t = std::size_t{0}; t < tics.size(); ++t) {
    auto const sized = tics[t] >= 1e-3 && tics[t] < 1e5;
    auto const label = sized ? "'%g' " : "'%.0e' ";
    script += (t == 0 ? "" : ", ") + std::string{label} + shortest(tics[t]);
  }
  return script + ")\n";
}

/// Logarithmic unless a loss is zero or negative, with a twentieth of the axis free at both ends.
inline auto loss_axis(interval loss) -> std::string {
  if (loss.low <= 0) return "set yrange [*:*]\nset ytics autofreq\n";
  auto const room = (std::max)(std::pow(loss.high / loss.low, 0.05), 1.01);
  return log_axis({loss.low / room, loss.high * room});
}

/// Named data: `time loss accuracy` of run k in $runK, and in $hitK the point where it first reached the target, if
/// ever.
inline auto plot_data(run_result const& r, std::size_t k) -> std::string {
  auto const line = [](measurement const& m) {
    return plot_number(seconds_of(m.at)) + ' ' + plot_number(m.loss) + ' ' + plot_number(m.accuracy) + '\n';
  };
  auto rows = std::string{};
  auto hit = std::string{};
  for (auto const& m : r.history) {
    rows += line(m);
    if (hit.empty() && r.time_to_target && m.at >= *r.time_to_target) hit = line(m);
  }
  auto const number = std::to_string(k);
  auto data = "$run" + number + " << END\n" + rows + "END\n";
  if (!hit.empty()) data += "$hit" + number + " << END\n" + hit + "END\n";
  return data;
}

inline auto has_number(run_result const& r, double measurement::* measure) -> bool {
  return std::any_of(r.history.begin(), r.history.end(), [&](auto const& m) { return std::isfinite(m.*measure); });
}

inline auto reached_target(run_result const& r) -> bool {
  return r.time_to_target && !r.history.empty() && r.history.back().at >= *r.time_to_target;
}

/// How run k is drawn wherever it appears.
inline auto line_style(std::size_t k) -> std::string {
  return " with lines lw 2.2 dt " + dash_of(k) + " lc rgb '" + colour_of(k) + '\'';
}

inline auto target_style() -> std::string { return " with lines lw 1.4 dt 2 lc rgb '#404040'"; }

/// The lines of one panel, as the arguments of `plot`; runs without a number have none.
inline auto plot_lines(std::span<run_result const> results, double measurement::* measure) -> std::vector<std::string> {
  auto const loss = measure == &measurement::loss;
  auto const column = std::string{loss ? " using 1:2" : " using 1:3"};
  auto lines = std::vector<std::string>{};
  for (auto k = std::size_t{0}; k < results.size(); ++k) {
    if (!has_number(results[k], measure)) continue;
    lines.push_back("$run" + std::to_string(k) + column + line_style(k));
    if (loss && reached_target(results[k]))
      lines.push_back("$hit" + std::to_string(k) + column + " with points pt 7 ps 0.7 lc rgb '" + colour_of(k) + '\'');
  }
  return lines;
}

inline auto plot_command(std::vector<std::string> const& lines) -> std::string {
  auto command = std::string{"plot "};
  for (auto l = std::size_t{0}; l < lines.size(); ++l) command += (l == 0 ? "" : ", \\\n  ") + lines[l];
  return command + '\n';
}

/// Rows that the legend needs: entries are estimated at 7.1 pixels a letter and 66 for the sample of the line.
inline auto legend_rows(std::span<run_result const> results, double target, double pixels) -> std::size_t {
  auto longest = std::size_t{12};
  for (auto const& r : results) longest = (std::max)(longest, r.algorithm.size());
  auto const entry = 66 + 7.1 * static_cast<double>(longest);
  auto const in_row = (std::max)(1.0, std::floor(pixels / entry));
  auto const entries = static_cast<double>(results.size()) + (std::isfinite(target) ? 1 : 0);
  return static_cast<std::size_t>((std::max)(1.0, std::ceil(entries / in_row)));
}

/// The legend is a plot of its own, of lines outside its range, because gnuplot fits a legend into its plot's width.
inline auto legend(std::span<run_result const> results, double target, std::size_t rows) -> std::string {
  auto lines = std::vector<std::string>{};
  for (auto k = std::size_t{0}; k < results.size(); ++k)
    lines.push_back('2' + line_style(k) + " title " + plot_string(results[k].algorithm));
  if (std::isfinite(target)) lines.push_back('2' + target_style() + " title 'target " + readable(target) + '\'');
  return "unset border\nunset tics\nset xrange [0:1]\nset yrange [0:1]\n"
         "set key center center horizontal Left reverse samplen 1.8 font ',12' maxrows " +
         std::to_string(rows) + " textcolor rgb '#202020'\n" + plot_command(lines) + "unset key\n";
}

inline auto panel_style(double seconds_high) -> std::string {
  return "set border 3 lc rgb '#606060'\n"
         "set xtics autofreq nomirror out scale 0.6 textcolor rgb '#303030'\n"
         "set ytics nomirror out scale 0.6 textcolor rgb '#303030'\n"
         "set grid lc rgb '#dcdcdc' lt 1 lw 0.8\n"
         "set xlabel 'time in s' offset 0,0.2 textcolor rgb '#303030'\n"
         "set xrange [0:" +
         shortest(seconds_high > 0 ? seconds_high : 1) + "]\n";
}

}  // namespace detail

/// The script draws an SVG to gnuplot's standard output: two panels side by side, or the loss alone where no run has an
/// accuracy. Empty when no run has a finite loss. Equal results give equal text.
[[nodiscard]] inline auto plot_script(std::span<run_result const> results, plot_options const& options) -> std::string {
  auto const extent = detail::extent_of(results, options.target_loss);
  if (extent.loss.empty()) return {};
  auto const both = !extent.accuracy.empty();
  auto const width = both ? 1000.0 : 560.0;
  auto const rows = detail::legend_rows(results, options.target_loss, width - 4);
  auto const legend_height = 12 + 20 * static_cast<double>(rows);
  auto const height = 380 + legend_height;
  auto const frame = [&](detail::interval across, detail::interval down) {
    return "set lmargin at screen " + fixed(across.low / width, 4) + "\nset rmargin at screen " +
           fixed(across.high / width, 4) + "\nset tmargin at screen " + fixed(1 - down.low / height, 4) +
           "\nset bmargin at screen " + fixed(1 - down.high / height, 4) + '\n';
  };
  auto const panel = detail::interval{legend_height + 32, height - 56};

  auto script = "set terminal svg size " + fixed(width, 0) + ',' + fixed(height, 0) +
                " noenhanced font 'DejaVu Sans,13' background rgb 'white'\n";
  for (auto k = std::size_t{0}; k < results.size(); ++k) script += detail::plot_data(results[k], k);
  script += "set multiplot\n" + frame({2, width - 2}, {6, legend_height});
  script += detail::legend(results, options.target_loss, rows);

  auto lines = detail::plot_lines(results, &measurement::loss);
  if (std::isfinite(options.target_loss)) lines.push_back(shortest(options.target_loss) + detail::target_style());
  script += detail::panel_style(extent.seconds.high) + frame({70, both ? 486 : width - 20}, panel);
  script += "set title 'loss at the mean model' offset 0,-0.4\n" + detail::loss_axis(extent.loss);
  script += detail::plot_command(lines);
  if (both) {
    script += frame({568, width - 20}, panel) + "set title 'held-out accuracy' offset 0,-0.4\n";
    script += "unset logscale y\nset yrange [*:*]\nset ytics autofreq\n";
    script += detail::plot_command(detail::plot_lines(results, &measurement::accuracy));
  }
  return script + "unset multiplot\n";
}

}  // namespace rubato::report

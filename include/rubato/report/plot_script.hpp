// SPDX-License-Identifier: MIT
// The picture of a race as a script for gnuplot, which draws it in report/gnuplot.hpp: who reaches the target first.
// Both panels have logarithmic axes and lower is better: the loss above the best one, and the test error.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/report/detail/canvas.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/totals.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {

/// What runs are compared by: time on their clock, or the gradients or bytes of all nodes together.
enum class plot_by : std::uint8_t { time, gradients, bytes };

struct plot_options {
  double target_loss = -std::numeric_limits<double>::infinity();  ///< drawn as a dashed line if it is finite
  double optimum = std::numeric_limits<double>::quiet_NaN();  ///< NaN: unknown, and the lowest loss of all runs is used
  plot_by by = plot_by::time;
  std::string clock = "time";  ///< what the axis of times is called
  std::string title = "distance to the best loss, and test error";
  std::string note{};  ///< below the title, in small letters
  std::string program = "gnuplot";  ///< a name on the PATH, or a path
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

/// Solid for the first seven lines; when a colour is used again, it has another dash.
inline auto dash_of(std::size_t k) -> std::string { return std::to_string(1 + k / 7); }

inline auto plot_number(double x) -> std::string { return std::isfinite(x) ? shortest(x) : "NaN"; }

// --- the numbers that are drawn

/// The mean of each value and of up to `half` values before and after it, of those that are finite; NaN stays NaN.
/// Windows shrink towards the first value and towards `kept`: both stay as they are, and no other mean holds `kept` or
/// values from both sides of it. So if `kept` is the first value at or below a target, it is the first mean too.
inline auto smoothed(std::span<double const> values, std::size_t half, std::optional<std::size_t> kept)
    -> std::vector<double> {
  auto means = std::vector<double>(values.begin(), values.end());
  for (auto k = std::size_t{0}; k < values.size(); ++k) {
    if (!std::isfinite(values[k])) continue;
    auto reach = (std::min)(half, k);
    if (kept) reach = k == *kept ? 0 : (std::min)(reach, (k > *kept ? k - *kept : *kept - k) - 1);
    auto sum = 0.0, count = 0.0;
    for (auto i = k - reach; i <= (std::min)(k + reach, values.size() - 1); ++i) {
      if (!std::isfinite(values[i])) continue;
      sum += values[i];
      count += 1;
    }
    if (reach > 0) means[k] = sum / count;
  }
  return means;
}

/// Looks before and after each that are averaged: a fiftieth of all.
inline auto half_window(std::size_t looks) -> std::size_t { return (looks + 25) / 50; }

/// The x axis: a number of a look, in a unit that suits the largest one.
struct plot_axis {
  plot_by by;
  double scale;
  std::string title;
  std::string unit;  // after a number

  auto of(measurement const& m) const -> double {
    if (by == plot_by::time) return seconds_of(m.at);
    return static_cast<double>(by == plot_by::gradients ? m.gradients : m.bytes_sent) / scale;
  }
  auto words(double x) const -> std::string {
    return fixed(x, unit.empty() || (x >= 100 && by != plot_by::time) ? 0 : 2) + unit;
  }
};

inline auto axis_of(std::span<run_result const> results, plot_options const& o) -> plot_axis {
  auto gradients = std::uint64_t{0}, bytes = std::uint64_t{0};
  for (auto const& r : results) {
    for (auto const& m : r.history)
      gradients = (std::max)(gradients, m.gradients), bytes = (std::max)(bytes, m.bytes_sent);
  }
  if (o.by == plot_by::time) return {o.by, 1, o.clock + " in s", " s"};
  if (o.by == plot_by::gradients) {
    if (gradients < 10'000) return {o.by, 1, "gradients of all nodes", ""};
    return {o.by, 1e3, "gradients of all nodes, in thousands", " k"};
  }
  if (bytes < 20'000'000'000) return {o.by, 1e6, "MB sent by all nodes", " MB"};
  return {o.by, 1e9, "GB sent by all nodes", " GB"};
}

/// What is drawn of one run, look by look.
struct plot_curve {
  std::vector<double> x;
  std::vector<double> above;  // loss above the best
  std::vector<double> above_mean;
  std::vector<double> error;  // in per cent
  std::vector<double> error_mean;
  std::optional<std::size_t> hit;  // the look that first reached the target
};

inline auto has_number(run_result const& r, double measurement::* measure) -> bool {
  return std::any_of(r.history.begin(), r.history.end(), [&](auto const& m) { return std::isfinite(m.*measure); });
}

/// Means are of losses and not of distances, since the logarithm of a distance of zero is no number.
inline auto curve_of(run_result const& r, plot_axis const& axis, double best) -> plot_curve {
  auto curve = plot_curve{};
  for (auto k = std::size_t{0}; k < r.history.size(); ++k) {
    auto const& m = r.history[k];
    curve.x.push_back(axis.of(m));
    curve.above.push_back(m.loss - best);
    curve.error.push_back(100 * (1 - m.accuracy));
    if (!curve.hit && r.time_to_target && m.at >= *r.time_to_target) curve.hit = k;
  }
  auto const half = half_window(r.history.size());
  curve.above_mean = smoothed(curve.above, half, curve.hit);
  curve.error_mean = smoothed(curve.error, half, {});
  return curve;
}

/// All of a picture. `order`: those that reach the target by when they do, the others by their last loss.
struct plot_race {
  std::span<run_result const> results;
  plot_options const* options;
  plot_axis axis;
  double best = std::numeric_limits<double>::infinity();
  std::vector<plot_curve> curves{};
  std::vector<std::size_t> order{};

  auto has_target() const -> bool { return std::isfinite(options->target_loss); }
};

inline auto race_of(std::span<run_result const> results, plot_options const& o) -> plot_race {
  auto race = plot_race{results, &o, axis_of(results, o)};
  for (auto const& r : results) {
    for (auto const& m : r.history)
      if (std::isfinite(m.loss)) race.best = (std::min)(race.best, m.loss);
  }
  if (std::isfinite(o.optimum)) race.best = o.optimum;
  for (auto k = std::size_t{0}; k < results.size(); ++k) {
    race.curves.push_back(curve_of(results[k], race.axis, race.best));
    if (has_number(results[k], &measurement::loss)) race.order.push_back(k);
  }
  auto const rank = [&](std::size_t k) {
    auto const& c = race.curves[k];
    auto const last = final_loss(results[k]);
    constexpr auto never = std::numeric_limits<double>::infinity();
    return std::tuple{c.hit ? c.x[*c.hit] : never, std::isfinite(last) ? last : never, k};
  };
  std::sort(race.order.begin(), race.order.end(), [&](auto a, auto b) { return rank(a) < rank(b); });
  return race;
}

// --- axes

/// Positions of tics on a logarithmic axis: powers of ten or the coarsest of some ladders between them that gives
/// enough, or on a short axis round numbers at equal distances. At least four. Requires 0 < low < high.
inline auto log_tics(interval shown) -> std::vector<double> {
  auto const ladders = std::array<std::pair<std::size_t, std::vector<double>>, 4>{
      {{4, {1}}, {4, {1, 2, 5}}, {6, {1, 1.5, 2, 3, 4, 5, 7}}, {4, {1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 8}}}};
  auto const first = static_cast<int>(std::floor(std::log10(shown.low)));
  auto const last = static_cast<int>(std::floor(std::log10(shown.high)));
  for (auto const& [enough, ladder] : ladders) {
    auto tics = std::vector<double>{};
    auto const stride = ladder.size() == 1 ? (std::max)(1, (last - first) / 8) : 1;
    for (auto decade = first; decade <= last; decade += stride)
      for (auto const rung : ladder)
        if (auto const tic = rung * std::pow(10.0, decade); tic >= shown.low && tic <= shown.high) tics.push_back(tic);
    if (tics.size() >= enough) return tics;
  }
  auto const decade = std::pow(10.0, std::floor(std::log10((shown.high - shown.low) / 4)));
  for (auto const rung : {5.0, 2.0, 1.0}) {
    auto tics = std::vector<double>{};
    auto const step = rung * decade;
    for (auto k = std::ceil(shown.low / step); k * step <= shown.high; ++k) tics.push_back(k * step);
    if (tics.size() >= 4) return tics;
  }
  return {};
}

inline auto log_axis(interval shown) -> std::string {
  auto script = "set yrange [" + shortest(shown.low) + ':' + shortest(shown.high) + "]\nset logscale y\nset ytics (";
  auto const tics = log_tics(shown);
  for (auto t = std::size_t{0}; t < tics.size(); ++t) {
    auto const sized = tics[t] >= 1e-3 && tics[t] < 1e5;
    auto const label = sized ? "'%g' " : "'%.0e' ";
    script += (t == 0 ? "" : ", ") + std::string{label} + shortest(tics[t]);
  }
  return script + ")\n";
}

inline auto linear_axis() -> std::string { return "unset logscale y\nset yrange [*:*]\nset ytics autofreq\n"; }

/// With a twentieth of the axis free at both ends.
inline auto roomy(interval shown) -> interval {
  auto const room = (std::max)(std::pow(shown.high / shown.low, 0.05), 1.01);
  return {shown.low / room, shown.high * room};
}

/// What a logarithmic axis should show of these lines: all that is positive, but for the lowest part of each. The run
/// that reaches the best loss comes as near to zero as one likes.
inline auto shown_of(plot_race const& race, std::vector<double> plot_curve::* line, double lowest_part) -> interval {
  auto shown = interval{};
  for (auto const& c : race.curves) {
    auto positive = std::vector<double>{};
    for (auto const y : c.*line)
      if (std::isfinite(y) && y > 0) positive.push_back(y);
    if (positive.empty()) continue;
    std::sort(positive.begin(), positive.end());
    shown.cover(positive[static_cast<std::size_t>(lowest_part * static_cast<double>(positive.size()))]);
    shown.cover(positive.back());
  }
  return shown;
}

inline auto loss_axis(plot_race const& race) -> std::string {
  auto shown = shown_of(race, &plot_curve::above_mean, 0.05);
  if (shown.empty()) return linear_axis();
  if (auto const goal = race.options->target_loss - race.best; goal > 0) shown.cover(goal / 1.5), shown.cover(goal);
  return log_axis(roomy(shown));
}

/// The first looks, with errors of many times those that are reached, would take most of the axis: it is cut there.
inline auto error_axis(plot_race const& race) -> std::string {
  auto shown = shown_of(race, &plot_curve::error_mean, 0);
  if (shown.empty()) return linear_axis();
  shown.high = (std::min)(shown.high, 2 * shown.low);
  return log_axis(roomy(shown));
}

// --- data and lines

/// Named data of run k: `x above mean error mean`, and in $hitK its mark.
inline auto plot_data(plot_curve const& c, std::size_t k) -> std::string {
  auto const number = std::to_string(k);
  auto data = "$run" + number + " << END\n";
  for (auto i = std::size_t{0}; i < c.x.size(); ++i) {
    data += plot_number(c.x[i]);
    for (auto const* const line : {&c.above, &c.above_mean, &c.error, &c.error_mean})
      data += ' ' + plot_number((*line)[i]);
    data += '\n';
  }
  data += "END\n";
  if (c.hit) {
    data += "$hit" + number + " << END\n" + plot_number(c.x[*c.hit]) + ' ' + plot_number(c.above[*c.hit]) + "\nEND\n";
  }
  return data;
}

/// How run k's mean is drawn wherever it appears.
inline auto mean_ink(std::size_t k) -> ink { return {colour_of(k), 2.4, dash_of(k)}; }
inline auto target_ink() -> ink { return {"#404040", 1.4, "2"}; }

inline auto with_lines(ink const& pen) -> std::string {
  return " with lines lw " + shortest(pen.width) + " dt " + pen.dash + " lc rgb '" + pen.colour + '\'';
}

inline auto plot_command(std::vector<std::string> const& lines) -> std::string {
  auto command = std::string{"plot "};
  for (auto l = std::size_t{0}; l < lines.size(); ++l) command += (l == 0 ? "" : ", \\\n  ") + lines[l];
  return command + '\n';
}

/// Looks pale below the means. The first to arrive is drawn last, above the others.
inline auto lines_of(plot_race const& race, std::size_t column) -> std::vector<std::string> {
  auto lines = std::vector<std::string>{};
  for (auto const mean : {std::size_t{0}, std::size_t{1}}) {
    for (auto at = race.order.rbegin(); at != race.order.rend(); ++at) {
      auto const pen = mean == 1 ? mean_ink(*at) : ink{paler(colour_of(*at), 0.68)};
      lines.push_back("$run" + std::to_string(*at) + " using 1:" + std::to_string(column + mean) + with_lines(pen));
    }
  }
  return lines;
}

inline auto panel_style(plot_race const& race) -> std::string {
  auto across = interval{};
  for (auto const& c : race.curves)
    for (auto const x : c.x) across.cover(x);
  return "set border 3 lc rgb '#606060'\n"
         "set xtics autofreq nomirror out scale 0.6 textcolor rgb '#303030'\n"
         "set ytics nomirror out scale 0.6 textcolor rgb '#303030'\n"
         "set grid lc rgb '#e4e4e4' lt 1 lw 0.8\n"
         "set xlabel " +
         plot_string(race.axis.title) +
         " offset 0,0.2 textcolor rgb '#303030'\nset xrange [0:" + shortest(across.high > 0 ? across.high : 1) + "]\n";
}

/// With a mark where each run reaches the target, and a line down to the axis from there.
inline auto loss_panel(plot_race const& race) -> std::string {
  auto script = "set title 'loss above " +
                std::string{std::isfinite(race.options->optimum) ? "the optimum" : "the lowest of all runs"} + ", " +
                readable(race.best) + "' offset 0,-0.4\n" + loss_axis(race);
  auto lines = lines_of(race, 2);
  if (race.has_target()) lines.push_back(shortest(race.options->target_loss - race.best) + with_lines(target_ink()));
  for (auto const k : race.order) {
    auto const& c = race.curves[k];
    if (!c.hit) continue;
    auto const number = std::to_string(k);
    auto const x = plot_number(c.x[*c.hit]);
    script += "set arrow from first " + x + ",first " + plot_number(c.above[*c.hit]) + " to first " + x +
              ",graph 0 nohead lw 1.2 dt 3 lc rgb '" + colour_of(k) + "'\n";
    lines.push_back("$hit" + number + " using 1:2 with points pt 7 ps 1.05 lc rgb '#ffffff'");
    lines.push_back("$hit" + number + " using 1:2 with points pt 7 ps 0.8 lc rgb '" + colour_of(k) + '\'');
  }
  return script + plot_command(lines) + "unset arrow\n";
}

inline auto error_panel(plot_race const& race) -> std::string {
  return "set title 'test error in %' offset 0,-0.4\n" + error_axis(race) + plot_command(lines_of(race, 4));
}

// --- words

constexpr auto picture_edge = 20.0, legend_row = 20.0;

/// One entry of the legend: of a run, in the order of arrival, or without a line.
struct legend_entry {
  std::string words;
  std::optional<std::size_t> run;
  point at{};
};

/// Entries in rows as long as the picture is wide; `top` becomes the height of the last row.
inline auto legend_of(plot_race const& race, double width, double& top) -> std::vector<legend_entry> {
  auto entries = std::vector<legend_entry>{{"loss at the end:", {}}};
  if (race.has_target()) {
    auto const* const what = race.axis.by == plot_by::time    ? "time"
                             : race.axis.by == plot_by::bytes ? "bytes"
                                                              : "gradients";
    entries.front().words = what + (" to loss " + readable(race.options->target_loss)) + " (dashed):";
  }
  for (auto const k : race.order) {
    auto const& c = race.curves[k];
    auto const number = c.hit               ? race.axis.words(c.x[*c.hit])
                        : race.has_target() ? "never"
                                            : readable(final_loss(race.results[k]));
    entries.push_back({race.results[k].algorithm + "  " + number, k});
  }
  auto x = picture_edge;
  for (auto& e : entries) {
    auto const length = text_width(e.words, 12) + (e.run ? 30 : 0);
    if (x > picture_edge && x + length > width - picture_edge) x = picture_edge, top += legend_row;
    e.at = {x, top};
    x += length + 18;
  }
  return entries;
}

/// How the lines are made, for the foot of the picture.
inline auto foot_of(plot_race const& race) -> std::string {
  auto half = std::size_t{0};
  for (auto const& c : race.curves) half = (std::max)(half, half_window(c.x.size()));
  auto words = half == 0 ? std::string{}
                         : "Strong lines: means of " + std::to_string(2 * half + 1) +
                               " looks, fewer at the ends and beside a mark. Pale lines: single looks.";
  if (race.has_target())
    words += std::string{words.empty() ? "" : " "} + "Marks: the first look at or below the target.";
  return words;
}

/// All words of the picture, with the legend; `top` becomes the height of the last row of the legend.
inline void put_words(canvas& sheet, plot_race const& race, double& top) {
  auto const room = sheet.width() - 2 * picture_edge;
  sheet.text({picture_edge, 20}, fitted(race.options->title, 15, room), {15, "#000000"});
  sheet.text({picture_edge, 41}, fitted(race.options->note, 11, room), {11, "#505050"});
  for (auto const& e : legend_of(race, sheet.width(), top)) {
    sheet.text({e.at.x + (e.run ? 30 : 0), e.at.y}, e.words);
    if (e.run) sheet.line(e.at, {e.at.x + 24, e.at.y}, mean_ink(*e.run));
  }
  sheet.text({picture_edge, sheet.height() - 13}, fitted(foot_of(race), 11, room), {11, "#505050"});
}

}  // namespace detail

/// The script draws an SVG to gnuplot's standard output: two panels side by side, or the loss alone where no run has an
/// accuracy. Empty when no run has a finite loss. Equal results give equal text.
[[nodiscard]] inline auto plot_script(std::span<run_result const> results, plot_options const& options) -> std::string {
  using detail::point;
  auto const race = detail::race_of(results, options);
  if (race.order.empty()) return {};
  auto const both = std::any_of(results.begin(), results.end(),
                                [](auto const& r) { return detail::has_number(r, &measurement::accuracy); });
  auto const width = both ? 1000.0 : 640.0;
  auto const first_row = options.note.empty() ? 46.0 : 64.0;
  auto last_row = first_row;
  static_cast<void>(detail::legend_of(race, width, last_row));
  auto sheet = detail::canvas{width, last_row + 416};
  auto row = first_row;
  detail::put_words(sheet, race, row);

  auto script = sheet.terminal();
  for (auto const k : race.order) script += detail::plot_data(race.curves[k], k);
  script += "set multiplot\n" + sheet.script() + detail::panel_style(race);
  auto const top = last_row + 42, bottom = sheet.height() - 88;
  script += sheet.frame({74, top}, {both ? 490 : width - 20, bottom}) + detail::loss_panel(race);
  if (both) script += sheet.frame({572, top}, {width - 20, bottom}) + detail::error_panel(race);
  return script + "unset multiplot\n";
}

}  // namespace rubato::report

// SPDX-License-Identifier: MIT
// A progress bar on a terminal. A pure function makes the line; the class decides when to draw it.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <rubato/report/numbers.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {
namespace detail {

/// Three digits and a unit: 7, 12.3 k, 1.21 M.
inline auto scaled(double x) -> std::string {
  auto unit = std::string{};
  for (auto const* const next : {" k", " M", " G"}) {
    if (x < 999.5) break;
    x /= 1000;
    unit = next;
  }
  return fixed(x, unit.empty() || x >= 99.95 ? 0 : x >= 9.995 ? 1 : 2) + unit;
}

/// 0:07, 12:34, 1:02:03.
inline auto clock_text(std::chrono::seconds d) -> std::string {
  auto const two_digits = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  auto const all = std::int64_t{d.count()};
  auto const minutes = all / 60 % 60;
  auto const head = all < 3600 ? std::to_string(minutes) : std::to_string(all / 3600) + ':' + two_digits(minutes);
  return head + ':' + two_digits(all % 60);
}

}  // namespace detail

/// `[=====>    ]  42 %  1.21 M gradients/s  ETA 0:12`, exactly `width` characters. If that is too narrow for a bar, it
/// is the text alone, cut to `width`. `fraction` is clamped to 0..1. An unknown `eta`, or a rate that is not finite,
/// shows as "-".
[[nodiscard]] inline auto progress_line(double fraction, double rate, std::optional<std::chrono::seconds> eta,
                                        std::size_t width) -> std::string {
  auto const done = std::isnan(fraction) ? 0.0 : std::clamp(fraction, 0.0, 1.0);
  auto const percent = std::to_string(static_cast<int>(100 * done));
  auto text = std::string(3 - percent.size(), ' ') + percent + " %  " +
              (std::isfinite(rate) ? detail::scaled(rate) : "-") + " gradients/s  ETA " +
              (eta ? detail::clock_text(*eta) : "-");
  auto constexpr frame = std::size_t{4};  // two brackets, two spaces
  auto constexpr shortest_bar = std::size_t{6};
  if (width < text.size() + frame + shortest_bar) return text.substr(0, width);
  auto const cells = width - text.size() - frame;
  auto const full = static_cast<std::size_t>(done * static_cast<double>(cells));
  auto bar = std::string(full, '=');
  if (full != 0 && full < cells) bar.back() = '>';
  return '[' + bar + std::string(cells - full, ' ') + "]  " + text;
}

/// Where a bar is drawn: only on a terminal, never, or on anything (tests).
enum class progress_mode : std::uint8_t { on_terminal, quiet, always };

/// Draws over one line, at most ten times a second, and leaves an empty line behind.
/// **Thread safety:** none; one thread updates it.
class progress_bar {
 public:
  using clock = std::chrono::steady_clock;
  static constexpr auto pause = std::chrono::milliseconds{100};

  /// `label` stands before the bar. `stream` must outlive the bar.
  explicit progress_bar(std::string label, progress_mode mode = progress_mode::on_terminal, std::FILE* stream = stderr,
                        clock::time_point now = clock::now())
      : label_{std::move(label)}, stream_{stream}, begun_{now}, drawn_{now} {
    visible_ = mode == progress_mode::always || (mode == progress_mode::on_terminal && ::isatty(::fileno(stream)) == 1);
  }
  progress_bar(progress_bar const&) = delete;
  auto operator=(progress_bar const&) -> progress_bar& = delete;
  ~progress_bar() { finish(); }

  /// `fraction` of the run is done, `gradients` gradients so far. Costs one reading of the clock, nothing when
  /// invisible.
  void update(double fraction, std::uint64_t gradients) {
    if (visible_) update(fraction, gradients, clock::now());
  }

  /// The same at a given time.
  void update(double fraction, std::uint64_t gradients, clock::time_point now) {
    if (!visible_ || now - drawn_ < pause) return;
    drawn_ = now;
    dirty_ = true;
    auto const elapsed = std::chrono::duration<double>(now - begun_).count();
    auto const rate = static_cast<double>(gradients) / elapsed;
    auto const left = elapsed * (1 - fraction) / fraction;
    auto const known = left >= 0 && left < 1e7;  // false for a fraction that is zero or NaN
    auto eta = std::optional<std::chrono::seconds>{};
    if (known) eta.emplace(std::llround(left));
    auto const prefix = label_.empty() ? std::string{} : label_ + ' ';
    auto const columns = width();
    auto const room = columns > prefix.size() ? columns - prefix.size() : 0;
    auto const line = '\r' + (prefix + progress_line(fraction, rate, eta, room)).substr(0, columns) + "\x1b[K";
    std::fwrite(line.data(), 1, line.size(), stream_);
    std::fflush(stream_);
  }

  /// Clears the line; the bar is not drawn again.
  void finish() {
    if (dirty_) {
      std::fputs("\r\x1b[K", stream_);
      std::fflush(stream_);
    }
    dirty_ = visible_ = false;
  }

 private:
  /// One column less than the terminal has, so that no line wraps; at most 99 columns.
  auto width() const -> std::size_t {
    auto size = ::winsize{};
    auto const known = ::ioctl(::fileno(stream_), TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return known ? std::min<std::size_t>(size.ws_col - 1U, 99) : 79;
  }

  std::string label_;
  std::FILE* stream_;
  clock::time_point begun_;
  clock::time_point drawn_;
  bool visible_ = false;
  bool dirty_ = false;
};

/// A ready observer (run/observer.hpp) that draws a bar: the progress of a run towards `end`.
class progress {
 public:
  /// Parameters as for progress_bar. If only a loss ends the run, no fraction is known.
  explicit progress(until const& end, std::string label = {}, progress_mode mode = progress_mode::on_terminal,
                    std::FILE* stream = stderr)
      : end_{end}, bar_{std::make_shared<progress_bar>(std::move(label), mode, stream)} {}

  void operator()(look const& l) const {
    auto const share = [](auto done, auto all) { return static_cast<double>(done) / static_cast<double>(all); };
    bar_->update((std::max)(share(l.seen.at.count(), end_.time.count()), share(l.seen.gradients, end_.gradients)),
                 l.seen.gradients);
  }

 private:
  until end_;
  std::shared_ptr<progress_bar> bar_;
};

}  // namespace rubato::report

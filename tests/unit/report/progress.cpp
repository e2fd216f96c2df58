// SPDX-License-Identifier: MIT
#include <rubato/report/progress.hpp>

#include <algorithm>
#include <array>
#include <limits>

#include "support/catch.hpp"

namespace {

using namespace rubato::report;
using namespace std::chrono_literals;
using times = progress_bar::clock::time_point;

/// What was written to a stream so far.
auto to_text(std::FILE* stream) -> std::string {
  auto buffer = std::array<char, 4096>{};
  std::rewind(stream);
  return {buffer.data(), std::fread(buffer.data(), 1, buffer.size(), stream)};
}

class temporary_stream {
 public:
  temporary_stream(temporary_stream const&) = delete;
  auto operator=(temporary_stream const&) -> temporary_stream& = delete;
  temporary_stream() = default;
  ~temporary_stream() { std::fclose(file_); }
  auto get() const -> std::FILE* { return file_; }

 private:
  std::FILE* file_ = std::tmpfile();
};

auto count_of(char letter, std::string const& text) -> std::ptrdiff_t {
  return std::count(text.begin(), text.end(), letter);
}

TEST_CASE("a progress line has a bar, percent, rate and remaining time in exactly its width") {
  CHECK(progress_line(0.5, 1214567, 12s, 60) == "[=========>           ]   50 %  1.21 M gradients/s  ETA 0:12");
  CHECK(progress_line(0, 7, std::nullopt, 50) == "[                   ]    0 %  7 gradients/s  ETA -");
  CHECK(progress_line(1, 999600, 0s, 50) == "[===========]  100 %  1.00 M gradients/s  ETA 0:00");
  for (auto const width : {50U, 79U, 99U}) CHECK(progress_line(0.999, 12345, 3723s, width).size() == width);
}

TEST_CASE("a progress line too narrow for a bar is the text, cut") {
  CHECK(progress_line(0.42, 100, 12s, 33) == " 42 %  100 gradients/s  ETA 0:12");
  CHECK(progress_line(0.42, 100, 12s, 6) == " 42 % ");
  CHECK(progress_line(0.42, 100, 12s, 0).empty());
}

TEST_CASE("a progress line limits invalid values to 0..1 and prints dashes") {
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(progress_line(nan, nan, std::nullopt, 30) == "  0 %  - gradients/s  ETA -");
  CHECK(progress_line(7, 1, 0s, 30) == "100 %  1 gradients/s  ETA 0:00");
  CHECK(progress_line(-1, 1, 0s, 30) == "  0 %  1 gradients/s  ETA 0:00");
}

TEST_CASE("rates have three digits and times the form of a clock") {
  CHECK(detail::scaled(999.4) == "999");
  CHECK(detail::scaled(999.6) == "1.00 k");
  CHECK(detail::scaled(12345) == "12.3 k");
  CHECK(detail::scaled(3.21e9) == "3.21 G");
  CHECK(detail::clock_text(7s) == "0:07");
  CHECK(detail::clock_text(754s) == "12:34");
  CHECK(detail::clock_text(3723s) == "1:02:03");
}

TEST_CASE("a bar is drawn at most ten times a second and leaves an empty line") {
  auto const stream = temporary_stream{};
  auto const begun = times{};
  {
    auto bar = progress_bar{"r_fast", progress_mode::always, stream.get(), begun};
    for (auto t = 0ms; t <= 1s; t += 1ms) bar.update(0.5, 1000, begun + t);
  }
  auto const text = to_text(stream.get());
  CHECK(count_of('\r', text) == 11);  // ten drawings, one clearing
  CHECK(text.rfind("\rr_fast [", 0) == 0);
  CHECK(text.find("50 %  1.00 k gradients/s  ETA 0:01\x1b[K\r\x1b[K") == text.size() - 41);
}

TEST_CASE("a bar is silent where there is no terminal, or when told so") {
  for (auto const mode : {progress_mode::on_terminal, progress_mode::quiet}) {
    auto const stream = temporary_stream{};
    auto bar = progress_bar{"r_fast", mode, stream.get(), times{}};
    bar.update(0.5, 1000, times{} + 1s);
    bar.finish();
    CHECK(to_text(stream.get()).empty());
  }
}

}  // namespace

// SPDX-License-Identifier: MIT
#include <rubato/report/plot_script.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <rubato/core/random.hpp>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using report::plot_by;
using rubato::test::sample_result;

auto holds(std::string const& text, std::string const& part) -> bool { return text.find(part) != std::string::npos; }

/// The place of each part in the text, of which all must be there.
auto are_in_order(std::string const& text, std::vector<std::string> const& parts) -> bool {
  auto from = std::size_t{0};
  for (auto const& part : parts) {
    from = text.find(part, from);
    if (from == std::string::npos) return false;
  }
  return true;
}

/// As sample_result, but it reaches its target at this time, with twice the gradients and half the bytes.
auto arriving_at(std::string const& algorithm, std::chrono::nanoseconds at) {
  auto r = sample_result(algorithm);
  r.time_to_target = r.history.back().at = at;
  r.history.back().gradients *= 2;
  r.history.back().bytes_sent /= 2;
  return r;
}

TEST_CASE("a script holds the distance to the lowest loss of all runs and the error in per cent, look by look") {
  auto const results = std::vector{sample_result("a"), sample_result("b")};
  auto const script = report::plot_script(results, {.target_loss = 0.5, .title = "data, nodes", .note = "weather"});
  CHECK(holds(script, "$run1 << END\n0 1.5 1.5 90 90\n0.1 0.5 0.5 50 50\n0.3 0 0 25 25\nEND\n"));
  CHECK(holds(script, "$hit0 << END\n0.3 0\nEND\n"));
  CHECK(holds(script, "\nset label 'data, nodes' at "));
  CHECK(holds(script, "\nset label 'weather' at "));
  CHECK(holds(script, "'time to loss 0.5000 (dashed):'"));
  CHECK(holds(script, "set title 'loss above the lowest of all runs, 0.5000'"));
  CHECK(holds(script, "set title 'test error in %'"));
  CHECK(holds(script, "set xlabel 'time in s'"));
  CHECK(holds(script, "\nset logscale y"));
}

TEST_CASE("an optimum that is known takes the place of the lowest loss") {
  auto const r = sample_result("a");
  auto const script = report::plot_script({&r, 1}, {.target_loss = 0.5, .optimum = 0.25});
  CHECK(holds(script, "\n0.3 0.25 0.25 25 25\nEND\n"));
  CHECK(holds(script, "set title 'loss above the optimum, 0.2500'"));
  CHECK(holds(script, "\n  0.25 with lines lw 1.4 dt 2"));  // the target
}

TEST_CASE("the legend is in the order of arrival, by time, gradients or bytes, and those that never arrive are last") {
  auto never = sample_result("never");
  never.time_to_target.reset();
  auto const results = std::vector{never, arriving_at("late", 400ms), sample_result("early")};
  auto const by = [&](plot_by what) { return report::plot_script(results, {.target_loss = 0.5, .by = what}); };
  CHECK(are_in_order(by(plot_by::time), {"'time to loss", "'early  0.30 s'", "'late  0.40 s'", "'never  never'"}));
  CHECK(are_in_order(by(plot_by::gradients), {"'gradients to loss", "'early  60'", "'late  120'", "'never  never'",
                                              "set xlabel 'gradients of all nodes'"}));
  CHECK(are_in_order(by(plot_by::bytes), {"'bytes to loss", "'late  0.01 MB'", "'early  0.01 MB'", "'never  never'",
                                          "set xlabel 'MB sent by all nodes'"}));
  CHECK(holds(by(plot_by::bytes), "\n0.004 0.5 0.5 50 50\n0.006 0 0 25 25\nEND\n"));
}

TEST_CASE("numbers of gradients and bytes that are large have a unit of their own") {
  auto r = sample_result("a");
  r.history.back().gradients = 25'000;
  r.history.back().bytes_sent = 3'000'000'000'000;
  CHECK(holds(report::plot_script({&r, 1}, {.target_loss = 0.5, .by = plot_by::gradients}), "'a  25.00 k'"));
  CHECK(holds(report::plot_script({&r, 1}, {.target_loss = 0.5, .by = plot_by::bytes}), "'a  3000 GB'"));
}

TEST_CASE("a script leaves out an unknown accuracy and an infinite target, and orders by the last loss") {
  auto high = sample_result("high"), low = sample_result("low");
  high.history.back().loss = 0.75;
  auto results = std::vector{high, low};
  for (auto& r : results) {
    r.time_to_target.reset();
    for (auto& m : r.history) m.accuracy = std::nan("");
  }
  auto const script = report::plot_script(results, {});
  CHECK_FALSE(holds(script, "test error in %"));
  CHECK_FALSE(holds(script, "target"));
  CHECK_FALSE(holds(script, "$hit"));
  CHECK(are_in_order(script, {"'loss at the end:'", "'low  0.5000'", "'high  0.7500'"}));
}

TEST_CASE("a run whose loss never changes has a linear axis, for it has no distance") {
  auto r = sample_result("a");
  for (auto& m : r.history) m.loss = 1, m.accuracy = std::nan("");
  auto const script = report::plot_script({&r, 1}, {});
  CHECK(holds(script, "\n0.3 0 0 NaN NaN\n"));
  CHECK_FALSE(holds(script, "\nset logscale y"));
}

TEST_CASE("there is no script without a finite loss, and a run without one is left out") {
  auto r = sample_result("unknown");
  for (auto& m : r.history) m.loss = std::nan("");
  CHECK(report::plot_script({&r, 1}, {}).empty());
  CHECK(report::plot_script({}, {.target_loss = 1}).empty());
  auto const script = report::plot_script(std::vector{r, sample_result("known")}, {});
  CHECK(holds(script, "$run1 "));
  CHECK_FALSE(holds(script, "$run0 "));
  CHECK_FALSE(holds(script, "unknown"));
}

TEST_CASE("a mean is over equally many values on both sides, and over fewer beside the first and the kept one") {
  using report::detail::smoothed;
  CHECK(smoothed(std::vector{1.0, 2.0, 6.0, 4.0, 8.0}, 1, {}) == std::vector{1.0, 3.0, 4.0, 6.0, 6.0});
  CHECK(smoothed(std::vector{9.0, 6.0, 5.0, 0.0, 7.0, 8.0, 9.0}, 2, 3) ==
        std::vector{9.0, 20.0 / 3, 5.0, 0.0, 7.0, 8.0, 8.0});
  auto const gap = smoothed(std::vector{1.0, std::nan(""), 3.0, 5.0}, 1, {});
  CHECK(std::isnan(gap[1]));
  CHECK(gap[2] == 4.0);
  CHECK(smoothed({}, 3, {}).empty());
}

TEST_CASE("smoothing moves no arrival: means before it are above the target, whatever the noise") {
  auto draw = random_stream{{11, 3}};
  for (auto run = 0; run < 50; ++run) {
    auto losses = std::vector<double>{};
    for (auto k = 0; k < 300; ++k) losses.push_back(2.0 / (1 + 0.1 * k) + draw.uniform());
    constexpr auto target = 0.5;
    auto hit = std::optional<std::size_t>{};
    for (auto k = std::size_t{0}; !hit && k < losses.size(); ++k)
      if (losses[k] <= target) hit = k;
    REQUIRE(hit);
    auto const means = report::detail::smoothed(losses, 6, hit);
    CHECK(means[*hit] == losses[*hit]);
    for (auto k = std::size_t{0}; k < *hit; ++k) CHECK(means[k] > target);
  }
}

TEST_CASE("a name cannot leave its quotes") {
  CHECK(report::detail::plot_string("it's\nquit") == "'it''s quit'");
  auto const r = sample_result("it's\nquit");
  CHECK(holds(report::plot_script({&r, 1}, {.target_loss = 0.5, .title = "a\n'; quit"}), "'it''s quit  0.30 s'"));
}

TEST_CASE("a text that is too wide ends in dots, between two letters") {
  using report::detail::fitted;
  using report::detail::text_width;
  CHECK(fitted("short", 12, 100) == "short");
  CHECK(fitted("rather long", 10, text_width("rather", 10)) == "rat...");
  CHECK(fitted("\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc", 10, text_width("12345", 10) + 1) == "\u00e4\u00f6...");
}

TEST_CASE("a logarithmic axis has at least four tics") {
  using report::detail::log_tics;
  CHECK(log_tics({0.4, 2.5}) == std::vector{0.4, 0.5, 0.7000000000000001, 1.0, 1.5, 2.0});
  CHECK(log_tics({0.01, 12}) == std::vector{0.01, 0.1, 1.0, 10.0});
  CHECK(log_tics({15.5, 31}) == std::vector{16.0, 18.0, 20.0, 25.0, 30.0});
  CHECK(log_tics({0.42, 0.43}).size() >= 4);
  CHECK(log_tics({1e-300, 1e300}).size() < 20);
}

TEST_CASE("paler colours and letters on them") {
  using report::detail::paler;
  CHECK(paler("#0072b2", 0) == "#0072b2");
  CHECK(paler("#0072b2", 1) == "#ffffff");
  CHECK(paler("#000000", 0.5) == "#808080");
  CHECK(report::detail::text_on("#0072b2") == "#ffffff");
  CHECK(report::detail::text_on("#f0e442") == "#202020");
}

}  // namespace

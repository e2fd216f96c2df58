// SPDX-License-Identifier: MIT
#include <rubato/report/plot_script.hpp>

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace rubato;
using rubato::test::sample_result;

auto holds(std::string const& text, std::string const& part) -> bool { return text.find(part) != std::string::npos; }

TEST_CASE("a script holds the data, the target as a dashed line, and both panels") {
  auto const results = std::vector{sample_result("a"), sample_result("b")};
  auto const script = report::plot_script(results, {.target_loss = 0.5});
  CHECK(holds(script, "$run1 << END\n0 2 0.1\n0.1 1 0.5\n0.3 0.5 0.75\nEND\n"));
  CHECK(holds(script, "$hit0 << END\n0.3 0.5 0.75\nEND\n"));
  CHECK(holds(script, "title 'target 0.5000'"));
  CHECK(holds(script, "\nset logscale y"));
  CHECK(holds(script, "set title 'held-out accuracy'"));
}

TEST_CASE("a script leaves out an unknown accuracy and an infinite target") {
  auto r = sample_result("a");
  for (auto& m : r.history) m.accuracy = std::nan("");
  auto const script = report::plot_script({&r, 1}, {});
  CHECK_FALSE(holds(script, "accuracy"));
  CHECK_FALSE(holds(script, "target"));
}

TEST_CASE("a loss of zero or below makes the axis linear") {
  auto r = sample_result("a");
  r.history.back().loss = 0;
  CHECK_FALSE(holds(report::plot_script({&r, 1}, {}), "\nset logscale y"));
}

TEST_CASE("there is no script without a finite loss") {
  auto r = sample_result("a");
  for (auto& m : r.history) m.loss = std::nan("");
  CHECK(report::plot_script({&r, 1}, {}).empty());
  CHECK(report::plot_script({}, {.target_loss = 1}).empty());
}

TEST_CASE("a name cannot leave its quotes") { CHECK(report::detail::plot_string("it's\nquit") == "'it''s quit'"); }

TEST_CASE("a logarithmic axis has at least four tics, or leaves them to gnuplot") {
  CHECK(report::detail::log_tics({0.4, 2.5}) == std::vector{0.4, 0.5, 0.7000000000000001, 1.0, 1.5, 2.0});
  CHECK(report::detail::log_tics({0.01, 12}) == std::vector{0.01, 0.1, 1.0, 10.0});
  CHECK(report::detail::log_tics({0.42, 0.43}).empty());
  CHECK(report::detail::log_tics({1e-300, 1e300}).size() < 20);
}

}  // namespace

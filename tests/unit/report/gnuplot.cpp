// SPDX-License-Identifier: MIT
#include <rubato/report/gnuplot.hpp>

#include <cmath>
#include <cstdlib>
#include <vector>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace rubato;
using report::plot_status;
using rubato::test::content_of;
using rubato::test::sample_result;
using rubato::test::scratch_folder;

auto gnuplot_is_here() -> bool { return std::system("gnuplot --version >/dev/null 2>&1") == 0; }

TEST_CASE("gnuplot draws every run by name, the same bytes each time, and leaves the picture alone") {
  if (!gnuplot_is_here()) {
    WARN("SKIPPED: there is no gnuplot on this machine");
    return;
  }
  auto const folder = scratch_folder{"it's drawn"};
  auto const results = std::vector{sample_result("r_fast"), sample_result("it's")};
  auto const path = folder.path() / "race.svg";
  auto const outcome = report::write_plot(path, results, {.target_loss = 0.5, .title = "a < b"});
  INFO(outcome.sentence);
  REQUIRE(outcome.status == plot_status::drawn);
  auto const picture = content_of(path);
  CHECK(picture.find("r_fast") != std::string::npos);
  CHECK(picture.find("time to loss 0.5000") != std::string::npos);
  CHECK(picture.find("<text>a &lt; b</text>") != std::string::npos);  // seen, and for screen readers:
  CHECK(picture.find("<title>a &lt; b</title>") != std::string::npos);
  CHECK(picture.find("GNUPLOT") == std::string::npos);
  CHECK(folder.files() == 1);
  CHECK(report::write_plot(path, results, {.target_loss = 0.5, .title = "a < b"}).status == plot_status::drawn);
  CHECK(content_of(path) == picture);
}

TEST_CASE("gnuplot draws every axis of a race, a race without accuracy, and one of a single look") {
  if (!gnuplot_is_here()) {
    WARN("SKIPPED: there is no gnuplot on this machine");
    return;
  }
  auto const folder = scratch_folder{"axes"};
  auto const drawn = [&](run_result const& r, report::plot_options const& o) {
    auto const outcome = report::write_plot(folder.path() / "race.svg", {&r, 1}, o);
    INFO(outcome.sentence);
    CHECK(outcome.status == plot_status::drawn);
  };
  auto r = sample_result("a");
  for (auto const by : {report::plot_by::time, report::plot_by::gradients, report::plot_by::bytes})
    drawn(r, {.target_loss = 0.5, .by = by, .note = "weather"});
  for (auto& m : r.history) m.accuracy = std::nan("");
  drawn(r, {});
  r.history.resize(1);
  drawn(r, {.target_loss = 0.5});
}

TEST_CASE("gnuplot draws a map with the names of all winners, the same bytes each time") {
  if (!gnuplot_is_here()) {
    WARN("SKIPPED: there is no gnuplot on this machine");
    return;
  }
  auto const folder = scratch_folder{"map"};
  auto const path = folder.path() / "map.svg";
  auto map = report::heat_map{.title = "it's a <map>", .columns = {{"loss", {"0 %", "30 %"}}}};
  map.cells = {{"r_fast", 1.5}, {"ring", 3}};
  auto const outcome = report::write_heat_map(path, map);
  INFO(outcome.sentence);
  REQUIRE(outcome.status == plot_status::drawn);
  auto const picture = content_of(path);
  for (auto const* const words : {"r_fast  1 of 2", "ring  1 of 2", "30 %", "<title>it's a &lt;map&gt;</title>"})
    CHECK(picture.find(words) != std::string::npos);
  CHECK(report::write_heat_map(path, map).status == plot_status::drawn);
  CHECK(content_of(path) == picture);
  CHECK(report::write_heat_map(path, map, "rubato no such program").status == plot_status::gnuplot_missing);
  CHECK(content_of(path) == picture);
}

TEST_CASE("without gnuplot nothing is drawn, the outcome says so, and an earlier picture stays") {
  auto const folder = scratch_folder{"missing"};
  auto const path = folder.path() / "race.svg";
  write_file(path, "earlier");
  auto const r = sample_result("a");
  auto const outcome = report::write_plot(path, {&r, 1}, {.program = "rubato no such program"});
  CHECK(outcome.status == plot_status::gnuplot_missing);
  CHECK(outcome.sentence == "the program 'rubato no such program' was not found");
  CHECK(content_of(path) == "earlier");
  CHECK(folder.files() == 1);
}

TEST_CASE("a gnuplot that fails, or that draws nothing, is no picture") {
  auto const folder = scratch_folder{"fails"};
  auto const r = sample_result("a");
  for (auto const* const program : {"false", "true"}) {
    auto const outcome = report::write_plot(folder.path() / "race.svg", {&r, 1}, {.program = program});
    CHECK(outcome.status == plot_status::gnuplot_failed);
    CHECK(outcome.sentence.find("could not draw") != std::string::npos);
  }
  CHECK(folder.files() == 0);
}

TEST_CASE("a run without a finite loss has nothing to draw") {
  auto const r = run_result{};
  auto const folder = scratch_folder{"nothing"};
  CHECK(report::write_plot(folder.path() / "race.svg", {&r, 1}).status == plot_status::nothing_to_draw);
  CHECK(folder.files() == 0);
}

}  // namespace

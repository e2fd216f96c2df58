// SPDX-License-Identifier: MIT
#include <rubato/report/prometheus.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

auto sample() -> node_status {
  auto s = node_status{};
  s.id = node_id{3};
  s.of = 4;
  s.algorithm = "r_fast";
  s.network = "a \"ring\" \\ of\nfour";
  s.at = node_status::phase::running;
  s.ran = 1500ms;
  s.iterations = 12345678901;
  s.iterations_a_second = 0.1;
  s.tracks = true;
  s.resident_bytes = 4096;
  s.newest = s.measured = {.at = 1s, .loss = 0.25, .tracking_residual = 0.5};
  s.neighbours.resize(2);
  s.neighbours[0].peer = node_id{2};
  s.neighbours[0].is = standing::here;
  s.neighbours[0].bytes_sent = 10;
  s.neighbours[0].age = {4, 2e9, 1s};
  s.neighbours[0].recent_age_s = 0.5;
  s.neighbours[1].is = standing::lost;
  s.neighbours[1].bytes_sent = 5;
  return s;
}

TEST_CASE("a status for Prometheus names node and peer, and has the values") {
  auto const text = report::prometheus_text(sample());
  INFO(text);
  for (auto const* const line : {
           "rubato_run_info{node=\"3\",algorithm=\"r_fast\",network=\"a \\\"ring\\\" \\\\ "
           "of\\nfour\",phase=\"running\"} 1\n",
           "# TYPE rubato_iterations_total counter\nrubato_iterations_total{node=\"3\"} 12345678901\n",
           "rubato_iterations_per_second{node=\"3\"} 0.1\n",
           "rubato_ran_seconds{node=\"3\"} 1.5\n",
           "rubato_bytes_sent_total{node=\"3\"} 15\n",
           "rubato_loss{node=\"3\"} 0.25\n",
           "rubato_tracking_residual{node=\"3\"} 0.5\n",
           "rubato_resident_bytes{node=\"3\"} 4096\n",
           "rubato_edge_age_seconds{node=\"3\",peer=\"2\"} 0.5\n",
           "rubato_edge_age_seconds{node=\"3\",peer=\"0\"} NaN\n",
           "rubato_edge_age_seconds_total{node=\"3\",peer=\"2\"} 2\n",
           "rubato_peer_standing{node=\"3\",peer=\"2\",standing=\"here\"} 1\n",
           "rubato_peer_standing{node=\"3\",peer=\"0\",standing=\"lost\"} 1\n",
       }) {
    INFO(line);
    CHECK(text.find(line) != text.npos);
  }
}

TEST_CASE("a residual of no tracking law, or that nobody looked at, is NaN, and so is a loss that is not known") {
  auto s = sample();
  auto const is_without_law = GENERATE(true, false);
  if (is_without_law) s.tracks = false;
  else s.newest.reset();
  s.measured.reset();
  auto const text = report::prometheus_text(s);
  CHECK(text.find("rubato_tracking_residual{node=\"3\"} NaN\n") != text.npos);
  CHECK(text.find("rubato_loss{node=\"3\"} NaN\n") != text.npos);
}

TEST_CASE("every line for Prometheus is of its format, and every sample follows help and type of its metric") {
  std::istringstream in{report::prometheus_text(sample())};
  std::set<std::string> told;
  auto samples = 0;
  for (std::string line, name; std::getline(in, line);) {
    INFO(line);
    std::istringstream words{line};
    std::string first, second, third, fourth;
    words >> first >> second >> third >> fourth;
    if (first == "#") {
      if (second == "HELP") {
        CHECK(told.insert(third).second);  // once
        name = third;
        CHECK(!fourth.empty());
      } else {
        CHECK(second == "TYPE");
        CHECK(third == name);
        CHECK((fourth == "counter" || fourth == "gauge"));
        CHECK((fourth == "counter") == name.ends_with("_total"));
      }
      continue;
    }
    ++samples;
    auto const brace = line.find('{'), end = line.rfind("} ");
    REQUIRE(end != line.npos);
    CHECK(line.substr(0, brace) == name);
    CHECK_NOTHROW(std::stod(line.substr(end + 2)));
  }
  CHECK(samples == 11 + 2 * 10);
}

}  // namespace
}  // namespace rubato::test

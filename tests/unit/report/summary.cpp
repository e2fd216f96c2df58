// SPDX-License-Identifier: MIT
#include <rubato/report/summary.hpp>

#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace rubato;

TEST_CASE("the race table has one line a run, and a dash where a run never reached the target") {
  auto results = std::vector{rubato::test::sample_result("r_fast"), rubato::test::sample_result("d_psgd")};
  results[1].time_to_target.reset();
  results[1].edges.clear();
  // clang-format off
  CHECK(report::summary_table(results, 0.5) ==
        "algorithm  s to loss 0.5000  final loss  accuracy  gradients  MB sent  packets lost  mean age ms  largest age ms\n"
        "---------  ----------------  ----------  --------  ---------  -------  ------------  -----------  --------------\n"
        "r_fast                 0.30      0.5000    0.7500         60     0.01             4         5.00            9.00\n"
        "d_psgd                    -      0.5000    0.7500         60     0.00             0            -               -\n");
  // clang-format on
}

TEST_CASE("the race table names no target if there is none") {
  auto const table = report::summary_table({}, -std::numeric_limits<double>::infinity());
  CHECK(table.find("s to target") != std::string::npos);
}

TEST_CASE("if the optimum is known, the table lists each run's final distance from it") {
  auto const results = std::vector{rubato::test::sample_result("r_fast"), rubato::test::sample_result("d_psgd")};
  auto const distances = std::vector{2.5e-6, 0.125};
  // clang-format off
  CHECK(report::distance_table(results, distances) ==
        "algorithm  from the optimum  gradients  MB sent  packets lost  mean age ms  largest age ms\n"
        "---------  ----------------  ---------  -------  ------------  -----------  --------------\n"
        "r_fast            2.500e-06         60     0.01             4         5.00            9.00\n"
        "d_psgd               0.1250         60     0.01             4         5.00            9.00\n");
  // clang-format on
}

TEST_CASE("the node table gives local iterations a second on the run's clock") {
  CHECK(report::node_table(rubato::test::sample_result("a")) ==
        "node  iterations  before  per second  gradients  dropped\n"
        "----  ----------  ------  ----------  ---------  -------\n"
        "   0          30       0       100.0         30        1\n"
        "   1          27       0        90.0         27        2\n");
  auto resumed = rubato::test::sample_result("a");
  auto const all = std::span{&resumed, 1};
  CHECK(report::counted_since(all).empty());
  resumed.nodes[1].iterations_before = 18;
  CHECK(report::node_table(resumed).find("   1          27      18        30.0         27        2\n") !=
        std::string::npos);
  CHECK(report::counted_since(all).starts_with("Times, gradients and bytes count from the checkpoint"));
}

TEST_CASE("the edge table has one line a directed edge and channel") {
  auto const table = report::edge_table(rubato::test::sample_result("a"));
  CHECK(table.find("0 -> 1  model         10    1000  0.00     1    10.0") != std::string::npos);
  CHECK(table.find("1 -> 0  tracker       20       0  0.01     3    15.0") != std::string::npos);
}

TEST_CASE("what a node counted whose result is missing is shown as unknown, not as 0") {
  auto r = rubato::test::sample_result("a");
  std::erase_if(r.nodes, [](auto const& n) { return n.id == rubato::node_id{1}; });
  auto const table = report::edge_table(r);
  CHECK(
      table.find("0 -> 1  model         10    1000  0.00     1    10.0           -          -          -          -") !=
      std::string::npos);
  CHECK(table.find("1 -> 0  tracker        -       -     -     -       -           -          -") != std::string::npos);
}

TEST_CASE("the edge table shows the rate of received body bytes, if they were counted") {
  auto r = rubato::test::sample_result("a");
  CHECK(report::edge_table(r).find("6.00") == std::string::npos);
  r.ended = std::chrono::seconds{2};
  r.edges[0].bytes_received = 12'000'000;
  CHECK(report::edge_table(r).find("6.00") != std::string::npos);
}

}  // namespace

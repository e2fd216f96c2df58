// SPDX-License-Identifier: MIT
#include <rubato/report/csv.hpp>

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace rubato;
auto const titles =
    std::string{"algorithm,time_s,loss,accuracy,consensus_distance,tracking_residual,gradients,bytes_sent\n"};

TEST_CASE("the history has a line of titles and one row a measurement of every run") {
  auto const results = std::vector{rubato::test::sample_result("a"), rubato::test::sample_result("b")};
  auto const rows = [](std::string const& name) {
    return name + ",0,2,0.1,0,0,0,0\n" + name + ",0.1,1,0.5,0.25,0,20,4000\n" + name +
           ",0.3,0.5,0.75,0.125,0,60,12000\n";
  };
  CHECK(report::history_csv(results) == titles + rows("a") + rows("b"));
}

TEST_CASE("a measure that is NaN leaves its field empty") {
  auto r = run_result{};
  r.algorithm = "a";
  r.history.push_back({std::chrono::seconds{1}, 0.5, std::nan(""), 0, std::nan(""), 3, 70});
  CHECK(report::history_csv({&r, 1}) == titles + "a,1,0.5,,0,,3,70\n");
}

TEST_CASE("a name with commas or quotes stays one field") {
  auto r = run_result{};
  r.algorithm = "a,\"b\"";
  r.history.emplace_back();
  CHECK(report::history_csv({&r, 1}) == titles + "\"a,\"\"b\"\"\",0,,,0,0,0,0\n");
}

TEST_CASE("limit weights have one row per worker of every run whose server weighted gradients") {
  auto const results = std::vector{rubato::test::sample_result("a"), rubato::test::served_result("asgd")};
  CHECK(report::limit_weights_csv(results) ==
        "algorithm,worker,gradients,mean_delay,mean_weight,capped,limit\n"
        "asgd,0,3,1,1,0,0.6\n"
        "asgd,1,1,4,2,0.3333333333333333,0.4\n");
}

TEST_CASE("without runs only the line of titles is written") { CHECK(report::history_csv({}) == titles); }

}  // namespace

// SPDX-License-Identifier: MIT
#include <rubato/report/nlohmann_json.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace rubato;
using nlohmann::ordered_json;

TEST_CASE("a report is an object with the options and the list of results") {
  auto const results = std::vector{rubato::test::sample_result("a"), rubato::test::sample_result("b")};
  auto const report = report::json_report({{"nodes", 2}}, results);
  CHECK(report["options"]["nodes"] == 2);
  REQUIRE(report["results"].size() == 2);
  CHECK(report["results"][1]["algorithm"] == "b");
}

TEST_CASE("a result holds what the run determined, in seconds") {
  auto const json = report::json_of(rubato::test::sample_result("a"));
  CHECK(json["network"] == "line(2)");
  CHECK(json["raw_step"] == 0.05);
  CHECK(json["stopped"] == "time");
  CHECK(json["ended_s"] == 0.3);
  CHECK(json["seconds_to_target"] == 0.3);
  CHECK(json["final_loss"] == 0.5);
  CHECK(json["test_accuracy"] == 0.75);
  CHECK(json["gradients"] == 60);
  CHECK(json["bytes_sent"] == 12000);
  CHECK(json["packets_lost"] == 4);
  CHECK(json["mean_age_s"] == 0.005);
  CHECK(json["mean_age_s_by_channel"] == ordered_json{{"model", 0.003}, {"tracker", 0.009}});
  CHECK(json["nodes"][1]["iterations"] == 27);
  CHECK(json["edges"][1]["channel"] == "tracker");
  CHECK(json["edges"][1]["lost"] == 3);
}

TEST_CASE("a result holds the limit weights of its workers, and none where no server weighed gradients") {
  auto const workers = report::json_of(rubato::test::served_result("asgd"))["limit_weights"];
  REQUIRE(workers.size() == 2);
  CHECK(workers[0] ==
        ordered_json{{"gradients", 3.0}, {"mean_delay", 1.0}, {"mean_weight", 1.0}, {"capped", 0.0}, {"limit", 0.6}});
  CHECK(workers[1]["mean_delay"] == 4);
  CHECK(workers[1]["capped"] == 1.0 / 3);
  CHECK(workers[1]["limit"] == 0.4);
  CHECK(report::json_of(rubato::test::sample_result("a"))["limit_weights"] == ordered_json::array());
}

TEST_CASE("a missing number is null, as in a run that diverged, never reached the target or used nothing") {
  auto r = run_result{};
  r.step = std::nan("");
  r.history.push_back({{}, std::numeric_limits<double>::infinity(), std::nan(""), 0, 0, 0});
  auto const json = report::json_of(r);
  for (auto const* const key : {"step", "seconds_to_target", "final_loss", "test_accuracy", "mean_age_s"})
    CHECK(json[key].is_null());
  CHECK(json["nodes"] == ordered_json::array());
  CHECK(json["mean_age_s_by_channel"] == ordered_json::object());
}

TEST_CASE("the text of a report reads back, whatever bytes a name holds") {
  auto r = rubato::test::sample_result("a");
  r.network = "file \xff";
  auto const text = report::json_text(report::json_report({}, {&r, 1}));
  CHECK(text.back() == '\n');
  CHECK(ordered_json::parse(text)["results"][0]["final_loss"] == 0.5);
}

}  // namespace

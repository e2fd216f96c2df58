// SPDX-License-Identifier: MIT
#include <rubato/report/nlohmann_json.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/snapshot.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
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
  CHECK(json["nodes"][1]["iterations_before"] == 0);
  CHECK(json["edges"][1]["channel"] == "tracker");
  CHECK(json["edges"][1]["lost"] == 3);
}

TEST_CASE("what a node counted whose result is missing is null") {
  auto r = rubato::test::sample_result("a");
  r.nodes.pop_back();
  auto const json = report::json_of(r);
  for (auto const* const name : {"packets_sent", "values_sent", "bytes_sent", "lost"}) {
    CHECK(json["edges"][0][name].is_number());
    CHECK(json["edges"][1][name].is_null());
  }
  CHECK(json["edges"][0]["conflated"].is_null());  // the sum of what both ends left out
  CHECK(json["edges"][0]["delivered"].is_null());
  CHECK(json["edges"][1]["delivered"].is_number());
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

auto model_of(std::vector<float> const& values) -> shared_buffer {
  auto body = buffer_pool{}.allocate<float>(values.size());
  for (std::size_t k = 0; k < values.size(); ++k) body.data()[k] = values[k];
  return std::move(body).publish();
}

/// No member has its default value.
auto a_peer_result() -> peer_result {
  using namespace std::chrono_literals;
  auto r = peer_result{};
  r.id = to_node(3);
  r.of = 5;
  r.agreed = "algorithm=r_fast\nstep=0.1\n";
  r.result = rubato::test::sample_result("r_fast");
  r.result.options = {{"step", "0.1"}, {"momentum beta", "0.9"}};
  r.result.stopped = stop_reason::observer;
  r.result.events = 1234567890123456789;
  r.result.history[1].loss = std::nan("");
  r.result.history[2].loss = -std::numeric_limits<double>::infinity();
  r.result.history[2].accuracy = 0.1 + 0.2;
  r.result.nodes = {{to_node(3), 30, 29, 1, 7}};
  auto& e = r.result.edges[0];
  e.duplicated = 1, e.conflated = 2, e.delivered = 3, e.bytes_received = 4, e.overtaken = 5;
  e.weights.add(2, 1, 4);
  r.result.warnings = {"a \"quoted\" warning\nof two lines"};
  r.result.models = {model_of({-0.0F, 3e-45F, 1.5F})};
  r.looks = {{0ms, model_of({0, 0, 0}), 0, 0}, {-7ns, r.result.models[0], 0.5, 60}};
  r.rejected = {1, 2, 3, 4};
  r.lost = {"node 4 is gone"};
  r.returned = {"node 4 has come back"};
  r.unwritten = "no space";
  r.cut_off = {to_node(4), to_node(0)};
  r.parted = 2;
  return r;
}

auto bytes_of_body(shared_buffer const& b) { return std::vector(b.bytes().begin(), b.bytes().end()); }

TEST_CASE("the result of a process is read as it was written, bit for bit, in every member") {
  auto const folder = rubato::test::scratch_folder{"peer_result"};
  auto written = a_peer_result();
  report::write_peer_result(folder.path() / "new" / "node-3", written);
  auto read = report::read_peer_result(folder.path() / "new" / "node-3");
  CHECK(digest_of_state(read) == digest_of_state(written));
  auto nothing = peer_result{};
  CHECK(digest_of_state(nothing) != digest_of_state(written));  // it sees the members

  // Not by the list of members, which might lack one.
  read = report::read_peer_result(folder.path() / "new" / "node-3");
  CHECK(read.id == to_node(3));
  CHECK(read.of == 5);
  CHECK(read.agreed == written.agreed);
  CHECK(read.rejected.total() == 10);
  CHECK((read.lost == written.lost && read.returned == written.returned && read.unwritten == "no space"));
  CHECK(read.cut_off == written.cut_off);
  CHECK(read.parted == 2);
  REQUIRE(read.looks.size() == 2);
  CHECK(read.looks[1].at == written.looks[1].at);
  CHECK((read.looks[1].residual == 0.5 && read.looks[1].gradients == 60));
  CHECK(bytes_of_body(read.looks[1].model) == bytes_of_body(written.looks[1].model));
  CHECK(read.looks[1].model.kind() == element::f32);
  auto const& r = read.result;
  auto const& w = written.result;
  CHECK(bytes_of_body(r.models.at(0)) == bytes_of_body(w.models[0]));
  CHECK((r.algorithm == "r_fast" && r.network == w.network && r.options == w.options && r.warnings == w.warnings));
  CHECK((r.step == 0.1 && r.raw_step == 0.05 && r.gain == 2));
  CHECK((r.stopped == stop_reason::observer && r.ended == w.ended && r.events == w.events));
  CHECK(r.time_to_target == w.time_to_target);
  REQUIRE(r.history.size() == 3);
  CHECK((std::isnan(r.history[1].loss) && r.history[2].loss == w.history[2].loss));
  CHECK((r.history[2].at == w.history[2].at && r.history[2].accuracy == w.history[2].accuracy));
  CHECK((r.history[2].consensus_distance == 0.125 && r.history[2].gradients == 60));
  CHECK((r.nodes[0].id == to_node(3) && r.nodes[0].iterations == 30 && r.nodes[0].gradients == 29));
  CHECK((r.nodes[0].dropped == 1 && r.nodes[0].iterations_before == 7));
  REQUIRE(r.edges.size() == 2);
  CHECK((r.edges[1].from == to_node(1) && r.edges[1].to == to_node(0) && r.edges[1].channel == channel_id::tracker));
  auto const &e = r.edges[0], &was = w.edges[0];
  CHECK((e.packets_sent == 10 && e.values_sent == 1000 && e.bytes_sent == 4000 && e.lost == 1));
  CHECK((e.duplicated == 1 && e.conflated == 2 && e.delivered == 3 && e.bytes_received == 4 && e.overtaken == 5));
  CHECK((e.age.uses == 2 && e.age.total_ns == was.age.total_ns && e.age.largest == was.age.largest));
  CHECK((e.weights.total == 2 && e.weights.capped == 1 && e.weights.delay_total == 4));
}

TEST_CASE("a missing, damaged or foreign file is no result, and one sentence names it") {
  auto const folder = rubato::test::scratch_folder{"peer_result"};
  auto const path = folder.path() / "node-3";
  auto const beside = folder.path() / "node-3.models";
  auto const put = [](std::filesystem::path const& at, std::string const& bytes) {
    std::ofstream{at, std::ios::binary} << bytes;
  };
  auto const is_refused = [&] {
    auto const sentence = rubato::test::refusal([&] { static_cast<void>(report::read_peer_result(path)); });
    INFO(sentence);
    return rubato::test::says(sentence, ("'" + path.string() + "' is not the result of a process: ").c_str()) &&
           sentence.find('\n') == std::string::npos;
  };
  CHECK(is_refused());
  report::write_peer_result(path, a_peer_result());
  for (auto const& at : {path, beside}) {
    auto const whole = rubato::test::content_of(at);
    for (std::size_t size = 0; size < whole.size(); size += 50) {
      put(at, whole.substr(0, size));
      INFO(at << " cut to " << size << " bytes of " << whole.size());
      CHECK(is_refused());
    }
    for (std::size_t k = 0; k < whole.size(); k += 7) {
      auto changed = whole;
      changed[k] = static_cast<char>(changed[k] ^ (1 << k % 8));
      put(at, changed);
      INFO("byte " << k << " of " << at << " is changed");
      CHECK(is_refused());
    }
    put(at, whole + "\n");
    CHECK(is_refused());
    put(at, "{\"of\": 3}\n");
    CHECK(is_refused());
    put(at, whole);
  }
  CHECK_FALSE(is_refused());

  auto other = a_peer_result();
  other.parted = 1;
  report::write_peer_result(folder.path() / "other", other);
  std::filesystem::copy(folder.path() / "other.models", beside, std::filesystem::copy_options::overwrite_existing);
  CHECK(is_refused());  // models of another result
}

TEST_CASE("a place where no result can be written is refused before the run") {
  auto const folder = rubato::test::scratch_folder{"peer_result"};
  auto const refused = [](std::filesystem::path const& at) {
    return rubato::test::refusal([&] { report::ensure_peer_result_writable(at); });
  };
  CHECK(refused(folder.path() / "new" / "node").empty());
  CHECK(folder.files() == 1);  // the new folder
  std::filesystem::create_directory(folder.path() / "node.models");
  CHECK(rubato::test::says(refused(folder.path() / "node"), "node.models' is in the way"));
  std::ofstream{folder.path() / "file"} << "x";
  CHECK(rubato::test::says(refused(folder.path() / "file" / "node"), "is a file"));
}

TEST_CASE("the status of a node tells what is known, and null for what is not") {
  auto status = node_status{};
  status.id = node_id{1};
  status.of = 3;
  status.iterations = 7;
  status.history = {{.at = std::chrono::seconds{1}, .loss = 0.5, .tracking_residual = 2},
                    {.at = std::chrono::seconds{2}, .tracking_residual = 3}};
  status.measured = status.history.front();
  status.neighbours.resize(2);
  status.neighbours[1].is = standing::lost;
  status.neighbours[1].why = "node 0 is gone";
  status.neighbours[1].age = {2, 3e9, std::chrono::seconds{2}};
  status.neighbours[1].recent_age_s = 0.25;
  auto json = report::json_of(status);
  CHECK(json["node"] == 1);
  CHECK(json["phase"] == "arriving");
  CHECK(json["iterations"] == 7);
  CHECK(json["loss"] == 0.5);
  CHECK(json["tracking_residual"].is_null());
  CHECK(json["history"].dump() == "[[1.0,0.5,null,null],[2.0,null,null,null]]");
  CHECK(json["neighbours"][0]["standing"] == "awaited");
  CHECK(json["neighbours"][0]["mean_age_s"].is_null());
  CHECK(json["neighbours"][0]["recent_age_s"].is_null());
  CHECK(json["neighbours"][1]["standing"] == "lost");
  CHECK(json["neighbours"][1]["why"] == "node 0 is gone");
  CHECK(json["neighbours"][1]["mean_age_s"] == 1.5);
  CHECK(json["neighbours"][1]["recent_age_s"] == 0.25);
  status.tracks = true;
  CHECK(report::json_of(status)["tracking_residual"].is_null());  // nobody has looked yet
  status.newest = status.history.back();
  json = report::json_of(status);
  CHECK(json["tracking_residual"] == 3);
  CHECK(json["history"][0][3] == 2);
}

}  // namespace

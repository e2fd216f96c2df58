// SPDX-License-Identifier: MIT
// Nodes on threads that are saved, each at a moment of its own or all at the same rounds, and go on from there: the law
// of conservation is exact, and they end where a run ends that was never cut.
#include <rubato/driver/threads.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/checkpoint_lock.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/result.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node = r_fast<backend::host<float>>;
auto const p = problem::quadratic::random(4, 50, 4);
auto run(std::uint64_t gradients, checkpoint_options const& saved, std::size_t nodes = 4) -> run_result {
  auto made = assemble<node>(topology::complete(nodes), problem::quadratic::random(nodes, 50, 4), {.step = 0.1});
  thread_options o;
  o.checkpoint = saved;
  return run_threads(std::move(made), {.compute = environment::fixed(300us)}, {.gradients = gradients}, o);
}

TEST_CASE("nodes on threads resume from where each of them was saved") {
  scratch_folder folder{"threads"};
  auto const first = run(800, {folder.path(), 20ms, false});
  CHECK(folder.files() == 5);  // and the lock
  auto const second = run(12000, {folder.path(), 20ms, true});
  CHECK(second.history.front().loss <
        (first.history.front().loss + first.history.back().loss) / 2);  // it did not begin anew
  CHECK(second.history.back().tracking_residual == 0);
  std::uint64_t used = 0;
  for (auto const& n : second.nodes) used += n.gradients;
  CHECK(used == 12000);  // those of this run alone, as in the history
  CHECK(second.history.back().gradients == 12000);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(second.nodes[i].iterations > first.nodes[i].iterations);
    CHECK(second.nodes[i].iterations_before > 0);
    auto const x = second.models[i].view<float>();
    for (std::size_t k = 0; k < x.size(); ++k) REQUIRE(std::abs(x[k] - p.optimum()[k]) < 1e-5);
  }
}

TEST_CASE("checkpoints that are missing, or of another run, are refused before a thread begins") {
  scratch_folder folder{"threads"};
  checkpoint_options const o{folder.path(), 1s, true};
  CHECK(says(refusal([&] { static_cast<void>(run(10, o)); }), "node-0.checkpoint' cannot be read"));
  static_cast<void>(run(10, {folder.path(), 1s, false}));
  CHECK(says(refusal([&] { static_cast<void>(run(10, o, 3)); }), "has nodes 4, but this node has 3"));
}

TEST_CASE("two runs on threads do not save into one folder at a time") {
  scratch_folder folder{"threads"};
  auto made = assemble<node>(topology::complete(4), p, {.step = 0.1});
  std::string why;
  thread_options o;
  o.checkpoint = {.folder = folder.path()};
  o.watching = {[&](look const&) {
    if (why.empty())
      why = refusal([&] { static_cast<void>(run(10, {.folder = folder.path(), .resume = true, .wait = 1ms})); });
  }};
  static_cast<void>(run_threads(std::move(made), {.compute = environment::fixed(300us)}, {.gradients = 40}, o));
  CHECK(says(why, "another run saves into '"));
  CHECK(refusal([&] { static_cast<void>(run(10, {.folder = folder.path(), .resume = true, .wait = 0s})); }).empty());
}

std::vector<node_id> const everyone{node_id{0}, node_id{1}, node_id{2}, node_id{3}};

template<class Node>
auto run_until(until const& end, thread_options const& o) -> run_result {
  return run_threads(assemble<Node>(topology::ring(4), p, {.step = 0.1}),
                     {.compute = environment::fixed(50us).slow(1, 3)}, end, o);
}
/// Four nodes that are saved every so many rounds, and the newest round of which all have a file.
template<class Node>
auto run_in_rounds(std::filesystem::path const& folder, std::uint64_t rounds, bool resume, std::uint64_t every = 20)
    -> std::uint64_t {
  thread_options o;
  o.checkpoint = {.folder = folder, .resume = resume, .every_rounds = every};
  auto const r = run_until<Node>({.gradients = 4 * rounds}, o);
  auto const done = newest_common_round(o.checkpoint, everyone).value().done;
  CHECK(r.stopped == stop_reason::gradients);
  if (std::is_same_v<Node, async_model_average<backend::host<double>>>) {
    // Its averages take no number of gradients that is known.
    CHECK(says(r.warnings.back(), ("it goes on from round " + std::to_string(done)).c_str()));
  } else {
    CHECK(r.warnings.empty());
    CHECK(r.history.back().gradients == 4 * rounds);
  }
  return done;
}
/// A node's model at that round.
template<class Node>
auto model_at(std::filesystem::path const& folder, node_id who, std::uint64_t round) -> std::vector<double> {
  auto made = assemble<Node>(topology::ring(4), p, {.step = 0.1});
  auto host = detail::hosted_node{made.nodes[to_index(who)], to_index(who)};
  auto saves = detail::node_checkpoints{{.folder = folder, .resume = true, .round = round}, made, who};
  static_cast<void>(saves.restore_into(host, made.pool));
  auto const x = host.node().estimate().template view<double>();
  return {x.begin(), x.end()};
}

using in_rounds = std::tuple<ring_allreduce_sgd<backend::host<double>>, low_precision_d_psgd<backend::host<double>>>;

TEMPLATE_LIST_TEST_CASE("nodes on threads that go on together end with the bits of an uncut run", "", in_rounds) {
  scratch_folder cut{"cut"}, whole{"whole"};
  auto const first = run_in_rounds<TestType>(cut.path(), 90, false);
  CHECK(first == 90);  // each node's share of the gradients, at which all end
  auto const second = run_in_rounds<TestType>(cut.path(), 85, true);
  CHECK(second == 175);
  CHECK(run_in_rounds<TestType>(whole.path(), second + 5, false, second) == second + 5);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(model_at<TestType>(cut.path(), to_node(i), second) == model_at<TestType>(whole.path(), to_node(i), second));
}

using who_can_meet = std::tuple<ring_allreduce_sgd<backend::host<double>>, low_precision_d_psgd<backend::host<double>>,
                                osgp<backend::host<double>>, async_model_average<backend::host<double>>,
                                m_synchronous_sgd<backend::host<double>>>;

TEMPLATE_LIST_TEST_CASE("however their run ends, nodes on threads meet at one round more and are saved there", "",
                        who_can_meet) {
  stop_source source;
  auto const stops = [&](look const& l) {
    if (l.seen.at > 10ms) source.request_stop();
  };
  auto const says_stop = [](look const& l) { return l.seen.at > 10ms ? verdict::stop : verdict::go_on; };
  struct way {
    stop_reason why;
    until end;
    observers watching{};
  };
  for (auto const& [why, end, watching] :
       {way{stop_reason::time, {.time = 20ms}},
        way{stop_reason::target_loss, {.time = 1min, .target_loss = p.minimum() + 1}},
        way{stop_reason::observer, {.time = 1min}, {says_stop}},
        way{stop_reason::interrupted, {.time = 1min}, {stops}}}) {
    scratch_folder folder{"ended"};
    thread_options o;
    o.watching = watching;
    o.stop = source.get_token();
    o.checkpoint = {.folder = folder.path(), .every_rounds = 1'000'000};
    auto const r = run_until<TestType>(end, o);
    CHECK(r.stopped == why);
    CHECK(r.warnings.empty());
    auto const met = newest_common_round(o.checkpoint, everyone).value();
    CHECK(met.done > 0);
    CHECK(met.remark.empty());
    o.checkpoint.resume = true;
    auto const again = run_until<TestType>({.time = 1min, .gradients = 40}, {.checkpoint = o.checkpoint});
    CHECK(again.nodes[0].iterations_before >= met.done);
    if (why == stop_reason::interrupted) break;
  }
}

using uneven = std::tuple<low_precision_d_psgd<backend::host<double>>, osgp<backend::host<double>>,
                          m_synchronous_sgd<backend::host<double>>>;

TEMPLATE_LIST_TEST_CASE("a run on threads whose gradients are not shared out evenly goes on from its last whole round",
                        "", uneven) {
  scratch_folder folder{"uneven"};
  thread_options o;
  o.checkpoint = {.folder = folder.path()};  // every 1000 rounds
  std::uint64_t at = 0;
  for (auto const gradients : {4U * 30 + 2, 4U * 5 + 3, 3U, 4U * 2}) {
    auto const r = run_until<TestType>({.gradients = gradients}, o);
    CHECK(r.stopped == stop_reason::gradients);
    CHECK(r.history.back().gradients == gradients);
    at += gradients / 4;
    CHECK(newest_common_round(o.checkpoint, everyone).value().done == at);
    auto const said = std::count_if(r.warnings.begin(), r.warnings.end(), [&](auto const& w) {
      return says(w, ("it goes on from round " + std::to_string(at)).c_str());
    });
    CHECK(said == (gradients % 4 == 0 ? 0 : 1));  // a busy machine may add that messages were old
    o.checkpoint.resume = true;
  }
}

TEST_CASE("a run in rounds that goes on again and again keeps no more files than one that was never cut") {
  scratch_folder folder{"pruned"};
  for (std::uint64_t life = 0; life < 8; ++life) {
    auto const done = run_in_rounds<low_precision_d_psgd<backend::host<double>>>(folder.path(), 5, life > 0, 1000);
    CHECK(done == 5 * (life + 1));
    CHECK(saved_rounds({.folder = folder.path()}, node_id{2}).size() <= 4);
    CHECK(saved_rounds({.folder = folder.path()}, node_id{2}).back() == done);
  }
  CHECK(saved_rounds({.folder = folder.path()}, node_id{2}) == std::vector<std::uint64_t>{25, 30, 35, 40});
}

TEST_CASE("a stop that is requested as a run ends leaves its nodes a second to meet") {
  scratch_folder folder{"hurried"};
  stop_source source;
  thread_options o;
  o.stop = source.get_token();
  o.checkpoint = {.folder = folder.path()};
  o.watching = {[&](look const& l) {
    if (l.seen.at < 50ms) return verdict::go_on;
    source.request_stop();
    return verdict::stop;
  }};
  o.linger = 2min;
  auto const began = std::chrono::steady_clock::now();
  auto const r = run_threads(assemble<low_precision_d_psgd<backend::host<double>>>(topology::ring(4), p, {.step = 0.1}),
                             {.compute = environment::fixed(1ms).slow(1, 200'000)}, {.time = 10min}, o);
  CHECK(std::chrono::steady_clock::now() - began < 1min);  // its second gradient would take 200 s
  CHECK(r.stopped == stop_reason::observer);
  CHECK(says(r.warnings.front(), "it goes on from round 0"));
}

TEST_CASE("a stop ends the wait for who still saves into the folder") {
  scratch_folder folder{"waits"};
  thread_options o;
  o.checkpoint = {.folder = folder.path()};
  auto const once = [&] { return run_until<node>({.gradients = 4}, o); };
  CHECK(once().stopped == stop_reason::gradients);
  checkpoint_lock other;
  CHECK(other.take(o.checkpoint, {2, 3}));
  o.checkpoint.resume = true;
  o.checkpoint.wait = 1ms;
  stop_source source;
  source.request_stop();
  o.stop = source.get_token();
  auto const r = once();
  CHECK(r.stopped == stop_reason::interrupted);
  CHECK(r.events == 0);
  CHECK(r.models.size() == 4);
}

TEST_CASE("nodes on threads that meet only to be saved go on") {
  using meets = async_model_average<backend::host<double>>;
  scratch_folder folder{"threads"};
  auto const first = run_in_rounds<meets>(folder.path(), 900, false);
  CHECK(first >= 20);
  CHECK(run_in_rounds<meets>(folder.path(), 900, true) >= first + 20);
}

}  // namespace
}  // namespace rubato::test

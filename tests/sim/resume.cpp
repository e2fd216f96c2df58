// SPDX-License-Identifier: MIT
// A simulation that is cut between any two events and goes on elsewhere is the one that was never cut, to the bit: for all
// algorithms, at random moments, in weather with loss, restarts and stragglers. So a part of a node's state that its list
// leaves out is found here.
#include <rubato/sim/simulator.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/random.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/pace.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/weighting/polynomial.hpp>

#include "support/catch.hpp"
#include "support/every_algorithm.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using maker = std::function<assembly()>;

/// Saves the run at the first moment between two events by which so many were counted.
struct cutter : sim::observer {
  explicit cutter(std::uint64_t events) : at{events} {}
  void between_events(sim::simulator& s) override {
    if (!kept && s.events() >= at) kept = s.state();
  }
  std::uint64_t at;
  std::optional<snapshot> kept;
};

auto cast_of(assembly a) -> sim::cast {
  auto const measured = a.measured();
  return {std::move(a.nodes), a.peers, std::move(a.oracle), a.blocks, a.pool, a.again, measured};
}

/// All that a result says, and a digest of all that the simulation holds at its end.
auto account_of(run_result const& r, sim::simulator& s) -> std::string {
  digest d;
  for (auto m : r.history) d.add(digest_of_state(m));
  for (auto const& n : r.nodes) d.add(n.iterations).add(n.gradients).add(n.dropped);
  for (auto const& e : r.edges) {
    d.add(to_index(e.from)).add(to_index(e.to)).add(static_cast<std::uint64_t>(e.lane)).add(e.packets_sent).add(e.bytes_sent);
    d.add(e.lost).add(e.duplicated).add(e.conflated).add(e.delivered).add(e.overtaken).add(e.age.uses);
  }
  for (auto const& m : r.models) d.add(m.bytes());
  return std::to_string(r.events) + " events, " + std::to_string(r.history.size()) + " looks, result " +
         std::to_string(d.value()) + ", state " + std::to_string(digest_of_state(s));
}

constexpr auto end = until{.time = 250ms};

/// The account of an uncut run, and of one that was cut after so many events and went on elsewhere, with another number of threads.
auto both_accounts(maker const& make, sim::scenario const& weather, std::uint64_t cut_after) -> std::pair<std::string, std::string> {
  sim::simulator whole{cast_of(make()), weather};
  auto const result = whole.run(end);
  cutter cut{cut_after % (result.events + 1)};
  {
    sim::simulator first{cast_of(make()), weather};
    first.watch(cut);
    static_cast<void>(first.run(end));
  }
  REQUIRE(cut.kept);
  auto elsewhere = weather;
  elsewhere.threads = 3 - weather.threads;
  sim::simulator second{cast_of(make()), elsewhere};
  second.resume(*cut.kept);
  auto const resumed = second.run(end);
  return {account_of(result, whole), account_of(resumed, second)};
}

auto weather_of(random_stream& draw) -> sim::scenario {
  sim::scenario s;
  s.seed = draw.bits();
  s.threads = 1 + static_cast<unsigned>(draw.below(2));
  s.compute = sim::lognormal(4ms, 0.4).slow(1, 4);
  s.link = {.latency = 1ms, .jitter = 3ms, .loss = 0.2, .duplication = 0.1, .overtaking = 0.1};
  if (draw.chance(0.5)) s.link.bits_per_second = 2e5;
  if (draw.chance(0.5)) s.link.bursts = {.begin = 0.05, .end = 0.3, .loss = 0.9};
  if (draw.chance(0.3)) s.carried = sim::frames::encoded;
  return s;
}
auto all_state(assembly const& a) -> bool {
  auto const specs = a.nodes[0].channels();
  return std::all_of(specs.begin(), specs.end(), [](auto const& c) { return c.kind == channel_kind::state; });
}
/// Whether every node can go on without another.
auto edges_may_close(assembly const& a) -> bool {
  for (std::size_t i = 0; i < a.nodes.size(); ++i) {
    if (!refusal([&] { detail::node_checkpoints({}, a, to_node(i)); }).empty()) return false;
  }
  return true;
}
auto const problem_of_runs = problem::quadratic::random(5, 150, 3);

TEST_CASE("a run that is cut anywhere and goes on elsewhere is the run that was never cut, to the bit, for every algorithm") {
  auto draw = random_stream{{71}};
  for_every_algorithm(topology::binary_tree(5), problem_of_runs, [&](std::string const& name, maker const& make) {
    for (int k = 0; k < 4; ++k) {
      auto weather = weather_of(draw);
      if (all_state(make())) weather.split = draw.chance(0.5) ? sim::delivery::blocks : sim::delivery::whole;
      if (edges_may_close(make())) {
        weather.restarts = {{node_id{2}, 60ms, 40ms}, {node_id{0}, 90ms, 30ms, sim::first_model::own}};
      }
      auto const cut_after = draw.bits();
      INFO(name << ", scenario " << k << ", cut after " << cut_after << ", threads " << weather.threads);
      auto const [whole, resumed] = both_accounts(make, weather, cut_after);
      REQUIRE(resumed == whole);
    }
  });
}

template<class Node>
auto made(typename Node::options o) -> maker {
  o.step = 0.01;
  return [o] { return assemble<Node>(topology::binary_tree(5), problem_of_runs, o); };
}
using space = backend::host<float>;

TEST_CASE("so it is with steps that keep arrays, weightings, blocks of a vector and a pace") {
  auto draw = random_stream{{72}};
  auto const same = [&](maker const& make) {
    for (int k = 0; k < 6; ++k) {
      auto const weather = weather_of(draw);
      auto const cut_after = draw.bits();
      INFO("scenario " << k << ", cut after " << cut_after);
      auto const [whole, resumed] = both_accounts(make, weather, cut_after);
      REQUIRE(resumed == whole);
    }
  };
  same(made<ring_allreduce_sgd<space, step::adam>>({}));  // a round's rule is made once and used for many chunks
  same(made<ad_psgd<space, step::momentum>>({}));
  same(made<r_fast<space, step::adam, weighting::polynomial>>({.block_values = 64}));
  same(made<rescaled_asgd<space>>({}));
  auto const plain = made<r_fast<space>>({});  // gradients far faster than links
  same([&] {
    auto a = plain();
    pace(a);
    return a;
  });
}

/// Momentum whose list forgets its sum.
struct forgetful_momentum {
  template<class Backend>
  struct state : step::momentum::state<Backend> {
    state(forgetful_momentum const&, Backend& b, std::size_t n) : step::momentum::state<Backend>{step::momentum{0.9}, b, n} {}
    static void visit_state(auto&, auto&&) {}
  };
};
TEST_CASE("a list that leaves a part of the state out is found by this") {
  auto draw = random_stream{{73}};
  auto const [whole, resumed] = both_accounts(made<r_fast<space, forgetful_momentum>>({}), weather_of(draw), 200);
  CHECK(resumed != whole);
}

TEST_CASE("a simulation goes on from a file, and one of another size is refused") {
  scratch_folder folder{"resume"};
  auto draw = random_stream{{74}};
  auto const weather = weather_of(draw);
  auto const make = made<r_fast<space>>({});
  sim::simulator whole{cast_of(make()), weather};
  cutter cut{300};
  whole.watch(cut);
  auto const result = whole.run(end);
  auto const path = folder.path() / "simulation.checkpoint";
  write_checkpoint(path, {make().agreed.text(), {}, 300, 0, *cut.kept});
  sim::simulator second{cast_of(make()), weather};
  second.resume(read_checkpoint(path).state);
  auto const resumed = second.run(end);
  CHECK(account_of(resumed, second) == account_of(result, whole));

  sim::simulator smaller{cast_of(assemble<r_fast<space>>(topology::binary_tree(4), problem::quadratic::random(4, 150, 3), {.step = 0.01})), weather};
  CHECK(says(refusal([&] { smaller.resume(*cut.kept); }), "\"number of nodes\" does not fit"));
}

}  // namespace
}  // namespace rubato::test

// SPDX-License-Identifier: MIT
// Every algorithm of the catalogue, with the policies that its name has by default, ends where the catalogue says: on
// four networks, each with another schedule of steps, other faults of the links and another way of carrying messages.
// And compositions that are refused before the start, each with its sentence and its legal twin (those that do not
// compile: tests/compile_fail).
#include "../../examples/support/catalogue.hpp"

#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/server/buffered.hpp>
#include <rubato/server/known_times.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/lattices.hpp>
#include <rubato/weighting/drop_older_than.hpp>
#include <rubato/weighting/hinge.hpp>

#include "matrix/combination.hpp"
#include "support/catalogue_instances.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

auto all_surroundings() -> std::vector<surroundings> {
  return {{},
          {.network = topology::star(5), .schedule = {.warmup = 10}, .duplication = 0.2},
          {.network = topology::hypercube(8),
           .schedule = {.shape = step::curve::cosine, .length = 4000, .floor = 0.2},
           .carried = environment::frames::encoded},
          {.network = topology::complete(3),
           .schedule = {.unit = step::schedule_unit::seconds, .drops_at = {20}, .drop = 0.5},
           .overtaking = 0.2,
           .dimension = 64}};
}

TEST_CASE(
    "every algorithm of the catalogue that its row says ends at the optimum does, and the others come nearer to it") {
  auto combinations = 0;
  for (auto const& s : all_surroundings()) {
    examples::for_each_algorithm<backend::host<double>>([&]<class Node>(examples::catalogue_row<Node> const& row) {
      auto const promised = row.where == examples::ends::at_optimum
                                ? expectation{.step = 0.05, .above_minimum = 2e-2, .law = 1e-9}
                                : expectation{.step = 0.02, .share_of_start = 0.6};
      auto its = s;
      if constexpr (requires { Node::needs_two_sides; }) {
        if (s.network.nodes() == 3) its.network = topology::line(3);
      }
      reaches<Node>(std::string{row.name}.c_str(), promised, {}, its);
      ++combinations;
    });
  }
  CHECK(combinations >= 100);
}

using space = backend::host<double>;

/// The sentence with which Node is refused on this network or plan; empty if it may run.
template<class Node, class Network = topology::digraph>
auto refused(typename Node::options const& o, Network const& network = topology::ring(4), std::size_t nodes = 4)
    -> std::string {
  auto const q = problem::quadratic::random(nodes, 3, 1);
  return refusal([&] {
    if constexpr (std::is_same_v<Network, mixing::plan>) static_cast<void>(assemble<Node>(network, q, o));
    else static_cast<void>(assemble<Node>(topology::pair{network}, q, o));
  });
}

struct illegal_row {
  char const* what;
  std::string legal, illegal;  // their sentences
  char const* part;  // of the second
};

TEST_CASE("a composition that cannot work is refused before the start, and its legal twin is not") {
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  auto const pieces = topology::from_edges(4, {{to_node(0), to_node(1)}, {to_node(1), to_node(0)}}, "pieces");
  using by_age = weighting::drop_older_than;
  using tracking = r_fast<space, step::sgd, by_age>;
  using known = server_sgd<space, server::accept_all, server::known_times>;
  using buffered = server_sgd<space, server::accept_all, weighting::constant, server::buffered>;
  auto const turning = topology::directed_ring(4), both_ways = topology::ring(4);
  std::vector<illegal_row> const rows{
      {"budget", refused<matcha<space>>({.budget = 1}), refused<matcha<space>>({.budget = 0}), "must lie in (0, 1]"},
      {"budget, non-blocking", refused<non_blocking_matcha<space>>({.budget = 0.5}),
       refused<non_blocking_matcha<space>>({.budget = 1.5}), "must lie in (0, 1]"},
      {"step", refused<r_fast<space>>({.step = 0.1}), refused<r_fast<space>>({.step = nan}), "must be a positive"},
      {"schedule", refused<sgp<space>>({.schedule = {.warmup = 3}}), refused<sgp<space>>({.schedule = {.warmup = -1}}),
       "warmup of a schedule"},
      {"single in-edge that may be cut", refused<tracking>({}, topology::ring(4)),
       refused<tracking>({}, topology::directed_ring(4)), "a single in-edge, which this weighting may cut"},
      {"tracking without a common root", refused<push_pull<space>>({}, turning), refused<push_pull<space>>({}, pieces),
       "no node can reach every other node"},
      {"beta", refusal([] { step::adam{{.beta1 = 0}}; }), refusal([] { step::adam{{.beta1 = 1}}; }), "beta1 of Adam"},
      {"momentum", refusal([] { step::momentum{0}; }), refusal([] { step::momentum{-1}; }), "beta of momentum"},
      {"m", refused<m_synchronous_sgd<space>>({.m = 4}), refused<m_synchronous_sgd<space>>({.m = 5}),
       "cannot take 5 gradients from 4 workers"},
      {"slope", refusal([] { weighting::hinge{0}; }), refusal([] { weighting::hinge{-1}; }), "slope of a hinge"},
      {"known times", refused<known>({.weight = {{1, 1, 1, 4}}}), refused<known>({.weight = {{1, 2}}}),
       "are known, and there are 4"},
      {"buffer", refused<buffered>({.aggregation = {2}}), refused<buffered>({.aggregation = {0}}),
       "at least one gradient"},
      {"mini-batches", refused<non_blocking_d_psgd<space>>({}),
       refused<non_blocking_d_psgd<space>>({.contribution = {0}}), "at least one mini-batch"},
      {"local steps", refused<async_model_average<space>>({.local_steps = 2}),
       refused<async_model_average<space>>({.local_steps = 0}), "1 local step or more"},
      {"prox", refused<prox_dgd<space>>({}), refused<prox_dgd<space, prox::l1>>({.prox = {-1}}), "lambda of l1"},
      {"two sides", refused<bipartite_ad_psgd<space>>({}, topology::ring(4)),
       refused<bipartite_ad_psgd<space>>({}, topology::complete(4)), "a cycle of odd length: 1 - 0 - 2"},
      {"fixed partners", refused<ad_psgd<space, step::sgd, partner::fixed>>({}, topology::star(4)),
       refused<bipartite_ad_psgd<space, step::sgd, partner::fixed>>({}, topology::hypercube(4)),
       "with fixed partners no exchange leads from node"},
      {"chance of a slow partner", refused<ad_psgd<space, step::sgd, partner::by_speed>>({}),
       refused<ad_psgd<space, step::sgd, partner::by_speed>>({.partner = {.floor = 0}}), "must lie above 0"},
      {"constants of pairs", refused<a2cid2<space>>({}, mixing::accelerated(mixing::gossip_plan(both_ways))),
       refused<a2cid2<space>>({}, mixing::gossip_plan(both_ways)), "make the plan with mixing::accelerated"},
      {"problem of other nodes", refused<r_fast<space>>({}, both_ways, 4), refused<r_fast<space>>({}, both_ways, 5),
       "split over 5 nodes"},
  };
  for (auto const& row : rows) {
    INFO(row.what << ": '" << row.legal << "', '" << row.illegal << "'");
    CHECK(row.legal.empty());
    CHECK(says(row.illegal, row.part));
  }
}

/// The sentence with which these rounds are refused, or nothing.
template<class Node>
auto refused_rounds(mixing::schedule const& rounds) -> std::string {
  return refusal([&] {
    auto const q = problem::quadratic::random(rounds.nodes(), 3, 1);
    static_cast<void>(assemble<Node>(rounds, q, typename Node::options{}));
  });
}

TEST_CASE("a changing graph is refused by each algorithm that needs one that stays, and by no other") {
  auto const rounds = mixing::schedule::cycle({mixing::metropolis_hastings(topology::ring(4))});
  std::size_t takes = 0, takes_by_time = 0, refuses = 0;
  examples::for_each_algorithm<space>([&]<class Node>(examples::catalogue_row<Node> const& row) {
    INFO(row.name);
    auto const sentence = refused_rounds<Node>(rounds), by_time = refused_rounds<Node>(rounds.by_time(1s));
    if constexpr (requires { Node::make_plan(rounds); }) {
      CHECK(sentence.empty());
      ++takes;
      constexpr auto at_any_time = requires { requires Node::takes_graphs_by_time; };
      CHECK(by_time.empty() == at_any_time);
      if (at_any_time) ++takes_by_time;
      else CHECK(says(by_time, "no common clock"));
    } else {
      CHECK(says(sentence, "needs a graph that stays the same"));
      CHECK(says(by_time, "needs a graph that stays the same"));
      ++refuses;
    }
  });
  CHECK(takes == 8);
  CHECK(takes_by_time == 2);
  CHECK(refuses >= 20);
  auto const changing = mixing::gossip_plan(rounds);
  CHECK(refused<matcha<space>>({}, changing).empty());  // MATCHA's own rounds come as a plan
  CHECK(says(refused<r_fast<space>>({}, changing), "needs a graph that stays the same"));
  CHECK(refused<d_psgd<space>>({}, mixing::gossip_plan(mixing::metropolis_hastings(topology::ring(4)))).empty());
}

}  // namespace
}  // namespace rubato::test

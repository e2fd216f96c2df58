// SPDX-License-Identifier: MIT
// Gossip and servers besides those of members.cpp: each node that is there works, and no other one does, through all
// changes; what cannot have members that come and go is refused before the run.
#include <chrono>
#include <cstdint>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/fedbuff.hpp>
#include <rubato/algorithm/matcha.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/prox_dgd.hpp>
#include <rubato/algorithm/push_diging.hpp>
#include <rubato/algorithm/rennala_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/members.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using namespace std::chrono_literals;
using enum environment::member_event;
using host = backend::host<double>;

auto rings() -> topology::member_graphs { return {5, topology::ring}; }
auto data() -> problem::quadratic {
  return problem::quadratic{problem::quadratic::rows(5, {1, 2}), problem::quadratic::rows(5, {4, -3})};
}

/// Somebody dies, somebody leaves, somebody is new and somebody comes back.
auto weather() -> environment::scenario {
  return {.compute = environment::lognormal(10ms, 0.3),
          .link = {.latency = 1ms},
          .members = {.first = {node_id{0}, node_id{1}, node_id{2}, node_id{3}},
                      .changes = {{node_id{0}, dies, 1s},
                                  {node_id{2}, leaves, 2s},
                                  {node_id{4}, joins, 3s},
                                  {node_id{0}, joins, 4s}},
                      .suspicion = 50ms,
                      .word = 20ms}};
}

/// All nodes have one optimum, so each that is there has come near to it at the end, whatever its weight.
template<class Node>
void goes_on() {
  INFO(name_of_type<Node>());
  typename Node::options o;
  o.step = 0.05;
  auto run = simulator{assemble<Node>(rings(), data(), o), weather()};
  for (int part = 1; part <= 5; ++part) {
    auto const settled = run.run({.time = part * 1s - 500ms});
    auto const later = run.run({.time = part * 1s - 1ms});
    for (std::size_t i = 0; i < 5; ++i) {
      INFO("node " << i << " in second " << part);
      CHECK((later.nodes[i].gradients > settled.nodes[i].gradients) == run.is_there(to_node(i)));
    }
  }
  CHECK(farthest_present(run, data()) < 0.1);
}

TEST_CASE("gossip goes on with the members that are there") {
  goes_on<d_psgd_atc<host>>();
  goes_on<non_blocking_d_psgd<host>>();
  goes_on<async_dgd_atc<host>>();
  goes_on<prox_dgd<host>>();
}

TEST_CASE("servers that take gradients as they come go on with the workers that are there") {
  goes_on<asgd<host>>();
  goes_on<fedbuff<host>>();
  goes_on<rennala_sgd<host>>();
}

template<class Node>
auto why_not() -> std::string {
  return refusal([] { static_cast<void>(assemble<Node>(rings(), data(), {})); });
}

TEST_CASE("algorithms with rounds of their own, those that need all nodes, and pairs are refused") {
  CHECK(says(why_not<matcha<host>>(), "members come and go on graphs that stay"));
  CHECK(says(why_not<push_diging<host>>(), "needs all its nodes, so members cannot come and go"));
  CHECK(says(why_not<ad_psgd<host>>(), "members cannot come and go under AD-PSGD"));
}

}  // namespace
}  // namespace rubato::test

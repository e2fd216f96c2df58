// SPDX-License-Identifier: MIT
#include <rubato/mixing/members.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;

auto plans(std::size_t most, topology::digraph (*graph)(std::size_t)) -> std::vector<mixing::plan> {
  std::vector<mixing::plan> all;
  for (std::size_t k = 1; k <= most; ++k) all.push_back(mixing::tracking_plan(graph(k)));
  return all;
}

auto sum_of(double self, std::vector<mixing::weighted_edge> const& others) -> double {
  for (auto const& e : others) self += e.weight;
  return self;
}

TEST_CASE("for every set of members rows and columns sum to one, both ends of an edge agree, and shares sum to n") {
  auto const all = mixing::member_plans{plans(6, topology::binary_tree)};
  for (unsigned set = 1; set < 64; ++set) {
    std::vector<node_id> present;
    for (std::size_t i = 0; i < 6; ++i)
      if ((set >> i & 1U) != 0) present.push_back(to_node(i));
    auto shares = 0.0;
    auto edges = std::size_t{0};
    for (auto const i : present) {
      auto const n = all.place(present, i);
      CHECK(n.self == i);
      CHECK(std::abs(sum_of(n.pull_self, n.pull_from) - 1) < 1e-12);
      CHECK(std::abs(sum_of(n.push_self, n.push_to) - 1) < 1e-12);
      shares += n.push_share;
      for (auto const j : present) {
        if (j == i) continue;
        CHECK(mixing::flows_with(n, j) == mixing::flows_with(all.place(present, j), i));
        if (mixing::flows_with(n, j) != 0) ++edges;
      }
    }
    CHECK(std::abs(shares - static_cast<double>(present.size())) < 1e-9);
    CHECK(edges == 2 * (present.size() - 1));  // a tree
  }
}

TEST_CASE("who is no member has no neighbours") {
  auto const all = mixing::member_plans{plans(4, topology::ring)};
  auto const n = all.place(std::vector{node_id{0}, node_id{2}}, node_id{1});
  CHECK(n.pull_from.empty());
  CHECK(n.push_to.empty());
  CHECK(n.pull_self == 1.0);
}

TEST_CASE("a parent and its child want different flows, in whichever order their ids are") {
  auto const all = mixing::member_plans{plans(3, topology::binary_tree)};
  auto const both = std::vector{node_id{0}, node_id{1}, node_id{2}};
  auto const swapped = std::vector{node_id{1}, node_id{2}};  // node 2 sits at the root's place
  auto const as_child = mixing::flows_with(all.place(both, node_id{1}), node_id{0});
  CHECK(as_child != 0);
  CHECK(mixing::flows_with(all.place(swapped, node_id{1}), node_id{2}) != 0);
  CHECK(mixing::flows_with(all.place(swapped, node_id{1}), node_id{2}) != as_child);
  CHECK(mixing::flows_with(all.place(both, node_id{1}), node_id{2}) == 0);
}

TEST_CASE("servers follow the members, whoever is there") {
  std::vector<mixing::plan> by_count;
  for (std::size_t k = 1; k <= 3; ++k) by_count.push_back(mixing::server_plan(k, 2));
  auto const made = mixing::member_plan(by_count);
  CHECK(made.nodes.size() == 5);
  auto const present = std::vector{node_id{1}};
  auto const worker = made.members->place(present, node_id{1});
  REQUIRE(worker.pull_from.size() == 2);
  CHECK(worker.pull_from[0].peer == node_id{3});
  CHECK(made.members->place(present, node_id{4}).pull_to == present);
}

TEST_CASE("plans whose graphs change from round to round are refused") {
  auto const changing =
      std::vector{mixing::gossip_plan(mixing::schedule::cycle({mixing::metropolis_hastings(topology::ring(1))}))};
  CHECK(test::says(test::refusal([&] { static_cast<void>(mixing::member_plan(changing)); }), "on graphs that stay"));
}

TEST_CASE("plans that do not fit the number of members are refused") {
  CHECK(test::says(test::refusal([] { static_cast<void>(mixing::member_plan({})); }), "room for at least one"));
  auto wrong = plans(3, topology::ring);
  wrong.erase(wrong.begin());
  CHECK(test::says(test::refusal([&] { static_cast<void>(mixing::member_plan(wrong)); }), "the plan of 1 members"));
}

}  // namespace

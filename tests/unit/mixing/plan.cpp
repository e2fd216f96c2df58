// SPDX-License-Identifier: MIT
#include <rubato/mixing/plan.hpp>

#include <algorithm>
#include <vector>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/plans.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::mixing;
using rubato::test::check_plan;
using rubato::test::refusal;
using rubato::test::says;

constexpr auto a = node_id{0}, b = node_id{1}, c = node_id{2};

TEST_CASE("a tracking plan on a tree gives the root all of its own weight") {
  auto const made = tracking_plan(topology::binary_tree(5));
  check_plan(made);
  CHECK(made.gain == 5.0);
  auto const& root = made.nodes[0];
  CHECK(root.pull_self == 1.0);
  CHECK(root.push_self == 1.0);
  CHECK(root.pull_from.empty());
  CHECK(root.push_to.empty());
  CHECK(root.pull_to == std::vector{b, c});
  CHECK(root.push_from == std::vector{b, c});
  auto const& inner = made.nodes[1];
  CHECK(inner.nodes == 5);
  CHECK(inner.part == role::peer);
  CHECK(inner.pull_self == 0.5);
  CHECK(inner.pull_from.size() == 1);
  CHECK(inner.pull_from[0].peer == a);
  CHECK(inner.push_to[0].weight == 0.5);
  CHECK(made.summary == "spanning trees of binary_tree(5), root 0, uniform pull weights, uniform push weights, gain 5");
}

TEST_CASE("a tracking plan on a directed ring pulls from the one before and pushes to the one after") {
  auto const made = tracking_plan(topology::directed_ring(3));
  check_plan(made);
  CHECK(made.nodes[0].pull_from[0].peer == c);
  CHECK(made.nodes[0].pull_to == std::vector{b});
  CHECK(made.nodes[0].push_to[0].peer == b);
  CHECK(made.nodes[0].push_from == std::vector{c});
}

TEST_CASE("every kind of plan is consistent on every builder") {
  for (auto const& known : topology::detail::named_builders)
    for (auto const n : {1, 2, 3, 5, 8, 13}) {
      INFO(known.name << ", n = " << n);
      auto const nodes = static_cast<std::size_t>(n);
      check_plan(tracking_plan(known.build(nodes)));
      check_plan(tracking_plan(both(known.build(nodes))));
      check_plan(gossip_plan(known.build(nodes)));
      check_plan(gossip_plan(topology::pair{known.build(nodes)}));
      check_plan(push_sum_plan(known.build(nodes)));
      check_plan(ring_plan(nodes));
      check_plan(server_plan(nodes));
    }
}

TEST_CASE("custom weights make a plan if they are on edges and keep a common root") {
  auto const graphs = both(topology::complete(3));
  auto const pull = from_entries(3, {{a, a, 1}, {b, b, .5}, {b, a, .5}, {c, c, .3}, {c, b, .7}}, stochasticity::row);
  auto const push = from_entries(3, {{a, a, 1}, {b, b, .5}, {a, b, .5}, {c, c, .3}, {b, c, .7}}, stochasticity::column);
  auto const made = tracking_plan(graphs, pull, push);
  check_plan(made);
  CHECK(made.gain == 3.0);  // the weights leave a tree pair of the complete graph in use
  CHECK(made.nodes[2].pull_from[0].weight == 0.7);
  CHECK(made.nodes[2].push_to[0].peer == b);
}

TEST_CASE("custom weights without a valid plan are refused with the edge, the sum or the node at fault") {
  auto const graphs = topology::pair{topology::directed_ring(3)};
  auto const pull = uniform_pull(topology::directed_ring(3));
  auto const push = uniform_push(topology::directed_ring(3));
  auto const refused = [&](matrix const& w, matrix const& q) {
    return refusal([&] { (void)tracking_plan(graphs, w, q); });
  };
  auto const off_edge = refused(pull.transposed(), push);
  INFO(off_edge);
  CHECK(says(off_edge, "edge 0 -> 2"));
  CHECK(says(off_edge, "pull graph 'directed_ring(3)'"));
  CHECK(says(refused(pull, push.transposed()), "push graph"));

  auto const lazy = from_entries(3, {{a, a, 1}, {b, b, 1}, {c, c, .5}, {c, b, .5}}, stochasticity::row);
  CHECK(says(refused(lazy, push), "no node can reach every other node"));
  auto const column = from_entries(3, {{a, a, 1}, {b, b, .9}, {c, c, 1}, {c, b, .1}}, stochasticity::column);
  CHECK(says(refused(column, push), "row 1"));
  CHECK(says(refused(uniform_pull(topology::ring(4)), push), "4 nodes"));
}

TEST_CASE("a gossip plan pulls both ways and pushes nothing") {
  auto const made = gossip_plan(topology::directed_ring(4));
  CHECK(made.gain == 1.0);
  CHECK(made.nodes[0].pull_from.size() == 2);
  CHECK(made.nodes[0].pull_self == Approx(1.0 / 3));
  CHECK(made.nodes[0].push_to.empty());
  CHECK(made.nodes[0].push_from.empty());
  CHECK(made.nodes[0].push_self == 1.0);
  // A tree pair gossips on the tree that it was made of.
  auto const on_pair = gossip_plan(topology::pair{topology::binary_tree(7)});
  auto const on_tree = gossip_plan(topology::binary_tree(7));
  for (auto i = std::size_t{0}; i < 7; ++i) CHECK(on_pair.nodes[i].pull_to == on_tree.nodes[i].pull_to);
}

TEST_CASE("a gossip plan takes a chain of one-way edges, but no disconnected graph") {
  check_plan(gossip_plan(topology::from_edges(3, {{a, b}, {b, c}})));
  CHECK(says(refusal([] { (void)gossip_plan(topology::from_edges(3, {{a, c}}, "mine")); }), "node 1 of 'mine'"));
}

TEST_CASE("a gossip plan that uses one-way edges both ways says so, and any other says nothing") {
  auto const made = gossip_plan(topology::from_edges(3, {{a, b}, {b, a}, {b, c}}, "mine"));
  CHECK(made.remark == "note: 1 edge of 'mine' goes one way, and gossip uses it both ways");
  CHECK(says(made.summary, "one-way edges used both ways: 1"));
  CHECK(gossip_plan(topology::pair{topology::directed_ring(4)}).remark ==
        "note: 4 edges of 'directed_ring(4)' go one way, and gossip uses them both ways");
  CHECK(gossip_plan(topology::ring(4)).remark.empty());
  CHECK(gossip_plan(topology::pair{topology::binary_tree(7)}).remark.empty());
  CHECK(tracking_plan(topology::directed_ring(4)).remark.empty());
}

TEST_CASE("gossip takes custom weights, also from a file, if they are symmetric, sum to one and join all nodes") {
  auto const list = topology::parse_edge_weights("undirected\n0 1 0.25\n1 2 0.5\n", "w.txt");
  auto const made = gossip_plan(from_edge_weights(list, stochasticity::doubly));
  check_plan(made);
  CHECK(made.summary == "gossip, weights of 'w.txt'");
  CHECK(made.nodes[0].pull_self == 0.75);
  CHECK(made.nodes[1].pull_self == 0.25);
  CHECK(made.nodes[1].pull_from[1].weight == 0.5);
  CHECK(made.nodes[2].pull_to == std::vector{b});
  CHECK(made.nodes[0].push_to.empty());

  auto const refused = [](char const* text, stochasticity sums) {
    return refusal([&] { (void)gossip_plan(from_edge_weights(topology::parse_edge_weights(text, "w"), sums)); });
  };
  CHECK(
      says(refused("0 1 .5\n1 2 .5\n2 0 .5\n", stochasticity::doubly), "entry (0, 2) is 0.5 where entry (2, 0) is 0"));
  CHECK(says(refused("0 1 .5\n1 0 .4\n", stochasticity::row), "column 0 of the weights of 'w' sums to 1.1"));
  CHECK(says(refused("0 1 .7\n2 1 .7\n", stochasticity::row), "entry (1, 1) of the weights of 'w' is -0.4"));
  CHECK(says(refused("undirected\n0 1 .5\n2 3 .5\n", stochasticity::doubly), "node 2"));
  CHECK(says(refused("0 1 .5\n0 1 .25\n", stochasticity::row), "given twice"));
}

TEST_CASE("a ring plan receives from the one before and sends to the one after") {
  auto const made = ring_plan(4);
  CHECK(made.nodes[0].pull_from[0].peer == node_id{3});
  CHECK(made.nodes[0].pull_to == std::vector{b});
  CHECK(made.nodes[3].pull_to == std::vector{a});
  CHECK(ring_plan(1).nodes[0].pull_from.empty());
  CHECK(ring_plan(2).nodes[0].pull_from[0].peer == b);
  CHECK(says(refusal([] { (void)ring_plan(0); }), "no node"));
}

TEST_CASE("a server plan has workers that take all from the server and give all to it") {
  auto const made = server_plan(3);
  REQUIRE(made.nodes.size() == 4);
  auto const& server = made.nodes[3];
  CHECK(server.part == role::server);
  CHECK(server.nodes == 3);
  CHECK(server.pull_to == std::vector{a, b, c});
  CHECK(server.push_from == std::vector{a, b, c});
  CHECK(made.nodes[1].part == role::worker);
  CHECK(made.nodes[1].pull_self == 0.0);
  CHECK(made.nodes[1].pull_from[0].peer == server.self);
  CHECK(made.nodes[1].push_to[0].weight == 1.0);
  CHECK(says(refusal([] { (void)server_plan(0); }), "no node"));
}

TEST_CASE("plans for ten thousand nodes stay sparse") {
  auto const graph = topology::random_regular(10'000, 4, 1);
  auto const made = tracking_plan(graph);
  CHECK(made.nodes.size() == 10'000);
  CHECK(made.nodes[9'999].pull_from.size() == 4);
  CHECK(gossip_plan(graph).nodes[0].pull_to.size() == 4);
  CHECK(tracking_plan(topology::line(10'000)).gain == 10'000.0);
}

/// On a ring of four: each neighbour counts w, and who stands opposite -0.1.
auto opposed(double w) -> matrix {
  auto const own = 1.1 - 2 * w;
  return from_rows({{own, w, -0.1, w}, {w, own, w, -0.1}, {-0.1, w, own, w}, {w, -0.1, w, own}}, stochasticity::doubly,
                   "mine", signs::any);
}

TEST_CASE("gossip takes negative weights if all eigenvalues but one are within (-1, 1)") {
  auto const made = gossip_plan(opposed(0.4));
  check_plan(made);
  CHECK(made.nodes[0].pull_from[1].weight == -0.1);
  CHECK(made.nodes[0].pull_from[1].peer == c);
  auto const own =
      from_rows({{-.1, .55, .55}, {.55, -.1, .55}, {.55, .55, -.1}}, stochasticity::doubly, "mine", signs::any);
  CHECK(gossip_plan(own).nodes[0].pull_self == -0.1);
  auto const sentence = refusal([] { (void)gossip_plan(opposed(0.6)); });
  INFO(sentence);
  CHECK(says(sentence, "mine a second eigenvalue has the modulus 1.4, which is not below 1"));
  // Here who stands opposite is pushed away more than the neighbours pull.
  CHECK(says(refusal([] { (void)gossip_plan(opposed(0.04)); }), "modulus 1.12"));
  // Two nodes that only swap their models do not come closer.
  auto const swapping = from_rows({{0, 1}, {1, 0}}, stochasticity::doubly, "mine", signs::any);
  CHECK(says(refusal([&] { (void)gossip_plan(swapping); }), "modulus 1,"));
}

TEST_CASE("tracking refuses negative weights with the entry, in either matrix") {
  auto const graphs = topology::pair{topology::complete(4)};
  auto const refused = [&](matrix const& w, matrix const& q) {
    return refusal([&] { (void)tracking_plan(graphs, w, q); });
  };
  auto const good = metropolis_hastings(topology::complete(4));
  auto const sentence = refused(opposed(0.4), good);
  CHECK(
      sentence ==
      "gradient tracking needs weights that are not negative and a positive diagonal, and entry (0, 2) of the mine is "
      "-0.1");
  CHECK(says(refused(good, opposed(0.4)), "entry (0, 2) of the mine"));
  CHECK(says(refusal([] { (void)perron_left(opposed(0.4)); }), "entry (0, 2)"));
}

TEST_CASE("a tracking plan needs no graph beside its weights") {
  auto const pull = from_rows({{1, 0, 0}, {.5, .5, 0}, {0, .7, .3}}, stochasticity::row);
  auto const push = from_rows({{1, .5, 0}, {0, .5, .7}, {0, 0, .3}}, stochasticity::column);
  auto const made = tracking_plan(pull, push);
  check_plan(made);
  CHECK(made.gain == 3.0);
  CHECK(made.nodes[2].pull_from[0].weight == 0.7);
  CHECK(made.nodes[2].push_to[0].peer == b);
  auto const by_rows = from_rows({{.5, .5, 0}, {0, .3, .7}, {0, 0, 1}}, stochasticity::row);
  CHECK(says(refusal([&] { (void)tracking_plan(pull, by_rows); }), "column 0"));
}

}  // namespace

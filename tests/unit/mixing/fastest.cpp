// SPDX-License-Identifier: MIT
// Known values were made by another program, to 1e-9.
#include <rubato/mixing/fastest.hpp>

#include <cmath>
#include <string>
#include <vector>

#include <Eigen/Dense>

#include <rubato/mixing/plan.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::mixing;
using rubato::test::refusal;
using rubato::test::says;
using topology::edge;

auto e(std::uint32_t from, std::uint32_t to) -> edge { return {node_id{from}, node_id{to}}; }
auto close_to(double value, double margin = 2e-9) -> Approx { return Approx(value).margin(margin).epsilon(0); }

/// The largest modulus of an eigenvalue of W - J, dense.
auto rho(matrix const& w) -> double {
  auto const n = static_cast<Eigen::Index>(w.nodes());
  auto dense = Eigen::MatrixXd{Eigen::MatrixXd::Constant(n, n, -1 / static_cast<double>(n))};
  for (auto i = std::size_t{0}; i < w.nodes(); ++i)
    for (auto const& entry : w.row(to_node(i)))
      dense(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(to_index(entry.peer))) += entry.weight;
  return Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>{dense}.eigenvalues().cwiseAbs().maxCoeff();
}

auto weight(matrix const& w, std::size_t i, std::size_t j) -> double { return w.at(to_node(i), to_node(j)); }

auto triangles() -> topology::digraph {
  return topology::from_edges(6, {e(0, 1), e(1, 2), e(0, 2), e(2, 3), e(3, 4), e(4, 5), e(3, 5)})
      .with_both_directions();
}

struct known_rho {
  topology::digraph graph;
  double metropolis, constant, free, bounded;
};

TEST_CASE("the fastest weights meet known values, and the best constant and Metropolis-Hastings weights do") {
  auto const five = std::cos(3.14159265358979323846 / 5);
  auto const two = std::sqrt(2.0);
  for (auto const& known :
       std::vector<known_rho>{{topology::line(5), 0.8726779962, 0.8090169944, five, five},
                              {topology::ring(5), 0.5393446629, 0.4472135955, 0.4472135955, 0.4472135955},
                              {topology::ring(6), 0.6666666667, 0.6, 0.6, 0.6},
                              {topology::grid({2, 3}), 0.75, 0.6666666667, 2 - two, 2 - two},
                              {topology::grid({3, 3}), 0.7674234614, 0.7142857143, 0.6925512198, 0.6925512198},
                              {topology::star(5), 0.8, 0.6666666667, 2.0 / 3, 0.75},
                              {topology::binary_tree(7), 0.9330127019, 0.8855446910, 0.8791528696, 0.8903882032},
                              {triangles(), 0.8903882032, 0.8246211251, std::sqrt(2.0 / 3), 0.8419828529}}) {
    INFO(known.graph.name());
    CHECK(rho(metropolis_hastings(known.graph)) == close_to(known.metropolis));
    CHECK(rho(best_constant(known.graph)) == close_to(known.constant));
    CHECK(rho(fastest_mixing(known.graph, signs::any)) == close_to(known.free));
    CHECK(rho(fastest_mixing(known.graph, signs::not_negative, 0)) == close_to(known.bounded));
  }
}

TEST_CASE("the fastest weights are the known ones where these are unique") {
  auto const margin = 1e-5;  // rho is flat near the best
  auto const line = fastest_mixing(topology::line(5), signs::any);
  for (auto i = std::size_t{0}; i < 4; ++i) CHECK(weight(line, i, i + 1) == close_to(0.5, margin));
  auto const grid = fastest_mixing(topology::grid({2, 3}), signs::any);
  CHECK(weight(grid, 0, 1) == close_to(std::sqrt(2.0) - 1, margin));
  CHECK(weight(grid, 0, 3) == close_to(0.2928932, margin));
  CHECK(weight(grid, 1, 4) == close_to(0.0857864, margin));
  auto const nine = fastest_mixing(topology::grid({3, 3}), signs::any);
  CHECK(weight(nine, 0, 1) == close_to(0.3629833, margin));
  CHECK(weight(nine, 1, 4) == close_to(0.2111178, margin));
  CHECK(weight(fastest_mixing(topology::star(5), signs::any), 0, 1) == close_to(1.0 / 3, margin));
  CHECK(weight(fastest_mixing(topology::star(5), signs::not_negative, 0), 0, 1) == close_to(0.25, margin));
  auto const tree = fastest_mixing(topology::binary_tree(7), signs::any);
  CHECK(weight(tree, 0, 1) == close_to(0.5, margin));
  CHECK(weight(tree, 1, 3) == close_to(1.0 / 3, margin));
  CHECK(weight(fastest_mixing(triangles(), signs::any), 2, 3) == close_to(0.5, margin));
}

TEST_CASE("a complete graph is averaged at once, and so are one and two nodes") {
  for (auto const n : {1, 2, 3, 6}) {
    auto const nodes = static_cast<std::size_t>(n);
    CHECK(rho(fastest_mixing(topology::complete(nodes), signs::any)) == close_to(0));
    CHECK(rho(best_constant(topology::complete(nodes))) == close_to(0));
  }
}

TEST_CASE("weights that are not negative leave each node its least share, and make a plan") {
  for (auto const& graph : {topology::star(6), topology::small_world(14, 4, 0.3, 2), topology::line(9)}) {
    auto const w = fastest_mixing(graph, signs::not_negative, 0.1);
    for (auto i = std::size_t{0}; i < graph.nodes(); ++i) CHECK(w.diagonal(to_node(i)) >= 0.1);
    CHECK(rho(w) <= rho(fastest_mixing(graph, signs::not_negative, 0.2)) + 1e-9);
    CHECK(rho(fastest_mixing(graph, signs::any)) <= rho(w) + 1e-9);
    CHECK(gossip_plan(w).nodes.size() == graph.nodes());
  }
  CHECK(gossip_plan(fastest_mixing(topology::star(5), signs::any)).nodes.size() == 5);
}

TEST_CASE("no small change of the fastest weights mixes faster") {
  auto const graph = topology::erdos_renyi(8, 0.4, 6);
  auto const w = fastest_mixing(graph, signs::any);
  auto const best = rho(w);
  for (auto const changed : graph.edges()) {
    auto entries = std::vector<entry>{};
    for (auto i = std::size_t{0}; i < 8; ++i)
      for (auto const& x : w.row(to_node(i))) {
        auto const on = [&](node_id id) { return id == changed.from || id == changed.to; };
        auto const sign = !on(to_node(i)) || !on(x.peer) ? 0.0 : x.peer == to_node(i) ? -1.0 : 1.0;
        entries.push_back({to_node(i), x.peer, x.weight + (changed.from < changed.to ? 1e-3 : -1e-3) * sign});
      }
    CHECK(rho(from_entries(8, entries, stochasticity::doubly, "changed", signs::any)) > best - 1e-9);
  }
}

TEST_CASE("the ends of a Laplacian's spectrum are measured") {
  auto const ring = laplacian_range_of(topology::ring(6));
  CHECK(ring.second == close_to(1));
  CHECK(ring.largest == close_to(4));
  auto const star = laplacian_range_of(topology::star(7));
  CHECK(star.second == close_to(1));
  CHECK(star.largest == close_to(7));
  CHECK(says(refusal([] { (void)laplacian_range_of(topology::line(1)); }), "two or more"));
}

TEST_CASE("graphs without fastest weights are refused with the reason") {
  CHECK(says(refusal([] { (void)fastest_mixing(topology::directed_ring(4)); }), "no reverse"));
  CHECK(says(refusal([] { (void)fastest_mixing(topology::from_edges(3, {e(0, 1), e(1, 0)})); }), "node 2"));
  CHECK(says(refusal([] { (void)best_constant(topology::from_edges(3, {e(0, 1), e(1, 0)})); }), "node 2"));
  CHECK(says(refusal([] { (void)fastest_mixing(topology::ring(201)); }), "up to 200 nodes and 600 pairs"));
  CHECK(says(refusal([] { (void)fastest_mixing(topology::ring(4), signs::not_negative, 1); }), "below 1"));
}

}  // namespace

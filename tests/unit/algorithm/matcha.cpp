// SPDX-License-Identifier: MIT
// MATCHA: matchings, probabilities under a budget, the best weight, and the rounds beside their dense form.
#include <rubato/algorithm/matcha.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Eigenvalues>

#include <rubato/algorithm/non_blocking_matcha.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/matchings.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node_type = matcha<backend::host<double>>;
using mixing::matching_list;

auto laplacian(std::size_t n, std::vector<topology::edge> const& links) -> matrix {
  matrix l = matrix::Zero(index_of(n), index_of(n));
  for (auto const& e : links) {
    auto const i = index_of(e.from), j = index_of(e.to);
    l(i, i) += 1, l(j, j) += 1, l(i, j) -= 1, l(j, i) -= 1;
  }
  return l;
}
auto weighted(std::size_t n, matching_list const& all, std::vector<double> const& p) -> matrix {
  matrix sum = matrix::Zero(index_of(n), index_of(n));
  for (std::size_t j = 0; j < all.size(); ++j) sum += p[j] * laplacian(n, all[j]);
  return sum;
}
auto eigenvalues(matrix const& m) -> Eigen::VectorXd {
  return Eigen::SelfAdjointEigenSolver<matrix>(m, Eigen::EigenvaluesOnly).eigenvalues();
}

void check_matchings(topology::digraph const& graph) {
  auto const all = topology::matchings(graph);
  std::set<std::pair<std::size_t, std::size_t>> links;
  auto clashes = 0;
  for (auto const& one : all) {
    std::set<std::size_t> ends;
    for (auto const& e : one) {
      links.insert({to_index(e.from), to_index(e.to)});
      clashes += !ends.insert(to_index(e.from)).second + !ends.insert(to_index(e.to)).second;
    }
  }
  std::size_t largest = 0, count = 0, known = 0;
  for (std::size_t i = 0; i < graph.nodes(); ++i) largest = std::max(largest, graph.out_of(to_node(i)).size());
  for (auto const& one : all) count += one.size();
  for (auto const& e : graph.edges()) known += links.count({to_index(e.from), to_index(e.to)});
  CHECK(clashes == 0);
  CHECK((count == links.size() && 2 * count == graph.edge_count() && known == count));
  CHECK(all.size() <= largest + 1);
}

TEST_CASE("matchings part the links of every graph of five nodes, with at most one more than the largest degree") {
  for (unsigned bits = 1; bits < 1U << 10; ++bits) {
    std::vector<topology::edge> edges;
    auto bit = 0U;
    for (std::size_t i = 0; i < 5; ++i) {
      for (std::size_t j = i + 1; j < 5; ++j) {
        if ((bits >> bit++ & 1U) == 0) continue;
        edges.push_back({to_node(i), to_node(j)}), edges.push_back({to_node(j), to_node(i)});
      }
    }
    check_matchings(topology::from_edges(5, std::move(edges)));
  }
  for (auto const n : {6, 7, 12, 17}) check_matchings(topology::complete(static_cast<std::size_t>(n)));
  check_matchings(topology::exponential(24).with_both_directions());
}

TEST_CASE("a ring of four with half the budget has two matchings, used half of the time, with weight 1/2") {
  auto const all = topology::matchings(topology::ring(4));
  REQUIRE(all.size() == 2);
  CHECK(all[0] == std::vector<topology::edge>{{node_id{0}, node_id{1}}, {node_id{2}, node_id{3}}});
  CHECK(all[1] == std::vector<topology::edge>{{node_id{0}, node_id{3}}, {node_id{1}, node_id{2}}});
  auto const p = mixing::activation_probabilities(4, all, 0.5);
  CHECK(p[0] == Approx(0.5).margin(1e-8));
  CHECK(p[1] == Approx(0.5).margin(1e-8));
  auto const best = mixing::best_weight(4, all, p);
  CHECK(best.alpha == Approx(0.5).margin(1e-6));
  CHECK(best.rho == Approx(0.5).margin(1e-8));
}

/// The largest lambda_2 over all p that use the whole budget, by grids that become finer around the best point.
auto best_by_grids(std::size_t n, matching_list const& all, double budget) -> double {
  auto const m = all.size();
  auto const most = budget * static_cast<double>(m);
  std::vector<double> centre(m, budget);
  auto best = 0.0;
  for (auto width = 1.0; width > 1e-6; width *= 0.7) {
    auto const around = centre;
    for (std::size_t at = 0, end = static_cast<std::size_t>(std::pow(5, m - 1)); at < end; ++at) {
      auto p = around;
      auto left = most;
      auto rest = at;
      for (std::size_t j = 0; j + 1 < m; ++j, rest /= 5) {
        p[j] = std::clamp(around[j] + width * (static_cast<double>(rest % 5) - 2) / 2, 0.0, 1.0);
        left -= p[j];
      }
      if (left < 0 || left > 1) continue;
      p[m - 1] = left;
      auto const value = eigenvalues(weighted(n, all, p))(1);
      if (value > best) best = value, centre = p;
    }
  }
  return best;
}

/// Two triangles joined by a link, the end of one with a tail: links that matter differently.
auto barbell() -> topology::digraph {
  return topology::from_edges(6, {{node_id{0}, node_id{1}},
                                  {node_id{1}, node_id{2}},
                                  {node_id{0}, node_id{2}},
                                  {node_id{2}, node_id{3}},
                                  {node_id{3}, node_id{4}},
                                  {node_id{4}, node_id{5}}})
      .with_both_directions();
}

TEST_CASE("probabilities keep the budget, and no others mix better") {
  for (auto const& graph :
       {topology::line(4), topology::ring(5), topology::complete(4), topology::star(5), barbell()}) {
    auto const n = graph.nodes();
    auto const all = topology::matchings(graph);
    REQUIRE(all.size() <= 4);
    for (auto const budget : {0.2, 0.5, 0.8}) {
      auto const p = mixing::activation_probabilities(n, all, budget);
      auto sum = 0.0;
      for (auto const one : p) {
        CHECK((one >= 0 && one <= 1));
        sum += one;
      }
      CHECK(sum <= budget * static_cast<double>(all.size()) + 1e-9);
      INFO(graph.name() << ", budget " << budget);
      CHECK(eigenvalues(weighted(n, all, p))(1) == Approx(best_by_grids(n, all, budget)).margin(1e-4));
    }
  }
}

TEST_CASE("rho is the mean square contraction over all draws, and the weight is the best") {
  for (auto const& graph : {topology::ring(5), topology::complete(5), topology::star(5), barbell()}) {
    auto const n = graph.nodes();
    auto const all = topology::matchings(graph);
    matrix const one = matrix::Identity(index_of(n), index_of(n));
    for (auto const budget : {0.3, 0.7, 1.0}) {
      auto const p = mixing::activation_probabilities(n, all, budget);
      auto const contraction = [&](double alpha) {
        matrix sum = -matrix::Constant(index_of(n), index_of(n), 1 / static_cast<double>(n));
        for (std::size_t draw = 0; draw < std::size_t{1} << all.size(); ++draw) {
          auto chance = 1.0;
          matrix w = one;
          for (std::size_t j = 0; j < all.size(); ++j) {
            auto const used = (draw >> j & 1) != 0;
            chance *= used ? p[j] : 1 - p[j];
            if (used) w -= alpha * laplacian(n, all[j]);
          }
          sum += chance * w * w;
        }
        return eigenvalues(sum)(index_of(n) - 1);
      };
      auto const best = mixing::best_weight(n, all, p);
      CHECK(best.rho == Approx(contraction(best.alpha)).margin(1e-12));
      CHECK(best.rho < 1);
      for (auto const off : {-1e-3, 1e-3}) CHECK(contraction(best.alpha + off) >= best.rho - 1e-12);
    }
  }
  for (auto const& links : topology::matchings(barbell()))
    CHECK((laplacian(6, links) * laplacian(6, links) - 2 * laplacian(6, links)).norm() < 1e-15);
}

TEST_CASE("matcha in lock-step is x+ = W(k) (x - gamma g(x)), with the W that all nodes draw alike") {
  for (topology::pair const& network : {topology::pair{topology::ring(6)}, topology::pair{topology::complete(5)},
                                        topology::pair{topology::binary_tree(7)}, topology::pair{topology::line(1)}}) {
    auto const n = network.nodes();
    auto const q = problem::quadratic::random(n, 5, 42);
    auto const o = node_type::options{.step = 0.05, .seed = 3, .budget = 0.4};
    auto const plan = node_type::make_plan(network, o);
    auto nodes = lockstep{assemble<node_type>(network, q, o)};
    matrix x = matrix::Zero(index_of(n), 5);
    auto worst = 0.0;
    for (std::uint64_t k = 1; k <= 100; ++k) {
      for (std::size_t i = 0; i < n; ++i) worst = std::max(worst, distance(nodes.point(i), row(x, i)));
      nodes.round();
      matrix w = matrix::Identity(index_of(n), index_of(n));
      for (std::size_t i = 0; plan.rounds && i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          w(index_of(i), index_of(j)) = plan.rounds->weight(k, to_node(i), to_node(j));
      x = w * (x - 0.05 * gradients(q, x));
    }
    CHECK(nodes.failure().empty());
    CHECK(worst < 1e-12 * (1 + x.cwiseAbs().maxCoeff()));
    CHECK(x.cwiseAbs().maxCoeff() > 0.01);
  }
}

TEST_CASE("with the whole budget matcha is d_psgd_atc with W = I - 2 L / (lambda_2 + lambda_n)") {
  for (auto const& graph : {topology::ring(7), topology::complete(4), barbell()}) {
    auto const n = graph.nodes();
    auto const q = problem::quadratic::random(n, 5, 42);
    matrix l = matrix::Zero(index_of(n), index_of(n));
    for (auto const& one : topology::matchings(graph)) l += laplacian(n, one);
    auto const values = eigenvalues(l);
    matrix const w = matrix::Identity(index_of(n), index_of(n)) - 2 / (values(1) + values(index_of(n) - 1)) * l;
    std::vector<std::vector<double>> rows;
    for (std::size_t i = 0; i < n; ++i) rows.push_back(row(w, i));
    auto const plan =
        mixing::gossip_plan(mixing::from_rows(rows, mixing::stochasticity::doubly, "best", mixing::signs::any));
    auto fixed = lockstep{assemble<d_psgd_atc<backend::host<double>>>(plan, q, {.step = 0.1})};
    auto whole = lockstep{assemble<node_type>(topology::pair{graph}, q, {.step = 0.1, .budget = 1})};
    for (int k = 0; k < 60; ++k) fixed.round(), whole.round();
    for (std::size_t i = 0; i < n; ++i) CHECK(distance(fixed.point(i), whole.point(i)) < 1e-12);
  }
}

TEST_CASE("a budget says how many packets there are, and non_blocking_matcha waits less for a slow node") {
  auto const q = problem::quadratic::random(6, 5, 42);
  auto const scenario = environment::scenario{.compute = environment::fixed(10ms).slow(2, 3), .link = {.latency = 1ms}};
  auto const share = [&](double budget) {
    auto const r =
        simulate<node_type>(topology::complete(6), q, {.step = 0.1, .budget = budget}, scenario, {.time = 20s});
    auto used = 0.0;
    for (auto const& e : r.edges) used += static_cast<double>(e.packets_sent);
    return used / static_cast<double>(r.nodes[0].iterations) / 30;
  };
  CHECK(share(1) == Approx(1).margin(0.01));
  CHECK(share(0.3) == Approx(0.3).margin(0.03));
  auto const rounds = [&]<class Node>(Node const*) {
    return simulate<Node>(topology::complete(6), q, {.step = 0.1, .contribution = {4}}, scenario, {.time = 20s})
        .nodes[0]
        .iterations;
  };
  using blocking = matcha<backend::host<double>, step::sgd, contribution::all>;
  using hasty = non_blocking_matcha<backend::host<double>>;
  CHECK(static_cast<double>(rounds(static_cast<hasty const*>(nullptr))) >
        1.3 * static_cast<double>(rounds(static_cast<blocking const*>(nullptr))));
}

TEST_CASE("a network for which probabilities would take too long is refused") {
  auto const q = problem::quadratic::random(129, 1, 5);
  auto const why = refusal([&] { static_cast<void>(assemble<node_type>(topology::ring(129), q, {})); });
  CHECK(says(why, "MATCHA computes its probabilities for at most 128 nodes, and 'ring(129)' has 129"));
}

TEST_CASE("a budget outside (0, 1] is refused") {
  auto const q = problem::quadratic::random(4, 5, 42);
  for (auto const budget : {0.0, -0.5, 1.0001, std::numeric_limits<double>::quiet_NaN()}) {
    auto const sentence =
        refusal([&] { static_cast<void>(assemble<node_type>(topology::ring(4), q, {.budget = budget})); });
    CHECK(says(sentence, "must lie in (0, 1]"));
  }
}

}  // namespace
}  // namespace rubato::test

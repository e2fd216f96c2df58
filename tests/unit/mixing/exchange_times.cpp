// SPDX-License-Identifier: MIT
#include <rubato/mixing/exchange_times.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Eigenvalues>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using mixing::exchange_plan, mixing::exchange_times, mixing::fitted_exchanges, mixing::link_delays;

auto delays_of(std::size_t n, double all) -> link_delays { return link_delays(n, std::vector<double>(n, all)); }
/// A ring of six whose link between 2 and 3 is fifty times slower than the others.
auto one_slow() -> link_delays {
  auto d = delays_of(6, 1);
  d[2][3] = 50;  // and 1 in the other direction: an exchange needs both
  return d;
}

/// Half the second smallest eigenvalue of the Laplacian with weights K_e = p_e k_e: the pace at which models meet.
auto pace(topology::digraph const& graph, link_delays const& delays) -> double {
  matrix l = matrix::Zero(index_of(graph.nodes()), index_of(graph.nodes()));
  auto const times = fitted_exchanges(graph, delays, 0);
  for (auto const& link : times.links()) {
    auto const i = index_of(link.ends.from), j = index_of(link.ends.to);
    auto const k = link.rate() * link.weight;
    l(i, i) += k, l(j, j) += k, l(i, j) -= k, l(j, i) -= k;
  }
  return Eigen::SelfAdjointEigenSolver<matrix>(l, Eigen::EigenvaluesOnly).eigenvalues()(1) / 2;
}

/// The ring without its slow link.
auto path() -> topology::digraph {
  std::vector<topology::edge> edges;
  for (auto const& e : topology::ring(6).edges())
    if (to_index(e.from) + to_index(e.to) != 5 || to_index(e.from) % 5 == 0) edges.push_back(e);
  return topology::from_edges(6, std::move(edges));
}

TEST_CASE("a slow link slows only itself: half of lambda_2, and K of the links near and far") {
  CHECK(pace(topology::ring(6), delays_of(6, 1)) == Approx(0.041135858172901).epsilon(1e-12));
  CHECK(pace(topology::ring(6), one_slow()) == Approx(0.011281726095512).epsilon(1e-12));
  CHECK(path().edge_count() == 10);
  CHECK(pace(path(), delays_of(6, 1)) == Approx(0.011591909288856).epsilon(1e-12));
  CHECK(pace(topology::ring(6), delays_of(6, 50)) == Approx(0.041135858172901 / 50).epsilon(1e-12));
  auto const times = fitted_exchanges(topology::ring(6), one_slow(), 0);
  CHECK(times.between(node_id{5}, node_id{0}).weight == Approx(0.082271716).epsilon(1e-8));
  CHECK(times.between(node_id{1}, node_id{2}).weight == Approx(0.089486696).epsilon(1e-8));
  CHECK(times.between(node_id{3}, node_id{2}).delay == 50);
  CHECK(times.between(node_id{2}, node_id{3}).rate() == 0.02);
}

TEST_CASE("no weight comes near what an unlimited delay allows, whatever the graph and the delays") {
  for (auto const& graph : {topology::line(2), topology::star(7), topology::complete(6), topology::ring(5)}) {
    auto delays = delays_of(graph.nodes(), 1e-3);
    for (std::size_t i = 0; i < graph.nodes(); ++i) delays[i][0] = 0.1 * static_cast<double>(i + 1);
    matrix l = matrix::Zero(index_of(graph.nodes()), index_of(graph.nodes()));
    auto const times = fitted_exchanges(graph, delays, 0);
    for (auto const& link : times.links()) {
      auto const i = index_of(link.ends.from), j = index_of(link.ends.to);
      l(i, i) += link.weight, l(j, j) += link.weight, l(i, j) -= link.weight, l(j, i) -= link.weight;
    }
    CHECK(Eigen::SelfAdjointEigenSolver<matrix>(l, Eigen::EigenvaluesOnly).eigenvalues().maxCoeff() < 0.43);
  }
}

TEST_CASE("delays that are none, weights beyond 1 and links that the graph does not have are refused") {
  auto const why = [](double delay) {
    return refusal([&] { static_cast<void>(exchange_plan(topology::ring(4), delays_of(4, delay), 0)); });
  };
  CHECK(why(0.5).empty());
  for (auto const bad : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::nan("")})
    CHECK(says(why(bad), "the delay of link 0 -> 1 must be a positive number of seconds"));
  CHECK(says(refusal([] { static_cast<void>(fitted_exchanges(topology::ring(4), delays_of(3, 1), 0)); }),
             "no square matrix of 4 rows"));
  CHECK(says(refusal([] { exchange_times({{{node_id{0}, node_id{1}}, 1, 1}}, 0); }),
             "the weight of link 0 -> 1 must lie between 0 and 1, not 1"));
  auto const line = fitted_exchanges(topology::line(4), delays_of(4, 1), 0);
  CHECK(says(refusal([&] { static_cast<void>(exchange_plan(topology::ring(4), line)); }), "other links"));
  CHECK(exchange_plan(topology::line(4), line).exchanges->text() == line.text());
  CHECK(line.text() != fitted_exchanges(topology::line(4), delays_of(4, 1), 1).text());
}

}  // namespace
}  // namespace rubato::test

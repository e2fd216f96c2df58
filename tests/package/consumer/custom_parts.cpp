// SPDX-License-Identifier: MIT
// Somebody else's project: an update order, a weighting and a topology of its own, composed into an algorithm and run,
// under loss and with a straggler. Ends with status 0 if every node has reached the optimum of the sum.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;

// Posts models only after the gradient, and consumes the neighbours' mass before it tracks its own.
struct late_and_eager {
  using enum rubato::order::action;
  static constexpr std::array program{pull, gradient, consume, track, push, descend, write_model, send_model};
};

// Full weight while fresh, then half for every ten local iterations; never 0.
struct half_life {
  static constexpr bool can_cut = false;
  static constexpr bool depends_on_age = true;
  double iterations = 10;
  auto operator()(std::uint64_t age) const -> double { return std::exp2(-static_cast<double>(age) / iterations); }
};

// Two rings of n/2 nodes, turning in opposite directions, with two bridges.
auto two_wheels(std::size_t n) -> rubato::topology::digraph {
  auto const half = n / 2;
  auto edges = std::vector<rubato::topology::edge>{{rubato::to_node(0), rubato::to_node(half)},
                                                   {rubato::to_node(half + 1), rubato::to_node(1)}};
  for (std::size_t i = 0; i < half; ++i) {
    edges.push_back({rubato::to_node(i), rubato::to_node((i + 1) % half)});
    edges.push_back({rubato::to_node(half + (i + 1) % half), rubato::to_node(half + i)});
  }
  return rubato::topology::from_edges(n, std::move(edges), "two wheels");
}

int main() {
  using mine = rubato::gradient_tracking<rubato::backend::eigen<double>, late_and_eager, rubato::step::sgd, half_life>;
  auto const problem = rubato::problem::quadratic::random(10, 16, 1);
  auto const scenario = rubato::environment::scenario{.compute = rubato::environment::lognormal(10ms, 0.2).slow(7, 5.0),
                                                      .link = {.latency = 1ms, .loss = 0.2}};
  auto const result = rubato::simulate<mine>(two_wheels(10), problem, {.step = 0.05, .weighting = {.iterations = 20}},
                                             scenario, rubato::until{.time = 400s});
  auto worst = 0.0;
  for (auto const& model : result.models)
    for (std::size_t k = 0; k < problem.dimension(); ++k)
      worst = std::fmax(worst, std::abs(model.view<double>()[k] - problem.optimum()[k]));
  std::printf("%s: worst distance from the optimum %.1e\n", result.network.c_str(), worst);
  return worst < 1e-9 ? 0 : 1;
}

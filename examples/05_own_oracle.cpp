// SPDX-License-Identifier: MIT
// Your own problem is any type that knows its dimension and computes a gradient for a named mini-batch: no base class,
// no registration. This one fits a straight line to points that are spread over the nodes; each node has seen another
// stretch of the x axis, so none could find the line well on its own, and no point ever leaves its node.
//
//      0 --- 1 --- 2 --- 3       node i holds 64 points with x in [i, i+1)
//
// The key names the mini-batch: seed, node and draw. Take all randomness from it, and every driver draws the same
// samples in any order of events. Members `loss` and `nodes` are optional: for reports, and to check the network.
// Expected output: expected/05_own_oracle.txt
#include <cstdio>
#include <span>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;
using rubato::sample_key;

/// y = slope x + offset, by least squares; the model is {slope, offset}.
struct straight_line {
  static constexpr std::size_t points = 64;
  static constexpr std::size_t batch = 16;

  static auto place(std::size_t node, std::size_t p) -> double { return double(node) + double(p) / points; }
  static auto error(std::span<double const> line, double x) -> double { return line[0] * x + line[1] - (3 * x - 2); }

  auto dimension() const -> std::size_t { return 2; }
  auto nodes() const -> std::size_t { return 4; }

  template<class Backend>
  auto gradient(Backend&, std::span<double const> line, sample_key key, std::span<double> g) const -> double {
    auto draw = rubato::random_stream{key};
    auto sum = 0.0;
    g[0] = g[1] = 0;
    for (std::size_t i = 0; i < batch; ++i) {
      auto const x = place(to_index(key.node), draw.below(points));
      auto const e = error(line, x);
      g[0] += e * x / batch;
      g[1] += e / batch;
      sum += e * e / 2 / batch;
    }
    return sum;  // the mini-batch's loss; not-a-number would say that it is not known
  }
};

int main() {
  using node = rubato::r_fast<rubato::backend::eigen<double>>;
  auto const scenario =
      rubato::environment::scenario{.compute = rubato::environment::lognormal(10ms, 0.2), .link = {.loss = 0.2}};
  auto const result = rubato::simulate<node>(rubato::topology::line(4), straight_line{}, {.step = 0.03, .seed = 3},
                                             scenario, rubato::until{.time = 60s});
  for (std::size_t i = 0; i < result.models.size(); ++i) {
    auto const line = result.models[i].view<double>();
    std::printf("node %zu: y = %.4f x - %.4f\n", i, line[0], -line[1]);
  }
}

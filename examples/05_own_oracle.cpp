// SPDX-License-Identifier: MIT
// A problem of your own is any type that has a dimension and computes a gradient for a named mini-batch, without a base
// class or registration. This one fits a straight line to points that are spread over the nodes. Each node has another
// section of the x axis, so none could find the line well on its own, and no point ever leaves its node.
//
//      0 --- 1 --- 2 --- 3       node i holds 64 points with x in [i, i+1)
//
// The same problem serves nodes of double and of float, since the type of the values is a template parameter. The key
// names the mini-batch by seed, node and draw. Take all randomness from it: every driver then draws the same samples,
// in any order of events. The members `loss` and `nodes` are optional: for reports, and to check the network.
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
  static auto error(double slope, double offset, double x) -> double { return slope * x + offset - (3 * x - 2); }

  auto dimension() const -> std::size_t { return 2; }
  auto nodes() const -> std::size_t { return 4; }

  template<class Backend, class T>
  auto gradient(Backend&, std::span<T const> line, sample_key key, std::span<T> g) const -> double {
    auto draw = rubato::random_stream{key};
    auto sum = 0.0, by_slope = 0.0, by_offset = 0.0;
    for (std::size_t i = 0; i < batch; ++i) {
      auto const x = place(to_index(key.node), draw.below(points));
      auto const e = error(line[0], line[1], x);
      by_slope += e * x / batch;
      by_offset += e / batch;
      sum += e * e / 2 / batch;
    }
    g[0] = static_cast<T>(by_slope);
    g[1] = static_cast<T>(by_offset);
    return sum;  // the loss of the mini-batch; return NaN if it is not known
  }
};

template<class T>
void fit(char const* precision) {
  using node = rubato::r_fast<rubato::backend::eigen<T>>;
  auto const scenario =
      rubato::environment::scenario{.compute = rubato::environment::lognormal(10ms, 0.2), .link = {.loss = 0.2}};
  auto const result = rubato::simulate<node>(rubato::topology::line(4), straight_line{}, {.step = 0.03, .seed = 3},
                                             scenario, rubato::until{.time = 60s});
  for (std::size_t i = 0; i < result.models.size(); ++i) {
    auto const line = result.models[i].template view<T>();
    std::printf("node %zu, %s: y = %.4f x - %.4f\n", i, precision, double(line[0]), double(-line[1]));
  }
}

int main() {
  fit<double>("double");
  fit<float>("float");
}

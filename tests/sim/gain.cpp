// SPDX-License-Identifier: MIT
// The step gain c (mixing/gain.hpp): with constant gradients the mean model moves by -c gamma times the average
// gradient per local iteration. Measured with random phases (so that ages are 1/2) and compared with the gain of plans.
#include <cstdio>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using node_type = r_fast<backend::host<double>>;

/// Node i always says i + 1: the average over n nodes is (n + 1) / 2.
struct constant_gradient {
  [[nodiscard]] auto dimension() const -> std::size_t { return 1; }
  template<backend::array_backend Backend>
  auto gradient(Backend&, std::span<typename Backend::scalar const>, sample_key key,
                std::span<typename Backend::scalar> g) const -> double {
    g[0] = static_cast<double>(to_index(key.node)) + 1.0;
    return 0;
  }
};

/// The mean model and the mean number of local iterations, at every measurement.
struct speedometer : simulation_trace {
  void after_event(instant, node_id, std::span<any_node const> all) override { nodes = all; }
  void see() {
    if (nodes.empty()) return;
    auto x = 0.0, t = 0.0;
    for (auto const& n : nodes) {
      x += n.estimate().view<double>()[0] / static_cast<double>(nodes.size());
      t += static_cast<double>(n.statistics().iterations) / static_cast<double>(nodes.size());
    }
    models.push_back(x);
    times.push_back(t);
  }
  std::span<any_node const> nodes;
  std::vector<double> models, times;
};

struct measured_gain {
  double found;
  double planned;
};

auto measure(topology::pair const& network) -> measured_gain {
  node_type::options options{};
  options.step = 0.01;
  options.scale = step_scale::raw;
  auto made = assemble<node_type>(network, constant_gradient{}, options);
  auto const planned = made.gain;
  auto const average = (static_cast<double>(network.nodes()) + 1) / 2;
  environment::scenario weather;
  weather.compute = environment::lognormal(10ms, 0.05);  // phases drift through all positions, rates stay equal
  weather.measure_every = 20s;
  speedometer s;
  simulate(std::move(made), weather, {.time = 80s}, {.watching = {[&](look const&) { s.see(); }}, .trace = &s});
  auto const late = s.models.size() - 1;
  auto const found = -(s.models[late] - s.models[1]) / (s.times[late] - s.times[1]) / (options.step * average);
  std::printf("gain on %s: measured %.4f, planned %.4f\n", network.name().c_str(), found, planned);
  return {found, planned};
}

TEST_CASE("the consensus model moves at the planned gain on regular graphs") {
  for (auto const& graph :
       {topology::directed_ring(8), topology::ring(8), topology::exponential(8), topology::complete(8)}) {
    auto const g = measure(graph);
    CHECK(g.found == Approx(g.planned).epsilon(0.1));
  }
}

TEST_CASE("the gain of a tree pair is the number of nodes") {
  for (auto const& graph : {topology::binary_tree(8), topology::line(8), topology::star(8)}) {
    auto const g = measure(graph);
    CHECK(g.planned == 8.0);
    CHECK(g.found == Approx(8.0).epsilon(0.1));
  }
}

}  // namespace

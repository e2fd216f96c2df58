// SPDX-License-Identifier: MIT
// Figure 2: nodes that disagree, 30 % loss and one node ten times slower. r_fast reaches the optimum of the sum
// exactly; d_psgd misses it by what its linear solution says.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;

constexpr std::size_t n = 8;

auto networks() -> std::vector<topology::pair> {
  return {topology::binary_tree(n), topology::line(n), topology::star(n), topology::directed_ring(n),
          topology::exponential(n)};
}

auto problem_of_figure() -> problem::quadratic {
  return problem::quadratic::random(n, 6, 2024, {.spread = 1, .condition = 4, .noise = 0});
}

auto rough_weather() -> environment::scenario {
  environment::scenario s;
  s.compute = environment::lognormal(10ms, 0.2).slow(3, 10.0);
  s.link.latency = 1ms;
  s.link.loss = 0.3;
  s.seed = 7;
  s.measure_every = 1h;
  return s;
}

/// Remembers the models that the nodes end with.
struct last_look : simulation_trace {
  void after_event(instant, node_id, std::span<any_node const> nodes) override {
    models.resize(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) models[i] = nodes[i].estimate();
  }
  [[nodiscard]] auto values(std::size_t i) const -> std::vector<double> {
    std::vector<double> x;
    rubato::detail::widen(models[i], x);
    return x;
  }
  std::vector<shared_buffer> models;
};

template<class Node>
auto final_models(topology::pair const& network, double step, std::chrono::nanoseconds time, double& gamma)
    -> last_look {
  typename Node::options options{};
  options.step = step;
  auto made = assemble<Node>(network, problem_of_figure(), options);
  gamma = made.raw_step;
  last_look end;
  simulate(std::move(made), rough_weather(), {.time = time}, {.trace = &end});
  return end;
}

template<class Node>
void reaches_optimum(char const* name, double within) {
  auto const best = problem_of_figure().optimum();
  auto gamma = 0.0;
  for (auto const& network : networks()) {
    auto const end = final_models<Node>(network, 0.04, 100s, gamma);
    auto worst = 0.0;
    for (std::size_t i = 0; i < n; ++i) worst = std::max(worst, test::distance(end.values(i), best));
    std::printf("%s on %s: %.2g from the optimum\n", name, network.name().c_str(), worst);
    CHECK(worst < within);
  }
}

TEST_CASE("r_fast in double reaches the optimum of the sum on every topology") {
  reaches_optimum<r_fast<backend::host<double>>>("r_fast, double", 1e-9);
}

TEST_CASE("r_fast in float with the fixed-point ledger reaches the optimum of the sum on every topology") {
  reaches_optimum<r_fast<backend::host<float>>>("r_fast, float", 1e-5);
}

/// What a run over messages that are a hundred local iterations old comes to: the distance from the optimum, or
/// infinity and the sentence with which it ended.
struct outcome {
  double away = 0;
  std::string sentence{};
};
template<class Node>
auto over_old_messages(double step) -> outcome {
  typename Node::options options{};
  options.step = step;
  environment::scenario slow;
  slow.compute = environment::lognormal(1us, 0.3);
  slow.link.latency = 100us;
  slow.measure_every = 1h;
  auto const q = problem_of_figure();
  try {
    auto const result = simulate<Node>(topology::binary_tree(n), q, options, slow, {.time = 10ms});
    outcome o;
    std::vector<double> x;
    for (auto const& model : result.models) {
      rubato::detail::widen(model, x);
      o.away = std::max(o.away, test::distance(x, q.optimum()));
    }
    return o;
  } catch (run_error const& e) {
    return {std::numeric_limits<double>::infinity(), e.what()};
  }
}

TEST_CASE("messages a hundred local iterations old need a hundredth of the step, whatever the ledger") {
  using in_float = r_fast<backend::host<float>>;
  using in_double = r_fast<backend::host<double>>;
  CHECK(over_old_messages<in_float>(0.006).away < 1e-3);
  CHECK(over_old_messages<in_double>(0.006).away < 1e-3);
  // A good step for fresh messages. In double the models run away, and the fixed-point ledger says what to do.
  CHECK(over_old_messages<in_double>(0.2).away > 1e6);
  auto const ended = over_old_messages<in_float>(0.2).sentence;
  CHECK(ended.find("the ledger's range is exceeded in block 0") != std::string::npos);
  CHECK(ended.find("use a smaller step if the run diverges, as it does over messages that are too old for the step") !=
        std::string::npos);
}

/// `adapt_first`: the run may end between a node's descent and its mixing, so it stands at x or at x - gamma g(x).
template<class Node>
void misses_as_predicted(char const* name, bool adapt_first) {
  auto const q = problem_of_figure();
  for (auto const& network : networks()) {
    auto gamma = 0.0;
    auto const end = final_models<Node>(network, 0.1, 60s, gamma);
    auto const w = test::dense_network{Node::make_plan(network)}.w;
    auto const before = adapt_first ? w : test::matrix(test::matrix::Identity(w.rows(), w.cols()));
    test::matrix const predicted = test::gossip_fixed_point(q, w, gamma, before);
    test::matrix const descended = predicted - gamma * test::gradients(q, predicted);
    for (std::size_t i = 0; i < n; ++i) {
      auto const miss = test::distance(test::row(predicted, i), q.optimum());
      INFO(network.name() << ", node " << i);
      CHECK(miss > 0.01);
      auto off = test::distance(end.values(i), test::row(predicted, i));
      if (adapt_first) off = std::min(off, test::distance(end.values(i), test::row(descended, i)));
      CHECK(off < 0.01 * miss);
    }
    std::printf("%s on %s: the slow node misses by %.5f, predicted %.5f\n", name, network.name().c_str(),
                test::distance(end.values(3), q.optimum()), test::distance(test::row(predicted, 3), q.optimum()));
  }
}

TEST_CASE("d_psgd ends where (I - W) x + gamma g(x) = 0") {
  misses_as_predicted<d_psgd<backend::host<double>>>("d_psgd", false);
}

TEST_CASE("d_psgd_atc ends where x = W (x - gamma g(x))") {
  misses_as_predicted<d_psgd_atc<backend::host<double>>>("d_psgd_atc", true);
}

}  // namespace

// SPDX-License-Identifier: MIT
// Figure 1, second half: one million local iterations with |g| <= 10. The fixed-point ledger ends at exactly 0; plain
// float32 sums, the negative control, must not. A tenth under a sanitizer.
#include <cmath>
#include <cstdio>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/short_runs.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;

/// Noisy gradients within 10, pulling each node to another place.
struct bounded {
  std::size_t dimension_ = 4;
  [[nodiscard]] auto dimension() const -> std::size_t { return dimension_; }
  template<backend::array_backend Backend>
  auto gradient(Backend&, std::span<typename Backend::scalar const> x, sample_key key,
                std::span<typename Backend::scalar> g) const -> double {
    random_stream draw{key};
    for (std::size_t k = 0; k < x.size(); ++k) {
      auto const centre = static_cast<double>(to_index(key.node) * (k + 1)) - 7.0;
      auto const away = static_cast<double>(x[k]) - centre;
      g[k] = static_cast<typename Backend::scalar>(6 * away / (1 + std::abs(away)) + 4 * (2 * draw.uniform() - 1));
    }
    return 0;
  }
};

struct finding {
  double residual = 0;  // in the ledger's units
  double relative = 0;  // to sum |z| + sum |in flight|
  std::uint64_t iterations = 0;
};

/// Looks at the law at every measurement and keeps the worst.
struct law_keeper : simulation_trace {
  void after_event(instant, node_id, std::span<any_node const> all) override { nodes = all; }
  void check() {
    std::vector<tracking_audit> audits(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i].audit(audits[i]);
    auto scale = 0.0;
    for (std::size_t i = 0; i < audits.size(); ++i) {
      for (auto const z : audits[i].tracker) scale += std::abs(z);
      for (auto const& in : audits[i].consumed) {
        for (auto const& out : audits[to_index(in.peer)].pushed) {
          if (to_index(out.peer) != i || out.total.empty()) continue;
          for (std::size_t c = 0; c < out.total.size(); ++c) {
            scale += std::abs(
                rubato::detail::in_flight(out.total[c], in.total.empty() ? 0.0 : in.total[c], audits[i].fixed_point));
          }
        }
      }
    }
    auto const residual = tracking_residual(audits);
    worst.residual = std::max(worst.residual, residual);
    if (scale > 0) worst.relative = std::max(worst.relative, residual / scale);
  }
  std::span<any_node const> nodes;
  finding worst;
};

auto long_run() -> std::uint64_t { return test::short_runs() ? 100'000 : 1'000'000; }

template<class Ledger>
auto run(topology::digraph const& graph, char const* name) -> finding {
  using node_type = r_fast<backend::host<float>, step::sgd, weighting::constant, Ledger>;
  typename node_type::options options{};
  options.step = 0.002;
  environment::scenario weather;
  weather.compute = environment::lognormal(10ms, 0.3);
  weather.link = {.latency = 5ms, .jitter = 10ms, .loss = 0.2};
  weather.measure_every = 2s;
  law_keeper keeper;
  auto const result =
      simulate(assemble<node_type>(graph, bounded{}, options), weather, {.gradients = long_run() + graph.nodes()},
               {.watching = {[&](look const&) { keeper.check(); }}, .trace = &keeper});
  for (auto const& each : result.nodes) keeper.worst.iterations += each.iterations;
  std::printf("%s on %s: %llu local iterations, residual %g, relative %.2g\n", name, graph.name().c_str(),
              static_cast<unsigned long long>(keeper.worst.iterations), keeper.worst.residual, keeper.worst.relative);
  return keeper.worst;
}

TEST_CASE("a million local iterations leave a fixed-point residual of exactly zero") {
  for (auto const& graph : {topology::ring(8), topology::exponential(8)}) {
    auto const found = run<ledger::fixed_point>(graph, "fixed point");
    CHECK(found.residual == 0.0);
    CHECK(found.iterations + 2 * graph.nodes() >= long_run());
  }
}

TEST_CASE("a million local iterations drive plain float32 sums off the law: the negative control") {
  for (auto const& graph : {topology::ring(8), topology::exponential(8)}) {
    CHECK(run<ledger::floating>(graph, "plain float32").relative > 1e-6);
  }
}

}  // namespace

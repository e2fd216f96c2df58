// SPDX-License-Identifier: MIT
// How near r_fast comes to the optimum with running sums of each width, under 30 % loss and a straggler, and what a
// message of sums takes: float32 models, the fixed-point ledger, 64 values, 400 virtual seconds, seeds 1 to 5.
//   bench_sum_widths
// Half a minute on a quiet machine. Status 1 if the law of tracking is broken at any look.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/adaptive_bits.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/codec/referenced_bits.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/table.hpp>
#include <rubato/topology/builders.hpp>

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using space = backend::host<float>;

/// Farthest value from the optimum, bytes of sums an edge and iteration, and the worst residual, of one run.
struct ended {
  double distance;
  double bytes;
  double residual;
};
template<class SumCodec>
auto end_of(topology::digraph const& network, std::uint64_t seed) -> ended {
  using node = r_fast<space, step::sgd, weighting::constant, ledger::fixed_point, SumCodec>;
  auto const q = problem::quadratic::random(network.nodes(), 64, seed, {.spread = 1, .condition = 4});
  auto const r = simulate(assemble<node>(topology::pair{network}, q, {.step = 0.05}),
                          {.compute = environment::lognormal(10ms, 0.5).slow(2, 4.0),
                           .link = {.latency = 5ms, .jitter = 5ms, .loss = 0.3},
                           .seed = seed,
                           .measure_every = 500ms},
                          {.time = 400s});
  ended e{};
  for (auto const& m : r.models) {
    auto const x = m.template view<float>();
    for (std::size_t k = 0; k < x.size(); ++k)
      e.distance = std::max(e.distance, std::abs(static_cast<double>(x[k]) - q.optimum()[k]));
  }
  for (auto const& look : r.history) e.residual = std::max(e.residual, look.tracking_residual);
  std::uint64_t packets = 0, values = 0;
  for (auto const& edge : r.edges) {
    if (edge.channel != channel_id::tracker) continue;
    packets += edge.packets_sent, values += edge.values_sent;
  }
  constexpr auto each = sizeof(typename SumCodec::template code<std::int32_t>);
  e.bytes = static_cast<double>(values * each) / static_cast<double>(packets);
  return e;
}

/// Medians of seeds 1 to 5. False if the law is broken anywhere.
auto widths() -> bool {
  report::text_table table{
      {{"sums", report::side::left}, {"network", report::side::left}, {"bytes"}, {"median distance"}, {"worst"}}};
  auto holds = true;
  auto const row = [&]<class SumCodec>(char const* name, topology::digraph const& network, SumCodec) {
    std::vector<double> distances;
    auto bytes = 0.0;
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      auto const e = end_of<SumCodec>(network, seed);
      distances.push_back(e.distance);
      bytes = e.bytes;
      holds = holds && e.residual == 0;
    }
    std::sort(distances.begin(), distances.end());
    table.add_row({name, network.name(), report::readable(bytes), report::readable(distances[2]),
                   report::readable(distances[4])});
  };
  for (auto const& network : {topology::binary_tree(8), topology::ring(8)}) {
    row("whole", network, codec::identity{});
    row("16 fixed bits", network, codec::low_bits{});
    row("16 bits", network, codec::adaptive_bits<16>{});
    row("8 bits", network, codec::adaptive_bits<8>{});
    row("4 bits", network, codec::adaptive_bits<4>{});
    row("16 bits, confirmed, whole models", network, codec::referenced_bits<16, 0>{});
    row("8 bits, confirmed, whole models", network, codec::referenced_bits<8, 0>{});
    row("4 bits, confirmed, whole models", network, codec::referenced_bits<4, 0>{});
    row("2 bits, confirmed, whole models", network, codec::referenced_bits<2, 0>{});
    row("8 bits, confirmed, and models", network, codec::referenced_bits<8>{});
    row("4 bits, confirmed, and models", network, codec::referenced_bits<4>{});
    row("2 bits, confirmed, and models", network, codec::referenced_bits<2>{});
  }
  std::printf("%slaw of tracking exact at every look: %s\n", table.text().c_str(), holds ? "yes" : "no");
  return holds;
}

}  // namespace

auto main() -> int {
  try {
    return widths() ? 0 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_sum_widths: %s\n", e.what());
    return 2;
  }
}

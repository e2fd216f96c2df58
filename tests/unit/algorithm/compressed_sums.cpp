// SPDX-License-Identifier: MIT
// Gradient tracking whose running sums travel in 16 bits: conservation stays exact, counted with what the receiver
// decoded, and the optimum is reached to the resolution of the codes.
#include <rubato/algorithm/detail/compressed_sums.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/gossip.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/r_fast_low_bits.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using float_host = backend::host<float>;
using plain = r_fast<float_host>;
using compressed = r_fast_low_bits<float_host>;
using in_rounds = gossip<float_host, order::push_pull, step::sgd, weighting::constant, synchrony::rounds,
                         ledger::fixed_point, codec::low_bits>;
using problem::quadratic;

/// After every event, from the audits alone: the law, and that what a node consumed of an edge is, block by block, a
/// sum that its sender really had, rounded to the codec's resolution, and never an older one than before.
struct watching : simulation_trace {
  watching(block_partition blocks, int shift) : blocks_{blocks}, shift_{shift} {}
  void posted(instant, packet const& p) override {
    if (p.channel != channel_id::tracker) return;
    ++sums_posted;
    if (p.body.kind() != element::u16) ++of_other_type;
  }
  void after_event(instant, node_id node, std::span<any_node const> nodes) override {
    audits_.resize(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i].audit(audits_[i]);
    residual = std::max(residual, tracking_residual(audits_));
    for (auto const& e : audits_[to_index(node)].pushed) {
      auto& log = edges_[{node, e.peer}].sums;
      if (log.empty()) log.emplace_back(blocks_.values(), 0);
      auto now = rounded(e.total);
      if (now != log.back()) log.push_back(std::move(now));
    }
    for (auto const& e : audits_[to_index(node)].consumed) {
      for (std::size_t b = 0; b < blocks_.blocks(); ++b) find(edges_[{e.peer, node}], e.total, b);
    }
  }
  double residual = 0;
  std::uint64_t never_pushed = 0, found = 0, sums_posted = 0, of_other_type = 0;

 private:
  struct edge {
    std::vector<std::vector<std::int32_t>> sums{};  // as they can be told, from zeros on
    std::map<std::size_t, std::size_t> consumed{};  // by block, the place of the last one
  };

  [[nodiscard]] auto rounded(std::vector<double> const& total) const -> std::vector<std::int32_t> {
    std::vector<std::int32_t> out(blocks_.values(), 0);
    for (std::size_t c = 0; c < total.size(); ++c) {
      auto const half = std::int32_t{1} << shift_ >> 1;
      out[c] = backend::wrap_add(static_cast<std::int32_t>(total[c]), half) >> shift_ << shift_;
    }
    return out;
  }
  void find(edge& e, std::vector<double> const& total, std::size_t block) {
    if (total.empty()) return;
    auto const r = blocks_.values_of({block, block + 1});
    for (auto at = e.consumed[block]; at < e.sums.size(); ++at) {
      auto same = true;
      for (auto c = r.begin; c < r.end && same; ++c) same = e.sums[at][c] == static_cast<std::int32_t>(total[c]);
      if (!same) continue;
      if (at > e.consumed[block]) ++found;
      e.consumed[block] = at;
      return;
    }
    ++never_pushed;
  }

  block_partition blocks_;
  int shift_;
  std::vector<tracking_audit> audits_;
  std::map<std::pair<node_id, node_id>, edge> edges_;
};

auto weather(std::uint64_t seed) -> environment::scenario {
  environment::scenario s{.compute = environment::lognormal(10ms, 0.4).slow(1, 5.0),
                          .link = {.latency = 15ms, .jitter = 20ms, .loss = 0.3, .duplication = 0.2, .overtaking = 0.3},
                          .seed = seed};
  if (seed % 2 == 0) s.carried = environment::frames::encoded;
  if (seed % 3 == 0) s.split = environment::delivery::blocks;
  return s;
}

template<class Node>
void conserves(topology::pair const& network, int shift, std::uint64_t seed) {
  auto const n = network.pull().nodes();
  typename Node::options o{};
  o.step = 0.05;
  o.block_values = 64;
  o.sum_codec.shift = shift;
  auto made = assemble<Node>(network, quadratic::random(n, 150, seed, {.spread = 2, .condition = 5, .noise = 0.3}), o);
  watching watch{made.blocks, shift};
  simulate(std::move(made), weather(seed), {.gradients = 20 * n}, {.trace = &watch});
  INFO(network.name() << ", shift " << shift << ", seed " << seed);
  CHECK(watch.residual == 0.0);
  CHECK(watch.never_pushed == 0);
  CHECK(watch.found > 10 * n);
  CHECK(watch.sums_posted > 10 * n);
  CHECK(watch.of_other_type == 0);
}

TEST_CASE("with sums in 16 bits the tracking law holds exactly after every event, in blocks, frames and any order") {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    conserves<compressed>(topology::binary_tree(6), 14, seed);
    conserves<compressed>(topology::ring(5), 12, seed);
  }
  conserves<in_rounds>(topology::ring(5), 14, 1);
  conserves<in_rounds>(topology::binary_tree(6), 14, 2);
}

/// The worst distance of a node from the optimum of the sum.
template<class Node>
auto distance_from_optimum(topology::pair const& network, quadratic const& p, int shift) -> double {
  typename Node::options o{};
  o.step = 0.04;
  if constexpr (requires { o.sum_codec.shift; }) o.sum_codec.shift = shift;
  auto s = environment::scenario{
      .compute = environment::lognormal(10ms, 0.2).slow(3, 10.0), .link = {.latency = 1ms, .loss = 0.3}, .seed = 7};
  s.measure_every = 1h;
  auto const result = simulate(assemble<Node>(network, p, o), s, {.time = 30s});
  auto worst = 0.0;
  for (auto const& m : result.models) {
    std::vector<double> x;
    rubato::detail::widen(m, x);
    worst = std::max(worst, distance(x, p.optimum()));
  }
  return worst;
}

TEST_CASE("with sums in 16 bits r_fast comes within 2e-2 of the optimum, which whole sums reach") {
  auto const p = quadratic::random(8, 6, 2024, {.spread = 1, .condition = 4, .noise = 0});
  for (auto const& network : {topology::pair{topology::binary_tree(8)}, topology::pair{topology::ring(8)},
                              topology::pair{topology::directed_ring(8)}}) {
    auto const whole = distance_from_optimum<plain>(network, p, 0);
    auto const coarse = distance_from_optimum<compressed>(network, p, 14);
    auto const fine = distance_from_optimum<compressed>(network, p, 10);
    std::printf("r_fast on %s, from the optimum: whole sums %.2g, 16 bits shifted by 14 %.2g, by 10 %.2g\n",
                network.name().c_str(), whole, coarse, fine);
    CHECK(whole < 1e-4);
    CHECK(coarse < 2e-2);
    CHECK(fine < 2e-3);
  }
}

TEST_CASE("a sum that moves out of reach ends the run with a sentence that names its block") {
  auto const p = quadratic::random(4, 100, 5);
  compressed::options o{};
  o.block_values = 64;
  o.sum_codec.shift = 0;
  std::string sentence;
  try {
    simulate(assemble<compressed>(topology::ring(4), p, o), {.link = {.latency = 1ms}}, {.time = 1s});
  } catch (run_error const& e) {
    sentence = e.what();
  }
  CHECK(says(sentence, "sums of node"));
  CHECK(says(sentence, "a running sum of block 0 moved by 2^14 units or more"));
  o.sum_codec.shift = -1;
  CHECK(says(refusal([&] { static_cast<void>(assemble<compressed>(topology::ring(4), p, o)); }), "shifted by 0 to 16"));
}

TEST_CASE("codes for a wrong number of values end the run, naming their sender") {
  auto a = assemble<in_rounds>(topology::ring(2), quadratic::random(2, 6, 3), {.step = 0.1});
  CHECK(complaint_of_size<std::uint16_t>(a, node_id{1}, channel_id::tracker, 1, 3) ==
        "node 1 sent 3 values in one message, where 6 are right");
}

TEST_CASE("an edge that closes and opens again begins at zero at both ends, and its mass is given back") {
  auto a = assemble<compressed>(topology::ring(3), quadratic::random(3, 5, 5, {.noise = 0.2}), {.step = 0.05});
  std::vector<gradient_request> asked(3);
  outbox out;
  std::vector<packet> posted;
  auto const drain = [&](std::size_t i) {
    if (out.request) asked[i] = std::move(*out.request);
    for (auto& p : out.packets) posted.push_back(std::move(p));
    REQUIRE_FALSE(out.failure);
    out.clear();
  };
  auto const residual = [&] {
    std::vector<tracking_audit> audits(3);
    for (std::size_t i = 0; i < 3; ++i) a.nodes[i].audit(audits[i]);
    return tracking_residual(audits);
  };
  auto const iterate = [&](int times) {
    for (int k = 0; k < times; ++k) {
      for (std::size_t i = 0; i < 3; ++i) {
        auto const g = a.oracle.evaluate(asked[i]);
        a.nodes[i].on_gradient({}, g, out);
        drain(i);
      }
      for (auto const& p : std::exchange(posted, {})) {
        iteration const number = p.number;
        patch arrived{p.from,      p.to,   p.channel,    p.session, p.based_on,
                      p.posted_at, {0, 1}, {&number, 1}, p.body,    p.extra};
        a.nodes[to_index(p.to)].on_patch({}, arrived, out);
        drain(to_index(p.to));
      }
      REQUIRE(residual() == 0.0);
    }
  };
  for (std::size_t i = 0; i < 3; ++i) {
    a.nodes[i].start({}, out);
    drain(i);
  }
  iterate(20);
  for (std::uint32_t session = 1; session <= 2; ++session) {
    for (auto const what : {neighbour_change::edge::closes, neighbour_change::edge::opens}) {
      for (auto const& [self, peer] : {std::pair{0U, 1U}, std::pair{1U, 0U}}) {
        a.nodes[self].on_neighbours({}, {node_id{peer}, what, {session, session}, {session, session}}, out);
        drain(self);
      }
      CHECK(residual() == 0.0);
      iterate(10);
    }
  }
}

}  // namespace
}  // namespace rubato::test

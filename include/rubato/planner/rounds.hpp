// SPDX-License-Identifier: MIT
// The pace of algorithms that move in rounds. A round ends at a node when what it waits for has arrived: sums and
// maxima of times, which are followed from round to round with drawn gradient times and delays (max-plus).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <rubato/codec/minmax_u8.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/planner/detail/timed_link.hpp>
#include <rubato/planner/pace.hpp>
#include <rubato/planner/situation.hpp>
#include <rubato/topology/digraph.hpp>

namespace rubato::planner {

/// ring_allreduce_sgd: 2 (n-1) messages of d/n values a node and round, each forwarded when it has arrived.
[[nodiscard]] auto ring_allreduce_pace(situation const& s) -> pace;
/// byte_grad: everyone sends everyone a part of its gradient, then the mean of its own part, one byte a value.
[[nodiscard]] auto byte_grad_pace(situation const& s) -> pace;
/// m_synchronous_sgd: a round ends with the first `round_size` gradients; the other workers start again.
/// Throws config_error if there are fewer workers: such a round would never end.
[[nodiscard]] auto m_synchronous_pace(situation const& s) -> pace;
/// d_psgd on this graph, its edges taken both ways: models travel while gradients are computed.
[[nodiscard]] auto gossip_pace(situation const& s, topology::digraph const& graph) -> pace;

#if RUBATO_BODIES
namespace detail {

/// Rounds that are followed. After the first ones a round no longer depends on the common start.
inline constexpr std::size_t rounds_followed = 240, rounds_before = 40;

/// What rounds share: when each node begins its round, and what is drawn.
struct round_clock {
  explicit round_clock(situation const& s)
      : times{s.compute, s.workers, s.seed}, draw{0x706c616eULL, s.seed}, begins(s.workers), computed(s.workers) {}
  void compute() {
    for (auto i = std::size_t{0}; i < begins.size(); ++i) computed[i] = begins[i] + times(i);
  }
  [[nodiscard]] auto mean() const -> double {
    auto sum = 0.0;
    for (auto const t : begins) sum += t;
    return sum / static_cast<double>(begins.size());
  }
  drawn_times times;
  random_stream draw;
  std::vector<double> begins, computed;
};

/// Follows rounds; next(clock) sets the `begins` of the next one from `computed`. `bytes`: of a round.
template<class Next>
auto pace_of_rounds(situation const& s, double bytes, Next const& next) -> pace {
  auto clock = round_clock{s};
  auto p = pace{};
  auto from = 0.0;
  for (auto k = std::size_t{0}; k < rounds_followed; ++k) {
    if (k == 1) p.first_seconds = clock.mean();
    if (k == rounds_before) from = clock.mean();
    clock.compute();
    next(clock);
  }
  auto const n = static_cast<double>(s.workers);
  p.steps_per_second = static_cast<double>(rounds_followed - rounds_before) / (clock.mean() - from);
  p.gradients_per_second = n * p.steps_per_second;
  p.bytes_per_second = bytes * message::tries(s.link) * p.steps_per_second;
  p.age_seconds = 1 / p.steps_per_second;
  p.weights.assign(s.workers, 1 / n);
  p.noise = 1 / n;
  return p;
}

/// Bytes of the values of the c-th of n equal parts of a model.
RUBATO_INLINE auto values_of_part(situation const& s, std::size_t c) -> std::size_t {
  return (c + 1) * s.dimension / s.workers - c * s.dimension / s.workers;
}

}  // namespace detail

RUBATO_INLINE auto ring_allreduce_pace(situation const& s) -> pace {
  auto const n = s.workers;
  auto const part = detail::message{s.link, static_cast<double>(s.dimension * s.value_bytes) / static_cast<double>(n)};
  auto const hops = 2 * (n - 1);
  auto links = std::vector<detail::timed_link>(n);
  auto sent = std::vector<double>(n), arrived = sent;
  auto const bytes = static_cast<double>(hops * n) * part.bytes;
  auto p = detail::pace_of_rounds(s, bytes, [&](detail::round_clock& c) {
    sent = c.computed;
    for (auto hop = std::size_t{0}; hop < hops; ++hop) {
      for (auto i = std::size_t{0}; i < n; ++i) arrived[(i + 1) % n] = links[i].arrival(s.link, part, sent[i], c.draw);
      for (auto i = std::size_t{0}; i < n; ++i) sent[i] = (std::max)(arrived[i], c.computed[i]);
    }
    c.begins = sent;
  });
  return p;
}

RUBATO_INLINE auto byte_grad_pace(situation const& s) -> pace {
  auto const n = s.workers;
  auto messages = std::vector<detail::message>{};
  auto bytes = 0.0;
  for (auto c = std::size_t{0}; c < n; ++c) {
    auto const values = detail::values_of_part(s, c);
    auto const body = values == 0          ? 0
                      : s.value_bytes == 4 ? codec::minmax_u8{}.codes<float>(values)
                                           : codec::minmax_u8{}.codes<double>(values);
    messages.emplace_back(s.link, static_cast<double>(body));
    bytes += 2 * static_cast<double>(n - 1) * messages.back().bytes;
  }
  auto links = std::vector<detail::timed_link>(n * n);
  auto const gather = [&](detail::round_clock& c, std::vector<double> const& from, bool parts) {
    auto to = from;
    for (auto i = std::size_t{0}; i < n; ++i) {
      for (auto j = std::size_t{0}; j < n; ++j) {
        if (i == j) continue;
        auto const& m = messages[parts ? j : i];
        to[j] = (std::max)(to[j], links[i * n + j].arrival(s.link, m, from[i], c.draw));
      }
    }
    return to;
  };
  return detail::pace_of_rounds(
      s, bytes, [&](detail::round_clock& c) { c.begins = gather(c, gather(c, c.computed, true), false); });
}

RUBATO_INLINE auto m_synchronous_pace(situation const& s) -> pace {
  auto const n = s.workers, m = s.round_size == 0 ? n : s.round_size;
  if (m > n)
    throw config_error{"a round of m_synchronous_sgd cannot take " + std::to_string(m) + " gradients from " +
                       std::to_string(n) + " workers: it would never end"};
  auto const whole = detail::message{s.link, static_cast<double>(s.dimension * s.value_bytes)};
  auto up = std::vector<detail::timed_link>(n), down = up;
  auto arrivals = std::vector<double>(n), sorted = arrivals;
  auto counted = std::vector<double>(n);
  auto computed = 0.0, rounds = 0.0;
  auto p = detail::pace_of_rounds(s, 0, [&](detail::round_clock& c) {
    for (auto i = std::size_t{0}; i < n; ++i) arrivals[i] = c.computed[i];
    // A gradient is sent unless the next model comes first. Those of a round do not depend on it.
    auto const before = up;
    for (auto i = std::size_t{0}; i < n; ++i) arrivals[i] = up[i].arrival(s.link, whole, c.computed[i], c.draw);
    sorted = arrivals;
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(m - 1), sorted.end());
    auto const ends = sorted[m - 1];
    for (auto i = std::size_t{0}; i < n; ++i) {
      if (arrivals[i] <= ends) counted[i] += 1;
      c.begins[i] = down[i].arrival(s.link, whole, ends, c.draw);
      if (c.computed[i] <= c.begins[i]) computed += 1;
      else up[i] = before[i];
    }
    rounds += 1;
  });
  p.gradients_per_second = computed / rounds * p.steps_per_second;
  p.bytes_per_second = (p.gradients_per_second + static_cast<double>(n) * p.steps_per_second) * whole.bytes *
                       detail::message::tries(s.link);
  p.noise = 1 / static_cast<double>(m);
  for (auto i = std::size_t{0}; i < n; ++i) p.weights[i] = counted[i] / (rounds * static_cast<double>(m));
  return p;
}

RUBATO_INLINE auto gossip_pace(situation const& s, topology::digraph const& graph) -> pace {
  auto const both = graph.with_both_directions();
  auto const n = s.workers;
  auto const whole = detail::message{s.link, static_cast<double>(s.dimension * s.value_bytes)};
  auto links = std::vector<std::vector<detail::timed_link>>(n);
  for (auto i = std::size_t{0}; i < n; ++i) links[i].resize(both.into(to_node(i)).size());
  auto ends = std::vector<double>(n);
  auto const bytes = static_cast<double>(both.edge_count()) * whole.bytes;
  auto p = detail::pace_of_rounds(s, bytes, [&](detail::round_clock& c) {
    for (auto i = std::size_t{0}; i < n; ++i) {
      ends[i] = c.computed[i];
      auto const from = both.into(to_node(i));
      for (auto e = std::size_t{0}; e < from.size(); ++e) {
        auto const at = links[i][e].arrival(s.link, whole, c.begins[to_index(from[e])], c.draw);
        ends[i] = (std::max)(ends[i], at);
      }
    }
    c.begins = ends;
  });
  auto const weights = mixing::metropolis_hastings(both);
  p.mixes_in_rounds = true;
  p.own_rates.assign(n, 1);
  p.couplings.assign(n * n, 0);
  for (auto i = std::size_t{0}; i < n; ++i)
    for (auto const& e : weights.row(to_node(i))) p.couplings[i * n + to_index(e.peer)] = e.weight;
  return p;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::planner

// SPDX-License-Identifier: MIT
// The pace of nodes that wait for nobody: each computes one gradient after the other, and uses what has arrived.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/planner/detail/timed_link.hpp>
#include <rubato/planner/pace.hpp>
#include <rubato/planner/situation.hpp>
#include <rubato/topology/digraph.hpp>

namespace rubato::planner {

/// ad_psgd on this graph, its edges taken both ways. A node asks one neighbour at a time; models are exchanged as often
/// as links allow.
[[nodiscard]] auto ad_psgd_pace(situation const& s, topology::digraph const& graph) -> pace;
/// r_fast on a star around node 0: models go from it to the leaves, sums of gradients back. A step is one of node 0.
/// Lost messages are not sent again: the next one carries all that the lost one did. *requires* two workers or more
/// (config_error).
[[nodiscard]] auto r_fast_on_star_pace(situation const& s) -> pace;

#if RUBATO_BODIES
namespace detail {

/// Gradients a second of all nodes, from mean times.
RUBATO_INLINE auto gradients_of_all(situation const& s) -> double {
  auto rate = 0.0;
  for (auto i = std::size_t{0}; i < s.workers; ++i) rate += 1 / s.seconds(i);
  return rate;
}

struct question_times {
  double per_second = 0;
  double first_answer = 0;  ///< seconds
};

/// How often node i of the graph asks: its questions are followed for a while, and the last until it is answered.
RUBATO_INLINE auto questions_of(situation const& s, std::size_t i, message const& m, random_stream& draw)
    -> question_times {
  auto times = drawn_times{s.compute, s.workers, s.seed};
  auto there = timed_link{}, back = timed_link{};
  constexpr auto iterations = 400;
  auto now = 0.0, answered = 0.0;
  auto questions = 0;
  auto found = question_times{};
  for (auto k = 0; k < iterations; ++k) {
    if (answered <= now) {
      answered = back.arrival(s.link, m, there.arrival(s.link, m, now, draw), draw);
      if (++questions == 1) found.first_answer = answered;
    }
    now += times(i);
  }
  found.per_second = questions / (std::max)(now, answered);
  return found;
}

/// Adds draws to a histogram of ages.
class age_histogram {
 public:
  void add(double age, double weight) {
    auto const low = std::floor((std::max)(age, 0.0));
    auto const q = static_cast<std::size_t>(low);
    if (q + 2 > parts_.size()) parts_.resize(q + 2);
    parts_[q] += weight * (low + 1 - age), parts_[q + 1] += weight * (age - low);
    total_ += weight;
  }
  [[nodiscard]] auto parts() const -> std::vector<double> {
    auto all = parts_;
    for (auto& p : all) p /= total_;
    return all;
  }

 private:
  std::vector<double> parts_;
  double total_ = 0;
};

}  // namespace detail

RUBATO_INLINE auto ad_psgd_pace(situation const& s, topology::digraph const& graph) -> pace {
  auto const m = detail::message{s.link, static_cast<double>(s.dimension * s.value_bytes)};
  auto const n = static_cast<double>(s.workers);
  auto const both = graph.with_both_directions();
  auto draw = random_stream{0x61647073ULL, s.seed};
  auto p = pace{};
  p.couplings.assign(s.workers * s.workers, 0);
  auto ages = detail::age_histogram{};
  p.steps_per_second = p.gradients_per_second = detail::gradients_of_all(s);
  auto times = detail::drawn_times{s.compute, s.workers, s.seed};
  p.first_seconds = std::numeric_limits<double>::infinity();
  for (auto i = std::size_t{0}; i < s.workers; ++i) {
    auto const rate = 1 / s.seconds(i);
    p.weights.push_back(rate / p.steps_per_second);
    p.first_seconds = (std::min)(p.first_seconds, s.seconds(i));
    auto sum = 0.0, squares = 0.0;
    constexpr auto draws = 200;
    for (auto k = 0; k < draws; ++k) {
      auto const t = times(i);
      ages.add((std::max)(0.0, t * (p.steps_per_second - rate)), rate);  // steps of the others meanwhile
      sum += t, squares += t * t;
    }
    p.unevenness += p.weights.back() * (std::max)(0.0, squares * draws / (sum * sum) - 1);
    auto const neighbours = both.into(to_node(i));
    p.own_rates.push_back(rate);
    if (neighbours.empty()) continue;
    auto const questions = detail::questions_of(s, i, m, draw);
    p.shared_seconds = (std::max)(p.shared_seconds, questions.first_answer);
    p.bytes_per_second += 2 * questions.per_second * m.bytes * detail::message::tries(s.link);
    for (auto const j : neighbours) {
      auto const half = questions.per_second / (2 * static_cast<double>(neighbours.size()));
      p.couplings[i * s.workers + to_index(j)] += half, p.couplings[to_index(j) * s.workers + i] += half;
    }
  }
  p.coupling_seconds = detail::in_seconds(s.link.latency) + detail::in_seconds(s.link.jitter) / 2 + m.sending;
  // A node's own gradient is taken at a model that has been averaged with others since. Found by trials.
  p.largest_mixing = 1.5 / (1 + s.curvature_spread * std::sqrt(3.0));
  p.age_seconds = n / p.steps_per_second;
  p.ages = ages.parts();
  p.share = 1 / n;
  p.jumps = 1 / (12 * n);
  return p;
}

namespace detail {

/// The messages of r_fast on a star: a state channel each way between the centre, node 0, and a leaf.
class star_messages {
 public:
  explicit star_messages(situation const& s)
      : s_{&s}, m_{s.link, static_cast<double>(s.dimension * s.value_bytes)}, times_{s.compute, s.workers, s.seed} {}
  [[nodiscard]] auto one() const -> message const& { return m_; }

  /// How many messages of node i a link carries, a second: while it is busy, the newest message waits and replaces
  /// older ones.
  auto carried(std::size_t i) -> double {
    constexpr auto iterations = 1000;
    auto now = 0.0, free_at = 0.0;
    auto waits = false;
    auto count = 0;
    for (auto k = 0; k < iterations; ++k) {
      now += times_(i);
      if (waits && free_at <= now) free_at += m_.sending, ++count, waits = false;
      if (free_at > now) waits = true;
      else free_at = now + m_.sending, ++count;
    }
    return count / now;
  }

  /// A drawn age in seconds, where the centre uses it, of a gradient of leaf i.
  auto age_of_leaf(std::size_t i) -> double {
    auto const root = s_->seconds(0), own = s_->seconds(i);
    // Terms in this order: each draws, and the same seed gives the same ages.
    auto age = delay(root);
    age += draw_.uniform() * own;
    age += waits(own);
    age += times_(i);
    age += waits(own);
    age += delay(own);
    age += draw_.uniform() * (std::max)(own, m_.sending);  // until the next gradient of it takes its place
    return age - root / 2;  // a gradient of the centre itself is used as it is: age 0
  }

 private:
  /// Travel and, if messages are lost, the wait for the next one that is not; half a message waits for the link.
  auto delay(double iteration) -> double {
    auto const lost = s_->link.mean_loss();
    auto at = in_seconds(s_->link.latency) + in_seconds(s_->link.jitter) / 2 + m_.sending;
    if (m_.sending > iteration) at += m_.sending / 2;
    for (auto k = 0; k < 50 && lost > 0 && draw_.chance(lost); ++k) at += (std::max)(iteration, m_.sending);
    return at;
  }
  /// Half stays at each iteration of a node.
  auto waits(double iteration) -> double {
    auto k = 0.0;
    while (k < 50 && draw_.chance(0.5)) k += 1;
    return k * iteration;
  }

  situation const* s_;
  message m_;
  drawn_times times_;
  random_stream draw_{0x72666173ULL, s_->seed};
};

}  // namespace detail

RUBATO_INLINE auto r_fast_on_star_pace(situation const& s) -> pace {
  if (s.workers < 2) throw config_error{"a star for r_fast needs two workers, its centre and a leaf"};
  auto const n = static_cast<double>(s.workers);
  auto const root = s.seconds(0);
  auto messages = detail::star_messages{s};
  auto p = pace{};
  auto ages = detail::age_histogram{};
  p.steps_per_second = 1 / root, p.first_seconds = 2 * root;
  p.gradients_per_second = detail::gradients_of_all(s);
  p.share = 1, p.noise = 0;
  auto const from_root = messages.carried(0);
  auto seconds = 0.0;
  for (auto i = std::size_t{0}; i < s.workers; ++i) {
    constexpr auto draws = 400;
    for (auto k = 0; k < draws; ++k) {
      auto const age = i > 0 ? messages.age_of_leaf(i) : 0.0;
      ages.add(age / root, 1);
      seconds += (age + root) / (n * draws);
    }
    p.noise += (std::max)(1.0, s.seconds(i) / root) / (n * n);
    if (i > 0) p.bytes_per_second += messages.one().bytes * (messages.carried(i) + from_root);
  }
  p.age_seconds = seconds;
  p.ages = ages.parts();
  p.weights.assign(s.workers, 1 / n);
  return p;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::planner

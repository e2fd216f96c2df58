// SPDX-License-Identifier: MIT
// Graphs that change from round to round, as one value: the weights of round k are a pure function of k, and of a seed
// where they are drawn. So all nodes know all rounds without talking.
//   cycle        W(k) = W_(k-1 mod period)
//   one_of       W(k) = W_j with probability p_j
//   independent  W(k) = I + sum_j b_j (W_j - I), b_j = 1 with probability p_j, each drawn for itself
// A round is an iteration of the node, or, of a schedule by time, an interval of the run's time, which handlers are
// told as `now`. Nodes have no common clock: by time, two of them may be in different rounds at the same moment. So
// only algorithms in which the sender alone decides to which round a message belongs take schedules by time
// (`takes_graphs_by_time`): in pairs, who asks chooses among its neighbours of that moment, and whoever is asked
// answers. Where nodes wait for each other's messages of a round, the two ends of an edge could disagree whether it is
// there; these take rounds by iteration.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/core/visit_options.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/edge_list.hpp>
#include <rubato/topology/reachability.hpp>

namespace rubato::mixing {

/// The weights of every round of a run.
/// **Thread safety:** const calls may come from several threads at once. **Determinism:** as random_stream.
class schedule {
 public:
  /// Round k, from 1, uses matrix (k - 1) mod period. Throws config_error if there is no matrix, or if two are of
  /// different sizes.
  [[nodiscard]] static auto cycle(std::vector<matrix> period, std::string name = "cycle of graphs") -> schedule;
  /// Each round draws one of the matrices, by the key (seed, round). Throws config_error as cycle() does, and unless
  /// there is a positive probability for each matrix and they sum to one.
  [[nodiscard]] static auto one_of(std::vector<matrix> choices, std::vector<double> probabilities, std::uint64_t seed,
                                   std::string name = "drawn graphs") -> schedule;
  /// Each round draws for each matrix, by the key (seed, round, its place), whether it takes part; W = I if none does.
  /// Throws config_error as cycle() does, and unless each has a probability in (0, 1].
  [[nodiscard]] static auto independent(std::vector<matrix> parts, std::vector<double> probabilities,
                                        std::uint64_t seed, std::string name = "graphs drawn independently")
      -> schedule;

  [[nodiscard]] auto nodes() const -> std::size_t { return parts_.front().nodes(); }
  [[nodiscard]] auto name() const -> std::string const& { return name_; }
  /// Whether several matrices may take part in one round.
  [[nodiscard]] auto adds_up() const -> bool { return how_ == kind::independent; }
  [[nodiscard]] auto parts() const -> std::vector<matrix> const& { return parts_; }

  /// The same rounds by time: round k, from 1, is from (k - 1) times `lasts` to k times `lasts`. Throws config_error
  /// unless `lasts` is positive.
  [[nodiscard]] auto by_time(std::chrono::nanoseconds lasts) const -> schedule;
  [[nodiscard]] auto is_by_time() const -> bool { return lasts_.count() > 0; }
  /// The round of a node in its `iteration`, from 1, at `now`.
  [[nodiscard]] auto round_at(std::uint64_t iteration, instant now) const -> std::uint64_t {
    if (!is_by_time()) return iteration;
    return 1 + static_cast<std::uint64_t>((std::max)(now, instant{}).since_start / lasts_);
  }
  /// Within so many rounds in a row every edge is there: the period; of drawn ones, but for a chance of e^-64 an edge.
  /// At most 2^32.
  [[nodiscard]] auto longest_absence() const -> std::uint64_t;
  /// The first round after `round` that has an edge (i, j). *requires* that some round has it.
  [[nodiscard]] auto next_with(std::uint64_t round, node_id i, node_id j) const -> std::uint64_t {
    do ++round;
    while (weight(round, i, j) == 0);
    return round;
  }

  /// Entry (i, j) of W(round). *requires* round >= 1. O(parts + log degree); a drawn one costs one hash a part.
  [[nodiscard]] auto weight(std::uint64_t round, node_id i, node_id j) const -> double;
  /// The matrices that take part in this round.
  [[nodiscard]] auto active(std::uint64_t round) const -> std::vector<std::size_t>;

  /// All edges that some round has.
  [[nodiscard]] auto union_graph() const -> topology::digraph;
  /// All that a schedule consists of, for hashes: two are equal if these texts are.
  [[nodiscard]] auto text() const -> std::string;

 private:
  enum class kind : std::uint8_t { cycle, one_of, independent };
  schedule(kind how, std::vector<matrix> parts, std::vector<double> probabilities, std::uint64_t seed,
           std::string name);

  [[nodiscard]] auto takes_part(std::uint64_t round, std::size_t part) const -> bool {
    return random_stream{{draws, seed_, round, part}}.uniform() < probabilities_[part];
  }
  [[nodiscard]] auto only(std::uint64_t round) const -> std::size_t;

  static constexpr double least_probability = 1e-6;  // a node looks ahead for the next round of an edge

  static constexpr std::uint64_t draws = 0x7363686564756c65ULL;  // this class's draws, apart from those of samples

  kind how_;
  std::vector<matrix> parts_;
  std::vector<double> probabilities_;  // none in a cycle
  std::uint64_t seed_;
  std::string name_;
  std::chrono::nanoseconds lasts_{};  // 0: rounds are iterations
};

/// Gossip in rounds whose weights change. Its neighbourhoods are those of the union of all rounds. Throws config_error
/// unless each matrix is symmetric and doubly stochastic and the union is connected; in a cycle and in one_of() no
/// weight may be negative. That the rounds together mix is not checked: two nodes that swap their models in every round
/// never agree, and parts of independent() may add up to weights that diverge (residual() tells for a cycle).
/// For algorithms that say `takes_changing_graphs`; assemble() refuses it for all others.
[[nodiscard]] auto gossip_plan(schedule rounds) -> plan;

/// Push-sum in rounds whose weights change: column j of A(k) says how node j divides its mass in round k. Throws
/// config_error unless the columns of each matrix sum to one, no weight is negative, each node keeps a positive part of
/// its mass in every round, and the union of all rounds is strongly connected. For algorithms as above.
[[nodiscard]] auto push_sum_plan(schedule rounds) -> plan;

#if RUBATO_BODIES
RUBATO_INLINE schedule::schedule(kind how, std::vector<matrix> parts, std::vector<double> probabilities,
                                 std::uint64_t seed, std::string name)
    : how_{how},
      parts_{std::move(parts)},
      probabilities_{std::move(probabilities)},
      seed_{seed},
      name_{std::move(name)} {
  if (parts_.empty()) throw config_error("the " + name_ + " have no matrix: a schedule needs at least one");
  for (auto const& m : parts_)
    if (m.nodes() != nodes())
      throw config_error("the " + m.name() + " of the " + name_ + " are for " + std::to_string(m.nodes()) +
                         " nodes and its first matrix is for " + std::to_string(nodes()) + ": make all agree");
  if (how_ == kind::cycle) return;
  if (probabilities_.size() != parts_.size())
    throw config_error("the " + name_ + " have " + std::to_string(parts_.size()) + " matrices and " +
                       std::to_string(probabilities_.size()) + " probabilities: give one for each");
  auto sum = 0.0;
  for (auto const p : probabilities_) {
    if (!(p > 0 && p <= 1))
      throw config_error("a probability of the " + name_ + " is " + detail::to_text(p) + ": it must lie in (0, 1]");
    if (p < least_probability)
      throw config_error("a probability of the " + name_ + " is " + detail::to_text(p) +
                         ": leave out what comes less " + "than once in a million rounds");
    sum += p;
  }
  if (how_ == kind::one_of && !(std::abs(sum - 1) <= 1e-12 * static_cast<double>(parts_.size())))
    throw config_error("the probabilities of the " + name_ + " sum to " + detail::to_text(sum) + ", and not to 1");
}

RUBATO_INLINE auto schedule::cycle(std::vector<matrix> period, std::string name) -> schedule {
  return {kind::cycle, std::move(period), {}, 0, std::move(name)};
}
RUBATO_INLINE auto schedule::one_of(std::vector<matrix> choices, std::vector<double> probabilities, std::uint64_t seed,
                                    std::string name) -> schedule {
  return {kind::one_of, std::move(choices), std::move(probabilities), seed, std::move(name)};
}
RUBATO_INLINE auto schedule::independent(std::vector<matrix> parts, std::vector<double> probabilities,
                                         std::uint64_t seed, std::string name) -> schedule {
  return {kind::independent, std::move(parts), std::move(probabilities), seed, std::move(name)};
}

RUBATO_INLINE auto schedule::by_time(std::chrono::nanoseconds lasts) const -> schedule {
  if (lasts.count() <= 0)
    throw config_error("a round of the " + name_ + " by time must last longer than 0 s, and not " +
                       detail::to_text(std::chrono::duration<double>{lasts}.count()) + " s");
  auto timed = *this;
  timed.lasts_ = lasts;
  return timed;
}

RUBATO_INLINE auto schedule::longest_absence() const -> std::uint64_t {
  if (how_ == kind::cycle) return parts_.size();
  auto const rarest = *std::min_element(probabilities_.begin(), probabilities_.end());
  return static_cast<std::uint64_t>((std::min)(std::ceil(64 / rarest), 4294967296.0));
}

RUBATO_INLINE auto schedule::only(std::uint64_t round) const -> std::size_t {
  if (how_ == kind::cycle) return std::size_t{(round - 1) % parts_.size()};
  auto left = random_stream{{draws, seed_, round}}.uniform();
  for (auto j = std::size_t{0}; j + 1 < parts_.size(); ++j) {
    left -= probabilities_[j];
    if (left < 0) return j;
  }
  return parts_.size() - 1;
}

RUBATO_INLINE auto schedule::active(std::uint64_t round) const -> std::vector<std::size_t> {
  if (how_ != kind::independent) return {only(round)};
  std::vector<std::size_t> all;
  for (auto j = std::size_t{0}; j < parts_.size(); ++j)
    if (takes_part(round, j)) all.push_back(j);
  return all;
}

RUBATO_INLINE auto schedule::weight(std::uint64_t round, node_id i, node_id j) const -> double {
  if (how_ != kind::independent) return parts_[only(round)].at(i, j);
  auto const own = i == j ? 1.0 : 0.0;
  auto w = own;
  for (auto part = std::size_t{0}; part < parts_.size(); ++part)
    if (auto const here = parts_[part].at(i, j); here != own && takes_part(round, part)) w += here - own;
  return w;
}

RUBATO_INLINE auto schedule::union_graph() const -> topology::digraph {
  std::vector<topology::edge> edges;
  for (auto const& m : parts_)
    for (auto const e : support(m).edges()) edges.push_back(e);
  return topology::from_edges(nodes(), std::move(edges), name_);
}

RUBATO_INLINE auto schedule::text() const -> std::string {
  auto all = std::to_string(static_cast<unsigned>(how_)) + " " + std::to_string(seed_);
  if (is_by_time()) all += " " + std::to_string(lasts_.count()) + " ns";
  for (auto const p : probabilities_) all += " " + option_text(p);
  for (auto const& m : parts_)
    for (auto i = std::size_t{0}; i < m.nodes(); ++i) {
      all += '|';
      for (auto const& w : m.row(to_node(i)))
        all += std::to_string(to_index(w.peer)) + "<" + option_text(w.weight) + " ";
    }
  return all;
}

namespace detail {
/// A round may leave a node no weight of its own, so the diagonal may be zero.
RUBATO_INLINE void require_no_negative(matrix const& m) {
  for (auto i = std::size_t{0}; i < m.nodes(); ++i)
    for (auto const& w : m.row(to_node(i)))
      if (w.weight < 0)
        throw config_error("a graph that changes needs weights that are not negative, and entry " +
                           place_of({to_node(i), w.peer}) + " of the " + m.name() + " is " + to_text(w.weight));
}

/// Of independent parts all may take part in one round.
RUBATO_INLINE void require_kept_mass(schedule const& rounds) {
  for (auto i = std::size_t{0}; i < rounds.nodes(); ++i) {
    auto least = 1.0;
    for (auto const& m : rounds.parts()) {
      auto const gives = 1 - m.diagonal(to_node(i));
      least = rounds.adds_up() ? least - gives : (std::min)(least, 1 - gives);
    }
    if (!(least > 1e-12))
      throw config_error("push-sum needs nodes that keep a part of their mass in every round, and node " +
                         std::to_string(i) + " may keep " + to_text(least) + " under the " + rounds.name());
  }
}
}  // namespace detail

RUBATO_INLINE auto gossip_plan(schedule rounds) -> plan {
  for (auto const& m : rounds.parts()) {
    detail::require_rows(m);
    detail::require_columns(m);
    detail::require_symmetric(m, "; sgp and osgp take directed rounds");
    if (!rounds.adds_up()) detail::require_no_negative(m);
  }
  auto const graph = rounds.union_graph();
  detail::require_connected(graph);
  auto made = plan{detail::pulling_nodes(metropolis_hastings(graph)), 1.0, "gossip, " + rounds.name()};
  made.rounds = std::make_shared<schedule const>(std::move(rounds));
  return made;
}

RUBATO_INLINE auto push_sum_plan(schedule rounds) -> plan {
  for (auto const& m : rounds.parts()) {
    detail::require_columns(m);
    detail::require_no_negative(m);
  }
  detail::require_kept_mass(rounds);
  auto const graph = rounds.union_graph();
  for (auto const& way : {graph, graph.reversed()})
    if (auto const lost = topology::search_from(way, node_id{0}).first_unreached())
      throw config_error("push-sum needs rounds that together lead from every node to every other, and those of the " +
                         rounds.name() + " do not join node 0 and node " + topology::detail::to_text(*lost) +
                         " both ways");
  auto made = plan{std::vector<neighbourhood>(rounds.nodes()), 1.0, "push-sum, " + rounds.name()};
  for (auto i = std::size_t{0}; i < made.nodes.size(); ++i) {
    made.nodes[i].self = to_node(i);
    made.nodes[i].nodes = made.nodes.size();
  }
  detail::add_pushing(made.nodes, uniform_push(graph));
  made.rounds = std::make_shared<schedule const>(std::move(rounds));
  return made;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing

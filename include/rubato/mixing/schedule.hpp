// SPDX-License-Identifier: MIT
// Graphs that change from round to round, as one value: the weights of round k are a pure function of k, and of a seed
// where they are drawn. So all nodes know all rounds without talking.
//   cycle        W(k) = W_(k-1 mod period)
//   one_of       W(k) = W_j with probability p_j
//   independent  W(k) = I + sum_j b_j (W_j - I), b_j = 1 with probability p_j, each drawn for itself
// There is no schedule by time: nodes in rounds have no common clock, so the two ends of an edge could disagree whether
// it is there. A network that changes with time belongs to the environment (environment/).
#pragma once

#include <algorithm>
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

  static constexpr std::uint64_t draws = 0x7363686564756c65ULL;  // this class's draws, apart from those of samples

  kind how_;
  std::vector<matrix> parts_;
  std::vector<double> probabilities_;  // none in a cycle
  std::uint64_t seed_;
  std::string name_;
};

/// Gossip in rounds whose weights change. Its neighbourhoods are those of the union of all rounds. Throws config_error
/// unless each matrix is symmetric and doubly stochastic and the union is connected; in a cycle and in one_of() no
/// weight may be negative. That the rounds together mix is not checked: two nodes that swap their models in every round
/// never agree, and parts of independent() may add up to weights that diverge (residual() tells for a cycle).
/// For algorithms that say `takes_changing_graphs`; assemble() refuses it for all others.
[[nodiscard]] auto gossip_plan(schedule rounds) -> plan;

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
}  // namespace detail

RUBATO_INLINE auto gossip_plan(schedule rounds) -> plan {
  for (auto const& m : rounds.parts()) {
    detail::require_rows(m);
    detail::require_columns(m);
    detail::require_symmetric(m);
    if (!rounds.adds_up()) detail::require_no_negative(m);
  }
  auto const graph = rounds.union_graph();
  detail::require_connected(graph);
  auto made = plan{detail::pulling_nodes(metropolis_hastings(graph)), 1.0, "gossip, " + rounds.name()};
  made.rounds = std::make_shared<schedule const>(std::move(rounds));
  return made;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing

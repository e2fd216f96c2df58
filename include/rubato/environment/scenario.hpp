// SPDX-License-Identifier: MIT
// The simulated environment as a value: compute times, links, how packets are carried, and what breaks when.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/environment/compute.hpp>
#include <rubato/environment/members.hpp>
#include <rubato/topology/digraph.hpp>

namespace rubato::environment {

/// Losses that come in bursts, after Gilbert (1960) and Elliott (1963): before each packet of a directed edge, a good
/// link turns bad with probability `begin`, a bad one good with probability `end`; while bad, packets are lost with
/// probability `loss`. A burst lasts 1/end packets on average.
struct burst_model {
  double begin = 0;
  double end = 1;
  double loss = 1;
  static void visit_state(auto& self, auto&& visit) {
    visit("begin", self.begin), visit("end", self.end), visit("loss", self.loss);
  }
};

/// One directed link. State channels lose, duplicate and reorder packets as these members say. Event channels
/// retransmit lost packets (each time after two round trips) and keep their order, as TCP does.
struct link_model {
  nanoseconds latency{};
  nanoseconds jitter{};          ///< added, uniform in 0 .. jitter
  double bits_per_second = 0;    ///< 0: unlimited; packets queue for their turn
  double loss = 0;               ///< probability, independent per packet
  double duplication = 0;        ///< probability of a second copy, up to four latencies later
  double overtaking = 0;         ///< probability of being held back by up to four latencies
  burst_model bursts{};          ///< during a burst its own loss replaces `loss`

  /// The share of packets that are lost in the long run.
  [[nodiscard]] auto mean_loss() const -> double {
    auto const bad = bursts.begin / (bursts.begin + bursts.end);
    return (1 - bad) * loss + bad * bursts.loss;
  }
  void check() const;
  static void visit_state(auto& self, auto&& visit) {
    visit("latency", self.latency), visit("jitter", self.jitter), visit("bits per second", self.bits_per_second);
    visit("loss", self.loss), visit("duplication", self.duplication), visit("overtaking", self.overtaking);
    visit("bursts", self.bursts);
  }
};

struct edge_link {
  node_id from{};
  node_id to{};
  link_model link{};
  static void visit_state(auto& self, auto&& visit) {
    visit("from", self.from), visit("to", self.to), visit("link", self.link);
  }
};

/// From `from` until it heals at `until`, these directed edges carry nothing. Packets of state channels that would be
/// under way then are lost; packets of event channels arrive when the partition has healed.
struct partition {
  nanoseconds from{};
  nanoseconds until{};
  std::vector<topology::edge> edges{};
  static void visit_state(auto& self, auto&& visit) {
    visit("from", self.from), visit("until", self.until), visit("edges", self.edges);
  }
};

/// All edges between `inside` and the others of `nodes` nodes, both ways.
[[nodiscard]] auto island(std::vector<node_id> const& inside, std::size_t nodes, nanoseconds from, nanoseconds until)
    -> partition;

enum class first_model : std::uint8_t {
  common,  ///< as at the beginning of the run
  own,  ///< the model it had, as from a checkpoint; its tracker and its knowledge of others are lost in any case
};

/// `node` loses its state at `at` and begins again `down` later. Its neighbours close their edges with it when it stops
/// and open them, in a new session, when it is back (law 11). Algorithms that need every node end the run then. After
/// each restart the node draws other mini-batches.
struct restart {
  node_id node{};
  nanoseconds at{};
  nanoseconds down{};
  first_model begins_with = first_model::common;
  static void visit_state(auto& self, auto&& visit) {
    visit("node", self.node), visit("at", self.at), visit("down", self.down), visit("begins with", self.begins_with);
  }
};

enum class frames : std::uint8_t {
  by_reference,  ///< bodies are shared, as in one process
  encoded,  ///< every packet is encoded and decoded into fresh memory, so that aliasing shows
};

enum class delivery : std::uint8_t {
  whole,  ///< a vector is one packet
  blocks,  ///< every block is a datagram of its own (state channels): lost, late and merged separately
};

struct scenario {
  compute_model compute{};
  link_model link{};
  std::vector<edge_link> special{};  ///< links that differ
  std::vector<partition> partitions{};
  std::vector<restart> restarts{};  ///< by the simulator only
  membership members{};  ///< who comes and goes; by the simulator only
  /// What a machine sends to all others together, and what it receives from them; 0: only its links limit it.
  double machine_bits_per_second = 0;
  frames carried = frames::by_reference;
  delivery split = delivery::whole;
  std::uint64_t seed = 0;  ///< of the environment's randomness
  nanoseconds measure_every{};  ///< 0: a two-hundredth of the run's time
  nanoseconds patience = std::chrono::hours{1};  ///< virtual; a node that waits longer ends the run
  unsigned threads = 1;  ///< number of threads that compute gradients; results do not depend on it

  [[nodiscard]] auto link_of(node_id from, node_id to) const -> link_model const& {
    for (auto const& e : special) {
      if (e.from == from && e.to == to) return e.link;
    }
    return link;
  }
  /// `all`: with servers, which follow the nodes that compute.
  void check(std::size_t nodes, std::size_t all = 0) const;
  /// Everything except the threads: what makes a scenario different from another one (digest_of_state).
  static void visit_state(auto& self, auto&& visit) {
    visit("compute", self.compute), visit("link", self.link), visit("special", self.special);
    visit("partitions", self.partitions), visit("restarts", self.restarts), visit("carried", self.carried);
    visit("split", self.split), visit("seed", self.seed), visit("measure every", self.measure_every);
    visit("members", self.members);
    visit("patience", self.patience), visit("machine bits per second", self.machine_bits_per_second);
  }

 private:
  struct counts {
    std::size_t nodes, all;
  };
  static void check_ends(node_id from, node_id to, counts of, char const* what);
  void check_restarts(std::size_t nodes) const;
};

#if RUBATO_BODIES
RUBATO_INLINE auto island(std::vector<node_id> const& inside, std::size_t nodes, nanoseconds from, nanoseconds until)
    -> partition {
  partition p{from, until, {}};
  auto const is_inside = [&](node_id id) { return std::find(inside.begin(), inside.end(), id) != inside.end(); };
  for (auto const in : inside) {
    for (std::size_t i = 0; i < nodes; ++i) {
      if (is_inside(to_node(i))) continue;
      p.edges.push_back({in, to_node(i)});
      p.edges.push_back({to_node(i), in});
    }
  }
  return p;
}

RUBATO_INLINE void link_model::check() const {
  auto const probability = [](double p, char const* what) {
    if (!(p >= 0 && p < 1)) {
      throw config_error{std::string{what} + " must lie in 0 (included) to 1 (excluded), not " + shortest(p)};
    }
  };
  probability(loss, "the loss of a link");
  probability(duplication, "the duplication of a link");
  probability(overtaking, "the overtaking of a link");
  if (!(bursts.begin >= 0 && bursts.begin <= 1) || !(bursts.loss >= 0 && bursts.loss <= 1)) {
    throw config_error{"the beginning and the loss of a link's bursts must lie in 0 to 1, not " +
                       shortest(bursts.begin) + " and " + shortest(bursts.loss)};
  }
  if (!(bursts.end > 0 && bursts.end <= 1)) {
    throw config_error{"the end of a link's bursts must lie in 0 (excluded) to 1, not " + shortest(bursts.end)};
  }
  if (latency.count() < 0 || jitter.count() < 0) throw config_error{"the latency of a link cannot be negative"};
  if (!(bits_per_second >= 0)) throw config_error{"the bandwidth of a link cannot be negative"};
  if (overtaking > 0 && latency.count() == 0) {
    throw config_error{"packets are held back by up to four latencies, so overtaking needs a latency above 0"};
  }
}

RUBATO_INLINE void scenario::check(std::size_t nodes, std::size_t all) const {
  if (!(machine_bits_per_second >= 0)) throw config_error{"the bandwidth of a machine cannot be negative"};
  compute.check(nodes);
  link.check();
  for (auto const& e : special) {
    e.link.check();
    check_ends(e.from, e.to, {nodes, all}, "a special link");
  }
  for (auto const& p : partitions) {
    if (p.from.count() < 0 || p.until <= p.from) {
      throw config_error{"a partition must begin at 0 or later and heal after that"};
    }
    for (auto const& e : p.edges) check_ends(e.from, e.to, {nodes, all}, "a partition's edge");
  }
  check_restarts(nodes);
  if (threads == 0) throw config_error{"a simulation needs at least one thread"};
}

RUBATO_INLINE void scenario::check_ends(node_id from, node_id to, counts of, char const* what) {
  auto const [nodes, all] = of;
  auto const most = (std::max)(nodes, all == 0 ? 0 : all - 1);  // a server, if there is one, is node n
  if (to_index(from) <= most && to_index(to) <= most) return;
  throw config_error{std::string{what} + " joins nodes " + std::to_string(to_index(from)) + " and " +
                     std::to_string(to_index(to)) + ", and the run has nodes 0 to " + std::to_string(nodes - 1)};
}

RUBATO_INLINE void scenario::check_restarts(std::size_t nodes) const {
  for (auto const& r : restarts) {
    auto const who = "node " + std::to_string(to_index(r.node));
    if (to_index(r.node) >= nodes) {
      throw config_error{who + " cannot restart: the run has nodes 0 to " + std::to_string(nodes - 1)};
    }
    if (r.at.count() < 0 || r.down.count() < 0) throw config_error{who + " restarts at a time below 0"};
    for (auto const& other : restarts) {
      if (&other != &r && other.node == r.node && other.at >= r.at && other.at - r.at <= r.down) {
        throw config_error{who + " cannot restart again before it is back"};
      }
    }
  }
}
#endif  // RUBATO_BODIES

}  // namespace rubato::environment

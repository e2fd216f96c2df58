// SPDX-License-Identifier: MIT
// The simulated environment as a value: compute times, links, and how packets are carried.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/sim/compute.hpp>

namespace rubato::sim {

/// One directed link. State channels lose, duplicate and reorder as said here; event channels retransmit what is lost
/// (each time after two round trips) and keep their order, as TCP would.
struct link_model {
  nanoseconds latency{};
  nanoseconds jitter{};          ///< added, uniform in 0 .. jitter
  double bits_per_second = 0;    ///< 0: unlimited; packets queue for their turn
  double loss = 0;               ///< probability, independent per packet
  double duplication = 0;        ///< probability of a second copy, up to four latencies later
  double overtaking = 0;         ///< probability of being held back by up to four latencies

  void check() const {
    auto const probability = [](double p, char const* what) {
      if (!(p >= 0 && p < 1)) {
        throw config_error{std::string{what} + " must lie in 0 (included) to 1 (excluded), not " + std::to_string(p)};
      }
    };
    probability(loss, "the loss of a link");
    probability(duplication, "the duplication of a link");
    probability(overtaking, "the overtaking of a link");
    if (latency.count() < 0 || jitter.count() < 0) throw config_error{"the latency of a link cannot be negative"};
    if (!(bits_per_second >= 0)) throw config_error{"the bandwidth of a link cannot be negative"};
    if (overtaking > 0 && latency.count() == 0) {
      throw config_error{"packets are held back by up to four latencies, so overtaking needs a latency above 0"};
    }
  }
};

struct edge_link {
  node_id from{};
  node_id to{};
  link_model link{};
};

enum class frames : std::uint8_t {
  by_reference,  ///< bodies are shared, as in one process
  encoded,       ///< every packet is encoded and decoded into fresh memory, so that aliasing shows
};

enum class delivery : std::uint8_t {
  whole,   ///< a vector is one packet
  blocks,  ///< every block is a datagram of its own (state channels): lost, late and merged separately
};

struct scenario {
  compute_model compute{};
  link_model link{};
  std::vector<edge_link> special{};  ///< links that differ
  frames carried = frames::by_reference;
  delivery split = delivery::whole;
  std::uint64_t seed = 0;            ///< of the environment's randomness
  nanoseconds measure_every{};       ///< 0: a two-hundredth of the run's time
  nanoseconds patience = std::chrono::hours{1};  ///< virtual; a node that waits longer ends the run
  unsigned threads = 1;              ///< that compute gradients; results do not depend on it

  [[nodiscard]] auto link_of(node_id from, node_id to) const -> link_model const& {
    for (auto const& e : special) {
      if (e.from == from && e.to == to) return e.link;
    }
    return link;
  }
  void check(std::size_t nodes) const {
    compute.check(nodes);
    link.check();
    for (auto const& e : special) {
      e.link.check();
      if (to_index(e.from) > nodes || to_index(e.to) > nodes) {  // a server, if there is one, is node n
        throw config_error{"a special link joins nodes " + std::to_string(to_index(e.from)) + " and " +
                           std::to_string(to_index(e.to)) + ", and the run has nodes 0 to " + std::to_string(nodes - 1)};
      }
    }
    if (threads == 0) throw config_error{"a simulation needs at least one thread"};
  }
};

}  // namespace rubato::sim

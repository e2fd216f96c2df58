// SPDX-License-Identifier: MIT
// What a node knows of the network: its role, its row of W and its column of A, and nothing else of the graph.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <rubato/core/ids.hpp>

namespace rubato::mixing {

/// Peers compute gradients and exchange messages with neighbours, a passive one only when it is asked
/// (mixing/sides.hpp); workers compute for a server, which computes none.
enum class role : std::uint8_t { peer, worker, server, passive };

struct weighted_edge {
  node_id peer{};
  double weight = 0;
};

/// The weight of the edge to or from that peer; 0 if there is none.
inline auto weight_of(std::vector<weighted_edge> const& edges, node_id peer) -> double {
  for (auto const& e : edges)
    if (e.peer == peer) return e.weight;
  return 0;
}

/// One node's share of a pair of mixing matrices. All lists are sorted by id and contain no self-loop.
///   row of W    (pull): pull_self + sum pull_from = 1
///   column of A (push): push_self + sum push_to   = 1
struct neighbourhood {
  node_id self{};
  std::size_t nodes = 1;  ///< n, the nodes that compute gradients; excludes a server
  role part = role::peer;

  double pull_self = 1;
  std::vector<weighted_edge> pull_from;  ///< w_ij: nodes whose models this node averages
  std::vector<node_id> pull_to;  ///< nodes that average this node's model

  double push_self = 1;
  std::vector<weighted_edge> push_to;  ///< a_ji: nodes to which this node pushes its tracked gradient
  std::vector<node_id> push_from;  ///< nodes that push to this node
  double push_share = 1;  ///< pi_i: at rest this node steps along pi_i times the mean gradient
};

class schedule;  // mixing/schedule.hpp
class exchange_times;  // mixing/exchange_times.hpp
class member_plans;  // mixing/members.hpp

/// How a2cid2 mixes (mixing/pair_momentum.hpp).
struct pair_momentum {
  double rate = 0;  ///< eta, by the time from one question of a node to the next
  double share = 0.5;  ///< alpha~: of a difference, for the second model
};

/// Everything that the nodes of one run are told about the network, proved at construction.
struct plan {
  std::vector<neighbourhood> nodes;  ///< by id; a server, if any, is last
  double gain = 1;  ///< `step / gain` moves the consensus model by step times the average gradient
  std::string summary;  ///< for reports: names of the graph and of the weights
  std::string remark{};  ///< where the plan differs from what was asked for: a sentence for the user
  std::shared_ptr<schedule const> rounds{};  ///< weights that change from round to round; null: those of `nodes`
  std::shared_ptr<exchange_times const> exchanges{};  ///< for nodes that exchange models at random; null: none
  std::optional<pair_momentum> momentum{};  ///< for nodes whose pairs are accelerated
  std::shared_ptr<member_plans const> members{};  ///< where members come and go; null: all nodes stay
};

}  // namespace rubato::mixing

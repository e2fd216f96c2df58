// SPDX-License-Identifier: MIT
// What any driver can tell of one of its nodes while a run goes on.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <rubato/core/edge_report.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/driver/detail/peer_words.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/node_status.hpp>

namespace rubato::detail {

/// The node's own counters, the message that it waits for, and an entry for each of `peers`, on whose standing and
/// traffic its driver has the last word. It also knows the memory of the process, which nodes may share.
inline auto status_of(assembly const& a, node_id self, any_node const& node, std::optional<waiting> const& wait,
                      std::span<node_id const> peers) -> node_status {
  auto s = node_status{};
  s.id = self;
  s.of = a.nodes.size();
  s.algorithm = a.algorithm;
  s.network = a.network;
  if (wait) s.waits = words_of(*wait) + " of " + node_name(wait->peer);
  auto const counted = node.statistics();
  s.iterations = counted.iterations;
  s.gradients = counted.gradients;
  s.dropped = counted.dropped;
  for (auto const peer : peers) {
    auto& n = s.neighbours.emplace_back();
    n.peer = peer;
    n.is = standing::here;
    for (auto const& e : counted.edges) {
      if (e.peer != peer) continue;
      n.sends = true;
      n.age.add(e.age);
      n.refused += e.refused;
    }
  }
  return s;
}

/// In a run in one process, to which every node has come at its beginning.
inline auto status_of(assembly const& a, node_id self, any_node const& node, std::optional<waiting> const& wait,
                      instant now, bool tracks) -> node_status {
  auto const peers = a.factory ? a.factory.neighbours(to_index(self)) : std::vector<node_id>{};
  auto s = status_of(a, self, node, wait, peers);
  s.at = node_status::phase::running;
  s.ran = now.since_start;
  s.tracks = tracks;
  return s;
}

/// Adds what an edge carried from or to the node; counters of other edges add nothing.
inline void add_traffic(node_status& s, edge_report const& e) {
  auto const sent = e.from == s.id;
  if (!sent && e.to != s.id) return;
  auto const at = std::find_if(s.neighbours.begin(), s.neighbours.end(),
                               [&](auto const& n) { return n.peer == (sent ? e.to : e.from); });
  if (at == s.neighbours.end()) return;
  if (sent) at->packets_sent += e.packets_sent, at->bytes_sent += e.bytes_sent, at->packets_lost += e.lost;
  else at->delivered += e.delivered;
}

/// Ends the boards of a run that fails while this lives, since no last status follows.
class ends_boards {
 public:
  explicit ends_boards(status_boards const& all) : all_{&all} {}
  ends_boards(ends_boards const&) = delete;
  auto operator=(ends_boards const&) -> ends_boards& = delete;
  ~ends_boards() {
    for (std::size_t i = 0; i < all_->size() && std::uncaught_exceptions() > before_; ++i) (*all_)[i]->end();
  }

 private:
  status_boards const* all_;
  int before_ = std::uncaught_exceptions();
};

/// Throws config_error unless there is a board for each node, or none at all.
inline void check_boards(status_boards const& boards, std::size_t nodes) {
  if (boards.empty() || boards.size() == nodes) return;
  throw config_error{"a run of " + std::to_string(nodes) +
                     " nodes shows each on a status board of its own, and there are " + std::to_string(boards.size())};
}

}  // namespace rubato::detail

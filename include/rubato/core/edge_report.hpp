// SPDX-License-Identifier: MIT
// What the carrier of packets counts on the way between two nodes.
#pragma once

#include <cstdint>

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/statistics.hpp>

namespace rubato {

/// Counters of one directed edge and channel.
struct edge_report {
  node_id from{};
  node_id to{};
  channel_id channel{};
  std::uint64_t packets_sent = 0;
  std::uint64_t values_sent = 0;
  std::uint64_t bytes_sent = 0;  ///< bodies and frame headers, retransmissions included
  std::uint64_t lost = 0;  ///< never arrived (state), or had to be sent again (event)
  std::uint64_t duplicated = 0;
  std::uint64_t conflated = 0;  ///< replaced by a newer one before they were sent, or (not in the simulator) read
  std::uint64_t delivered = 0;  ///< handed to the node (if vectors are sent as blocks: the blocks)
  std::uint64_t bytes_received = 0;  ///< of bodies; counted where nodes are processes
  std::uint64_t overtaken = 0;  ///< arrived after a newer one, or twice
  std::uint64_t refused = 0;  ///< models in whose place the receiver took its own (run/admission.hpp)
  std::uint64_t refused_last = 0;  ///< how many of them came after the last one that it let in
  age_counter age{};  ///< from post to use, at the receiver
  weight_counter weights{};  ///< of gradients, where the receiver is a server that weighs them

  static void visit_state(auto& self, auto&& visit) {
    visit("from", self.from), visit("to", self.to), visit("channel", self.channel);
    visit("packets_sent", self.packets_sent), visit("values_sent", self.values_sent);
    visit("bytes_sent", self.bytes_sent), visit("lost", self.lost), visit("duplicated", self.duplicated);
    visit("conflated", self.conflated), visit("delivered", self.delivered);
    visit("bytes_received", self.bytes_received), visit("overtaken", self.overtaken);
    visit("refused", self.refused), visit("refused last", self.refused_last);
    visit("age", self.age), visit("weights", self.weights);
  }
};

}  // namespace rubato

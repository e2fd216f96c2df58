// SPDX-License-Identifier: MIT
// The effects of one handler call, as data: the driver drains it after every call. Nothing in it is a callback.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato {

/// Asks the driver for one stochastic gradient at `point`. A node has at most one outstanding.
struct gradient_request {
  ticket id{};
  shared_buffer point;  ///< immutable: a slow oracle never sees a moving model
  sample_key sample{};
  static void visit_state(auto& self, auto&& visit) {
    visit("id", self.id), visit("point", self.point), visit("sample", self.sample);
  }
};

/// The answer. `value` has the point's size and scalar type.
struct gradient {
  ticket id{};
  shared_buffer value;
  double loss = 0;  ///< of the mini-batch, at the point; not-a-number where it is not known
  std::chrono::nanoseconds duration{};
};

/// Values of the gradient under way that are final while the others are still being computed.
struct gradient_part {
  ticket id{};
  range values{};
  shared_buffer value;  ///< these values only
};

/// A node may be woken at a time of its choosing; `id` is its own.
struct wakeup {
  std::uint32_t id{};
  instant at{};
  static void visit_state(auto& self, auto&& visit) { visit("id", self.id), visit("at", self.at); }
};

/// The node cannot go on before this message comes. The driver notes how long it has waited (law 8).
struct waiting {
  node_id peer{};
  channel_id channel{};
  iteration number{};
  static void visit_state(auto& self, auto&& visit) {
    visit("peer", self.peer), visit("channel", self.channel), visit("number", self.number);
  }
  friend auto operator==(waiting const&, waiting const&) -> bool = default;
};

/// The node can never go on: one sentence that names what is wrong and what would be right.
struct fault {
  std::string sentence;
};

/// The fault of a message from that peer that holds `values` values instead of the right number.
[[nodiscard]] inline auto wrong_size(node_id peer, std::size_t values, std::size_t right) -> fault {
  return {"node " + std::to_string(to_index(peer)) + " sent " + std::to_string(values) +
          " values in one message, where " + std::to_string(right) + " are right"};
}

/// An edge of the neighbourhood opens or closes (restart, death, false suspicion, rewiring: law 11).
struct neighbour_change {
  enum class edge : std::uint8_t {
    closes,
    opens,
    resumes,  ///< in a new session, as both ends go on from the beginning of one round: of nodes with a common_round()
  };
  node_id peer{};
  edge what{};
  session_id outgoing{};  ///< from now on, for packets to the peer
  session_id incoming{};  ///< from now on, for packets from the peer
};

/// What one handler call wants done. Drivers reuse the object; clear() keeps its memory.
struct outbox {
  std::vector<packet> packets;
  std::optional<gradient_request> request;
  std::optional<ticket> cancel;  ///< this request's result is not wanted any more; done before `request`
  std::vector<wakeup> wakeups;
  std::optional<waiting> wait;  ///< set whenever the node stands still without a gradient under way
  std::optional<fault> failure;

  /// Whether the call asked for nothing.
  [[nodiscard]] auto empty() const -> bool {
    return packets.empty() && !request && !cancel && wakeups.empty() && !wait && !failure;
  }
  void clear() {
    packets.clear();
    request.reset();
    cancel.reset();
    wakeups.clear();
    wait.reset();
    failure.reset();
  }
};

}  // namespace rubato

// SPDX-License-Identifier: MIT
// Between lock-step and freedom: no node uses a value that is more than `bound` iterations older, or newer, than the
// one lock-step would use. Source of the idea: stale synchronous parallel, Ho et al., NIPS 2013; here between
// neighbours.
#pragma once

#include <cstdint>
#include <string_view>

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>

namespace rubato::synchrony {

/// Policy, see synchrony::free. 0 is rounds; on lossless links of constant latency, more than any node can run ahead is
/// free, bit for bit. In orders that send a model before they pull, a node is at most bound + 1 local iterations ahead
/// of each neighbour that it listens to.
///
/// It needs event channels, and so lossless, ordered links: on a state channel the last message before a wait may be
/// lost, and a sender that itself waits would never repeat it. With event channels no node can wait for ever: take, of
/// all nodes that wait, one with the fewest iterations. What it needs has been posted, and arrives.
struct bounded_staleness {
  static constexpr auto name() -> std::string_view { return "bounded staleness"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("bound", self.bound, "rounds by which a neighbour may be behind");
  }
  static constexpr bool waits = true;
  static constexpr channel_kind delivery = channel_kind::event;
  std::uint64_t bound = 1;

  [[nodiscard]] auto ready(iteration needed, iteration newest) const -> bool {
    return to_count(needed) <= bound || to_count(newest) >= to_count(needed) - bound;
  }
  [[nodiscard]] auto latest(iteration needed) const -> iteration {
    auto const room = ~std::uint64_t{0} - to_count(needed);
    return iteration{to_count(needed) + (bound < room ? bound : room)};
  }
};

}  // namespace rubato::synchrony

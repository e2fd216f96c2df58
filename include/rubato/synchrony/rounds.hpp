// SPDX-License-Identifier: MIT
// Lock-step: a node waits for the value of the same round from every neighbour. Needs lossless, ordered delivery.
#pragma once

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>

namespace rubato::synchrony {

/// Policy, see synchrony::free. Neighbours may run ahead; their messages queue and are used in order, none is skipped.
struct rounds {
  static constexpr bool waits = true;
  static constexpr channel_kind delivery = channel_kind::event;
  [[nodiscard]] auto ready(iteration needed, iteration newest) const -> bool { return newest >= needed; }
};

}  // namespace rubato::synchrony

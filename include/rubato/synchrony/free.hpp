// SPDX-License-Identifier: MIT
// No node ever waits for another: each uses the newest value it has.
#pragma once

#include <string_view>

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>

namespace rubato::synchrony {

/// Policy. A synchrony says which kind of channel it needs and whether a value of a neighbour may be used:
/// `needed` is the iteration that lock-step would use, `newest` what has come. Links may lose, reorder and duplicate.
/// On event channels messages queue, and latest(needed) is the last that may be taken; on state channels, as here, the
/// newest replaces the others as it comes.
struct free {
  static constexpr auto name() -> std::string_view { return "free"; }
  static constexpr bool waits = false;
  static constexpr channel_kind delivery = channel_kind::state;
  [[nodiscard]] auto ready(iteration, iteration) const -> bool { return true; }
};

}  // namespace rubato::synchrony

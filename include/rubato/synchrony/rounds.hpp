// SPDX-License-Identifier: MIT
// Lock-step: a node waits for the value of the same round from every neighbour. Needs lossless, ordered delivery.
#pragma once

#include <string_view>

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>

namespace rubato::synchrony {

/// Policy, see synchrony::free. Neighbours may run ahead; their messages queue and are used in order, none is skipped.
/// `lock_step` says that no value ages; the gain takes this into account.
struct rounds {
  static constexpr auto name() -> std::string_view { return "rounds"; }
  static constexpr bool waits = true;
  static constexpr channel_kind delivery = channel_kind::event;
  static constexpr bool lock_step = true;
  [[nodiscard]] auto ready(iteration needed, iteration newest) const -> bool { return newest >= needed; }
  [[nodiscard]] auto latest(iteration needed) const -> iteration { return needed; }
};

}  // namespace rubato::synchrony

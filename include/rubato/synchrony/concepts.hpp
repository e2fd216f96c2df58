// SPDX-License-Identifier: MIT
// What a synchrony policy must offer.
#pragma once

#include <concepts>

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>

namespace rubato::synchrony {

template<class S>
concept says_whether_it_waits = requires {
  { S::waits } -> std::convertible_to<bool>;
};

template<class S>
concept names_a_delivery = requires {
  { S::delivery } -> std::convertible_to<channel_kind>;
};

template<class S>
concept judges_iterations =
    std::copyable<S> && std::default_initializable<S> && requires(S const& s, iteration number) {
      { s.ready(number, number) } -> std::convertible_to<bool>;
    };

/// On event channels the synchrony decides how far into the queue a node may go.
template<class S>
concept limits_its_queue = requires(S const& s, iteration number) {
  { s.latest(number) } -> std::convertible_to<iteration>;
} || S::delivery == channel_kind::state;

/// Not checked, but required: ready(needed, newest) does not turn false as `newest` grows; ready(needed,
/// latest(needed)). Models: free, rounds, bounded_staleness.
template<class S>
concept policy = says_whether_it_waits<S> && names_a_delivery<S> && judges_iterations<S> && limits_its_queue<S>;

/// Whether nodes use only values of their own round: an optional constant, lock_step.
template<class S>
constexpr auto in_lock_step() -> bool {
  if constexpr (requires { S::lock_step; }) return S::lock_step;
  else return false;
}

/// Checked where a node uses a synchrony; each sentence needs no context.
template<class S>
consteval auto check_synchrony() -> bool {
  static_assert(says_whether_it_waits<S>, "a synchrony says in a constant, waits, whether a node may have to wait");
  static_assert(names_a_delivery<S>, "a synchrony names the kind of channel that it needs in a constant, delivery");
  static_assert(
      judges_iterations<S>,
      "a synchrony has ready(needed, newest), which says whether the newest value of a neighbour may be used");
  if constexpr (names_a_delivery<S>) {
    static_assert(limits_its_queue<S>,
                  "a synchrony on event channels has latest(needed), the last message in a queue that may be used");
  }
  return true;
}

}  // namespace rubato::synchrony

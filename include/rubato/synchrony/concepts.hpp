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
concept judges_iterations = std::copyable<S> && std::default_initializable<S> && requires(S const& s, iteration number) {
  { s.ready(number, number) } -> std::convertible_to<bool>;
};

/// Not checked, but required: ready(needed, newest) does not turn false as `newest` grows.
/// Models: free, rounds.
template<class S>
concept policy = says_whether_it_waits<S> && names_a_delivery<S> && judges_iterations<S>;

/// Checked where a synchrony meets a node; each sentence stands alone.
template<class S>
consteval auto check_synchrony() -> bool {
  static_assert(says_whether_it_waits<S>, "a synchrony says in a constant, waits, whether a node may have to wait");
  static_assert(names_a_delivery<S>, "a synchrony names the kind of channel that it needs in a constant, delivery");
  static_assert(judges_iterations<S>,
                "a synchrony has ready(needed, newest), which says whether the newest value of a neighbour may be used");
  return true;
}

}  // namespace rubato::synchrony

// SPDX-License-Identifier: MIT
// What a weighting policy must offer.
#pragma once

#include <concepts>
#include <cstdint>

#include <rubato/core/language.hpp>

namespace rubato::weighting {

/// Not checked, but required: equal ages give equal factors. That a factor lies in 0..1 is checked where it is used.
/// Models: constant, polynomial, exponential, hinge, drop_older_than.
template<class W>
concept policy = std::copyable<W> && std::default_initializable<W> && requires(W const& w, std::uint64_t age) {
  { w(age) } -> std::convertible_to<double>;
  { W::can_cut } -> std::convertible_to<bool>;
  { W::depends_on_age } -> std::convertible_to<bool>;
};

/// Checked where a node uses a weighting.
template<class W>
consteval auto check_weighting() -> bool {
  static_assert(policy<W>,
                "a weighting has can_cut, depends_on_age and a call that gives the factor, 0 to 1, for an age");
  return true;
}

}  // namespace rubato::weighting

// SPDX-License-Identifier: MIT
// What a step policy must offer. The concepts are separate, so that each violation has its own sentence.
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/visit_state.hpp>

namespace rubato::step {

/// A value of hyper-parameters with a state per node, which holds the step's own arrays. The step that a state is made
/// from outlives it and stays where it is, so a state may keep a pointer to it, or a copy.
template<class S, class Backend>
concept has_state = std::copyable<S> && std::movable<typename S::template state<Backend>> &&
                    std::constructible_from<typename S::template state<Backend>, S const&, Backend&, std::size_t>;

/// A step with next(gamma, norm) in place of next(gamma): it is told the norm of the direction first, which costs a
/// pass, and cannot be taken where the direction is made inside the pass that moves x.
template<class S, class Backend>
concept needs_norm = requires(typename S::template state<Backend>& s, double gamma) { s.next(gamma, gamma); };

/// A step that is linear in its directions and looks at nothing else: S(a d) = a S(d).
template<class S>
concept linear = requires { requires S::is_linear; };

/// next(gamma) advances the step's counters and returns what the next local iteration does, small enough for a kernel.
template<class S, class Backend>
concept gives_rules = requires { typename S::template state<Backend>::rule; } &&
                      (needs_norm<S, Backend> ||
                       requires(typename S::template state<Backend>& s, double gamma) {
                         { s.next(gamma) } -> std::same_as<typename S::template state<Backend>::rule>;
                       }) &&
                      std::is_trivially_copyable_v<typename S::template state<Backend>::rule> &&
                      std::default_initializable<typename S::template state<Backend>::rule>;

/// Gives the new x from the lanes, x and the direction, and the bytes per value that the rule itself reads and writes.
template<class S, class Backend>
concept rule_moves_x = requires(typename S::template state<Backend>::rule const& rule,
                                backend::scalar_lanes<typename Backend::scalar>& at, typename Backend::scalar v) {
  { rule(at, v, v) } -> std::convertible_to<typename Backend::scalar>;
  { S::template state<Backend>::rule::bytes_per_value() } -> std::convertible_to<std::size_t>;
};

/// The same rule for a part of the vector, whose index 0 is index `begin` of the whole: its arrays begin there.
template<class S, class Backend>
concept rule_has_parts = requires(typename S::template state<Backend>::rule const& rule, std::size_t begin) {
  { rule.from(begin) } -> std::same_as<typename S::template state<Backend>::rule>;
};

/// The rule that next(gamma) gave last, for a state that was just read back: only then, since it may call next(gamma).
template<class State>
auto present_rule(State& s, double gamma) -> typename State::rule {
  if constexpr (requires { s.present(gamma); }) {
    return s.present(gamma);
  } else {
    static_assert(
        !requires(state_visitor& v) { State::visit_state(s, v); },
        "a step's state that lists its parts has present(gamma) too, the rule that next(gamma) gave last");
    return s.next(gamma);  // it has no state: one that lists none is not read back
  }
}

/// Not checked, but required: the rule acts on each index separately, for packs of lanes as for one.
/// Models: sgd, momentum, adam, decayed, clipped_by_value, clipped_by_norm.
template<class S, class Backend>
concept policy =
    has_state<S, Backend> && gives_rules<S, Backend> && rule_moves_x<S, Backend> && rule_has_parts<S, Backend>;

/// Checked where a node uses a step; each sentence needs no context.
template<class S, class Backend>
consteval auto check_step() -> bool {
  static_assert(
      has_state<S, Backend>,
      "a step is copyable and has a movable template state<Backend>, made from the step, a backend and a size");
  if constexpr (has_state<S, Backend>) {
    static_assert(gives_rules<S, Backend>,
                  "a step's state has a type rule, trivially copyable and default-made, and next(gamma) returns one");
    if constexpr (gives_rules<S, Backend>) {
      static_assert(rule_moves_x<S, Backend>,
                    "a step's rule gives the new x from lanes, x and a direction, and has a static bytes_per_value()");
      static_assert(rule_has_parts<S, Backend>,
                    "a step's rule has from(begin), the same rule for a part of the vector that begins at that index");
    }
  }
  return true;
}

}  // namespace rubato::step

// SPDX-License-Identifier: MIT
// Update orders: a local iteration is a sequence of actions, and an algorithm of the gossip and tracking family is
// little more than that sequence. An order of your own is a struct with one constexpr array (examples/ has one).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::order {

/// The actions of a local iteration. x is the node's model, z its tracker, g the stored gradient.
enum class action : std::uint8_t {
  descend,      ///< x <- x - gamma z          (without tracking: - gamma g)
  write_model,  ///< v <- x: the model that neighbours will receive
  send_model,   ///< posts v to every node that pulls from this one
  pull,         ///< x <- w_ii x + sum_j w_ij v_j
  gradient,     ///< requests a gradient at x and stops until it arrives
  track,        ///< z <- (z - g) + g_new; g <- g_new
  consume,      ///< z <- z + sum_j (rho_ij - rho~_ij); rho~ <- rho
  push,         ///< p_j = a_ji z; rho_ji += p_j, posted; z <- z - sum p_j
};

constexpr auto name_of(action a) -> std::string_view {
  constexpr std::array<std::string_view, 8> names{"descend",  "write model", "send model", "pull",
                                                  "gradient", "track",       "consume",    "push"};
  return names[static_cast<std::size_t>(a)];
}

/// R-FAST as designed here: descend, post v at once, pull; after the gradient track, consume, push.
struct r_fast {
  static constexpr std::array program{action::descend,  action::write_model, action::send_model, action::pull,
                                      action::gradient, action::track,       action::consume,    action::push};
};

/// R-FAST with its messages as listed in the paper: v travels together with rho, after the gradient.
struct late_post {
  static constexpr std::array program{action::descend, action::write_model, action::pull, action::gradient,
                                      action::track,   action::consume,     action::push, action::send_model};
};

/// Push-Pull, adapt-then-combine: rho is consumed before the descent, y+ = A (y + g_new - g).
struct push_pull {
  static constexpr std::array program{action::consume, action::descend,  action::write_model, action::send_model,
                                      action::pull,    action::gradient, action::track,       action::push};
};

/// AB: the step follows the mixing, x+ = W x - gamma y, y+ = A y + g_new - g.
struct ab {
  static constexpr std::array program{action::write_model, action::send_model, action::pull,    action::descend,
                                      action::push,        action::gradient,   action::consume, action::track};
};

/// D-PSGD: x+ = W x - gamma g(x); the gradient is computed while models travel.
struct combine_while_computing {
  static constexpr std::array program{action::write_model, action::send_model, action::gradient, action::pull,
                                      action::descend};
};

/// D-PSGD, adapt-then-combine: x+ = W (x - gamma g(x)).
struct adapt_then_combine {
  static constexpr std::array program{action::gradient, action::descend, action::write_model, action::send_model,
                                      action::pull};
};

template<class Order>
constexpr auto count_of(action a) -> std::size_t {
  std::size_t n = 0;
  for (auto const each : Order::program) n += each == a ? 1 : 0;
  return n;
}

/// The place of `a` in the program, or the program's length.
template<class Order>
constexpr auto place_of(action a) -> std::size_t {
  for (std::size_t i = 0; i < Order::program.size(); ++i) {
    if (Order::program[i] == a) return i;
  }
  return Order::program.size();
}

/// The order in words: what distinguishes it from others, whatever its type is called.
template<class Order>
[[nodiscard]] auto words_of() -> std::string {
  std::string words;
  for (auto const a : Order::program) words.append(words.empty() ? "" : ", ").append(name_of(a));
  return words;
}

/// Whether the order keeps a tracker at all.
template<class Order>
constexpr auto tracks() -> bool {
  return count_of<Order>(action::track) > 0;
}

/// A part of a program, as a type.
template<action... Actions>
struct actions_of {
  static constexpr auto has(action a) -> bool { return ((Actions == a) || ...); }
  static constexpr bool changes_x = has(action::descend) || has(action::pull);
  static constexpr bool changes_z = has(action::track) || has(action::consume) || has(action::push);
  static constexpr bool reads_x = changes_x || has(action::write_model);
  /// Whether the model written is also the final x of this part, so that one vector serves both.
  static constexpr auto model_is_x() -> bool {
    bool same = false;
    ((same = Actions == action::write_model                          ? true
             : Actions == action::descend || Actions == action::pull ? false
                                                                     : same),
     ...);
    return same;
  }
};

namespace detail {
template<class Order>
constexpr auto once(action a) -> bool {
  return count_of<Order>(a) == 1;
}
template<class Order>
constexpr auto before(action a, action b) -> bool {
  return place_of<Order>(a) < place_of<Order>(b);
}
}  // namespace detail

/// Checked where an order is used by a node; each sentence needs no context.
template<class Order>
consteval void check_order() {
  using enum action;
  static_assert(detail::once<Order>(gradient), "an update order asks for exactly one gradient a local iteration");
  static_assert(detail::once<Order>(descend), "an update order descends exactly once a local iteration");
  static_assert(detail::once<Order>(write_model) && detail::once<Order>(send_model) && detail::once<Order>(pull),
                "an update order writes, sends and pulls models exactly once a local iteration");
  static_assert(detail::before<Order>(write_model, send_model), "an update order writes a model before it sends it");
  static_assert(
      !tracks<Order>() || (detail::once<Order>(track) && detail::once<Order>(consume) && detail::once<Order>(push)),
      "an update order that tracks has exactly one track, one consume and one push");
  static_assert(tracks<Order>() || (count_of<Order>(consume) == 0 && count_of<Order>(push) == 0),
                "an update order without track can neither consume nor push");
  static_assert(!tracks<Order>() || detail::before<Order>(gradient, track),
                "an update order tracks a gradient after asking for it");
}

}  // namespace rubato::order

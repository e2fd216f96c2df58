// SPDX-License-Identifier: MIT
// When the exchanges of a link of delayed_randomized_gossip begin: at the times of a Poisson process. A policy of your
// own is a struct of a few lines, as this one, in which each begins when the one before ends:
//   struct one_after_another {
//     auto operator()(rubato::firing::exchange_key const&) const -> double { return 1; }
//   };
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <string_view>

#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>

namespace rubato::firing {

/// Names an exchange, in the same way at both ends of its link.
struct exchange_key {
  std::uint64_t seed = 0;
  node_id low{}, high{};  ///< the ends of the link
  session_id session{};  ///< of messages from `low` to `high`
  std::uint64_t number = 0;  ///< in that session, from 1
};

/// A pure function: how long after the one before this exchange begins (the first: after the link has opened), in units
/// of the link's delay; 0 or more. Not checked, but required: its mean is 1 or more, for which the weights are made.
/// Options are listed in visit_options. Models: poisson.
template<class F>
concept policy = std::copyable<F> && std::default_initializable<F> && requires(F const& f, exchange_key const& key) {
  { f(key) } -> std::convertible_to<double>;
};

/// Checked where a node uses it.
template<class F>
consteval auto check_firing() -> bool {
  static_assert(policy<F>,
                "a firing policy is copyable, and its call is given the key of an exchange and gives the time since "
                "the one before, in units of the link's delay");
  return true;
}

/// Independent of each other, with mean 1.
struct poisson {
  static constexpr auto name() -> std::string_view { return "poisson"; }
  auto operator()(exchange_key const& k) const -> double {
    auto draw = random_stream{{0x666972696e67ULL, k.seed, static_cast<std::uint64_t>(k.low),
                               static_cast<std::uint64_t>(k.high), k.session.sender, k.session.receiver, k.number}};
    return -std::log(1 - draw.uniform());
  }
};

}  // namespace rubato::firing

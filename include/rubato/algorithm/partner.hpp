// SPDX-License-Identifier: MIT
// How a node of ad_psgd chooses the neighbour that it averages with: uniform draws one at random each time, round_robin
// takes them in turn. A policy of your own is a struct of a few lines:
//   struct first_of_all {
//     struct state {
//       state(first_of_all const&, rubato::node_id) {}
//       auto operator()(std::span<rubato::node_id const>, rubato::random_stream&) -> std::size_t { return 0; }
//     };
//   };
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>

#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>

namespace rubato::partner {

/// Settings, with a state at each node that is made from them and the node's id. The settings outlive the state and
/// stay at the same address. The state is called with the ids of the neighbours that may be asked, in order and at
/// least one, and returns an index into that list. `draw` is a stream of its own for each call, keyed by seed, node and
/// call. Not checked, but required: all randomness comes from `draw`. Options are listed in visit_options, and what a
/// state keeps from call to call in visit_state. Models: uniform, round_robin.
template<class P>
concept policy = std::copyable<P> && std::default_initializable<P> && std::movable<typename P::state> &&
                 std::constructible_from<typename P::state, P const&, node_id> &&
                 requires(typename P::state& s, std::span<node_id const> open, random_stream& draw) {
                   { s(open, draw) } -> std::convertible_to<std::size_t>;
                 };

/// Checked where a node uses a partner policy.
template<class P>
consteval auto check_partner() -> bool {
  static_assert(
      policy<P>,
      "a partner has a movable state, made from it and a node's id, whose call is given the ids of the neighbours that "
      "may be asked and a random stream, and gives a place in that list");
  return true;
}

/// Each neighbour is equally likely, whatever was drawn before ([A] of ad_psgd.hpp).
struct uniform {
  static constexpr auto name() -> std::string_view { return "uniform"; }
  struct state {
    state(uniform const&, node_id) {}
    auto operator()(std::span<node_id const> open, random_stream& draw) const -> std::size_t {
      return draw.below(open.size());
    }
  };
};

/// The neighbours in turn, by id; one whose edge is closed is skipped. A node begins after its own id, so that nodes do
/// not all ask the same neighbour first.
struct round_robin {
  static constexpr auto name() -> std::string_view { return "round robin"; }
  class state {
   public:
    state(round_robin const&, node_id self) : last_{self} {}
    static void visit_state(auto& self, auto&& visit) { visit("last", self.last_); }
    auto operator()(std::span<node_id const> open, random_stream&) -> std::size_t {
      auto const next = std::upper_bound(open.begin(), open.end(), last_);
      auto const place = next == open.end() ? open.begin() : next;
      last_ = *place;
      return static_cast<std::size_t>(place - open.begin());
    }

   private:
    node_id last_;  // the node asked last
  };
};

}  // namespace rubato::partner

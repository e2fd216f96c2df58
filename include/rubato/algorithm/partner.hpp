// SPDX-License-Identifier: MIT
// How a node that averages in pairs (ad_psgd, bipartite_ad_psgd, a2cid2) chooses its partner: uniform draws one at
// random each time, by_speed prefers those that answer soon, round_robin takes them in turn, and fixed always takes the
// same. A policy of your own is a struct of a few lines:
//   struct last_of_all {
//     struct state {
//       state(last_of_all const&, rubato::node_id) {}
//       auto operator()(std::span<rubato::node_id const> open, rubato::random_stream&) -> std::size_t {
//         return open.size() - 1;
//       }
//     };
//   };
// With any of them the mean of all models is kept. Where every neighbour is asked again and again, models come together
// at a place that does not depend on the policy; only the pace does.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>

namespace rubato::partner {

/// Settings, with a state at each node that is made from them and the node's id. The settings outlive the state and
/// stay at the same address. The state is called with the ids of the neighbours that may be asked, in order and at
/// least one, and returns an index into that list. `draw` is a stream of its own for each call, keyed by seed, node and
/// call. Not checked, but required: all randomness comes from `draw`. Options are listed in visit_options, and what a
/// state keeps from call to call in visit_state. Two members are optional:
/// - answered(node_id, nanoseconds) of the state is told how long each answer took;
/// - static only(neighbours) of the policy says which one it asks for ever. The network is then refused if such pairs
///   do not join all nodes.
/// Models: uniform, by_speed, round_robin, fixed.
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

/// The neighbour with the lowest id, or of those whose edge is open the lowest: on a tree whose root is node 0, the
/// parent.
struct fixed {
  static constexpr auto name() -> std::string_view { return "fixed"; }
  static auto only(std::span<node_id const>) -> std::size_t { return 0; }
  struct state {
    state(fixed const&, node_id) {}
    auto operator()(std::span<node_id const>, random_stream&) const -> std::size_t { return 0; }
  };
};

/// A neighbour is drawn in proportion to its speed: 1 / (mean time from question to answer, recent ones counting more).
/// None has less than `floor` of the chance that it would have by uniform draws. One that has not answered yet counts
/// as the fastest.
struct by_speed {
  double floor = 0.1;  ///< in (0, 1]; 1 is uniform
  double newest = 0.2;  ///< what the newest time counts in the mean, in (0, 1]
  static constexpr auto name() -> std::string_view { return "by speed"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("floor", self.floor, "least chance of a neighbour, in terms of an equal one"),
        visit("newest", self.newest, "what the newest time counts in the mean");
  }
  /// Throws config_error unless both lie in (0, 1].
  void check() const {
    for (auto const v : {floor, newest})
      if (!(v > 0 && v <= 1))
        throw config_error{"floor and newest of partner::by_speed must lie above 0 and not above 1, and one is " +
                           shortest(v)};
  }

  class state {
   public:
    state(by_speed const& its, node_id) : floor_{its.floor}, newest_{its.newest} {}
    static void visit_state(auto& self, auto&& visit) { visit("times", self.times_); }
    void answered(node_id peer, std::chrono::nanoseconds took) {
      auto const seconds = (std::max)(std::chrono::duration<double>{took}.count(), 1e-9);
      auto const at = place_of(peer);
      if (at != times_.end() && at->peer == peer) at->mean += newest_ * (seconds - at->mean);
      else times_.insert(at, {peer, seconds});
    }
    /// The chance of each. O(open and answered).
    [[nodiscard]] auto chances(std::span<node_id const> open) const -> std::vector<double> {
      auto fastest = 0.0, all = 0.0;
      for (auto const& t : times_) fastest = (std::max)(fastest, 1 / t.mean);
      std::vector<double> each;
      each.reserve(open.size());
      auto t = times_.begin();
      for (auto const peer : open) {
        while (t != times_.end() && t->peer < peer) ++t;
        auto const heard = t != times_.end() && t->peer == peer;
        each.push_back(heard ? 1 / t->mean : fastest > 0 ? fastest : 1.0);
        all += each.back();
      }
      auto const even = floor_ / static_cast<double>(open.size());
      for (auto& c : each) c = even + (1 - floor_) * c / all;
      return each;
    }
    auto operator()(std::span<node_id const> open, random_stream& draw) const -> std::size_t {
      auto const each = chances(open);
      auto left = draw.uniform();
      for (std::size_t at = 0; at + 1 < open.size(); ++at) {
        left -= each[at];
        if (left < 0) return at;
      }
      return open.size() - 1;
    }

   private:
    struct time {
      node_id peer{};
      double mean = 0;  // seconds
      static void visit_state(auto& self, auto&& visit) { visit("peer", self.peer), visit("mean", self.mean); }
    };
    [[nodiscard]] auto place_of(node_id peer) -> std::vector<time>::iterator {
      return std::lower_bound(times_.begin(), times_.end(), peer,
                              [](time const& t, node_id id) { return t.peer < id; });
    }
    double floor_, newest_;
    std::vector<time> times_;  // of those that have answered, by id
  };
};

}  // namespace rubato::partner

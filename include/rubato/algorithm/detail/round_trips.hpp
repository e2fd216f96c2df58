// SPDX-License-Identifier: MIT
// How old the answers of neighbours are, in the node's own local iterations. Each message says in `based_on` which
// message of its receiver its sender used last. Where nothing comes back (an edge of one way), twice the silence of the
// sender counts as the round trip. An edge that opens counts from then on; a closed one does not count.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <rubato/algorithm/detail/incoming.hpp>
#include <rubato/algorithm/detail/neighbours.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/mixing/neighbourhood.hpp>

namespace rubato::detail {

class round_trips {
 public:
  static void visit_state(auto& self, auto&& visit) {
    visit("neighbours", self.neighbours_), visit("round trip", self.usual_);
  }

  round_trips() = default;
  explicit round_trips(mixing::neighbourhood const& n) : self_{n.self} {
    for (auto const& e : n.pull_from) add(n, e.peer);
    for (auto const peer : n.push_from) add(n, peer);
    std::sort(neighbours_.begin(), neighbours_.end(), [](auto const& a, auto const& b) { return a.peer < b.peer; });
  }

  /// A message of the present session arrived, after the node had posted number `posted`. An answer to a later one ends
  /// the run.
  void heard(patch const& p, std::uint64_t posted, outbox& out) {
    auto* const n = find_edge(neighbours_, p.from);
    if (n == nullptr) return;
    auto const answered = to_count(p.based_on);
    if (answered > posted) {
      out.failure = fault{text_of_message(p, to_count(p.numbers[0])) + " answers message " + std::to_string(answered) +
                          " of node " + std::to_string(to_index(self_)) + ", which has sent " + std::to_string(posted)};
      return;
    }
    n->answered = (std::max)(n->answered, answered);
    n->arrived = posted;
  }
  void change(neighbour_change const& c, std::uint64_t posted) {
    auto* const n = find_edge(neighbours_, c.peer);
    if (n != nullptr) *n = {n->peer, n->answers, c.what == neighbour_change::edge::opens, posted, posted};
  }
  /// The round trip of the slowest edge after `posted` messages.
  auto measure(std::uint64_t posted) -> double {
    auto slowest = 0.0;
    for (auto const& n : neighbours_) {
      if (!n.open) continue;
      auto const since = static_cast<double>(posted - (n.answers ? n.answered : n.arrived));
      slowest = (std::max)(slowest, n.answers ? since : 2 * since);
    }
    usual_ = (std::max)(slowest, 0.9 * usual_ + 0.1 * slowest);
    return usual_;
  }

 private:
  struct neighbour {
    node_id peer{};
    bool answers = true;  // this node sends to it, too
    bool open = true;
    std::uint64_t answered = 1;  // our message that it used last; there is none to answer before the first
    std::uint64_t arrived = 1;  // our newest message when its last one came
    static void visit_state(auto& self, auto&& visit) {
      visit.same("peer", to_index(self.peer));
      visit("open", self.open), visit("answered", self.answered), visit("arrived", self.arrived);
    }
  };
  void add(mixing::neighbourhood const& n, node_id peer) {
    auto const is = [peer](neighbour const& one) { return one.peer == peer; };
    if (std::none_of(neighbours_.begin(), neighbours_.end(), is)) neighbours_.push_back({peer, hears(n, peer)});
  }

  node_id self_{};
  std::vector<neighbour> neighbours_;  // by id
  double usual_ = 0;
};

}  // namespace rubato::detail

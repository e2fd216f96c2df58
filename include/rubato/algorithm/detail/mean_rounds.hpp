// SPDX-License-Identifier: MIT
// What scatter_mean and gather_mean share: an endless sequence of rounds, in turns with fragments of a vector, of
// messages from each node to all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/neighbours.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/node.hpp>

namespace rubato::detail {

/// Who takes part: nodes 0, stride, 2 stride, ...; each has a place among them, from 0.
struct members {
  members(std::size_t of, std::size_t apart = 1) : count{of}, stride{apart} {}  // NOLINT: usually a count is all
  [[nodiscard]] auto node_of(std::size_t place) const -> node_id { return to_node(place * stride); }
  /// `count` or more if the node is none of them.
  [[nodiscard]] auto place_of(node_id id) const -> std::size_t {
    return to_index(id) % stride == 0 ? to_index(id) / stride : count;
  }
  std::size_t count;
  std::size_t stride;
};

/// A node may be one round behind the others, so messages for the next round are taken too.
class mean_rounds {
 public:
  /// Two fragments that are not halves: the first has this many values. To be called before the first round.
  void split_at(std::size_t values) {
    RUBATO_EXPECTS(fragments_ == 2 && values > 0 && values < values_, "a vector is split into two parts");
    head_ = values;
  }
  /// True between begin() and the advance() that completes the round.
  [[nodiscard]] auto under_way() const -> bool { return begun_; }
  /// Rounds that are complete at this node: all messages to it for them have arrived.
  [[nodiscard]] auto rounds_done() const -> std::uint64_t { return round_; }
  /// The values of a round, 0-based, in the whole vector.
  [[nodiscard]] auto fragment(std::uint64_t of_round) const -> range {
    std::size_t const f = of_round % fragments_;
    if (head_ != 0) return f == 0 ? range{0, head_} : range{head_, values_};
    return {f * values_ / fragments_, (f + 1) * values_ / fragments_};
  }

  void add_statistics(node_statistics& s) const {
    for (std::size_t j = 0; j < n_; ++j)
      if (j != me_) s.edges.push_back(peers_[j].counted(channel_));
  }

 protected:
  struct message {
    instant posted{};
    shared_buffer body{};
    static void visit_state(auto& self, auto&& visit) { visit("posted", self.posted), visit("body", self.body); }
  };

  /// `values`: of the whole vector; `channel`: that of all messages.
  mean_rounds(node_id self, members of, std::size_t values, std::size_t fragments, channel_id channel)
      : channel_{channel},
        self_{self},
        members_{of},
        me_{of.place_of(self)},
        n_{of.count},
        values_{values},
        fragments_{fragments},
        peers_(of.count) {
    for (std::size_t j = 0; j < n_; ++j) peers_[j].peer = members_.node_of(j);
  }
  static void visit_state(auto& self, auto&& visit) {
    visit("peers", self.peers_), visit("round", self.round_), visit("begun", self.begun_);
  }

  /// All nodes go back to the moment between two rounds, when each has sent `messages` to each. False if the peer is
  /// none of them.
  [[nodiscard]] auto resumes_after(std::uint64_t messages, neighbour_change const& c) -> bool {
    RUBATO_EXPECTS(!begun_, "edges resume between two rounds");
    auto const place = members_.place_of(c.peer);
    if (place >= n_) return false;
    auto& edge = peers_[place];
    edge.change(c);
    edge.order.resume_after(messages);
    return true;
  }

  /// Whether it is a message of another node in the present session. False with out.failure if its number cannot be.
  [[nodiscard]] auto is_from_peer(patch const& p, outbox& out) -> bool {
    auto const from = members_.place_of(p.from);
    if (from >= n_ || p.from == self_ || !peers_[from].is_of_session(p)) return false;
    out.failure = miscounted(p);
    return !out.failure;
  }
  /// Counts such a message if it is the sender's next one, of that many codes and of this or the next round (no node
  /// completes a round without this one). False with out.failure otherwise.
  [[nodiscard]] auto count(patch const& p, element kind, std::size_t codes, std::uint64_t round, outbox& out) -> bool {
    auto& edge = peers_[members_.place_of(p.from)];
    auto wrong = malformed(p, kind, codes);
    if (!wrong) wrong = edge.order.follow_on(p);
    if (!wrong && round > round_ + 1) {
      wrong = fault{text_of_message(p, to_count(p.numbers[0])) + " is of a round that cannot begin before node " +
                    std::to_string(to_index(self_)) + " has ended round " + std::to_string(round_ + 1)};
    }
    out.failure = std::move(wrong);
    if (!out.failure) ++edge.accepted;
    return !out.failure;
  }
  /// By id; n if all are there.
  [[nodiscard]] auto first_missing(std::vector<message> const& list) const -> std::size_t {
    std::size_t j = 0;
    while (j < n_ && list[j].body) ++j;
    return j;
  }

  channel_id channel_;
  node_id self_;
  members members_;
  std::size_t me_;  // this node's place
  std::size_t n_;
  std::size_t values_;
  std::size_t fragments_;
  std::vector<two_way_edge> peers_;  // by place, in the order of ids
  std::uint64_t round_ = 0;
  bool begun_ = false;
  std::size_t head_ = 0;  // 0: fragments are equal; as its owner was made, so no state
};

}  // namespace rubato::detail

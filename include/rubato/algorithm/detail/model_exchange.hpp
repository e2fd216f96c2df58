// SPDX-License-Identifier: MIT
// The models that a node pulls and the nodes that pull its own: mailboxes, weights and the ages that a weighting uses.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/neighbours.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/statistics.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/neighbourhood.hpp>

namespace rubato::detail {

/// Where the graph changes: to whom a model goes.
enum class readers : std::uint8_t { of_this_round, everyone };

template<class Backend, class Weighting, class Synchrony>
class model_exchange {
 public:
  using scalar = typename Backend::scalar;
  static constexpr channel_spec spec{channel_id::model, Synchrony::delivery, element_of<scalar>};

  static void visit_state(auto& self, auto&& visit) {
    visit("models in", self.in_), visit("models out", self.out_), visit("weight of its own", self.pull_self_);
  }

  /// Throws config_error if the weighting may cut the only in-edge of a node, or gives no factor at some age.
  model_exchange(Backend b, mixing::neighbourhood const& n, block_partition const& blocks, Weighting const& weighting,
                 Synchrony const& synchrony, shared_buffer const& x0, named_rounds rounds = named_rounds::no)
      : backend_{std::move(b)},
        self_{n.self},
        blocks_{blocks},
        weighting_{weighting},
        synchrony_{synchrony},
        pull_self_{n.pull_self} {
    for (auto const& e : n.pull_from) {
      auto& edge = in_.emplace_back();
      edge.peer = e.peer;
      edge.weight = e.weight;
      edge.lead = lead_of(n, e.peer, synchrony);
      edge.is_heard = hears(n, e.peer);
      edge.rounds = rounds;
      edge.box.start_with(x0);
    }
    for (auto const peer : n.pull_to) out_.emplace_back().peer = peer;
    if (Weighting::can_cut && in_.size() == 1) {
      throw config_error{"node " + std::to_string(to_index(n.self)) +
                         " has a single in-edge, which this weighting may cut; use one that never reaches zero"};
    }
    if constexpr (Weighting::depends_on_age) {
      for (auto const age : {0U, 1U, 10U, 100U, 1U << 20})
        refuse_unless_factor(static_cast<double>(weighting_(age)), age);
    }
  }

  /// Keeps a message. `done`: own iterations completed; `clock`: own gradient requests, the unit of ages.
  void take(patch const& p, std::uint64_t clock, iteration done, outbox& out) {
    auto* const edge = find_edge(in_, p.from);
    if (edge == nullptr || !edge->admit(self_, blocks_, spec, last_usable(synchrony_, done), p, out)) return;
    edge->put(backend_, blocks_, spec.kind, p, clock);
  }

  /// The terms to pull for the blocks from `block` on, for a sweep by that handle; `end` is lowered to the first block
  /// whose ages differ. The weight that a weighting withholds and that of closed edges go to the node itself.
  [[nodiscard]] auto terms(Backend& sweeping, std::uint64_t clock, std::size_t block, std::size_t& end)
      -> pull_terms<scalar> {
    table_.clear();
    auto self_weight = pull_self_;
    for (auto const& e : in_) {
      auto factor = e.open && e.active && e.box.values() != nullptr ? 1.0 : 0.0;
      if constexpr (Weighting::depends_on_age) {
        end = (std::min)(end, e.box.uniform_end(block, end));
        auto const left = static_cast<double>(weighting_(clock - e.box.of(block).arrived));
        RUBATO_EXPECTS(left >= 0 && left <= 1, "a weighting gives a factor of 0 to 1 for every age");
        factor *= left;
      }
      self_weight += (1 - factor) * e.weight;
      if (factor > 0) table_.push_back({e.box.values(), static_cast<scalar>(factor * e.weight)});
    }
    return {static_cast<scalar>(self_weight), sweeping.table(table_.data(), table_.size())};
  }
  /// Records the ages of the models just pulled, each when it is used for the first time.
  void record_ages(instant now) {
    for (auto& e : in_) {
      auto const& last = e.box.of(0);
      if (e.box.values() != nullptr && last.number > std::exchange(e.pulled, last.number)) e.age.add(now - last.posted);
    }
  }

  /// The weights of a round, on a graph that changes: weight_of(i, j) is entry (i, j) of W.
  template<class WeightOf>
  void weigh(WeightOf const& weight_of) {
    pull_self_ = weight_of(self_, self_);
    for (auto& e : in_) {
      e.weight = weight_of(self_, e.peer);
      e.active = e.weight != 0;
    }
    for (auto& e : out_) e.active = weight_of(e.peer, self_) != 0;
  }

  /// Of a node whose place among others is yet to be told: pulls from nobody, and has no model of anybody.
  void await_place() {
    for (auto& e : in_) {
      e.active = false;
      e.box.clear();
    }
  }
  /// The weights and readers of another neighbourhood, whose edges this node has. What a node sent that was not pulled
  /// from before may be old, even the common first model: it counts from its next message on.
  void take_place(mixing::neighbourhood const& n) {
    pull_self_ = n.pull_self;
    for (auto& e : in_) {
      e.weight = mixing::weight_of(n.pull_from, e.peer);
      if (e.active || e.weight == 0) continue;
      e.box.clear();
      e.pulled = {};
    }
    take_senders(in_, n, [&](node_id peer) { return mixing::weight_of(n.pull_from, peer) != 0; }, synchrony_);
    for (auto& e : out_) e.active = std::binary_search(n.pull_to.begin(), n.pull_to.end(), e.peer);
  }

  /// Calls send(edge, v) for each reader whose edge is open and, unless `whom` is everyone, in this round.
  template<class Send>
  void post(shared_buffer const& v, Send&& send, readers whom = readers::of_this_round) const {
    for (auto const& e : out_) {
      if (e.open && (e.active || whom == readers::everyone)) send(e, v);
    }
  }
  /// The same for one node over an open edge, whether it pulls this model at present or not.
  template<class Send>
  void post_to(node_id peer, shared_buffer const& v, Send&& send) {
    if (auto const* const e = find_edge(out_, peer); e != nullptr && e->open) send(*e, v);
  }

  /// Event channels: the round of the newest message from that neighbour.
  [[nodiscard]] auto latest_of(node_id peer) -> iteration {
    auto const* const e = find_edge(in_, peer);
    return e != nullptr && e->open ? e->box.latest() : iteration{};
  }

  /// `round`: on an event channel, the first message over an edge that opens is for the round after it.
  void change(neighbour_change const& c, iteration round) {
    if (auto* e = find_edge(in_, c.peer)) {
      e->change(c, Synchrony::delivery == channel_kind::event ? round : iteration{});
      e->pulled = {};
    }
    if (auto* e = find_edge(out_, c.peer)) {
      e->open = c.what != neighbour_change::edge::closes;
      e->session = c.outgoing;
    }
  }

  /// Adds the models just read to the suspects for a value that is not finite.
  void accuse(blame& suspects) const {
    for (auto const& e : in_) {
      if (e.open && e.active && e.box.values() != nullptr)
        suspects.message(e.peer, channel_id::model, backend_.pool().values(e.box.values(), blocks_.values()));
    }
  }
  void count_into(node_statistics& s) const {
    for (auto const& e : in_) s.edges.push_back({e.peer, channel_id::model, e.accepted, e.overtaken, e.age});
  }
  /// The in-edges, for code that waits for a message.
  [[nodiscard]] auto in() -> std::vector<model_in<Backend, scalar>>& { return in_; }
  [[nodiscard]] auto in() const -> std::vector<model_in<Backend, scalar>> const& { return in_; }

 private:
  static void refuse_unless_factor(double factor, unsigned age) {
    if (factor >= 0 && factor <= 1) return;
    throw config_error{"a weighting gives a factor of 0 to 1 for every age, and this one gives " + shortest(factor) +
                       " at age " + std::to_string(age) + "; look at its settings"};
  }

  Backend backend_;
  node_id self_;
  block_partition blocks_;
  Weighting weighting_;
  Synchrony synchrony_;
  double pull_self_;
  std::vector<model_in<Backend, scalar>> in_;
  std::vector<model_out> out_;
  std::vector<model_source<scalar>> table_;  // of the current pass; kept for its memory
};

}  // namespace rubato::detail

// SPDX-License-Identifier: MIT
// Common base of d_psgd and d_psgd_atc: the batch of a round and its end, edges that open and close, and the sweep.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/batch.hpp>
#include <rubato/algorithm/detail/mixing_core.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/synchrony/rounds.hpp>

namespace rubato::detail {

// Graphs that change: in round k a node posts to, waits for, and mixes with its neighbours of that round. Messages then
// name their round, and are numbered edge by edge. All nodes know all rounds, so both ends agree on the rounds of an
// edge, and a node is at most two messages of an edge ahead, as on a graph that stays. A node that has been separated
// tells its round to all its neighbours, in that round or not: one of them may wait for it in an earlier round.

/// A node computes a batch (`computes_`) or waits for the models of its round. A subclass decides what follows.
template<class Backend, class Step, class Contribution, class Options = batch_options<Step, Contribution>>
class d_psgd_core : public mixing_core<Backend, synchrony::rounds, Options> {
  using core = mixing_core<Backend, synchrony::rounds, Options>;
  static_assert(contribution::check_contribution<Contribution>());

 public:
  using typename core::options, typename core::scalar;

  /// In rounds all models have the same age, so W may have negative entries where its spectrum allows it.
  static constexpr bool takes_negative_weights = true;
  static constexpr bool takes_changing_graphs = true;
  using core::make_plan;
  [[nodiscard]] static auto make_plan(mixing::schedule rounds) -> mixing::plan {
    return mixing::gossip_plan(std::move(rounds));
  }
  static constexpr std::array<std::string_view, 2> own_options{"step", "contribution"};

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("batch", self.batch_), visit("computes", self.computes_);
    visit("has sent", self.has_sent_), visit("ahead", self.ahead_), visit("posts", self.posts_);
    visit("posts to", self.posts_to_), visit("tells all", self.tells_all_);
  }

 protected:
  d_psgd_core(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o, named_rounds::yes},
        batch_{contribution_of(o)},
        rounds_{plan.rounds},
        posts_to_(plan.rounds ? plan.nodes.size() : 0) {}

  /// The current round, common to all neighbours however many rounds each has done since its start.
  [[nodiscard]] auto round() const -> iteration { return iteration{this->iterations_ + ahead_ + 1}; }

  void take(instant now, patch const& p, outbox& out) {
    if (p.channel != channel_id::model) return;
    this->models_.take(p, this->requests_, iteration{this->iterations_ + ahead_}, out);
    if (!out.failure) take_over(p.from, this->models_.latest_of(p.from), now, out);
  }
  /// Sends x as the model of this round.
  void post_model(instant now, outbox& out) {
    using enum readers;
    has_sent_ = true;
    ++posts_;
    set_weights();
    this->models_.post(this->x_, posting_model(now, out), std::exchange(tells_all_, false) ? everyone : of_this_round);
  }
  /// When an edge opens, the model of this round is sent over it again.
  void change_edge(neighbour_change const& change, instant now, outbox& out) {
    this->models_.change(change, {});
    if (change.what != neighbour_change::edge::opens) return;
    tells_all_ = tells_all_ || (rounds_ && !has_sent_);
    if (has_sent_) {
      this->models_.post_to(change.peer, this->x_, posting_model(now, out));
    }
  }
  /// Advances the edges to the models of this round. If one has not arrived, sets out.wait and returns false.
  [[nodiscard]] auto models_are_there(outbox& out) -> bool {
    set_weights();
    return core::take_due_messages(this->models_.in(), channel_id::model, to_count(round()), out);
  }

  /// Adds a gradient to the batch (N.S). False if the batch needs another one, which is then requested.
  [[nodiscard]] auto fills_batch(gradient g, outbox& out) -> bool {
    batch_.add(this->backend_, std::move(g.value));
    if (batch_.full()) computes_ = false;
    else this->ask_gradient(out);
    return !computes_;
  }
  /// True if the batch ends early: some neighbour has finished its own, since its model `proof` or a later one has
  /// arrived. (A model that is further ahead than a round allows is ignored: its sender was separated for a while.)
  /// Otherwise the batch goes on; false.
  [[nodiscard]] auto batch_ends(iteration proof, outbox& out) -> bool {
    if (!Contribution::follows_the_fastest || !is_there(proof)) {
      if (!this->pending_.under_way()) this->ask_gradient(out);
      return false;
    }
    this->pending_.cancel(out);
    computes_ = false;
    return true;
  }

  /// As that of the base, with the weights of this round.
  template<class KernelOf>
  [[nodiscard]] auto sweep(shared_buffer const& g, outbox& out, KernelOf const& kernel_of) -> bool {
    set_weights();
    return core::sweep(g, out, kernel_of);
  }
  /// The factor of s_i in a step: the step is along s_i / M (N.D).
  [[nodiscard]] auto share() const -> scalar { return scalar{1} / static_cast<scalar>(batch_.minibatches()); }

  batch<Backend, Contribution> batch_;
  bool computes_ = true;
  bool has_sent_ = false;  // the model of this round

 private:
  /// Options without one are of an algorithm that makes no batches.
  static auto contribution_of(options const& o) -> Contribution {
    if constexpr (requires { o.contribution; }) return o.contribution;
    else return {};
  }
  /// A message names its round where the number does not tell it.
  [[nodiscard]] auto posting_model(instant now, outbox& out) {
    return [this, now, &out](edge_session const& to, shared_buffer v) {
      auto& p = this->post(to, channel_id::model, std::move(v), now, out);
      p.number = iteration{rounds_ ? ++posts_to_[to_index(to.peer)] : posts_};
      if (rounds_ || ahead_ > 0 || !(to.session == session_id{})) p.based_on = round();
    };
  }
  /// A neighbour that sends a message for a round so far ahead was separated for a while: the rest of this node's round
  /// counts as that round, and all neighbours are told.
  void take_over(node_id from, iteration heard, instant now, outbox& out) {
    if (heard <= next(round()) || may_be_at(from, to_count(heard))) return;
    ahead_ += to_count(heard) - to_count(round());
    tells_all_ = rounds_ != nullptr;
    if (has_sent_) post_model(now, out);
  }
  /// On a graph that changes: whether that neighbour may be there without having been separated, since it needed no
  /// message of a later round than this node's. One that is many thousands of rounds ahead counts as separated, so that
  /// no message makes a long search.
  [[nodiscard]] auto may_be_at(node_id peer, std::uint64_t heard) const -> bool {
    if (!rounds_ || heard - to_count(round()) > 1U << 16) return false;
    auto shared = 0;
    for (auto k = to_count(round()); k < heard && shared < 2; ++k)
      if (rounds_->weight(k, this->self_, peer) != 0) ++shared;
    return shared < 2;
  }
  /// On a graph that changes: makes the weights those of this round.
  void set_weights() {
    if (!rounds_ || weights_of_ == round()) return;
    weights_of_ = round();
    this->models_.weigh([&](node_id i, node_id j) { return rounds_->weight(to_count(weights_of_), i, j); });
  }
  [[nodiscard]] auto is_there(iteration proof) const -> bool {
    auto const most = rounds_ ? iteration{most_counted} : iteration{to_count(proof) + 2};
    return std::any_of(this->models_.in().begin(), this->models_.in().end(),
                       [&](auto const& e) { return e.open && e.box.latest() >= proof && e.box.latest() <= most; });
  }

  std::uint64_t ahead_ = 0;  // rounds skipped by take_over()
  std::uint64_t posts_ = 0;  // messages to each reader
  std::shared_ptr<mixing::schedule const> rounds_;  // null: the graph stays the same
  std::vector<std::uint64_t> posts_to_;  // by node, where the graph changes
  iteration weights_of_{};  // the round whose weights models_ has; follows from the state
  bool tells_all_ = false;  // the next model goes to neighbours of all rounds
};

}  // namespace rubato::detail

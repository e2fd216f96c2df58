// SPDX-License-Identifier: MIT
// Common base of the nodes that average models in pairs: whom a node asks, its one unanswered question, and the
// numbers of its messages. A question carries the model of who asks; its answer names it. No node waits for an answer,
// so no choice of partners can lead to a deadlock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/approach.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/partner.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/random.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato::detail {

template<class Step, class Partner>
struct pairwise_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;  ///< of the mini-batches, and of the partner's draws
  std::size_t block_values = 0;
  step::schedule schedule{};
  Step step_rule{};
  Partner partner{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("partner", self.partner, "which neighbour is asked next");
  }
};

/// Only looks whether x is finite: reads n.
template<class T>
struct finite_kernel {
  static constexpr bool raises = false;
  T const* x;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    at.expect_finite(at.load(x));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T); }
};

/// The one unanswered question of a node.
struct pair_question {
  node_id peer{};
  iteration number{};
  instant asked{};
  shared_buffer sent{};
  static void visit_state(auto& self, auto&& visit) {
    visit("peer", self.peer), visit("number", self.number), visit("asked", self.asked), visit("sent", self.sent);
  }
};

/// An edge on which every message counts, each way under numbers of its own.
struct pair_edge : two_way_edge {
  iteration posted{};  // the newest number
  static void visit_state(auto& self, auto&& visit) {
    two_way_edge::visit_state(self, visit);
    visit("posted", self.posted);
  }
};

template<class Backend, class Options, class Partner>
class pairwise_core : public node_core<Backend, Options> {
  using core = node_core<Backend, Options>;
  static_assert(partner::check_partner<Partner>());

 public:
  using typename core::options, typename core::scalar;

  /// Any connected network, with its edges taken both ways.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::gossip_plan(network);
  }
  static constexpr std::array<std::string_view, 2> own_options{"step", "partner"};
  /// In an answer based_on is the number of its question; in a question it is 0.
  static constexpr std::array all_channels{channel_spec{channel_id::model, channel_kind::event, element_of<scalar>}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }
  /// A neighbour that has ended its run would never answer: its edge closes at once.
  static constexpr auto closes_ended_edges() -> bool { return true; }

  void on_neighbours(instant, neighbour_change const& change, outbox&) {
    if (auto* const edge = find_edge(neighbours_, change.peer)) edge->change(change);
    if (pending_exchange_ && pending_exchange_->peer == change.peer) pending_exchange_.reset();
  }

  [[nodiscard]] auto statistics() const -> node_statistics { return this->counts(neighbours_, channel_id::model); }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("neighbours", self.neighbours_), visit("pending exchange", self.pending_exchange_);
    visit("partner", self.partner_), visit("questions", self.questions_);
  }

 protected:
  /// `asks(i)`: whether node i asks at all. Throws config_error on a bad step, and if the partners are such that models
  /// of all nodes never come together.
  template<class Asks>
  pairwise_core(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, Options const& o, Asks const& asks)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        rounds_{plan.rounds},
        partner_{core::options_->partner, self} {
    if constexpr (requires { o.partner.check(); }) o.partner.check();
    if constexpr (requires(std::span<node_id const> all) { Partner::only(all); }) {
      if (rounds_)
        throw config_error{"fixed partners need a graph that stays the same, and the " + rounds_->name() +
                           " change: choose partners at random or in turn"};
      if (to_index(self) == 0) refuse_parts(plan, asks);  // once for all nodes
    }
    for (auto const& e : plan.nodes[to_index(self)].pull_from) neighbours_.emplace_back().peer = e.peer;
  }

  /// A message of the present session: of whom, and, if it answers the unanswered question of this node, the model that
  /// went with it. Nothing of one that must be ignored or, with out.failure, ends the run.
  struct heard {
    pair_edge* from = nullptr;
    shared_buffer asked_with{};
  };
  [[nodiscard]] auto hear(instant now, patch const& p, outbox& out) -> heard {
    auto* const from = p.channel == channel_id::model ? find_edge(neighbours_, p.from) : nullptr;
    if (from == nullptr || !from->is_of_session(p)) return {};
    if (out.failure = malformed(p, this->blocks_, all_channels[0]); out.failure) return {};
    if (out.failure = from->order.follow(p); out.failure) return {};
    auto const answers = p.based_on != iteration{};
    if (answers &&
        !(pending_exchange_ && pending_exchange_->peer == p.from && pending_exchange_->number == p.based_on)) {
      ++from->overtaken;
      return {};
    }
    ++from->accepted;
    from->age.add(now - p.posted_at);
    if (!answers) return {from, {}};
    auto const question = *std::exchange(pending_exchange_, {});
    if constexpr (requires { partner_.answered(p.from, now - question.asked); })
      partner_.answered(p.from, now - question.asked);
    return {from, question.sent};
  }

  [[nodiscard]] auto may_ask() const -> bool { return !pending_exchange_.has_value(); }
  /// Asks a neighbour that the policy chooses, if any is there; *requires* may_ask(). Where the graph changes, one that
  /// this node has in its present round: who asks decides, and whoever is asked answers.
  void ask(instant now, outbox& out) {
    open_.clear();
    auto const round = rounds_ ? rounds_->round_at(this->iterations_ + 1, now) : 0;
    for (auto const& e : neighbours_)
      if (e.open && (!rounds_ || rounds_->weight(round, this->self_, e.peer) != 0)) open_.push_back(e.peer);
    if (open_.empty()) return;
    auto draw = random_stream{{0x70616972ULL, this->seed_, static_cast<std::uint64_t>(this->self_), questions_++}};
    std::size_t const place = partner_(std::span<node_id const>{open_}, draw);
    RUBATO_EXPECTS(place < open_.size(), "a partner is a place in the list of those who may be asked");
    auto& e = *find_edge(neighbours_, open_[place]);
    pending_exchange_ = pair_question{e.peer, post_model(e, {}, now, out), now, this->x_};
  }
  /// Posts x as it is, in answer to `answered` unless that is 0, and returns its number.
  auto post_model(pair_edge& to, iteration answered, instant now, outbox& out) -> iteration {
    auto& p = this->post(to.outward(), channel_id::model, this->x_, now, out);
    p.number = to.posted = next(to.posted);
    p.based_on = answered;
    return to.posted;
  }
  /// x <- x + share (theirs - mine), where p brought `theirs`.
  void approach(patch const& p, shared_buffer const& mine, double share, outbox& out) {
    if (!detail::approach(this->backend_, this->x_, p.body, mine, static_cast<scalar>(share)))
      out.failure = blame{this->self_}.message(p.from, p.channel, p.body).sentence();
  }
  /// x <- the model that p brought, without a copy: reads n.
  void take_over(patch const& p, outbox& out) {
    this->x_ = p.body;
    auto const raised = this->backend_.sweep({0, this->size()}, finite_kernel<scalar>{this->x()});
    if ((raised & backend::not_finite) != 0)
      out.failure = blame{this->self_}.message(p.from, p.channel, p.body).sentence();
  }

 private:
  /// Where each node asks one neighbour for ever, the pairs must join all nodes.
  template<class Asks>
  static void refuse_parts(mixing::plan const& plan, Asks const& asks) {
    auto const n = plan.nodes.size();
    std::vector<std::size_t> group(n);
    for (std::size_t i = 0; i < n; ++i) group[i] = i;
    auto const of = [&group](std::size_t i) {
      while (group[i] != i) i = group[i] = group[group[i]];
      return i;
    };
    std::vector<node_id> all;
    for (auto const& node : plan.nodes) {
      all.clear();
      for (auto const& e : node.pull_from) all.push_back(e.peer);
      if (!all.empty() && asks(node.self)) group[of(to_index(node.self))] = of(to_index(all[Partner::only(all)]));
    }
    for (std::size_t i = 1; i < n; ++i) {
      if (of(i) == of(0)) continue;
      throw config_error{"with fixed partners no exchange leads from node " + std::to_string(i) +
                         " to node 0, not even through others, so their models never come together: choose partners "
                         "at random or in turn"};
    }
  }

  std::shared_ptr<mixing::schedule const> rounds_;  // null: the graph stays the same
  std::vector<pair_edge> neighbours_;  // by id
  typename Partner::state partner_;
  std::vector<node_id> open_;  // that may be asked now; kept for its memory
  std::optional<pair_question> pending_exchange_;
  std::uint64_t questions_ = 0;
};

}  // namespace rubato::detail

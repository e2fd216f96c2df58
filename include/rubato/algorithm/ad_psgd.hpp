// SPDX-License-Identifier: MIT
// Asynchronous decentralised SGD by pairwise averaging, node i.   [A] = AD-PSGD, Lian et al., arXiv 1710.06952.
// shapes: x, a, b in R^d;   x^ = the model at which the gradient under way was requested
//   (AD.G)  x <- x - gamma g_i(x^)                       when the gradient arrives
//   (AD.A)  a = x, sent to a neighbour drawn at random   with every request for a gradient, unless one is unanswered
//   (AD.P)  asked with a:     answer b = x;  x <- x + (a - b) / 2
//   (AD.I)  answered with b:  x <- x + (b - a) / 2       a as it was sent, whatever x is by now
// invariant: sum_i x_i + sum over answers under way of (b - a) / 2 changes by (AD.G) alone, up to rounding
//   (a - b and b - a differ only in sign, so nothing is lost but the rounding of each sum)
//                                                                                 tests/unit/algorithm/ad_psgd.cpp
// At rest sum_i r_i grad f_i = 0, r_i = gradients of node i per second: a fast node weighs more. r_fast gives sum_i
// grad f_i = 0 whatever the speeds.
// The neighbour in (AD.A) is chosen by a policy (algorithm/partner.hpp); the invariant holds for each.
// differs from [A]: each end averages at its own time, by differences, so there is no lock, nothing waits, and any
// graph will do (in [A] a bipartite one, whose active side asks and whose passive side answers).
// Per local iteration, in vectors: (AD.G) reads x, g; an average that this node asked for reads x, a, b, one that it
// answers reads x, a; each writes x once. Sent: 1, and 1 for each answer. A model is
// posted by reference, without a copy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/approach.hpp>
#include <rubato/algorithm/node_core.hpp>
#include <rubato/algorithm/partner.hpp>
#include <rubato/core/random.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

template<class Step, class Partner>
struct ad_psgd_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;  ///< of the mini-batches, and of the partner's draws
  std::size_t block_values = 0;
  step::schedule schedule{};
  Step step_rule{};
  Partner partner{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule);
    visit("partner", self.partner);
  }
};

}  // namespace detail

/// Nobody waits for anybody. Needs lossless, ordered links: a lost answer would lose half a difference. A neighbour
/// whose edge closes is no longer asked; an average under way on the edge is given up, which moves the sum by half a
/// difference if only the other end took its part. A node without neighbours goes on alone.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Partner>
class ad_psgd : public detail::node_core<Backend, detail::ad_psgd_options<Step, Partner>> {
  using core = detail::node_core<Backend, detail::ad_psgd_options<Step, Partner>>;
  static_assert(partner::check_partner<Partner>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "AD-PSGD"; }

  /// Any connected network, with its edges taken both ways.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::gossip_plan(network);
  }
  static constexpr std::array<std::string_view, 2> own_options{"step", "partner"};
  /// In an answer based_on is the number of its question; in a question it is 0.
  static constexpr std::array all_channels{channel_spec{channel_id::model, channel_kind::event, element_of<scalar>}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  ad_psgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain}, partner_{core::options_->partner, self} {
    for (auto const& e : plan.nodes[to_index(self)].pull_from) neighbours_.emplace_back().peer = e.peer;
  }

  void start(instant now, outbox& out) { begin(now, out); }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    ++this->iterations_;
    if (!this->step_along(now, core::values_of(g.value)))
      out.failure = detail::blame{this->self_}.gradient(g.value).sentence();  // (AD.G)
    begin(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto* const from = p.channel == channel_id::model ? detail::find_edge(neighbours_, p.from) : nullptr;
    if (from == nullptr || !from->is_of_session(p)) return;
    if (out.failure = detail::malformed(p, this->blocks_, all_channels[0]); out.failure) return;
    auto const answers = p.based_on != iteration{};
    if (answers &&
        !(pending_exchange_ && pending_exchange_->peer == p.from && pending_exchange_->number == p.based_on)) {
      ++from->overtaken;
      return;
    }
    ++from->accepted;
    from->age.add(now - p.posted_at);
    if (answers) {
      approach(p, std::exchange(pending_exchange_, {})->sent, out);  // (AD.I)
      return;
    }
    post_model(*from, p.numbers[0], now, out);
    approach(p, this->x_, out);  // (AD.P)
  }

  void on_neighbours(instant, neighbour_change const& change, outbox&) {
    if (auto* const edge = detail::find_edge(neighbours_, change.peer)) edge->change(change);
    if (pending_exchange_ && pending_exchange_->peer == change.peer) pending_exchange_.reset();
  }

  [[nodiscard]] auto statistics() const -> node_statistics { return this->counts(neighbours_, channel_id::model); }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("neighbours", self.neighbours_), visit("pending exchange", self.pending_exchange_);
    visit("partner", self.partner_), visit("posted", self.posted_), visit("questions", self.questions_);
  }

 private:
  /// The one unanswered question of this node.
  struct question {
    node_id peer{};
    iteration number{};
    shared_buffer sent;
    static void visit_state(auto& self, auto&& visit) {
      visit("peer", self.peer), visit("number", self.number), visit("sent", self.sent);
    }
  };

  void begin(instant now, outbox& out) {
    this->ask_gradient(out);
    if (!pending_exchange_) ask(now, out);
  }

  void ask(instant now, outbox& out) {
    open_.clear();
    for (auto const& e : neighbours_)
      if (e.open) open_.push_back(e.peer);
    if (open_.empty()) return;
    auto draw = random_stream{{0x70616972ULL, this->seed_, static_cast<std::uint64_t>(this->self_), questions_++}};
    std::size_t const place = partner_(std::span<node_id const>{open_}, draw);
    RUBATO_EXPECTS(place < open_.size(), "a partner is a place in the list of those who may be asked");
    auto const& e = *detail::find_edge(neighbours_, open_[place]);
    pending_exchange_ = question{e.peer, post_model(e, {}, now, out), this->x_};  // (AD.A)
  }

  /// Posts x as it is, in answer to `answered` unless that is 0, and returns its number.
  auto post_model(detail::two_way_edge const& to, iteration answered, instant now, outbox& out) -> iteration {
    auto& p = this->post(to.outward(), channel_id::model, this->x_, now, out);
    p.number = posted_ = next(posted_);
    p.based_on = answered;
    return posted_;
  }

  void approach(patch const& p, shared_buffer const& mine, outbox& out) {
    if (!detail::approach(this->backend_, this->x_, p.body, mine, scalar(0.5)))
      out.failure = detail::blame{this->self_}.message(p.from, p.channel, p.body).sentence();
  }

  std::vector<detail::two_way_edge> neighbours_;  // by id
  typename Partner::state partner_;
  std::vector<node_id> open_;  // that may be asked now; kept for its memory
  std::optional<question> pending_exchange_;
  iteration posted_{};
  std::uint64_t questions_ = 0;
};

}  // namespace rubato

// SPDX-License-Identifier: MIT
// Delayed randomized gossip, node i.   [E] = Even, Hendrikx, Massoulie, arXiv 2106.03585.   x, a in R^d
// Each link e = (i, j) has a delay tau_e, a weight k_e, and exchanges that begin at random times, on average one each
// tau_e. Both ends draw these times by the same key, so they need not talk about them:
//   (DR.S)  a_i = x, sent to j                     when an exchange begins
//   (DR.A)  x <- x + k_e (a_j - a_i)               tau_e later, or when a_j comes if that is later still
//   (DR.G)  x <- x - gamma g_i(x^)                 when the gradient comes; x^ = the model at which it was requested
// The old difference moves the present model, by the same amount at both ends to the bit. A link may have several
// exchanges under way.
// invariant: sum_i x_i + what one end of an exchange has applied and the other has not yet changes by (DR.G) alone, up
//   to the rounding of each sum                     tests/unit/algorithm/delayed_randomized_gossip.cpp
// k_e is made such that a slow link slows only itself (mixing/exchange_times.hpp). Delays are given before the run and
// not measured in it: both ends must know the same times, and k_e depends on the delays of the links nearby. A delay
// that is too short does no harm: the exchange ends when the message comes, and a link whose exchanges are unanswered
// begins no further one after the third, which keeps it stable however slow it is.
// At rest sum_i r_i gamma_i grad f_i = 0, r_i = gradients of node i per second, up to an amount of the step: steps in
// proportion to the time of a gradient give the optimum of the sum.
// differs from [E]: (DR.G) is ours ([E] treats averaging, and optimisation in the dual). An exchange also begins at the
// end that hears of it first, so clocks need not agree. The treatment of computing time in [E] was not read.
// Costs, in vectors: (DR.G) reads x, g and (DR.A) x, a_j, a_i; each writes x once. Sent: one for each exchange and end,
// by reference. Memory: x, g, two for each exchange under way.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/approach.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/firing.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/exchange_times.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

template<class Step, class Firing>
struct delayed_randomized_gossip_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  std::chrono::nanoseconds delay = std::chrono::milliseconds{10};  ///< of each link; or see mixing::exchange_plan
  Step step_rule{};
  Firing firing{};
  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("delay", self.delay, "time that an exchange over a link is given");
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("firing", self.firing, "when the exchanges of a link begin");
  }
  /// Throws config_error unless the delay is positive.
  void check() const {
    if (delay.count() <= 0)
      throw config_error{"the delay of links must be positive, not " + shortest(to_seconds(delay)) +
                         " s: it is the time that a message is under way"};
  }
};

/// An exchange under way, as one end sees it.
struct delayed_exchange {
  instant due{};
  shared_buffer mine{};
  shared_buffer theirs{};  // empty until it has come
  static void visit_state(auto& self, auto&& visit) {
    visit("due", self.due), visit("mine", self.mine), visit("theirs", self.theirs);
  }
};

/// A link of one node. Exchanges begin and end in the order of their numbers.
struct exchanging_edge : two_way_edge {
  std::chrono::nanoseconds delay{};
  double weight = 0;
  std::uint64_t begun = 0;  // exchanges of this session
  instant next_at{};  // when the next one begins
  std::vector<delayed_exchange> under_way{};
  static void visit_state(auto& self, auto&& visit) {
    two_way_edge::visit_state(self, visit);
    visit("begun", self.begun), visit("next at", self.next_at), visit("under way", self.under_way);
  }
  [[nodiscard]] auto unanswered() const -> std::uint64_t { return begun - (std::min)(begun, order.newest()); }
};

}  // namespace detail

/// Nobody waits for anybody. Needs lossless, ordered links: a lost model would lose what one end applies. If an edge
/// closes, its exchanges under way are given up, which moves the sum by what only one end has applied.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Firing>
class delayed_randomized_gossip
    : public detail::node_core<Backend, detail::delayed_randomized_gossip_options<Step, Firing>> {
  using core = detail::node_core<Backend, detail::delayed_randomized_gossip_options<Step, Firing>>;
  static_assert(firing::check_firing<Firing>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "delayed randomized gossip"; }

  /// Exchanges on all links, with the delay of the options and weights that suit it.
  [[nodiscard]] static auto make_plan(topology::pair const& network, options const& o = {}) -> mixing::plan {
    o.check();
    auto const n = network.nodes();
    return mixing::exchange_plan(network, mixing::link_delays(n, std::vector<double>(n, to_seconds(o.delay))), o.seed);
  }
  static constexpr std::array<std::string_view, 1> own_options{"step"};
  static constexpr std::array all_channels{channel_spec{channel_id::model, channel_kind::event, element_of<scalar>}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  /// `x0`: the first model, of the run's dimension. Throws config_error on a bad step, and for a plan without
  /// exchanges.
  delayed_randomized_gossip(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain} {
    o.check();
    if (!plan.exchanges)
      throw config_error{
          "delayed randomized gossip needs to know the delays of its links: make its plan with "
          "mixing::exchange_plan"};
    times_seed_ = plan.exchanges->seed();
    for (auto const& e : plan.nodes[to_index(self)].pull_from) {
      auto const& times = plan.exchanges->between(self, e.peer);
      auto& edge = edges_.emplace_back();
      edge.peer = e.peer;
      edge.delay = nanoseconds_of(times.delay);
      edge.weight = times.weight;
    }
  }

  void start(instant now, outbox& out) {
    for (auto& e : edges_) set_next(e, now, out);
    this->ask_gradient(out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    ++this->iterations_;
    if (!this->step_along(now, core::values_of(g.value)))
      out.failure = detail::blame{this->self_}.gradient(g.value).sentence();  // (DR.G)
    this->ask_gradient(out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto* const from = p.channel == channel_id::model ? detail::find_edge(edges_, p.from) : nullptr;
    if (from == nullptr || !from->is_of_session(p)) return;
    if (out.failure = detail::malformed(p, this->blocks_, all_channels[0]); out.failure) return;
    if (out.failure = from->order.follow_on(p); out.failure) return;
    ++from->accepted;
    from->age.add(now - p.posted_at);
    if (from->order.newest() > from->begun) {  // the other end's clock is ahead
      if (from->under_way.size() >= most_under_way) return refuse(*from, out);
      begin(*from, now, out);
    }
    auto const first = from->begun - from->under_way.size() + 1;
    from->under_way[from->order.newest() - first].theirs = p.body;
    go_on(now, out);
  }

  void on_wakeup(instant now, wakeup, outbox& out) { go_on(now, out); }

  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    auto* const edge = detail::find_edge(edges_, change.peer);
    if (edge == nullptr) return;
    edge->change(change);
    edge->begun = 0;
    edge->under_way.clear();
    if (edge->open) set_next(*edge, now, out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics { return this->counts(edges_, channel_id::model); }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("edges", self.edges_);
  }

 private:
  using link = detail::exchanging_edge;
  /// Of one link, without an answer. Three keep a link stable whatever its real delay is: k_e times the largest
  /// eigenvalue of the Laplacian is below 0.43, and 3 * 0.43 < pi / 2, the bound of a delayed average.
  static constexpr std::uint64_t most_unanswered = 3;
  /// Of one link. An honest neighbour has few: one in a delay on average, and the unanswered ones.
  static constexpr std::size_t most_under_way = 64;

  static auto nanoseconds_of(double seconds) -> std::chrono::nanoseconds {
    return std::chrono::nanoseconds{std::llround((std::min)(seconds * 1e9, 1e17))};
  }
  static void wake(instant at, outbox& out) { out.wakeups.push_back({0, at}); }
  static void refuse(link const& e, outbox& out) {
    out.failure =
        fault{"node " + std::to_string(to_index(e.peer)) + " has begun exchange " + std::to_string(e.begun + 1) +
              " while " + std::to_string(e.under_way.size()) + " are under way, and waits for none of them"};
  }

  /// Draws when the next exchange begins.
  void set_next(link& e, instant now, outbox& out) const {
    auto const is_low = this->self_ < e.peer;
    auto const key = firing::exchange_key{times_seed_, is_low ? this->self_ : e.peer, is_low ? e.peer : this->self_,
                                          is_low ? e.outgoing : e.session, e.begun + 1};
    e.next_at = later_by(now, nanoseconds_of(this->options_->firing(key) * to_seconds(e.delay)));
    wake(e.next_at, out);
  }
  void begin(link& e, instant now, outbox& out) {
    ++e.begun;
    e.under_way.push_back({later_by(now, e.delay), this->x_, {}});
    auto& p = this->post(e.outward(), channel_id::model, this->x_, now, out);  // (DR.S)
    p.number = iteration{e.begun};
    wake(e.under_way.back().due, out);
    set_next(e, now, out);
  }
  /// Begins what begins by now, and then applies what is due: a snapshot is taken before the model moves.
  void go_on(instant now, outbox& out) {
    for (auto& e : edges_) {
      while (e.open && e.next_at <= now && e.unanswered() < most_unanswered) begin(e, now, out);
    }
    for (auto& e : edges_) {
      while (!out.failure && !e.under_way.empty() && e.under_way.front().due <= now && e.under_way.front().theirs)
        apply(e, out);
    }
  }
  void apply(link& e, outbox& out) {
    auto const x = e.under_way.front();
    e.under_way.erase(e.under_way.begin());
    if (!detail::approach(this->backend_, this->x_, x.theirs, x.mine, static_cast<scalar>(e.weight)))  // (DR.A)
      out.failure = detail::blame{this->self_}.message(e.peer, channel_id::model, x.theirs).sentence();
  }

  std::uint64_t times_seed_ = 0;  // the plan's: a node that restarts draws other mini-batches, and the same times
  std::vector<link> edges_;  // by id
};

}  // namespace rubato

// SPDX-License-Identifier: MIT
// The node of all methods in which neighbours average models, with or without gradient tracking. Its Order, a sequence
// of actions, says what it does in one local iteration; the actions between two waits are one pass over memory.
// Formulas and invariants of the tracking methods: algorithm/gradient_tracking.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/batch.hpp>
#include <rubato/algorithm/detail/gossip_kernel.hpp>
#include <rubato/algorithm/detail/model_exchange.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/detail/shared_step.hpp>
#include <rubato/algorithm/detail/tracker.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/algorithm/order.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/core/node.hpp>
#include <rubato/fwd.hpp>
#include <rubato/ledger/concepts.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/concepts.hpp>
#include <rubato/synchrony/free.hpp>
#include <rubato/weighting/concepts.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

namespace detail {
template<class Step, class Weighting, class Synchrony, class Ledger, class SumCodec, class Contribution>
struct gossip_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  Step step_rule{};
  Weighting weighting{};
  Synchrony synchrony{};
  Ledger ledger{};
  SumCodec sum_codec{};
  Contribution contribution{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("weighting", self.weighting, "what an old message counts");
    visit("synchrony", self.synchrony, "how long a node waits for its neighbours");
    visit("ledger", self.ledger, "the arithmetic of the tracked sums");
    visit("sum codec", self.sum_codec, "how running sums are coded");
    visit("contribution", self.contribution, "which part of a batch counts");
  }
};
}  // namespace detail

/// A node that averages models with its neighbours and descends along its own gradient or a tracked one.
/// Memory in vectors: x, v, g and, with tracking, z, one rho per out-edge, rho and rho~ per in-edge; whole vectors that
/// arrive by reference are shared with their sender. The 64-bit view of rho adds at
/// most half a vector per tracking edge.
/// SumCodec: codec::identity sends rho as it is, at no cost; a codec of sums costs one pass per message at either end.
/// Without tracking, a local iteration may take a batch of several gradients at one model (algorithm/detail/batch.hpp).
/// With contribution::finished the batch also ends when a neighbour's message shows that the neighbour has finished its
/// own batch of this round. The message only shortens the batch: a node that never receives it fills its batch and goes
/// on, so nobody waits for it.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Order, class Step, class Weighting, class Synchrony, class Ledger,
         class SumCodec, class Contribution>
class gossip
    : public detail::node_core<Backend,
                               detail::gossip_options<Step, Weighting, Synchrony, Ledger, SumCodec, Contribution>> {
  using core =
      detail::node_core<Backend, detail::gossip_options<Step, Weighting, Synchrony, Ledger, SumCodec, Contribution>>;
  static_assert(weighting::check_weighting<Weighting>() && synchrony::check_synchrony<Synchrony>() &&
                ledger::check_ledger<Ledger, typename Backend::scalar>() &&
                contribution::check_contribution<Contribution>());
  static_assert(!Contribution::follows_the_fastest || (synchrony::in_lock_step<Synchrony>() && !order::tracks<Order>()),
                "a contribution that follows the fastest needs rounds and an update order without tracking");

 public:
  static auto name() -> std::string { return "gossip: " + order::words_of<Order>(); }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("models", self.models_), visit("tracker", self.tracker_);
    visit("batch", self.batch_), visit("v", self.v_), visit("g that came", self.g_new_);
    visit("place", self.place_), visit("batches", self.batches_), visit("ahead", self.ahead_);
    visit("posts", self.posts_), visit("stalled", self.stalled_);
  }
  using scalar = typename Backend::scalar;
  using value = typename Ledger::template value<scalar>;  ///< the type of z and of running sums
  static constexpr bool tracks = order::tracks<Order>();
  static constexpr bool pulls_models = true;
  static constexpr bool takes_negative_weights = !tracks && synchrony::in_lock_step<Synchrony>();

  using options = detail::gossip_options<Step, Weighting, Synchrony, Ledger, SumCodec, Contribution>;

  /// Both matrices for orders that track, otherwise a symmetric doubly stochastic W. In rounds every age is 0, so the
  /// gain of a regular graph is 1. Throws config_error.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    if constexpr (!tracks) return mixing::gossip_plan(network);
    else if constexpr (synchrony::in_lock_step<Synchrony>()) return mixing::tracking_plan(network, {0, 0});
    else return mixing::tracking_plan(network);
  }

  static constexpr bool needs_first_gradients =
      tracks && Ledger::exact;  ///< resolve_options() needs the first gradients

  /// Fixes what all nodes must agree on, from the largest |g_i(x0)| per block over all nodes.
  static void resolve_options(options& o, block_partition const& blocks, std::span<double const> largest,
                              std::size_t nodes) {
    if constexpr (tracks) o.ledger.calibrate(blocks, largest, nodes);
  }

  static constexpr std::array<std::string_view, 3> own_options{"step", "weighting", "contribution"};
  static constexpr std::array<channel_spec, 2> all_channels{
      channel_spec{channel_id::model, Synchrony::delivery, element_of<scalar>},
      channel_spec{channel_id::tracker, Synchrony::delivery, element_of<typename SumCodec::template code<value>>, 0,
                   codec::adapts<SumCodec> ? body_form::codes : body_form::whole}};
  static constexpr auto channels() -> std::span<channel_spec const> {
    return std::span{all_channels}.first(tracks ? 2 : 1);
  }

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a
  /// bad step or an unsuitable weighting.
  gossip(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        models_{core::backend_,
                plan.nodes[to_index(self)],
                core::blocks_,
                o.weighting,
                o.synchrony,
                core::x_,
                counts_rounds ? detail::named_rounds::yes : detail::named_rounds::no},
        tracker_{core::backend_, plan.nodes[to_index(self)], core::blocks_, o.ledger, o.sum_codec, o.synchrony},
        batch_{o.contribution},
        push_share_{plan.nodes[to_index(self)].push_share} {
    order::check_order<Order>();
    if (tracks && batch_.minibatches() != 1) {
      throw config_error{"an order that tracks takes one mini-batch a local iteration, not " +
                         std::to_string(batch_.minibatches()) + "; make the problem's mini-batch larger instead"};
    }
  }

  void start(instant now, outbox& out) {
    if constexpr (tracks) request_gradient(out);  // z_0 = g(x_0)
    else advance(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const done = iteration{core::iterations_ + ahead_};
    if (p.channel == channel_id::model) models_.take(p, batches_, done, out);
    else if (tracks && p.channel == channel_id::tracker) tracker_.take(p, batches_, done, out);
    if (out.failure) return;
    if (counts_rounds && p.channel == channel_id::model) take_over(models_.latest_of(p.from), now, out);
    if (core::pending_.under_way() && round_ends()) {
      core::pending_.cancel(out);
      end_batch();
      advance(now, out);
    } else if (stalled_) {
      advance(now, out);
    }
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!core::accept(g)) return;
    batch_.add(core::backend_, std::move(g.value));
    if (!batch_.full()) {
      request_gradient(out);
      return;
    }
    if constexpr (tracks) {
      if (!tracker_.has_tracked()) {
        tracker_.receive(batch_.take(core::backend_).sum);
        run_list(order::actions_of<order::action::track>{}, now, out);
        finish<order::action::track>(now, out);
        return advance(now, out);
      }
    }
    end_batch();
    advance(now, out);
  }

  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    using enum order::action;
    // An order that tracks does its first pull and its first consume without that neighbour.
    models_.change(change, iteration{counts_rounds ? 0 : due(pull, send_model)});
    tracker_.change(change, iteration{due(consume, push)});
    if (counts_rounds && change.what == neighbour_change::edge::opens && has_sent()) {
      models_.post_to(change.peer, v_, posting_model(now, out));
    }
    if (stalled_) advance(now, out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = core::counts();
    models_.count_into(s);
    tracker_.count_into(s);
    return s;
  }
  void audit(tracking_audit& a) const { tracker_.audit(a); }

 private:
  static constexpr auto program = Order::program;
  /// Whether neighbours agree on the number of a round: see take_over().
  static constexpr bool counts_rounds = !tracks && Synchrony::waits && Synchrony::delivery == channel_kind::event;
  using streams = detail::gossip_streams<scalar, value>;
  using step_rule = std::conditional_t<tracks, detail::rule_along_tracker<Step, Backend>,
                                       typename Step::template state<Backend>::rule>;

  // the program
  void request_gradient(outbox& out) {
    core::ask_gradient(out);
    if (batch_.empty()) ++batches_;
  }
  /// Whether a neighbour has finished its batch of this round, that is, whether its next model has arrived; in an order
  /// that sends before it computes, this is the model of the next round. A model that is further ahead than a round
  /// allows is ignored: its sender was separated for a while.
  [[nodiscard]] auto round_ends() const -> bool {
    if constexpr (Contribution::follows_the_fastest) {
      using enum order::action;
      constexpr auto sends_after = order::place_of<Order>(gradient) < order::place_of<Order>(send_model);
      auto const done = iteration{core::iterations_ + ahead_ + (sends_after ? 1 : 2)};
      auto const most = iteration{to_count(done) + 2};
      return std::any_of(models_.in().begin(), models_.in().end(),
                         [&](auto const& e) { return e.open && e.box.latest() >= done && e.box.latest() <= most; });
    } else {
      return false;
    }
  }
  void end_batch() {
    hold(batch_.take(core::backend_).sum);
    step_past(order::place_of<Order>(order::action::gradient));
  }
  void hold(shared_buffer g) {
    if constexpr (tracks) tracker_.receive(std::move(g));
    else g_new_ = std::move(g);
  }
  void advance(instant now, outbox& out) {
    stalled_ = false;
    while (dispatch(std::make_index_sequence<program.size()>{}, now, out)) {
    }
  }
  void step_past(std::size_t place) {
    place_ = (place + 1) % program.size();
    if (place_ == 0) ++core::iterations_;
  }
  /// Runs from the current place; false when the node stops for a gradient, a neighbour or a fault.
  template<std::size_t... Place>
  auto dispatch(std::index_sequence<Place...>, instant now, outbox& out) -> bool {
    bool goes_on = false;
    static_cast<void>(((place_ == Place && (goes_on = run_from<Place>(now, out), true)) || ...));
    return goes_on && !out.failure;
  }
  template<std::size_t Begin>
  auto run_from(instant now, outbox& out) -> bool {
    using enum order::action;
    constexpr auto first = program[Begin];
    if constexpr (first == gradient) {
      if (round_ends()) {  // before this node began its own
        end_batch();
        return true;
      }
      request_gradient(out);
      return false;
    } else {
      if constexpr (waits_at(first)) {
        // The message that lock-step would use here: that of this round if it is sent before this place, otherwise that
        // of the last round.
        constexpr auto sent_by = first == pull ? send_model : push;
        auto const needed = iteration{core::iterations_ + ahead_ + (order::place_of<Order>(sent_by) < Begin ? 1 : 0)};
        auto can_go = false;
        if constexpr (first == pull) can_go = ready(models_.in(), channel_id::model, needed, out);
        else can_go = ready(tracker_.in(), channel_id::tracker, needed, out);
        if (!can_go) return false;
      }
      run_slice<Begin>(std::make_index_sequence<slice_length(Begin)>{}, now, out);
      return true;
    }
  }
  template<std::size_t Begin, std::size_t... Place>
  void run_slice(std::index_sequence<Place...>, instant now, outbox& out) {
    run_list(order::actions_of<program[(Begin + Place) % program.size()]...>{}, now, out);
    (finish_and_step<(Begin + Place) % program.size()>(now, out), ...);
  }
  /// The rule of this local iteration; none if there is no gradient.
  [[nodiscard]] auto next_rule(instant now) -> step_rule {
    if constexpr (tracks) {
      return detail::step_along_tracker<Step, Backend>(push_share_,
                                                       [&](double share) { return core::next_rule(now, share); });
    } else {
      auto const share = scalar{1} / static_cast<scalar>(batch_.minibatches());
      return g_new_ ? core::next_rule_along(now, {core::values_of(g_new_), share}) : step_rule{};
    }
  }
  /// One pass over memory for all these actions (one for each range of blocks, where blocks differ in age or exponent).
  template<order::action... Actions>
  void run_list(order::actions_of<Actions...>, instant now, outbox& out) {
    using list = order::actions_of<Actions...>;
    using enum order::action;
    if constexpr (!list::reads_x && !list::changes_z) return;
    constexpr auto does = detail::pass_parts{list::has(pull), list::has(track), list::has(consume), list::has(push)};
    auto const n = core::size();
    writable_buffer<scalar> x_new, v_new;
    if constexpr (list::changes_x) x_new = core::backend_.template allocate<scalar>(n);
    if constexpr (list::has(write_model) && !list::model_is_x()) v_new = core::backend_.template allocate<scalar>(n);
    step_rule rule{};
    if constexpr (list::has(descend)) rule = next_rule(now);
    tracker_.begin(does);
    backend::flag_bits raised = 0;
    auto const all = core::blocks_.blocks();
    for (std::size_t block = 0, end = all; block < all; block = end, end = all) {
      streams s{core::x(), x_new.data(), v_new.data()};
      if constexpr (list::has(pull)) s.w = models_.terms(core::backend_, batches_, block, end);
      s.t = tracker_.terms(core::backend_, does, block, end);
      if (g_new_) s.g = g_new_.template view<scalar>().data();
      s.g_share = scalar{1} / static_cast<scalar>(batch_.minibatches());
      auto const ledger = core::options_->ledger.template arithmetic_for<scalar>(block);
      auto const kernel = detail::gossip_kernel<scalar, value, std::remove_cvref_t<decltype(ledger)>, decltype(rule),
                                                tracks, Actions...>{s, ledger, rule};
      auto const bits = core::backend_.sweep(core::blocks_.values_of({block, end}), kernel);
      tracker_.record_raised({block, end}, bits & ~backend::not_finite);
      raised |= bits;
    }
    // Published only now: the bodies replaced here may be those read above.
    if constexpr (list::has(write_model) && !list::model_is_x()) v_ = std::move(v_new).publish();
    if constexpr (list::changes_x) core::x_ = std::move(x_new).publish();
    if constexpr (list::model_is_x()) v_ = core::x_;
    tracker_.fail_if_out_of_range(out);
    if ((raised & backend::not_finite) != 0 && !out.failure) {
      detail::blame suspects{core::self_};
      if (g_new_) suspects.gradient(g_new_);
      tracker_.accuse(suspects);
      models_.accuse(suspects);
      out.failure = suspects.sentence();
    }
  }
  /// What remains of an action after its arithmetic: posts, marks and counts.
  template<order::action A>
  void finish(instant now, outbox& out) {
    using enum order::action;
    if constexpr (A == send_model) {
      ++posts_;
      models_.post(v_, posting_model(now, out));
    } else if constexpr (A == pull) models_.record_ages(now);
    else if constexpr (A == track) tracker_.store_gradient();
    else if constexpr (A == consume) tracker_.mark_consumed(now);
    else if constexpr (A == push) tracker_.publish_sums(core::posting(channel_id::tracker, now, out));
    else if constexpr (A == descend && !tracks) g_new_ = {};
  }
  template<std::size_t At>
  void finish_and_step(instant now, outbox& out) {
    finish<program[At]>(now, out);
    step_past(At);
  }

  // Rounds: the message that the next pull or consume needs, which `sent_by` sends.
  [[nodiscard]] auto due(order::action use, order::action sent_by) const -> std::uint64_t {
    auto const at = order::place_of<Order>(use);
    return core::iterations_ + ahead_ + (order::place_of<Order>(sent_by) < at ? 1 : 0) + (place_ > at ? 1 : 0);
  }
  /// Posts v_ as the message of this node's round, which it names where the number does not tell it.
  [[nodiscard]] auto posting_model(instant now, outbox& out) const {
    return [this, now, &out](detail::edge_session const& to, shared_buffer v) {
      core::post(to, channel_id::model, std::move(v), now, out);
      if constexpr (counts_rounds) {
        auto& p = out.packets.back();
        p.number = iteration{posts_};
        if (ahead_ > 0 || !(to.session == session_id{}))
          p.based_on = iteration{due(order::action::pull, order::action::send_model)};
      }
    };
  }
  /// A neighbour that sends a message for a round so far ahead was separated for a while: the rest of this node's round
  /// counts as that round, and all neighbours are told.
  void take_over(iteration heard, instant now, outbox& out) {
    auto const round = core::iterations_ + ahead_ + 1;
    if constexpr (counts_rounds) {
      if (heard <= next(core::options_->synchrony.latest(iteration{round}))) return;
      ahead_ += to_count(heard) - round;
      if (!has_sent()) return;
      ++posts_;
      models_.post(v_, posting_model(now, out));
    }
  }
  /// Whether the model for the next pull of its readers has been sent, so that no further one follows before this
  /// node's own pull.
  [[nodiscard]] auto has_sent() const -> bool {
    constexpr auto sends = order::place_of<Order>(order::action::send_model),
                   pulls = order::place_of<Order>(order::action::pull);
    if (sends < pulls) return place_ > sends && place_ <= pulls;
    return core::iterations_ > 0 && (place_ <= pulls || place_ > sends);
  }
  [[nodiscard]] static constexpr auto waits_at(order::action a) -> bool {
    return Synchrony::waits && (a == order::action::pull || a == order::action::consume);
  }
  /// How many actions, from `begin` on, run without a wait and before a gradient.
  [[nodiscard]] static constexpr auto slice_length(std::size_t begin) -> std::size_t {
    auto written = false;
    for (std::size_t n = 1; n <= program.size(); ++n) {
      // A model written by an earlier pass is sent before a later write_model replaces it.
      auto const last = program[(begin + n - 1) % program.size()];
      written = written || last == order::action::write_model;
      if (last == order::action::send_model && !written) return n;
      auto const a = program[(begin + n) % program.size()];
      if (a == order::action::gradient || waits_at(a)) return n;
    }
    return program.size();
  }
  template<class Edges>
  auto ready(Edges& edges, channel_id channel, iteration needed, outbox& out) -> bool {
    for (auto& edge : edges) {
      if (!edge.open) continue;
      if constexpr (Synchrony::delivery == channel_kind::event)
        edge.box.advance_to(core::options_->synchrony.latest(needed));
      if (core::options_->synchrony.ready(needed, edge.box.number())) continue;
      out.wait = waiting{edge.peer, channel, next(edge.box.number())};
      stalled_ = true;
      return false;
    }
    return true;
  }

  detail::model_exchange<Backend, Weighting, Synchrony> models_;
  std::conditional_t<tracks, detail::tracker<Backend, Ledger, SumCodec, Synchrony>, detail::no_tracker<scalar, value>>
      tracker_;
  detail::batch<Backend, Contribution> batch_;
  double push_share_;
  shared_buffer v_;  // v_i as last written
  shared_buffer g_new_;  // of a finished batch, in an order that does not track
  std::size_t place_ = 0;
  std::uint64_t batches_ = 0;  // batches begun: the clock of ages
  std::uint64_t ahead_ = 0;  // in rounds: rounds skipped by take_over()
  std::uint64_t posts_ = 0;  // models posted
  bool stalled_ = false;  // waits for a neighbour
};

}  // namespace rubato

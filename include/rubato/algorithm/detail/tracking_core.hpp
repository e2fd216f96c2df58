// SPDX-License-Identifier: MIT
// Common base of the gradient-tracking nodes: models, tracker, step and the sweep over them. A subclass supplies the
// kernels and decides when each runs.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/confirmed_references.hpp>
#include <rubato/algorithm/detail/model_exchange.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/detail/round_trips.hpp>
#include <rubato/algorithm/detail/shared_step.hpp>
#include <rubato/algorithm/detail/tracker.hpp>
#include <rubato/backend/counting_lanes.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/fwd.hpp>
#include <rubato/ledger/concepts.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/mixing/members.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/by_delay.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/concepts.hpp>
#include <rubato/weighting/concepts.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato::detail {

template<class Step, class Weighting, class Synchrony, class Ledger, class SumCodec>
struct tracking_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  std::conditional_t<Synchrony::delivery == channel_kind::state, step::by_delay, step::never_late> by_delay{};
  Step step_rule{};
  Weighting weighting{};
  Synchrony synchrony{};
  Ledger ledger{};
  SumCodec sum_codec{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step by delay", self.by_delay, "how the step shrinks while messages are old");
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("weighting", self.weighting, "what an old message counts");
    visit("synchrony", self.synchrony, "how long a node waits for its neighbours");
    visit("ledger", self.ledger, "the arithmetic of the tracked sums");
    visit("sum codec", self.sum_codec, "how running sums are coded");
  }
};

template<class Backend, class Step, class Weighting, class Synchrony, class Ledger, class SumCodec>
class tracking_core : public node_core<Backend, tracking_options<Step, Weighting, Synchrony, Ledger, SumCodec>> {
  static constexpr bool refers = codec::confirms<SumCodec>;  // both channels carry differences from references
  static_assert(!refers || Synchrony::delivery == channel_kind::state,
                "differences from references that are confirmed are for nodes that wait for nobody: in rounds every "
                "message arrives, and can build on the one before it");
  static_assert(weighting::check_weighting<Weighting>() && synchrony::check_synchrony<Synchrony>() &&
                ledger::check_ledger<Ledger, typename Backend::scalar>());
  using core = node_core<Backend, tracking_options<Step, Weighting, Synchrony, Ledger, SumCodec>>;

 public:
  using options = tracking_options<Step, Weighting, Synchrony, Ledger, SumCodec>;
  using scalar = typename Backend::scalar;
  using value = typename Ledger::template value<scalar>;  ///< the type of z and of running sums
  static constexpr bool needs_first_gradients = Ledger::exact;  ///< resolve_options() needs the first gradients

  /// Makes both matrices. In rounds every age is 0, so the gain is that for ages of 0. Throws config_error.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return synchrony::in_lock_step<Synchrony>() ? mixing::tracking_plan(network, {0, 0})
                                                : mixing::tracking_plan(network);
  }
  /// Fixes what all nodes must agree on, from the largest |g_i(x0)| per block over all nodes.
  static void resolve_options(options& o, block_partition const& blocks, std::span<double const> largest,
                              std::size_t nodes) {
    o.ledger.calibrate(blocks, largest, nodes);
  }
  static constexpr std::array<std::string_view, 2> own_options{"step", "weighting"};
  using tracker_type = tracker<Backend, Ledger, std::conditional_t<refers, codec::identity, SumCodec>, Synchrony>;
  static constexpr std::array all_channels{model_exchange<Backend, Weighting, Synchrony>::spec, tracker_type::spec};
  static constexpr std::array coded_channels{
      channel_spec{channel_id::model, Synchrony::delivery, element::u8, 0, body_form::codes},
      channel_spec{channel_id::tracker, Synchrony::delivery, element::u8, 0, body_form::codes}};
  static constexpr auto channels() -> std::span<channel_spec const> {
    if constexpr (refers) return coded_channels;
    else return all_channels;
  }

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("models", self.models_), visit("tracker", self.tracker_), visit("round trips", self.round_trips_);
    visit("references", self.references_), visit("push share", self.push_share_);
  }

  /// Where members come and go, an edge that opens brings the present model at once: it may be the first of a node that
  /// joins.
  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    change_edges(change, {});
    if (!members_ || change.what != neighbour_change::edge::opens || !tracker_.has_tracked()) return;
    models_.post_to(change.peer, core::x_, posting(channel_id::model, now, out));
  }
  /// *requires* a plan whose members come and go.
  void on_members(std::span<node_id const> present) {
    auto const place = members_->place(present, core::self_);
    models_.take_place(place);
    tracker_.take_place(place);
    push_share_ = place.push_share;
    this->take_gain(members_->of(present.size()).gain);
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = core::counts();
    models_.count_into(s);
    tracker_.count_into(s);
    return s;
  }
  void audit(tracking_audit& a) const { tracker_.audit(a); }

 protected:
  tracking_core(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : tracking_core{std::move(b), plan.nodes[to_index(self)], plan.gain, std::move(x0), o} {
    members_ = plan.members;
    if (!members_) return;
    models_.await_place();
    for (std::size_t k = 1; k <= members_->most(); ++k) static_cast<void>(rubato::raw_step(o, members_->of(k).gain));
    if (o.by_delay.adapts())
      throw config_error{"a step that goes by delay needs neighbours that stay, and here members come and go"};
    if constexpr (Weighting::can_cut)
      throw config_error{
          "this weighting may cut the only edge of a node while few members are present; use one that "
          "never reaches zero"};
  }
  /// For a node whose place in the network is not as the plan says.
  tracking_core(Backend b, mixing::neighbourhood const& n, double gain, shared_buffer x0, options const& o)
      : core{std::move(b), n.self, std::move(x0), o, gain},
        models_{core::backend_, n, core::blocks_, o.weighting, o.synchrony, core::x_},
        tracker_{core::backend_, n, core::blocks_, o.ledger, tracked_codec(o.sum_codec), o.synchrony},
        references_{core::backend_, n, core::blocks_, o.sum_codec},
        push_share_{n.push_share} {
    o.by_delay.check();
    if (o.by_delay.adapts()) round_trips_ = round_trips{n};
  }

  /// The rule of the next step along the tracker.
  [[nodiscard]] auto next_step(instant now) {
    auto const& delays = core::options_->by_delay;
    auto const slower = delays.adapts() ? delays.factor(round_trips_.measure(posted())) : 1.0;
    return detail::step_along_tracker<Step, Backend>(
        push_share_, [&](double share) { return this->next_rule(now, share * slower); });
  }

  /// The next message that the node needs on each channel, in rounds.
  struct due {
    std::uint64_t model = 0;
    std::uint64_t sums = 0;
  };
  /// A node does not wait for the first message over an edge that opens: see the design page on rounds.
  void change_edges(neighbour_change const& c, due const& next) {
    models_.change(c, iteration{next.model});
    tracker_.change(c, iteration{next.sums});
    round_trips_.change(c, posted());
    references_.change(c);
  }

  /// `now` is needed where widths follow links.
  void take(patch const& p, outbox& out, [[maybe_unused]] instant now = {}) {
    if constexpr (refers) {
      if (p.channel == channel_id::model) take_coded(find_edge(models_.in(), p.from), p, now, out);
      else if (p.channel == channel_id::tracker) take_coded(find_edge(tracker_.in(), p.from), p, now, out);
    } else {
      take_whole(p, out);
    }
  }
  void take_whole(patch const& p, outbox& out) {
    auto const done = iteration{core::iterations_};
    if (p.channel == channel_id::model) models_.take(p, core::requests_, done, out);
    else if (p.channel == channel_id::tracker) tracker_.take(p, core::requests_, done, out);
    if (!core::options_->by_delay.adapts() || out.failure) return;
    auto const is_of_session = [&](auto const* edge) { return edge != nullptr && edge->carries(p); };
    if (p.channel == channel_id::model ? is_of_session(find_edge(models_.in(), p.from))
                                       : is_of_session(find_edge(tracker_.in(), p.from)))
      round_trips_.heard(p, posted(), out);
  }

  /// One pass over memory (one for each range of blocks, where blocks differ in age or exponent): kernel_of(models,
  /// tracked, ledger) returns the kernel of a range. Afterwards g, rho~ and rho are up to date, and the new rho are
  /// posted. False, with out.failure set and nothing posted, if the run cannot go on.
  template<class KernelOf>
  [[nodiscard]] auto sweep(pass_parts does, instant now, outbox& out, KernelOf&& kernel_of) -> bool {
    tracker_.begin(does);
    backend::flag_bits raised = 0;
    auto const all = core::blocks_.blocks();
    for (std::size_t block = 0, end = all; block < all; block = end, end = all) {
      pull_terms<scalar> models;
      tracking_terms<scalar, value> tracked;
      if (does.pulls) models = models_.terms(core::backend_, core::requests_, block, end);
      if (does.uses_tracker()) tracked = tracker_.terms(core::backend_, does, block, end);
      auto const kernel = kernel_of(models, tracked, tracker_.arithmetic(block));
      auto const bits = core::backend_.sweep(core::blocks_.values_of({block, end}), kernel);
      tracker_.record_raised({block, end}, bits & ~backend::not_finite);
      raised |= bits;
    }
    tracker_.fail_if_out_of_range(out);
    if ((raised & backend::not_finite) != 0 && !out.failure) {
      blame suspects{core::self_};
      tracker_.accuse(suspects);
      models_.accuse(suspects);
      out.failure = suspects.sentence();
    }
    if (out.failure) return false;
    if (does.pulls) models_.record_ages(now);
    tracker_.finish(does, now, posting(channel_id::tracker, now, out));
    return true;
  }

  void post_model(shared_buffer const& v, instant now, outbox& out) {
    models_.post(v, posting(channel_id::model, now, out));
  }

  model_exchange<Backend, Weighting, Synchrony> models_;
  tracker_type tracker_;

 private:
  using reference_ends = std::conditional_t<refers, confirmed_references<Backend, value, SumCodec>, no_references>;

  static auto tracked_codec([[maybe_unused]] SumCodec const& given) {
    if constexpr (refers) return codec::identity{};
    else return given;
  }
  /// Opens a message of differences, and takes the vector that it stands for.
  template<class Edge>
  void take_coded(Edge* edge, patch const& p, instant now, outbox& out) {
    if (edge == nullptr) return;
    if (!edge->carries(p)) {
      ++edge->overtaken;
      return;
    }
    if (auto const wrong =
            malformed(p, references_.coded_blocks(p), coded_channels[p.channel == channel_id::model ? 0 : 1])) {
      out.failure = *wrong;
      return;
    }
    auto const opened = references_.decode(p, now);
    if (!opened.valid) {
      out.failure = fault{text_of_message(p, to_count(p.numbers[0])) + " holds no codes of a difference"};
    } else if (!opened.vector) {
      ++edge->overtaken;
    } else {
      auto whole = p;
      whole.body = opened.vector;
      take_whole(whole, out);
    }
  }

  /// The number of the newest model that this node has posted.
  [[nodiscard]] auto posted() const -> std::uint64_t { return core::iterations_ + 1; }
  /// As node_core::posting; a message says which one of its receiver was used last, if the step goes by that.
  [[nodiscard]] auto posting(channel_id channel, instant now, outbox& out) {
    return [this, post = core::posting(channel, now, out)](edge_session const& to, shared_buffer body) -> packet& {
      auto& p = post(to, std::move(body));
      if constexpr (refers) p.body = references_.encode(p.channel, to.peer, p.number, p.body, p.posted_at);
      if (core::options_->by_delay.adapts()) p.based_on = last_used(to.peer);
      return p;
    };
  }
  /// The newest message of that node that this one has used, as the number of a model: sums n leave in the same pass as
  /// model n + 1.
  [[nodiscard]] auto last_used(node_id peer) -> iteration {
    auto const* const model = find_edge(models_.in(), peer);
    auto const* const sums = find_edge(tracker_.in(), peer);
    auto used = model != nullptr ? model->pulled : iteration{};
    if (sums != nullptr && sums->consumed_number != iteration{}) used = (std::max)(used, next(sums->consumed_number));
    return used;
  }

  [[no_unique_address]] reference_ends references_;
  round_trips round_trips_;  // without neighbours, unless the step goes by delay
  double push_share_;
  std::shared_ptr<mixing::member_plans const> members_{};  // null: all nodes stay
};

}  // namespace rubato::detail

// SPDX-License-Identifier: MIT
// The base of every node, whatever its algorithm: its id, its model, its step, the one gradient it has requested, its
// packets and its counters.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/algorithm/detail/mean_step.hpp>
#include <rubato/algorithm/detail/neighbours.hpp>
#include <rubato/algorithm/detail/pending_gradient.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/step/concepts.hpp>

namespace rubato::detail {

/// The base of node types. An algorithm adds its channels, on_patch, on_gradient and on_neighbours; it may replace the
/// other members of the node concept by its own.
template<class Backend, class Options>
class node_core {
  using step_rule = decltype(Options::step_rule);
  static_assert(step::check_step<step_rule, Backend>());

 public:
  using backend_type = Backend;
  using scalar = typename Backend::scalar;
  using options = Options;

  static constexpr bool needs_first_gradients = false;
  /// Fixes what all nodes must agree on beyond their options: nothing.
  static void resolve_options(options&, block_partition const&, std::span<double const>, std::size_t) {}

  /// An algorithm with more state visits this first, then its own.
  static void visit_state(auto& self, auto&& visit) {
    visit.same("node", to_index(self.self_)), visit.same("values", self.size());
    visit.same("block values", self.blocks_.block_values());  // some lists have an entry for each block
    visit("seed", self.seed_);  // its own after each restart
    visit("step", self.step_state_), visit("x", self.x_), visit("gradient asked for", self.pending_);
    visit("requests", self.requests_), visit("gradients", self.gradients_), visit("iterations", self.iterations_);
    visit("steps", self.steps_), visit("gamma", self.present_gamma_), visit("gamma before the schedule", self.gamma_);
  }

  void start(instant, outbox& out) { ask_gradient(out); }
  void on_wakeup(instant, wakeup, outbox&) {}
  /// x, shared; valid for ever.
  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  void audit(tracking_audit& a) const { a = {}; }

 protected:
  /// `steps`: whether this node moves x at all. Throws config_error unless the step is a positive number.
  node_core(Backend b, node_id self, shared_buffer x0, Options const& o, double gain, bool steps = true)
      : backend_{std::move(b)},
        options_{std::make_shared<Options const>(o)},
        seed_{o.seed},
        self_{self},
        blocks_{partition_of(o, x0.size())},
        gamma_{rubato::raw_step(o, gain)},
        step_state_{options_->step_rule, backend_, steps ? x0.size() : 0},
        x_{std::move(x0)} {}

  [[nodiscard]] auto size() const -> std::size_t { return x_.size(); }
  [[nodiscard]] auto x() const -> scalar const* { return values_of(x_); }
  [[nodiscard]] static auto values_of(shared_buffer const& b) -> scalar const* {
    return b.template view<scalar>().data();
  }

  /// Requests the gradient of the next sample at x; no sample is used twice.
  void ask_gradient(outbox& out) { ask_gradient_at(x_, gradients_, out); }
  /// The same at another point, of a sample of the algorithm's own numbering.
  void ask_gradient_at(shared_buffer point, std::uint64_t draw, outbox& out) {
    ++requests_;
    if constexpr (backend::runs_behind<Backend>) backend_.hold_back();
    pending_.ask(std::move(point), sample_key{seed_, self_, draw}, out);
  }
  /// Whether g is the requested gradient; any other is only counted.
  [[nodiscard]] auto accept(gradient const& g) -> bool {
    if (!pending_.accept(g)) return false;
    ++gradients_;
    return true;
  }

  /// The rule of the next step, which is made `now`; `factor`: of gamma, besides the schedule. For algorithms that make
  /// the direction inside the pass.
  [[nodiscard]] auto next_rule(instant now, double factor = 1) {
    static_assert(!step::needs_norm<step_rule, Backend>,
                  "this algorithm makes the direction of a step inside the pass that moves x, so its norm is not known "
                  "before: use step::clipped_by_value, or clip the gradients (problem::clipped)");
    return step_state_.next(next_gamma(now) * factor);
  }
  /// The same where the direction is there: a step that needs its norm costs one more pass.
  [[nodiscard]] auto next_rule_along(instant now, direction<scalar> along, double factor = 1) {
    if constexpr (step::needs_norm<step_rule, Backend>) {
      auto const norm = std::sqrt(backend_.dot(along.sum, along.sum, size()));
      return step_state_.next(next_gamma(now) * factor, norm * std::abs(static_cast<double>(along.share)));
    } else {
      return next_rule(now, factor);
    }
  }
  /// gamma times the factor of the schedule, of the last step.
  [[nodiscard]] auto present_gamma() const -> double { return present_gamma_; }
  /// The rule that was given last, for a state that was just read back.
  [[nodiscard]] auto present_rule() { return step::present_rule(step_state_, present_gamma_); }

  /// x <- the model after one step along share * sum: one pass. False if it is not finite. `factor`: of gamma.
  [[nodiscard]] auto step_along(instant now, scalar const* sum, scalar share = 1, double factor = 1) -> bool {
    return step_on(backend_, x_, next_rule_along(now, {sum, share}, factor), {sum, share});
  }

  /// Another gain: of the plan of other members.
  void take_gain(double gain) { gamma_ = rubato::raw_step(*options_, gain); }

  /// Posts a body to the other end of an edge, as the message of the current iteration: number iterations_ + 1. The
  /// caller may change the number, and sets the other fields that its channel carries.
  auto post(edge_session const& to, channel_id channel, shared_buffer body, instant now, outbox& out) const -> packet& {
    auto& p = out.packets.emplace_back();
    p.from = self_;
    p.to = to.peer;
    p.channel = channel;
    p.session = to.session;
    p.number = iteration{iterations_ + 1};
    p.posted_at = now;
    p.body = std::move(body);
    return p;
  }
  /// The same as a callable post(edge, body), for callers that know the edges.
  [[nodiscard]] auto posting(channel_id channel, instant now, outbox& out) const {
    return [this, channel, now, &out](edge_session const& to, shared_buffer body) -> packet& {
      return post(to, channel, std::move(body), now, out);
    };
  }

  /// In rounds: advances every open in-edge of this round to message `needed`. If one has not arrived, sets out.wait
  /// and returns false.
  template<class Edges>
  [[nodiscard]] static auto take_due_messages(Edges& edges, channel_id channel, std::uint64_t needed, outbox& out)
      -> bool {
    for (auto& e : edges) {
      if (!e.open || !e.active || e.box.advance_to(iteration{needed})) continue;
      out.wait = waiting{e.peer, channel, next(e.box.number())};
      return false;
    }
    return true;
  }
  /// For methods in which no edge may change: node j left `what`, and why that ends the run.
  static void refuse_change(neighbour_change const& c, std::string_view what, outbox& out) {
    auto const left = c.what == neighbour_change::edge::closes ? " left " : " began anew, and so left ";
    out.failure = fault{"node " + std::to_string(to_index(c.peer)) + left + std::string{what}};
  }

  /// The counters of the node, without its edges, or with its in-edges of `channel`.
  [[nodiscard]] auto counts() const -> node_statistics { return {iterations_, gradients_, pending_.dropped(), {}}; }
  template<class Edges>
  [[nodiscard]] auto counts(Edges const& edges, channel_id channel) const -> node_statistics {
    auto s = counts();
    for (auto const& e : edges) s.edges.push_back(e.counted(channel));
    return s;
  }

  Backend backend_;
  std::shared_ptr<Options const> options_;  // stays where it is when a node moves: states may point to their policies
  std::uint64_t seed_;
  node_id self_;
  block_partition blocks_;
  double gamma_;
  typename step_rule::template state<Backend> step_state_;
  shared_buffer x_;  // x_i, published: also the point of gradients
  pending_gradient pending_;
  std::uint64_t requests_ = 0;  // gradients asked for: the clock of ages
  std::uint64_t gradients_ = 0;  // received
  std::uint64_t iterations_ = 0;  // local iterations completed

 private:
  [[nodiscard]] auto next_gamma(instant now) -> double {
    auto factor = 1.0;
    if constexpr (requires { options_->schedule; }) factor = options_->schedule.factor(steps_, now);
    ++steps_;
    present_gamma_ = gamma_ * factor;
    return present_gamma_;
  }
  std::uint64_t steps_ = 0;  // made by this node: the time of its schedule
  double present_gamma_ = 0;  // of the last step
};

}  // namespace rubato::detail

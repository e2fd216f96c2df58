// SPDX-License-Identifier: MIT
// MindFlayer SGD, a server and n workers: in a round worker i tries B_i gradients at x_k one after another, and gives
// up each that takes longer than its deadline t_i. For computation times that are rarely, but then hopelessly long.
//   (Mf.T)  worker i: a trial that has not ended after t_i is cancelled, and counts; the next one draws another sample
//   (Mf.G)  worker i, after B_i trials: the sum G_i of its gradients that ended in time and their number, to the server
//   (Mf.X)  server, once every worker has answered:  x_{k+1} <- x_k - gamma (sum_i G_i, by id) / (sum_i B_i p_i);
//           x_{k+1} = x_k if no gradient ended in time
//   (Mf.P)  p_i = the chance that a gradient takes at most t_i; if it is not given, of the trials of past rounds
//           (1 + in time) / (1 + all), at least 0.05
// B_i by default: (Mf.B) in server/timed_trials.hpp. Source: Maranjyan et al., arXiv 2410.04285.
// invariant: without deadlines this is SGD on the mean of sum B_i gradients, whatever the speeds.
//                                                                              tests/unit/algorithm/mindflayer.cpp
// limit: the optimum of the sum weighted by B_i p_i, so for data that do not differ from worker to worker. A gradient
// is lost for its time only, never for its sample: the step is unbiased.
// differs from the source: workers with B_i = 0 compute nothing, where the published code gives them one trial; a
// worker sends its gradients as one sum, and nothing but a word if there are none. A worker that leaves is not waited
// for: its trials of this round drop out of both sums, also if it had answered, and whether it returns or not.
// A gradient in time reads 2 vectors and writes 1 at a worker; a step reads n + 1 and writes 2.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/server_core.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/server/timed_trials.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

template<class Step>
struct mindflayer_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  server::timed_trials trials{};
  Step step_rule{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("trials", self.trials, "the gradients that workers try in a round, and their deadlines");
    visit("step rule", self.step_rule, "how a step is made of a direction");
  }
};

}  // namespace detail

/// Both roles in one class; the neighbourhood says which one a node has. Needs lossless, ordered links. A worker that
/// joins or returns gets the current model, and a worker whose server is gone waits for it.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step>
class mindflayer : public detail::server_core<Backend, detail::mindflayer_options<Step>> {
  using core = detail::server_core<Backend, detail::mindflayer_options<Step>>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "MindFlayer SGD"; }
  static constexpr bool server_has_the_model = true;

  /// A star around an extra node, whatever the network.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::server_plan(network.pull().nodes());
  }
  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t nodes) {
    o.trials.resolve_options(nodes);
  }
  static constexpr std::array<channel_spec, 3> all_channels{
      channel_spec{channel_id::model, channel_kind::event, element_of<scalar>},
      channel_spec{channel_id::gradient, channel_kind::event, element_of<scalar>, carrying(scalar_slot::sample_count)},
      channel_spec{channel_id::control, channel_kind::event, element_of<scalar>, 0,
                   body_form::none}};  // no gradient in time
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  mindflayer(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), with_counts(o, plan.nodes[to_index(self)].nodes)},
        ends_(core::serves() ? core::n_ : 1) {
    for (std::size_t i = 0; i < ends_.size(); ++i) ends_[i].peer = core::serves() ? to_node(i) : core::server();
  }

  void start(instant now, outbox& out) {
    if (!this->serves()) begin_round(now, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    out.failure = detail::spoilt_gradient(this->self_, this->server(), this->x_, g);
    add(sum_, g.value, in_time_ == 0);
    ++in_time_;
    end_trial(now, out);
  }
  void on_wakeup(instant now, wakeup w, outbox& out) {
    if (this->serves() || !this->pending_.under_way() || w.id != trial_id()) return;
    this->pending_.cancel(out);  // (Mf.T)
    end_trial(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const answers = p.channel == channel_id::gradient || p.channel == channel_id::control;
    if (this->serves() && answers && to_index(p.from) < this->n_) collect(now, p, out);
    else if (!this->serves() && p.channel == channel_id::model && p.from == this->server()) follow(now, p, out);
  }

  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    if (this->serves() ? to_index(change.peer) >= this->n_ : change.peer != this->server()) return;
    auto& end = ends_[this->serves() ? to_index(change.peer) : 0];
    end.change(change);
    if (!this->serves()) {
      forget_trials();
      if (trials_of(to_index(this->self_)) > 0) this->wait_for_server(out);
      return;
    }
    end.answered = false;  // what it had sent of this round was of its former life
    end.fresh = 0;
    end.sum = {};
    if (end.open) give_model(end, now, out);
    else if (all_have_answered()) end_round(now, out);
  }

  /// The server's iterations are its rounds, a worker's are its gradients in time.
  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    s.iterations = this->serves() ? this->version_ : this->gradients_;
    s.dropped += this->late_;
    for (auto const& e : ends_) {
      auto& edge = s.edges.emplace_back(e.counted(this->serves() ? channel_id::gradient : channel_id::model));
      edge.weights = e.weights;
    }
    return s;
  }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("ends", self.ends_), visit("sum", self.sum_), visit("tried", self.tried_), visit("in time", self.in_time_);
    visit("answers", self.answers_);
  }

 private:
  /// What a node knows about the other end of an edge. A worker has one such end, the server one per worker.
  struct other_end : detail::two_way_edge {
    std::uint64_t sent = 0;  // server: models
    bool answered = false;  // server: this round
    std::uint64_t in_time = 0, tried = 0;  // server: of all past rounds, and of this one once it has answered
    std::uint64_t fresh = 0;  // server: gradients of this round's answer
    shared_buffer sum{};  // server: of this round's answer
    weight_counter weights{};

    static void visit_state(auto& self, auto&& visit) {
      two_way_edge::visit_state(self, visit);
      visit("sent", self.sent), visit("answered", self.answered), visit("in time", self.in_time);
      visit("tried", self.tried), visit("fresh", self.fresh), visit("sum", self.sum), visit("weights", self.weights);
    }
  };

  /// Nodes that are made without assemble() have counts too.
  static auto with_counts(options o, std::size_t workers) -> options {
    o.trials.resolve_options(workers);
    return o;
  }
  [[nodiscard]] auto trials_of(std::size_t worker) const -> std::uint64_t {
    return this->options_->trials.counts[worker];
  }
  /// sum <- sum + g, or g.
  void add(writable_buffer<scalar>& sum, shared_buffer const& g, bool first) {
    auto const all = range{0, this->size()};
    if (!sum) sum = this->backend_.template allocate<scalar>(this->size());
    if (first) this->backend_.sweep(all, backend::copy_kernel<scalar>{core::values_of(g), sum.data()});
    else this->backend_.sweep(all, backend::add_kernel<scalar>{core::values_of(g), sum.data(), scalar{1}});
  }

  // worker

  [[nodiscard]] auto trial_id() const -> std::uint32_t { return static_cast<std::uint32_t>(this->requests_); }
  void forget_trials() {
    tried_ = 0;
    in_time_ = 0;
  }
  void begin_round(instant now, outbox& out) {
    forget_trials();
    if (trials_of(to_index(this->self_)) > 0) begin_trial(now, out);
  }
  void begin_trial(instant now, outbox& out) {
    this->ask_next(this->x_, out);
    auto const seconds = this->options_->trials.deadlines[to_index(this->self_)];
    if (!(seconds < 1e9)) return;  // longer than any run
    auto const deadline = std::chrono::nanoseconds{std::llround(seconds * 1e9) + 1};  // a gradient of t_i is in time
    out.wakeups.push_back({trial_id(), later_by(now, deadline)});
  }
  void end_trial(instant now, outbox& out) {
    if (++tried_ < trials_of(to_index(this->self_))) return begin_trial(now, out);
    auto const to = ends_[0].outward();
    auto const some = in_time_ > 0;
    auto body = some ? std::move(sum_) : this->backend_.template allocate<scalar>(0);
    sum_ = {};
    auto& p = this->post(to, some ? channel_id::gradient : channel_id::control, std::move(body).publish(), now, out);
    p.number = iteration{++answers_};
    p.based_on = iteration{this->version_};
    if (some) p.extra.set(scalar_slot::sample_count, in_time_);  // (Mf.G)
    out.wait = waiting{this->server(), channel_id::model, iteration{ends_[0].order.newest() + 1}};
  }
  void follow(instant now, patch const& p, outbox& out) {
    auto& end = ends_[0];
    if (!end.is_of_session(p)) return;
    out.failure = detail::malformed(p, this->blocks_, all_channels[0]);
    if (!out.failure) out.failure = end.order.follow(p);
    if (out.failure) return;
    ++end.accepted;
    end.age.add(now - p.posted_at);
    this->x_ = p.body;
    this->version_ = to_count(p.based_on);
    this->pending_.cancel(out);
    begin_round(now, out);
  }

  // server

  [[nodiscard]] auto wrong_answer(patch const& p) const -> std::optional<fault> {
    if (p.channel == channel_id::control) {
      auto wrong = detail::malformed(p, all_channels[2].values, 0);
      return wrong ? wrong : this->wrong_version(p);
    }
    if (auto wrong = this->wrong_gradient(p, all_channels[1])) return wrong;
    auto const count = p.extra.count(scalar_slot::sample_count).value_or(0);
    auto const most = trials_of(to_index(p.from));
    if (count >= 1 && count <= most) return {};
    return fault{"node " + std::to_string(to_index(p.from)) + " sent the sum of " + std::to_string(count) +
                 " gradients, and it tries " + std::to_string(most) + " in a round"};
  }
  void collect(instant now, patch const& p, outbox& out) {
    auto& end = ends_[to_index(p.from)];
    if (!end.is_of_session(p)) return;
    if (out.failure = wrong_answer(p); out.failure) return;
    if (to_count(p.based_on) != this->version_ || end.answered) {
      ++this->late_;
      return;
    }
    ++end.accepted;
    end.age.add(now - p.posted_at);
    end.answered = true;
    end.fresh = p.channel == channel_id::gradient ? p.extra.count(scalar_slot::sample_count).value_or(0) : 0;
    if (end.fresh > 0) end.sum = p.body;
    if (all_have_answered()) end_round(now, out);
  }
  /// All workers that are there and try anything, and at least one.
  [[nodiscard]] auto all_have_answered() const -> bool {
    auto any = false;
    for (std::size_t i = 0; i < this->n_; ++i) {
      if (ends_[i].open && !ends_[i].answered && trials_of(i) > 0) return false;
      any = any || ends_[i].answered;
    }
    return any;
  }
  [[nodiscard]] auto chance_of(std::size_t worker) const -> double {
    auto const& given = this->options_->trials.chances;
    if (!given.empty()) return given[worker];
    auto const& end = ends_[worker];
    return (std::max)((1 + static_cast<double>(end.in_time)) / (1 + static_cast<double>(end.tried)), 0.05);  // (Mf.P)
  }

  void end_round(instant now, outbox& out) {
    auto sum = writable_buffer<scalar>{};
    double expected = 0;
    auto suspects = detail::blame{this->self_};
    for (std::size_t i = 0; i < this->n_; ++i) {
      auto const& end = ends_[i];
      if (!end.answered) continue;
      expected += static_cast<double>(trials_of(i)) * chance_of(i);
      if (end.fresh > 0) add(sum, end.sum, !sum);
    }
    if (sum && !this->step_along(now, sum.data(), static_cast<scalar>(1 / expected))) {  // (Mf.X)
      for (std::size_t i = 0; i < this->n_; ++i)
        if (ends_[i].answered && ends_[i].fresh > 0) suspects.message(to_node(i), channel_id::gradient, ends_[i].sum);
      out.failure = suspects.sentence();
    }
    ++this->version_;
    for (std::size_t i = 0; i < this->n_; ++i) count(ends_[i], trials_of(i));
    for (auto& end : ends_) give_model(end, now, out);
  }
  /// Of a round that ends.
  void count(other_end& end, std::uint64_t trials) {
    if (!std::exchange(end.answered, false)) return;
    end.tried += trials;
    end.in_time += end.fresh;
    this->gradients_ += end.fresh;
    end.weights.add(1, 0, 0, std::exchange(end.fresh, 0));
    end.sum = {};
  }
  void give_model(other_end& end, instant now, outbox& out) {
    if (!end.open || trials_of(to_index(end.peer)) == 0) return;
    auto& p = this->post(end.outward(), channel_id::model, this->x_, now, out);
    p.number = iteration{++end.sent};
    p.based_on = iteration{this->version_};
  }

  std::vector<other_end> ends_;  // of the server's edges by worker, or of the worker's one
  writable_buffer<scalar> sum_{};  // worker: of this round's gradients in time
  std::uint64_t tried_ = 0, in_time_ = 0;  // worker: of this round
  std::uint64_t answers_ = 0;  // worker: sent
};

}  // namespace rubato

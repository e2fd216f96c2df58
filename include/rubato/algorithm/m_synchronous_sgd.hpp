// SPDX-License-Identifier: MIT
// m-synchronous SGD, a server and n workers: a round takes the first m gradients at the current model; the others are
// cancelled. The synchronous baseline: near time-optimal under random compute times (arXiv 2602.03802).
//   (M.G)  worker i: g_i at x_k, sent to the server; a newer model cancels the computation
//   (M.F)  or, without stops, finishes it first; its gradient comes too late and is dropped
//   (M.X)  server: x_{k+1} <- x_k - gamma (1/m) sum of the first m gradients at x_k, summed by id; sent to all
// invariant: with m = n this is SGD on the mean gradient, whatever the speeds
//                                                              tests/unit/algorithm/m_synchronous_sgd.cpp
// differs from a mean over data: if m < n and data differ from node to node, the data of slow nodes count less.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/server_core.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/server/concepts.hpp>
#include <rubato/server/delay_threshold.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

template<class Step>
struct m_synchronous_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  std::size_t m = 0;  ///< gradients that a round takes; 0: all n
  server::late_jobs late = server::late_jobs::stop;
  Step step_rule{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("m", self.m, "gradients that a round takes; 0: one of each node");
    visit("late jobs", self.late, "stop: a new model ends the computation at the old one; finish: it does not");
    visit("step rule", self.step_rule, "how a step is made of a direction");
  }
};

/// All of m_synchronous_sgd but its name, for quorum_diloco too: options with `work` make a worker's result that of
/// local steps, and those with `grace` let a round go on after the m-th result.
template<class Backend, class Options>
class m_synchronous_core : public server_core<Backend, Options> {
  using core = server_core<Backend, Options>;
  static constexpr bool has_local_steps = requires(Options const& o) { o.work; };
  static constexpr bool has_grace = requires(Options const& o) { o.grace; };

 public:
  using typename core::options, typename core::scalar;

  /// A star around an extra node, whatever the network.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::server_plan(network.pull().nodes());
  }
  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t nodes) {
    if (o.m > nodes) {
      throw config_error{"a round cannot take " + std::to_string(o.m) + " gradients from " + std::to_string(nodes) +
                         " workers; give m in 1 to " + std::to_string(nodes) + ", or 0 for all"};
    }
    if (o.m == 0) o.m = nodes;
    if constexpr (requires { o.check(); }) o.check();
    if constexpr (has_local_steps) o.check_work();
  }
  static constexpr std::array<channel_spec, 2> all_channels{
      channel_spec{channel_id::model, channel_kind::event, element_of<scalar>},
      channel_spec{channel_id::gradient, channel_kind::event, element_of<scalar>, carrying(scalar_slot::loss)}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  m_synchronous_core(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o},
        m_{o.m == 0 ? core::n_ : o.m},
        local_{work_in(o)},
        first_{core::serves() ? shared_buffer{} : core::x_},
        ends_(core::serves() ? core::n_ : 1),
        received_(core::serves() ? core::n_ : 0) {
    for (std::size_t i = 0; i < ends_.size(); ++i) ends_[i].peer = core::serves() ? to_node(i) : core::server();
  }

  void start(instant, outbox& out) {
    if (!this->serves()) this->ask_next(this->x_, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    if constexpr (has_local_steps) {
      if (!local_.ends(this->backend_, this->x_, g, this->gamma_)) {
        if (!local_.finite()) out.failure = blame{this->self_}.gradient(g.value).sentence();
        return this->ask_next(local_.model(), out);
      }
    }
    this->send_gradient(g, ends_[0].outward(), now, out).extra.set(scalar_slot::loss, g.loss);  // (M.G)
    out.wait = waiting{this->server(), channel_id::model, iteration{this->version_ + 1}};
    if (!next_) return;
    out.wait.reset();
    local_.begin();
    this->go_on_at(std::exchange(next_, {}), next_version_, out);  // (M.F)
  }
  /// The end of a grace period, if that round has not ended before.
  void on_wakeup(instant now, wakeup w, outbox& out) {
    if (has_grace && arrived_ >= m_ && w.id == round_id()) end_round(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (this->serves() && p.channel == channel_id::gradient && to_index(p.from) < this->n_) collect(now, p, out);
    else if (!this->serves() && p.channel == channel_id::model && p.from == this->server()) follow(now, p, out);
  }

  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    if (this->serves() ? to_index(change.peer) >= this->n_ : change.peer != this->server()) return;
    auto& end = ends_[this->serves() ? to_index(change.peer) : 0];
    end.change(change);
    if (change.what == neighbour_change::edge::resumes) return resume(end);
    if (this->serves()) {
      if (end.open && this->version_ > 0) give_model(end, now, out);
      if (!end.open && m_ == this->n_) core::refuse_change(change, "a run that needs it every round", out);
      if (arrived_ < m_) return;
      if (all_are_there()) return end_round(now, out);  // (Qu.W)
      return wait_for_others(now, out);  // anew: the wake-up may be of a run that was cut
    }
    next_ = {};
    local_.begin();
    this->wait_for_server(out);
    if (!end.open) return;
    out.wait.reset();
    if (this->requests_ == 0) return;  // it has not begun
    this->ask_next(first_, out);  // until the server sends a model: after a restart it needs gradients at this one
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts(ends_, this->serves() ? channel_id::gradient : channel_id::model);
    s.iterations = this->version_;
    s.dropped += this->late_;
    return s;
  }
  /// With m = n all nodes are at the same version or one behind. With fewer, a resumed node gets the current model.
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    if (m_ < this->n_) return {};
    auto in_job = false;
    std::uint64_t gradients = 1;
    if constexpr (has_local_steps) in_job = local_.in_job(), gradients = this->options_->work.count;
    return round_state{this->version_, this->serves() || (this->pending_.under_way() && !in_job), 1, gradients};
  }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("first", self.first_), visit("ends", self.ends_), visit("received", self.received_);
    visit("arrived", self.arrived_), visit("next", self.next_), visit("next version", self.next_version_);
    if constexpr (has_local_steps) visit("local", self.local_);
  }

 private:
  /// All nodes are at this version: workers compute its gradients again.
  void resume(two_way_edge& end) {
    local_.begin();
    if (!this->serves()) return end.order.resume_after(this->version_);
    received_[to_index(end.peer)] = {};
    arrived_ = 0;
  }

  /// Worker: a new model ends the computation at the old one, or waits for its end.
  void follow(instant now, patch const& p, outbox& out) {
    auto& end = ends_[0];
    if (!end.is_of_session(p)) return;
    out.failure = malformed(p, this->blocks_, all_channels[0]);
    if (!out.failure) out.failure = end.order.follow(p);
    if (out.failure) return;
    ++end.accepted;
    end.age.add(now - p.posted_at);
    if (this->options_->late == server::late_jobs::stop || !this->pending_.under_way()) {
      local_.begin();
      return this->go_on_at(p.body, to_count(p.numbers[0]), out);
    }
    next_ = p.body;
    next_version_ = to_count(p.numbers[0]);
  }

  /// Server: takes a gradient of the current round; late ones are dropped.
  void collect(instant now, patch const& p, outbox& out) {
    auto const from = to_index(p.from);
    auto& end = ends_[from];
    if (!end.is_of_session(p)) return;
    if (out.failure = this->wrong_gradient(p, all_channels[1]); out.failure) return;
    if (to_count(p.based_on) != this->version_ || received_[from]) {
      ++this->late_;
      return;
    }
    ++end.accepted;
    end.age.add(now - p.posted_at);
    received_[from] = p.body;
    if (++arrived_ < m_) return;
    if (!has_grace || all_are_there()) end_round(now, out);  // (Qu.W)
    else if (arrived_ == m_) wait_for_others(now, out);
  }
  [[nodiscard]] auto all_are_there() const -> bool {
    for (std::size_t i = 0; i < this->n_; ++i)
      if (ends_[i].open && !received_[i]) return false;
    return true;
  }
  [[nodiscard]] auto round_id() const -> std::uint32_t { return static_cast<std::uint32_t>(this->version_); }
  void wait_for_others(instant now, outbox& out) {
    if constexpr (has_grace) {
      if (this->options_->grace.count() == 0) end_round(now, out);
      else out.wakeups.push_back({round_id(), later_by(now, this->options_->grace)});
    }
  }

  void end_round(instant now, outbox& out) {
    auto const sum = summed();
    auto share = scalar{1} / static_cast<scalar>(arrived_);
    auto factor = 1.0;
    if constexpr (requires { this->options_->rate; }) {  // of the work itself, gamma s, and so in place of gamma
      share *= static_cast<scalar>(this->gamma_);
      factor = this->options_->rate / this->gamma_;
    }
    if (!this->step_along(now, sum.data(), share, factor)) {  // (M.X) (Qu.X)
      auto suspects = blame{this->self_};
      for (std::size_t i = 0; i < this->n_; ++i) {
        if (received_[i]) suspects.message(to_node(i), channel_id::gradient, received_[i]);
      }
      out.failure = suspects.sentence();
    }
    ++this->version_;
    arrived_ = 0;
    std::fill(received_.begin(), received_.end(), shared_buffer{});
    for (auto const& end : ends_) give_model(end, now, out);
  }

  /// The sum of this round's gradients, by id, so that its rounding does not depend on the order of arrival.
  [[nodiscard]] auto summed() -> writable_buffer<scalar> {
    auto sum = this->backend_.template allocate<scalar>(this->size());
    auto const all = range{0, this->size()};
    this->backend_.sweep(all, backend::zero_kernel<scalar>{sum.data()});
    for (auto const& g : received_) {
      if (g) this->backend_.sweep(all, backend::add_kernel<scalar>{core::values_of(g), sum.data(), scalar{1}});
    }
    return sum;
  }

  void give_model(two_way_edge const& to, instant now, outbox& out) {
    if (to.open) this->post(to.outward(), channel_id::model, this->x_, now, out).number = iteration{this->version_};
  }

  static auto work_in(options const& o) {
    if constexpr (has_local_steps) return o.work;
    else return server::same_worker{};
  }

  std::size_t m_;
  typename server::local_work<decltype(work_in(std::declval<options const&>())), Backend>::type local_;
  shared_buffer first_;  // worker: the common first model, version 0
  std::vector<two_way_edge> ends_;  // of the server's edges by worker, or of the worker's one
  std::vector<shared_buffer> received_;  // server: this round's gradients, by worker
  std::size_t arrived_ = 0;  // server: how many there are
  shared_buffer next_{};  // worker, without stops: the newest model, while it computes at an older one
  std::uint64_t next_version_ = 0;
};

}  // namespace detail

/// Both roles in one class; the neighbourhood says which one a node has. Needs lossless, ordered links. A worker that
/// joins or returns gets the current model, and a worker whose server is gone waits for it. With m = n a lost worker
/// ends the run.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step>
class m_synchronous_sgd : public detail::m_synchronous_core<Backend, detail::m_synchronous_options<Step>> {
 public:
  using detail::m_synchronous_core<Backend, detail::m_synchronous_options<Step>>::m_synchronous_core;
  static constexpr auto name() -> std::string_view { return "m-synchronous SGD"; }
};

}  // namespace rubato

// SPDX-License-Identifier: MIT
// Push-DIGing, node i.   [D] = Nedic, Olshevsky, Shi, arXiv 1607.03218, algorithm 2.   u, x, z, g, rho in R^d; v > 0
// A pushes: a_ij is what i gets of what j holds; columns sum to 1. Round k, from 1, with u = x, v = 1 at the start:
//   (T.T) (T.D) (T.A) of dsgt.hpp, on the numerator u: z takes g_new at x, u descends along z, z is pushed
//           u is posted as model k, with v; rho is posted as sums k
//   (PD.V)  v  <- a_ii v + sum_j a_ij v_j
//   (PD.U)  u  <- a_ii u + sum_j a_ij u_j                                  waits for the models of round k
//   (PD.X)  x  <- u / v                                                    z is not divided by v
//   (T.C)   z  <- z + sum_j (rho_ij - rho~_ij) ;  rho~ <- rho              waits for the sums of round k
// so that u+ = A (u - gamma z), v+ = A v, x+ = u+ / v+ and z+ = A z + g_new - g; gradients are at x
// invariants: sum_i v_i = n;  sum_i u_i changes by -gamma sum_i z_i;  sum_i z_i = sum_i g_i, where the last one counts
// what is under way as dsgt.hpp does, exactly with the ledger of float.        tests/unit/algorithm/push_diging.cpp
// At rest v_i = n times the Perron vector of A, all x are equal and the sum of gradients is 0: the optimum, with a
// constant step that is small enough.
// differs from [D]: u and v travel unscaled, since the receiver knows a_ij. What [D] needs in one message is in two
// channels; a round uses both of one and the same round. Mass of z travels as running sums, as in R-FAST. The graph
// stays the same.
// Per round, in vectors, two passes, with da in-edges and db out-edges of A:
//   reads u, z, g, g_new, db rho / u, z, da u_j, 2 da rho;   writes u, z, db rho / u, x, z.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/incoming.hpp>
#include <rubato/algorithm/detail/tracking_core.hpp>
#include <rubato/algorithm/dsgt.hpp>
#include <rubato/backend/counting_lanes.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/core/node.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

namespace detail {

template<class T, class U, class Arithmetic>
struct push_diging_mixing {
  T const* u;
  T* u_new;
  T* x_new;
  T inverse;  // 1 / v
  pull_terms<T> pull;
  tracking_terms<T, U> track;
  Arithmetic ledger;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const mixed = pulled(at, pull, at.load(u));  // (PD.U)
    at.stream(u_new, mixed);
    store_model(at, x_new, inverse * mixed);  // (PD.X)
    store_tracker(at, track, consumed(at, ledger, track, at.load(track.z)));  // (T.C)
  }
  static constexpr bool raises = backend::may_raise<Arithmetic>;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

}  // namespace detail

/// Converges to the optimum of the sum even if data differ between nodes, on any strongly connected directed graph,
/// where a node knows its out-neighbours alone. Needs lossless, ordered links and every node; the slowest node sets the
/// pace. Memory in vectors: u, x and those of r_fast. Policies: as r_fast.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Ledger>
class push_diging
    : public detail::tracking_core<Backend, Step, weighting::constant, synchrony::rounds, Ledger, codec::identity> {
  using core = detail::tracking_core<Backend, Step, weighting::constant, synchrony::rounds, Ledger, codec::identity>;

 public:
  using typename core::options, typename core::scalar, typename core::value;
  static constexpr auto name() -> std::string_view { return "push-DIGing"; }
  static constexpr std::array all_channels{
      channel_spec{channel_id::model, channel_kind::event, element_of<scalar>, carrying(scalar_slot::push_sum_weight)},
      core::all_channels[1]};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  /// Uniform weights on the edges of both graphs, each in its own direction: along trees, both ways.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return make_plan(mixing::uniform_push(network.joined()));
  }
  /// The same with weights of your own, whose edges must connect every node to every other. Throws config_error if a
  /// weight is negative or a column does not sum to one.
  [[nodiscard]] static auto make_plan(mixing::matrix const& push_weights) -> mixing::plan {
    auto made = mixing::tracking_plan(mixing::uniform_pull(mixing::support(push_weights)), push_weights, {0, 0});
    for (auto& n : made.nodes) n.pull_self = 1, n.pull_from = {}, n.pull_to = {};  // nodes pull with A as well
    made.gain = 1;
    made.summary = "push-DIGing, " + push_weights.name();
    return made;
  }

  /// `x0`: the common first model, of the run's dimension. Of the plan only what nodes push counts. Throws config_error
  /// on a bad step.
  push_diging(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), pulling_with_a(plan, self), 1.0, std::move(x0), o},
        nodes_{plan.nodes.size()},
        behind_{mixing::push_rounds_behind(plan, 1)},
        keeps_{plan.nodes[to_index(self)].push_self},
        u_{this->x_} {
    for (auto const& e : this->models_.in()) weights_.push_back({e.weight, {}});
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.channel == channel_id::model) take_model(p, out);
    else this->take(p, out);
    go_on(now, out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    this->tracker_.receive(std::move(g.value));
    descend(now, out);
    mixes_ = true;
    go_on(now, out);
  }
  /// What is on its way to a node that leaves, and what that node holds, cannot be recovered.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what != neighbour_change::edge::resumes || !at_begin())
      return core::refuse_change(change,
                                 "a run of push-sum and took its mass with it; use r_fast where nodes may leave", out);
    auto const done = this->iterations_;
    this->change_edges(change, {.model = done, .sums = done});
    for (std::size_t j = 0; j < weights_.size(); ++j)
      if (this->models_.in()[j].peer == change.peer) weights_[j].came.clear();
  }

  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, at_begin(), behind_, 1, behind_ > 1};
  }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("mixes", self.mixes_), visit("u", self.u_), visit("v", self.v_), visit("v of others", self.weights_);
  }

 private:
  /// v of one in-neighbour: of the messages that have come and are not used yet.
  struct weights_in {
    double weight = 0;  // a_ij
    std::vector<double> came{};  // at most n + 1, since fault_beyond_rounds refuses later rounds
    static void visit_state(auto& self, auto&& visit) { visit("came", self.came); }
  };

  /// Models flow where mass does, and with the same weights.
  static auto pulling_with_a(mixing::plan const& plan, node_id self) -> mixing::neighbourhood {
    auto n = plan.nodes[to_index(self)];
    n.pull_self = n.push_self;
    n.pull_from.clear();
    n.pull_to.clear();
    for (auto const peer : n.push_from)
      n.pull_from.push_back({peer, mixing::weight_of(plan.nodes[to_index(peer)].push_to, self)});
    for (auto const& e : n.push_to) n.pull_to.push_back(e.peer);
    return n;
  }

  [[nodiscard]] auto at_begin() const -> bool { return this->pending_.under_way(); }

  /// Keeps v with its u.
  void take_model(patch const& p, outbox& out) {
    auto& edges = this->models_.in();
    auto* const from = detail::find_edge(edges, p.from);
    auto const weight = p.extra.real(scalar_slot::push_sum_weight);
    if (from != nullptr && from->carries(p)) {
      auto wrong = detail::miscounted(p);
      if (!wrong) wrong = detail::fault_of_weight(p, weight, static_cast<double>(nodes_));
      if (!wrong) wrong = detail::fault_beyond_rounds(p, this->self_, this->iterations_, nodes_);
      if (wrong) {
        out.failure = std::move(wrong);
        return;
      }
    }
    auto const before = from == nullptr ? 0 : from->accepted;
    this->take(p, out);
    if (from != nullptr && from->accepted > before)
      weights_[static_cast<std::size_t>(from - edges.data())].came.push_back(*weight);
  }

  /// Goes on to the next gradient if all messages of the round are there.
  void go_on(instant now, outbox& out) {
    auto const k = this->iterations_ + 1;
    if (!mixes_ || out.failure || !this->take_due_messages(this->models_.in(), channel_id::model, k, out) ||
        !this->take_due_messages(this->tracker_.in(), channel_id::tracker, k, out))
      return;
    mix(now, out);
    ++this->iterations_;
    mixes_ = false;
  }

  void descend(instant now, outbox& out) {
    auto u_new = this->backend_.template allocate<scalar>(this->size());
    auto step = this->next_step(now);
    if constexpr (requires { step.step.decay_at(1.0); }) step.step.decay_at(1 / v_);  // what decays is x
    auto const kernel = [&](auto const&, auto const& track, auto const& ledger) {
      return detail::dsgt_descent<scalar, value, std::remove_cvref_t<decltype(ledger)>, decltype(step)>{
          core::values_of(u_), u_new.data(), track, ledger, step};
    };
    if (!this->sweep({.tracks = true, .pushes = true}, now, out, kernel)) return;
    u_ = std::move(u_new).publish();
    this->models_.post(u_, [&](detail::edge_session const& to, shared_buffer u) {
      this->post(to, channel_id::model, std::move(u), now, out).extra.set(scalar_slot::push_sum_weight, v_);
    });
  }

  void mix(instant now, outbox& out) {
    v_ *= keeps_;
    for (auto& e : weights_) {
      v_ += e.weight * e.came.front();  // (PD.V)
      e.came.erase(e.came.begin());
    }
    auto u_new = this->backend_.template allocate<scalar>(this->size());
    auto x_new = this->backend_.template allocate<scalar>(this->size());
    auto const kernel = [&](auto const& pull, auto const& track, auto const& ledger) {
      return detail::push_diging_mixing<scalar, value, std::remove_cvref_t<decltype(ledger)>>{
          core::values_of(u_), u_new.data(), x_new.data(), static_cast<scalar>(1 / v_), pull, track, ledger};
    };
    if (!this->sweep({.pulls = true, .consumes = true}, now, out, kernel)) return;
    u_ = std::move(u_new).publish();
    this->x_ = std::move(x_new).publish();
    this->ask_gradient(out);
  }

  // x, at which gradients are asked for, is x_ of the core.
  std::size_t nodes_;  // n
  std::uint64_t behind_;  // rounds, of a neighbour
  double keeps_;  // a_ii
  shared_buffer u_;
  double v_ = 1;
  std::vector<weights_in> weights_;  // in the order of the in-edges
  bool mixes_ = false;  // otherwise a gradient is under way
};

}  // namespace rubato

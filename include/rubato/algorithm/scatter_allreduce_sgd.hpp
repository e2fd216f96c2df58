// SPDX-License-Identifier: MIT
// Synchronous SGD on the mean of compressed gradients, node i of n.   Source: BAGUA's C_LP_S, arXiv 2107.01499, and
// ByteGrad of its public code; with codec::identity the scatter-reduce form of all-reduce. Formulas (C.*): scatter_mean.hpp.
//   (C.X)  x <- x - gamma mean,  mean = the gathered (1/n) sum_j decode(Q(g_j)), compressed twice
// invariant: all replicas are equal bit for bit after a round     tests/unit/algorithm/scatter_allreduce_sgd.cpp
// differs from [BAGUA]: ranges in chunks of a few thousand values, shifted (codec/minmax_u8.hpp); not hierarchical; n chunks of
// d/n values without padding. No error feedback, as there: what rounding takes from a gradient is gone.
// Passes a round, in vectors, besides those of scatter_mean: reads x, mean; writes x.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <rubato/algorithm/asked_gradient.hpp>
#include <rubato/algorithm/mean_step.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/algorithm/scatter_mean.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/core/node.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// Every node ends every round with the same model. Needs lossless, ordered links; a slow node slows all. The star and the
/// ring send the same bytes over fewer links; here a message takes two hops whatever n is.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::identity, class Step = step::sgd>
class scatter_allreduce_sgd {
  static_assert(step::check_step<Step, Backend>());

 public:
  using backend_type = Backend;
  static constexpr auto name() -> std::string_view { return "scatter all-reduce SGD"; }
  static void visit_state(auto& self, auto&& visit) {
    visit.same("node", to_index(self.self_)), visit.same("values", self.x_.size());
    visit("seed", self.seed_), visit("step", self.step_state_), visit("mean", self.mean_), visit("x", self.x_);
    visit("rounds", self.rounds_), visit("gradients", self.gradients_), visit("gradient asked for", self.asked_);
  }
  using scalar = typename Backend::scalar;
  struct options {
    double step = 0.1;
    step_scale scale = step_scale::per_gain;
    std::uint64_t seed = 0;
    std::size_t block_values = 0;
    Step step_rule{};
    Codec codec{};

    static void visit_options(auto& self, auto&& visit) {
      detail::visit_common_options(self, visit);
      visit("step rule", self.step_rule);
      visit("codec", self.codec);
    }
  };

  /// An all-to-all of its own, whatever the network.
  [[nodiscard]] static auto arrange(topology::pair const& network) -> mixing::plan {
    return mixing::all_to_all_plan(network.pull().nodes());
  }
  static constexpr bool calibrates = false;
  static void agree(options&, block_partition const&, std::span<double const>, std::size_t) {}
  static auto channels() -> std::span<channel_spec const> {
    static constexpr std::array<channel_spec, 1> all{detail::scatter_mean<Backend, Codec>::spec};
    return all;
  }

  scatter_allreduce_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : backend_{std::move(b)},
        self_{self},
        gamma_{rubato::raw_step(o, plan.gain)},
        seed_{o.seed},
        step_state_{o.step_rule, backend_, x0.size()},
        mean_{self, plan.nodes[to_index(self)].nodes, x0.size(), o.codec},
        x_{std::move(x0)} {}

  void start(instant, outbox& out) { request_gradient(out); }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.lane != channel::chunk || !(p.life == session{})) return;
    mean_.accept(p, out);
    if (!out.failure) go_on(now, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!asked_.accept(g)) return;
    ++gradients_;
    mean_.begin(backend_, g.value.template view<scalar>().data(), now, out);
    go_on(now, out);
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  /// An all-reduce cannot do without one of its nodes.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::closes) {
      out.failure = fault{"node " + std::to_string(to_index(change.peer)) +
                          " left the all-reduce, which needs every node; use r_fast where nodes may leave"};
    }
  }

  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  [[nodiscard]] auto statistics() const -> node_statistics {
    node_statistics s{rounds_, gradients_, asked_.dropped(), {}};
    mean_.add_statistics(s);
    return s;
  }
  void audit(tracking_audit& a) const { a = {}; }

 private:
  void request_gradient(outbox& out) { asked_.ask(x_, {seed_, self_, rounds_}, out); }

  void go_on(instant now, outbox& out) {
    if (mean_.advance(backend_, now, out)) {
      auto const mean = mean_.take_mean();
      if (!detail::step_on(backend_, x_, step_state_.next(gamma_), {mean.data()})) {  // (C.X)
        out.failure = mean_.spoilt(backend_.pool().values(mean.data(), mean.size()));
      }
      ++rounds_;
      request_gradient(out);
    } else if (!asked_.under_way() && !out.failure) {
      out.wait = mean_.missing();
    }
  }

  Backend backend_;
  node_id self_;
  double gamma_;
  std::uint64_t seed_;
  typename Step::template state<Backend> step_state_;
  detail::scatter_mean<Backend, Codec> mean_;
  shared_buffer x_;
  std::uint64_t rounds_ = 0, gradients_ = 0;
  detail::asked_gradient asked_;
};

}  // namespace rubato

// SPDX-License-Identifier: MIT
// Local SGD with an averaging of models that nobody waits for, node i of n.   Source: BAGUA's asynchronous model average,
// arXiv 2107.01499 and its public code. Formulas (C.*) of the averaging: scatter_mean.hpp.
//   (V.L)  x <- x - gamma g(x as it was asked for)                          local step, whatever else goes on
//   (V.S)  s <- x, given to the averaging, when the last one is complete and `local_steps` steps were made since
//   (V.C)  x <- mean(s_1 .. s_n) + (x - s)                                  what was learnt meanwhile stays
// invariant: without steps meanwhile all models become equal, bit for bit; the corrections mean - s add up to zero but for
// the rounding of sums and the codec                              tests/unit/algorithm/async_model_average.cpp
// differs from [BAGUA]: an average begins by count, not by time; the correction does not wait for a gradient under way.
// Passes, in vectors: a local step reads x, g, writes x; an average those of scatter_mean, and reads x, s, mean, writes x.
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
#include <rubato/core/host_device.hpp>
#include <rubato/core/node.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

/// x_new <- mean + (x - s): exactly the mean where x is s. Reads 3n, writes n.
template<class T>
struct correction_kernel {
  T const* x;
  T const* s;
  T const* mean;
  T* x_new;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const fresh = at.load(mean) + (at.load(x) - at.load(s));
    at.expect_finite(fresh);
    at.store(x_new, fresh);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 * sizeof(T); }
};

}  // namespace detail

/// Never waits: a slow node delays averages, not the others' steps. Its data count less, as it makes fewer steps, so with
/// data that differ from node to node the models end beside the optimum. Needs lossless, ordered links.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::identity, class Step = step::sgd>
class async_model_average {
  static_assert(step::check_step<Step, Backend>());

 public:
  using backend_type = Backend;
  static constexpr auto name() -> std::string_view { return "asynchronous model average"; }
  static void visit_state(auto& self, auto&& visit) {
    visit.same("node", to_index(self.self_)), visit.same("values", self.x_.size());
    visit("seed", self.seed_), visit("step", self.step_state_), visit("mean", self.mean_), visit("x", self.x_), visit("snapshot", self.snapshot_);
    visit("since snapshot", self.since_snapshot_), visit("steps", self.steps_), visit("gradient asked for", self.asked_);
  }
  using scalar = typename Backend::scalar;
  struct options {
    double step = 0.1;
    step_scale scale = step_scale::per_gain;
    std::uint64_t seed = 0;
    std::size_t block_values = 0;
    std::uint64_t local_steps = 1;  ///< at least so many between two snapshots
    Step step_rule{};
    Codec codec{};

    static void visit_options(auto& self, auto&& visit) {
      detail::visit_common_options(self, visit);
      visit("local steps", self.local_steps);
      visit("step rule", self.step_rule);
      visit("codec", self.codec);
    }
  };

  /// An all-to-all of its own, whatever the network.
  [[nodiscard]] static auto arrange(topology::pair const& network) -> mixing::plan {
    return mixing::all_to_all_plan(network.pull().nodes());
  }
  static constexpr bool calibrates = false;
  static void agree(options& o, block_partition const&, std::span<double const>, std::size_t) {
    if (o.local_steps == 0) throw config_error{"a model is averaged after 1 local step or more, not after 0"};
  }
  static auto channels() -> std::span<channel_spec const> {
    static constexpr std::array<channel_spec, 1> all{detail::scatter_mean<Backend, Codec>::spec};
    return all;
  }

  async_model_average(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : backend_{std::move(b)},
        self_{self},
        local_steps_{o.local_steps},
        gamma_{rubato::raw_step(o, plan.gain)},
        seed_{o.seed},
        step_state_{o.step_rule, backend_, x0.size()},
        mean_{self, plan.nodes[to_index(self)].nodes, x0.size(), o.codec},
        x_{std::move(x0)} {}

  void start(instant, outbox& out) { request_gradient(out); }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.lane != channel::chunk || !(p.life == session{})) return;
    mean_.accept(p, out);
    if (!out.failure) average(now, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!asked_.accept(g)) return;
    if (!detail::step_on(backend_, x_, step_state_.next(gamma_), {values(g.value)})) {  // (V.L)
      out.failure = detail::blame{self_}.gradient(g.value).sentence();
      return;
    }
    ++steps_;
    ++since_snapshot_;
    average(now, out);
    request_gradient(out);
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  /// Without one of its nodes no average is ever complete.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::closes) {
      out.failure = fault{"node " + std::to_string(to_index(change.peer)) +
                          " left the averaging of models, which needs every node; use r_fast where nodes may leave"};
    }
  }

  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  [[nodiscard]] auto statistics() const -> node_statistics {
    node_statistics s{steps_, steps_, asked_.dropped(), {}};
    mean_.add_statistics(s);
    return s;
  }
  void audit(tracking_audit& a) const { a = {}; }

 private:
  [[nodiscard]] static auto values(shared_buffer const& b) -> scalar const* { return b.template view<scalar>().data(); }

  void request_gradient(outbox& out) { asked_.ask(x_, {seed_, self_, steps_}, out); }

  /// Begins averages and corrects the model, as far as steps and messages allow.
  void average(instant now, outbox& out) {
    while (true) {
      if (!mean_.under_way()) {
        if (since_snapshot_ < local_steps_) return;
        since_snapshot_ = 0;
        snapshot_ = x_;  // (V.S)
        mean_.begin(backend_, values(snapshot_), now, out);
      }
      if (!mean_.advance(backend_, now, out)) return;
      auto const mean = mean_.take_mean();
      auto x = backend_.template allocate<scalar>(x_.size());
      auto const raised = backend_.sweep({0, x.size()}, detail::correction_kernel<scalar>{values(x_), values(snapshot_),
                                                                                          mean.data(), x.data()});  // (V.C)
      if ((raised & backend::not_finite) != 0) {
        out.failure = mean_.spoilt(backend_.pool().values(mean.data(), mean.size()));
        return;
      }
      x_ = std::move(x).publish();
      snapshot_ = {};
    }
  }

  Backend backend_;
  node_id self_;
  std::uint64_t local_steps_;
  double gamma_;
  std::uint64_t seed_;
  typename Step::template state<Backend> step_state_;
  detail::scatter_mean<Backend, Codec> mean_;
  shared_buffer x_;
  shared_buffer snapshot_;  // s, while an average is under way
  std::uint64_t since_snapshot_ = 0;
  std::uint64_t steps_ = 0;
  detail::asked_gradient asked_;
};

}  // namespace rubato

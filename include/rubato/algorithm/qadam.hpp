// SPDX-License-Identifier: MIT
// QAdam: Adam on the mean gradient for W rounds, then with v as it is then and the momentum compressed, node i of n.
//   [B] = BAGUA, arXiv 2107.01499, and its public code; [T] = 1-bit Adam, arXiv 2102.02888. shapes: x, m, v, g in R^d
//   round t = 1 .. W:   g = (1/n) sum_j g_j, all-reduced in full precision; Adam's step (step/adam.hpp)        warm-up
//   round t > W:
//     (Q.M)  m_i <- b1 m + (1-b1) g_i(x)                                          from the common m
//     (Q.R)  m   <- mean of all m_i, compressed twice                             (C.*) of detail/scatter_mean.hpp
//     (Q.X)  x   <- x - gamma (m / (1-b1^t)) / (sqrt(v / (1-b2^W)) + epsilon)
// invariants: x, m and v are equal at all nodes bit for bit after a round; v does not move after round W; a warm-up
// that never ends is Adam on the mean gradient                                           tests/unit/algorithm/qadam.cpp
// differs from [B]: what compression drops is sent later at both ends (codec::error_feedback, as in [T]; [B]'s code has
// none: give it codec::bagua_u8 bare). 1-b2^W is frozen with v: in [B]'s code it goes on to 1, so that steps grow by up
// to 1/sqrt(1-b2^W) where nothing else does. There is no weight decay.
// Passes a round, in vectors, besides those of scatter_mean: Adam's (reads x, the mean, m, v; writes x, m, v) and,
// after the warm-up, (Q.M): reads m, g_i, writes m_i.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/detail/scatter_mean.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/adam.hpp>

namespace rubato {

namespace detail {

template<class Codec>
struct qadam_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  step::adam step_rule{};
  Codec codec{};
  std::uint64_t warm_up = 100;  ///< W
  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule, "of both phases");
    visit("codec", self.codec, "how momentum is coded");
    visit("warm up", self.warm_up, "rounds in full precision, after which the mean square stays");
  }
};

/// out <- keep m + share g.
template<class T>
struct own_momentum_kernel {
  T const* m;
  T const* g;
  T* out;
  T keep;
  T share;
  static constexpr bool raises = false;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const fresh = keep * at.load(m) + share * at.load(g);
    at.expect_finite(fresh);
    at.store(out, fresh);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

}  // namespace detail

/// Every node ends every round with the same model. Needs lossless, ordered links; a slow node slows all. Gradients
/// travel on the channel gradient, momentum on the channel chunk. Memory in vectors: x, g, m, v, the mean under way,
/// and the errors of the codec (1 + 1/n).
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::error_feedback<codec::minmax_u8>>
class qadam : public detail::node_core<Backend, detail::qadam_options<Codec>> {
  using core = detail::node_core<Backend, detail::qadam_options<Codec>>;
  using warm_mean = detail::scatter_mean<Backend, codec::identity, codec::use::sums, channel_id::gradient>;
  using coded_mean = detail::scatter_mean<Backend, Codec, codec::use::sums>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "QAdam"; }

  /// All-to-all, whatever the network.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::all_to_all_plan(network.pull().nodes());
  }
  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t) {
    if (o.warm_up == 0)
      throw config_error{"QAdam divides by what its warm-up has learnt, so it takes one round at least"};
  }
  static constexpr std::array all_channels{warm_mean::spec, coded_mean::spec};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  qadam(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        gradients_mean_{self, plan.nodes[to_index(self)].nodes, core::size(), codec::identity{}, o.seed},
        momentum_mean_{self, plan.nodes[to_index(self)].nodes, core::size(), o.codec, o.seed} {}

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    if (warms_up()) {
      gradients_mean_.begin(this->backend_, core::values_of(g.value), now, posting_gradients(now, out));
    } else if (auto const own = own_momentum(g.value, out); !out.failure) {
      momentum_mean_.begin(this->backend_, own.data(), now, posting_momentum(now, out));
    }
    go_on(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const ours = (p.channel == channel_id::gradient && gradients_mean_.accept(p, out)) ||
                      (p.channel == channel_id::chunk && momentum_mean_.accept(p, out));
    if (ours) go_on(now, out);
  }

  /// An all-reduce needs every node.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && !is_in_round()) {
      gradients_mean_.resume(change);
      momentum_mean_.resume(change);
      return;
    }
    core::refuse_change(change, "the all-reduce, which needs every node; use r_fast where nodes may leave", out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    gradients_mean_.add_statistics(s);
    momentum_mean_.add_statistics(s);
    return s;
  }
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, this->pending_.under_way() && !is_in_round(), 1, 1};
  }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("mean gradient", self.gradients_mean_), visit("mean momentum", self.momentum_mean_);
  }

 private:
  [[nodiscard]] auto warms_up() const -> bool { return this->iterations_ < this->options_->warm_up; }
  [[nodiscard]] auto is_in_round() const -> bool { return gradients_mean_.under_way() || momentum_mean_.under_way(); }
  [[nodiscard]] auto posting_gradients(instant now, outbox& out) const {
    return this->posting(channel_id::gradient, now, out);
  }
  [[nodiscard]] auto posting_momentum(instant now, outbox& out) const {
    return this->posting(channel_id::chunk, now, out);
  }

  /// m_i; sets out.failure if it is not finite.
  [[nodiscard]] auto own_momentum(shared_buffer const& g, outbox& out) -> writable_buffer<scalar> {
    auto own = this->backend_.template allocate<scalar>(this->size());
    auto const beta1 = this->options_->step_rule.options().beta1;
    auto const raised = this->backend_.sweep(
        {0, own.size()},
        detail::own_momentum_kernel<scalar>{this->step_state_.mean().data(), core::values_of(g), own.data(),
                                            static_cast<scalar>(beta1), static_cast<scalar>(1 - beta1)});  // (Q.M)
    if ((raised & backend::not_finite) != 0) out.failure = detail::blame{this->self_}.gradient(g).sentence();
    return own;
  }

  void go_on(instant now, outbox& out) {
    if (out.failure) return;
    auto const done = warms_up() ? advance(gradients_mean_, posting_gradients(now, out), now, out)
                                 : advance(momentum_mean_, posting_momentum(now, out), now, out);  // (Q.R)
    if (done) {
      ++this->iterations_;
      if (!warms_up()) this->step_state_.freeze();
      this->ask_gradient(out);
    } else if (!this->pending_.under_way() && !out.failure) {
      out.wait = warms_up() ? gradients_mean_.missing() : momentum_mean_.missing();
    }
  }

  /// True if the round is complete; then x has moved.
  template<class Mean, class Post>
  [[nodiscard]] auto advance(Mean& of, Post const& post, instant now, outbox& out) -> bool {
    if (!of.advance(this->backend_, now, post, out)) return false;
    auto const mean = of.take_mean();
    if (!this->step_along(now, mean.data()))  // (Q.X)
      out.failure = of.spoilt(this->backend_.pool().values(mean.data(), mean.size()));
    return true;
  }

  warm_mean gradients_mean_;
  coded_mean momentum_mean_;
};

}  // namespace rubato

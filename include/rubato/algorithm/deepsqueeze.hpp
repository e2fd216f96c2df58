// SPDX-License-Identifier: MIT
// DeepSqueeze, node i.   Source: Tang et al., arXiv 1907.07346, algorithm 1.   W symmetric, doubly stochastic
//   (DS.X)  y   <- x - gamma g(x)
//   (DS.Q)  q_i = Q(y + e), sent to all neighbours                              Q: any contractive codec
//   (DS.E)  e   <- y + e - decode(q_i)                                          what the codec left out
//   (DS.M)  x   <- y + c sum_j w_ij (decode(q_j) - decode(q_i))                 c: the consensus step
// invariant: (DS.M) keeps the sum of x                                                 tests/unit/algorithm/lead.cpp
// Passes a round with k neighbours, in vectors: reads x, g, e, writes y and y + e; encodes it; decodes k + 1 models
// into a scratch vector, of each reads 3 (own: 1) and writes 1; reads 2, writes e; reads y, the mix, writes x.
// Memory: x, y, e, the own decoded model, the mix, two scratch vectors; no replicas.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/replica_rounds.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

/// y <- rule(x, g);  v <- y + e: reads 3, writes 2.
template<class T, class Rule>
struct squeezed_step_kernel {
  T const* x;
  T const* g;
  T const* e;
  T* y;
  T* v;
  Rule rule;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const stepped = rule(at, at.load(x), at.load(g));
    auto const whole = stepped + at.load(e);
    at.expect_finite(whole);
    at.store(y, stepped);
    at.store(v, whole);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 5 * sizeof(T) + Rule::bytes_per_value(); }
};

}  // namespace detail

/// Waits in every round for the models of all neighbours, after its own is sent. Needs lossless, ordered links and
/// fixed neighbours, but keeps nothing of them. Codes whole models, whose errors do not fade: it ends further off the
/// optimum than d_psgd, by an amount of the step, the consensus step and the codec.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec, class Step>
class deepsqueeze : public detail::answered_rounds<deepsqueeze<Backend, Codec, Step>, Backend,
                                                   detail::consensus_options<Codec, Step>, false> {
  using core = detail::answered_rounds<deepsqueeze<Backend, Codec, Step>, Backend,
                                       detail::consensus_options<Codec, Step>, false>;
  friend core;
  static_assert(codec::detail::check_feedback<Codec>());
  static_assert(codec::check_codec<Codec, Backend, core::delivery, codec::use::references>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "DeepSqueeze"; }

  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t) {
    detail::check_consensus(o.consensus);
  }

  /// Throws config_error on a bad step, a neighbour that does not pull from this node, or values that the codec cannot
  /// take.
  deepsqueeze(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan.nodes[to_index(self)], self, std::move(x0), o, plan.gain},
        y_{backend::zeros<scalar>(this->backend_, this->size())},
        error_{backend::zeros<scalar>(this->backend_, this->size())} {
    own_.said = backend::zeros<scalar>(this->backend_, this->size());
  }

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("y", self.y_), visit("error", self.error_), visit("own", self.own_), visit("edges", self.edges_);
  }

  /// e; for tests.
  [[nodiscard]] auto error() const -> std::span<scalar const> { return error_.view(); }

 private:
  /// False if a value is not finite.
  auto send(instant now, scalar const* g, outbox& out) -> bool {
    auto v = this->backend_.template allocate<scalar>(this->size());
    auto const rule = this->next_rule_along(now, {g});
    auto const kernel = detail::squeezed_step_kernel<scalar, std::remove_const_t<decltype(rule)>>{
        this->x(), g, std::as_const(error_).data(), y_.data(), v.data(), rule};
    auto raised = this->backend_.sweep({0, v.size()}, kernel);  // (DS.X)
    auto const body = this->encoded(v.data());  // (DS.Q)
    this->post_to_all(body, now, out);
    auto const finite = this->say(body, 0, own_);
    raised |= this->backend_.sweep(
        {0, v.size()}, detail::from_reference_kernel<scalar>{v.data(), std::as_const(own_.said).data(), error_.data()});
    return finite && (raised & backend::not_finite) == 0;  // (DS.E)
  }

  /// False while messages are missing.
  auto mix(instant now, outbox& out) -> bool {
    std::array<writable_buffer<scalar>, 1> apart;
    if (!this->hear(this->iterations_ + 1, {&own_}, apart, 1, now, out)) return false;
    auto fresh = this->backend_.template allocate<scalar>(this->size());
    auto const kernel = detail::towards_kernel<scalar>{std::as_const(y_).data(), apart[0].data(), fresh.data(),
                                                       static_cast<scalar>(this->options_->consensus)};
    if ((this->backend_.sweep({0, fresh.size()}, kernel) & backend::not_finite) != 0)  // (DS.M)
      out.failure = detail::blame{this->self_}.sentence();
    this->x_ = std::move(fresh).publish();
    return true;
  }

  writable_buffer<scalar> y_;
  writable_buffer<scalar> error_;  // e
  detail::published_vector<scalar> own_;  // the decoded q_i
};

}  // namespace rubato

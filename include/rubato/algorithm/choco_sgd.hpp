// SPDX-License-Identifier: MIT
// CHOCO-SGD, node i.   Source: Koloskova, Stich, Jaggi, arXiv 1902.00340, algorithm 2.
// W symmetric, doubly stochastic;  h_j: what all know of node j
//   (K.X)  x  <- x - gamma g(x)
//   (K.Q)  q_i = Q(x - h_i), sent to all neighbours;  Q: any contractive codec
//   (K.H)  h_i <- h_i + decode(q_i);  h_j <- h_j + decode(q_j)                 the same sum at both ends
//   (K.M)  x  <- x + c sum_j w_ij (h_j - h_i)                                  c: the consensus step
// invariants: h_i and its replicas at all neighbours are equal bit for bit, round by round; (K.M) keeps the sum of x
//                                                                            tests/unit/algorithm/choco_sgd.cpp
// differs from the paper: h_i begins with the common first model, which all know, and not with 0.
// Passes a round with k neighbours, in vectors: reads x, g, writes x; reads x, h, writes the difference; encodes it;
// decodes k + 1 differences into a scratch vector and adds each (reads 2, writes 1); reads x, h, k replicas, writes x.
// Memory: x, h, a scratch vector, k replicas.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/replica_rounds.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

/// x_new <- x + sum_j weight_j (h_j - h): reads x, h and the replicas, writes x_new.
template<class T>
struct reference_mix_kernel {
  T const* x;
  T const* h;
  T* x_new;
  backend::table<model_source<T>> replicas;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const own = at.load(h);
    auto mixed = at.load(x);
    auto const* const them = entries_of(at, replicas);
    for (std::size_t j = 0; j < replicas.size(); ++j) {
      mixed = mixed + them[j].weight * (at.load(them[j].values) - own);
    }
    at.expect_finite(mixed);
    at.store(x_new, mixed);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (3 + replicas.size()) * sizeof(T); }
};

}  // namespace detail

/// Waits in every round for the differences of all neighbours, after its own is sent. Needs lossless, ordered links and
/// fixed neighbours. Any contractive codec will do, with a consensus step that is small enough for it. Ends off the
/// optimum, further than d_psgd, by an amount of step / consensus.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec, class Step>
class choco_sgd
    : public detail::answered_rounds<choco_sgd<Backend, Codec, Step>, Backend, detail::consensus_options<Codec, Step>> {
  using core =
      detail::answered_rounds<choco_sgd<Backend, Codec, Step>, Backend, detail::consensus_options<Codec, Step>>;
  friend core;
  static_assert(codec::check_codec<Codec, Backend, core::delivery, codec::use::references>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "CHOCO-SGD"; }

  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t) {
    detail::check_consensus(o.consensus);
  }

  /// Throws config_error on a bad step, a neighbour that does not pull from this node, or values that the codec cannot
  /// take.
  choco_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan.nodes[to_index(self)], self, std::move(x0), o, plan.gain},
        known_{backend::copied(this->backend_, this->x(), this->size())} {}

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("known", self.known_), visit("edges", self.edges_);
  }

  /// h_i, which all neighbours know; for tests.
  [[nodiscard]] auto known() const -> std::span<scalar const> { return known_.view(); }

 private:
  /// False if a value is not finite.
  auto send(instant now, scalar const* g, outbox& out) -> bool {
    if (!this->step_along(now, g)) return false;  // (K.X)
    auto z = this->backend_.template allocate<scalar>(this->size());
    auto const raised =
        this->backend_.sweep({0, z.size()}, detail::from_reference_kernel<scalar>{this->x(), known_.data(), z.data()});
    auto const body = this->encoded(z.data());  // (K.Q)
    this->post_to_all(body, now, out);
    return this->add(body, known_.data()) && (raised & backend::not_finite) == 0;  // (K.H)
  }

  /// False while replicas are not of this round.
  auto mix(instant now, outbox& out) -> bool {
    if (!this->catch_up(this->iterations_ + 1, now, out)) return false;
    auto mixed = this->backend_.template allocate<scalar>(this->size());
    auto const kernel = detail::reference_mix_kernel<scalar>{this->x(), known_.data(), mixed.data(),
                                                             this->weighted_replicas(this->options_->consensus)};
    if ((this->backend_.sweep({0, mixed.size()}, kernel) & backend::not_finite) != 0) {  // (K.M)
      out.failure = detail::blame{this->self_}.sentence();
    }
    this->x_ = std::move(mixed).publish();
    return true;
  }

  writable_buffer<scalar> known_;  // h_i
};

}  // namespace rubato

// SPDX-License-Identifier: MIT
// D-PSGD that sends compressed differences (DCD-PSGD), node i.   Source: Tang et al., arXiv 1803.06443, and BAGUA's
// low-precision decentralised SGD, arXiv 2107.01499.   W symmetric, doubly stochastic; w_j: published model of node j
//   (D.Z)  z   = [sum_j w_ij w_j - gamma g(w_i)] - w_i                      the step of D-PSGD, as a difference
//   (D.Q)  q_i = Q(z), sent to all neighbours
//   (D.W)  w_i <- w_i + decode(q_i);  w_j <- w_j + decode(q_j)              the same sum at both ends
// invariant: w_i at node i and its replicas at all neighbours are equal bit for bit, round by round
//                                                                 tests/unit/algorithm/low_precision_d_psgd.cpp
// differs from [BAGUA]: any such W instead of thirds on a ring; the gradient is computed at w_i while messages travel.
// Passes a round with k neighbours, in vectors: reads w, k replicas, g, writes z; encodes z; copies w, since the former
// one was published; decodes k + 1 differences into a scratch vector and adds each (reads 2, writes 1). Memory: w, z, a
// scratch vector, k replicas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/replica_rounds.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

/// z <- rule(w_ii w + sum_j w_ij w_j, g) - w: reads w, g and the replicas, writes z.
template<class T, class Rule>
struct difference_kernel {
  T const* w;
  T const* g;
  T* z;
  T self_weight;
  backend::table<model_source<T>> replicas;
  Rule rule;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const own = at.load(w);
    auto mixed = self_weight * own;
    auto const* const them = entries_of(at, replicas);
    for (std::size_t j = 0; j < replicas.size(); ++j) mixed = mixed + them[j].weight * at.load(them[j].values);
    auto const difference = rule(at, mixed, at.load(g)) - own;
    at.expect_finite(difference);
    at.store(z, difference);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t {
    return (3 + replicas.size()) * sizeof(T) + Rule::bytes_per_value();
  }
};

}  // namespace detail

/// Waits for the last round of its neighbours before it mixes. Needs lossless, ordered links and a fixed neighbourhood:
/// one lost difference would separate a model from its replicas for good. The codec must be fine enough for the graph;
/// minmax_u8 is. Ends where d_psgd ends: differences fade, and their rounding with them.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::minmax_u8, class Step = step::sgd>
class low_precision_d_psgd : public detail::overlapped_rounds<low_precision_d_psgd<Backend, Codec, Step>, Backend,
                                                              detail::coded_options<Codec, Step>> {
  using core = detail::overlapped_rounds<low_precision_d_psgd<Backend, Codec, Step>, Backend,
                                         detail::coded_options<Codec, Step>>;
  friend core;
  static_assert(codec::check_codec<Codec, Backend, core::delivery, codec::use::differences>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "low-precision D-PSGD"; }

  static constexpr bool takes_negative_weights = true;  ///< as d_psgd

  /// Throws config_error on a bad step or a neighbour that does not pull from this node.
  low_precision_d_psgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan.nodes[to_index(self)], self, std::move(x0), o, plan.gain},
        self_weight_{static_cast<scalar>(plan.nodes[to_index(self)].pull_self)} {}

 private:
  /// q_i; empty until all replicas are of this round.
  auto advance(instant now, shared_buffer const& g, outbox& out) -> shared_buffer {
    if (!this->catch_up(this->iterations_, now, out)) return {};
    auto body = encoded_difference(now, g, out);
    auto fresh = backend::copied(this->backend_, this->x(), this->size());
    if (!this->add(body, fresh.data()) && !out.failure)  // (D.W)
      out.failure = detail::blame{this->self_}.gradient(g).sentence();
    this->x_ = std::move(fresh).publish();
    return body;
  }

  [[nodiscard]] auto encoded_difference(instant now, shared_buffer const& g, outbox& out) -> shared_buffer {
    auto z = this->backend_.template allocate<scalar>(this->size());
    auto const rule = this->next_rule_along(now, {core::values_of(g)});
    auto const kernel = detail::difference_kernel<scalar, std::remove_const_t<decltype(rule)>>{
        this->x(), core::values_of(g), z.data(), self_weight_, this->weighted_replicas(), rule};
    auto const raised = this->backend_.sweep({0, z.size()}, kernel);  // (D.Z)
    if ((raised & backend::not_finite) != 0) out.failure = detail::blame{this->self_}.gradient(g).sentence();
    return this->encoded(z.data());  // (D.Q)
  }

  // w_i is x_ of the core.
  scalar self_weight_;
};

}  // namespace rubato

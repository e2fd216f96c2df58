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

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/replica_core.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

template<class Codec, class Step>
struct choco_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  double consensus = 0.25;  ///< c, above 0 and at most 1; the coarser the codec, the smaller
  Step step_rule{};
  Codec codec{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("consensus", self.consensus, "how far models move towards those of neighbours; less with a coarse codec");
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("codec", self.codec, "how messages are coded");
  }
};

/// z <- x - h: reads x, h, writes z.
template<class T>
struct from_reference_kernel {
  T const* x;
  T const* h;
  T* z;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const difference = at.load(x) - at.load(h);
    at.expect_finite(difference);
    at.store(z, difference);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

/// x_new <- x + sum_j weight_j (h_j - h): reads x, h and the replicas, writes x_new.
template<class T>
struct reference_mix_kernel {
  T const* x;
  T const* h;
  T* x_new;
  table<model_source<T>> replicas;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const own = at.load(h);
    auto mixed = at.load(x);
    for (std::size_t j = 0; j < replicas.size; ++j) {
      mixed = mixed + replicas.entries[j].weight * (at.load(replicas.entries[j].values) - own);
    }
    at.expect_finite(mixed);
    at.store(x_new, mixed);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (3 + replicas.size) * sizeof(T); }
};

}  // namespace detail

/// Waits in every round for the differences of all neighbours, after its own is sent. Needs lossless, ordered links and
/// fixed neighbours. Any contractive codec will do, with a consensus step that is small enough for it. Ends off the
/// optimum, further than d_psgd, by an amount of step / consensus.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec, class Step>
class choco_sgd : public detail::replica_core<Backend, detail::choco_options<Codec, Step>> {
  using core = detail::replica_core<Backend, detail::choco_options<Codec, Step>>;
  static constexpr auto delivery = channel_kind::event;
  static_assert(codec::check_codec<Codec, Backend, delivery, codec::use::references>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "CHOCO-SGD"; }

  /// Metropolis-Hastings weights on the network, taken as undirected.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::gossip_plan(network);
  }
  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t) {
    if (!(o.consensus > 0 && o.consensus <= 1)) {
      throw config_error{"the consensus step is above 0 and at most 1, not " + shortest(o.consensus)};
    }
  }
  static constexpr std::array<std::string_view, 1> own_options{"step"};
  static constexpr std::array all_channels{channel_spec{
      channel_id::model, delivery, element_of<typename Codec::template code<scalar>>, 0, body_form::codes}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  /// Throws config_error on a bad step, a neighbour that does not pull from this node, or values that the codec cannot
  /// take.
  choco_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan.nodes[to_index(self)], self, std::move(x0), o, plan.gain},
        known_{backend::copied(this->backend_, this->x(), this->size())} {}

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    if (!this->step_along(now, core::values_of(g.value)) || !send(now, out)) {  // (K.X)
      out.failure = detail::blame{this->self_}.gradient(g.value).sentence();
      return;
    }
    go_on(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const sent = this->iterations_ + (this->at_begin() ? 0 : 1);
    if (this->keep(p, all_channels[0].values, sent, out) && !this->at_begin()) go_on(now, out);
  }

  /// At the start of a round all replicas are of the last one, so nothing is sent again.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && this->at_begin()) {
      auto* const edge = detail::find_edge(this->edges_, change.peer);
      if (edge == nullptr) return;
      edge->change(change);
      edge->ahead.clear();
      return;
    }
    core::refuse_change(
        change, "a run on compressed differences, which needs fixed neighbours; use d_psgd where they change", out);
  }

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("known", self.known_), visit("edges", self.edges_);
  }

  /// h_i, which all neighbours know; for tests.
  [[nodiscard]] auto known() const -> std::span<scalar const> { return known_.view(); }

 private:
  /// False if a value is not finite.
  auto send(instant now, outbox& out) -> bool {
    auto z = this->backend_.template allocate<scalar>(this->size());
    auto const raised =
        this->backend_.sweep({0, z.size()}, detail::from_reference_kernel<scalar>{this->x(), known_.data(), z.data()});
    auto const body = this->encoded(z.data());  // (K.Q)
    this->post_to_all(body, now, out);
    return this->add(body, known_.data()) && (raised & backend::not_finite) == 0;  // (K.H)
  }

  /// After this node's difference is sent: waits until all replicas are of this round too, then completes it.
  void go_on(instant now, outbox& out) {
    if (!this->catch_up(this->iterations_ + 1, now, out)) return;
    auto mixed = this->backend_.template allocate<scalar>(this->size());
    auto const kernel = detail::reference_mix_kernel<scalar>{this->x(), known_.data(), mixed.data(),
                                                             this->weighted_replicas(this->options_->consensus)};
    if ((this->backend_.sweep({0, mixed.size()}, kernel) & backend::not_finite) != 0) {  // (K.M)
      out.failure = detail::blame{this->self_}.sentence();
    }
    this->x_ = std::move(mixed).publish();
    ++this->iterations_;
    this->ask_gradient(out);
  }

  writable_buffer<scalar> known_;  // h_i
};

}  // namespace rubato

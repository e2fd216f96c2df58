// SPDX-License-Identifier: MIT
// LEAD, node i.   Source: Liu, Li, Wang, Tang, Yan, arXiv 2007.00232, algorithm 1.
// W symmetric, doubly stochastic;  h_j: what all know of node j;  c = gamma / 2 of the paper
//   (LE.Y)  y  <- x - eta (g(x) + D)
//   (LE.Q)  q_i = Q(y - h_i), sent to all neighbours;  s_i = h_i + decode(q_i)
//   (LE.H)  h_i <- h_i + a decode(q_i);  h_j <- h_j + a decode(q_j)            the same sum at both ends
//   (LE.D)  D  <- D - (c / eta) sum_j w_ij (s_j - s_i)                         ends at minus the gradient of node i
//   (LE.X)  x  <- y + c sum_j w_ij (s_j - s_i) = x - eta (g(x) + D)            with the new D
// invariants: the D of all nodes sum to 0; h_i and its replicas at all neighbours are equal bit for bit, round by round
//                                                                                     tests/unit/algorithm/lead.cpp
// differs from the paper: replicas instead of the running sum of h_j, whose rounding would move D without end.
// Passes a round with k neighbours, in vectors: reads x, g, D, h, writes y and the difference; encodes it; decodes
// k + 1 differences into a scratch vector, with each reads 4 (own: 2) and writes 2; reads y, D, the mix, writes x, D.
// Memory: x, y, D, h, s, the mix, a scratch vector, k replicas.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/replica_rounds.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

/// y <- rule(x, g + D);  z <- y - h: reads 4, writes 2.
template<class T, class Rule>
struct lead_step_kernel {
  T const* x;
  T const* g;
  T const* correction;
  T const* h;
  T* y;
  T* z;
  Rule rule;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const stepped = rule(at, at.load(x), at.load(g) + at.load(correction));  // (LE.Y)
    auto const difference = stepped - at.load(h);
    at.expect_finite(difference);
    at.store(y, stepped);
    at.store(z, difference);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 6 * sizeof(T) + Rule::bytes_per_value(); }
};

/// x_new <- y + c mix;  D <- D - share mix: reads 3, writes 2.
template<class T>
struct lead_mix_kernel {
  T const* y;
  T const* mix;
  T* correction;
  T* x_new;
  T c;
  T share;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const apart = at.load(mix);
    auto const moved = at.load(y) + c * apart;
    at.expect_finite(moved);
    at.store(x_new, moved);  // (LE.X)
    at.store(correction, at.load(correction) - share * apart);  // (LE.D)
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 5 * sizeof(T); }
};

}  // namespace detail

/// Waits in every round for the differences of all neighbours, after its own is sent. Needs lossless, ordered links and
/// fixed neighbours. Ends at the optimum with a constant step, through one compressed vector an edge and round. The
/// codec is unbiased, or fine (what it leaves out is small).
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::minmax_u8, class Step = step::sgd>
class lead
    : public detail::answered_rounds<lead<Backend, Codec, Step>, Backend, detail::reference_options<Codec, Step>> {
  using core = detail::answered_rounds<lead<Backend, Codec, Step>, Backend, detail::reference_options<Codec, Step>>;
  friend core;
  static_assert(codec::check_codec<Codec, Backend, core::delivery, codec::use::differences>());
  static_assert(
      std::same_as<Step, step::sgd>,
      "LEAD takes plain steps, step::sgd: it counts its correction in steps of eta, and what other rules make "
      "of a direction overshoots");

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "LEAD"; }

  static void resolve_options(options& o, block_partition const& blocks, std::span<double const>, std::size_t) {
    detail::check_references(o, blocks.values());
  }

  /// Throws config_error on a bad step, a neighbour that does not pull from this node, or values that the codec cannot
  /// take.
  lead(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan.nodes[to_index(self)], self, std::move(x0), o, plan.gain},
        y_{backend::zeros<scalar>(this->backend_, this->size())},
        correction_{backend::zeros<scalar>(this->backend_, this->size())},
        own_{this->first_published(0)} {}

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("y", self.y_), visit("correction", self.correction_), visit("own", self.own_), visit("edges", self.edges_);
  }

  /// D_i and h_i; for tests.
  [[nodiscard]] auto correction() const -> std::span<scalar const> { return correction_.view(); }
  [[nodiscard]] auto known() const -> std::span<scalar const> { return own_.known.view(); }

 private:
  /// False if a value is not finite.
  auto send(instant now, scalar const* g, outbox& out) -> bool {
    auto z = this->backend_.template allocate<scalar>(this->size());
    auto const rule = this->next_rule(now);
    auto const kernel = detail::lead_step_kernel<scalar, std::remove_const_t<decltype(rule)>>{
        this->x(), g, std::as_const(correction_).data(), std::as_const(own_.known).data(), y_.data(), z.data(), rule};
    auto const raised = this->backend_.sweep({0, z.size()}, kernel);
    auto const body = this->encoded(z.data());  // (LE.Q)
    this->post_to_all(body, now, out);
    return this->say(body, 0, own_, this->options_->share) && (raised & backend::not_finite) == 0;  // (LE.H)
  }

  /// False while messages are missing.
  auto mix(instant now, outbox& out) -> bool {
    std::array<writable_buffer<scalar>, 1> apart;
    if (!this->hear(this->iterations_ + 1, {&own_}, apart, this->options_->share, now, out)) return false;
    auto const c = this->options_->consensus, eta = this->present_gamma();
    auto fresh = this->backend_.template allocate<scalar>(this->size());
    auto const kernel =
        detail::lead_mix_kernel<scalar>{std::as_const(y_).data(), apart[0].data(),
                                        correction_.data(),       fresh.data(),
                                        static_cast<scalar>(c),   static_cast<scalar>(eta > 0 ? c / eta : 0)};
    if ((this->backend_.sweep({0, fresh.size()}, kernel) & backend::not_finite) != 0)
      out.failure = detail::blame{this->self_}.sentence();
    this->x_ = std::move(fresh).publish();
    return true;
  }

  writable_buffer<scalar> y_;
  writable_buffer<scalar> correction_;  // D_i
  detail::published_vector<scalar> own_;  // h_i and s_i
};

}  // namespace rubato

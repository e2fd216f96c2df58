// SPDX-License-Identifier: MIT
// C-GT (compressed gradient tracking), node i.   Source: Liao, Li, Huang, Pu, arXiv 2103.13748, algorithm 1.
// W symmetric, doubly stochastic;  h_j, k_j: what all know of the model and of the tracker of node j
//   (CG.Y)  y  <- y + c sum_j w_ij (t_j - t_i) + g(x) - g(x of the last round)     at first y = g(x)
//   (CG.X)  x  <- x + c sum_j w_ij (s_j - s_i) - eta y
//   (CG.Q)  q_i = Q(x - h_i), r_i = Q(y - k_i), sent to all neighbours
//           s_i = h_i + decode(q_i), t_i = k_i + decode(r_i)                       what node i said last
//   (CG.H)  h_i <- h_i + a decode(q_i);  k_i <- k_i + a decode(r_i)                the same sums at both ends
// invariants: the trackers sum to the gradients; h, k and their replicas at all neighbours are equal bit for bit
//                                                                                  tests/unit/algorithm/c_gt.cpp
// differs from the paper: h begins with the common first model, which all know, and not with 0; messages travel while
// the gradient is computed, since (CG.X) needs none of this gradient's round.
// Passes a round with k neighbours, in vectors: reads 8, writes 4; encodes two differences; decodes 2 (k + 1) into a
// scratch vector, with each reads 4 (own: 2) and writes 2. Memory: x, y, g, both references and what was said last,
// the mixes, scratch vectors, 2 k replicas.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/compressed_tracking.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// With its gradient, waits for the last messages of all neighbours. Needs lossless, ordered links and fixed
/// neighbours. Ends at the optimum with a constant step, by any codec: for an unbiased one a (1 + omega) is below 2.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::minmax_u8, class Step = step::sgd>
class c_gt
    : public detail::compressed_tracking<c_gt<Backend, Codec, Step>, Backend, detail::reference_options<Codec, Step>> {
  using core = detail::compressed_tracking<c_gt<Backend, Codec, Step>, Backend, detail::reference_options<Codec, Step>>;
  friend core;
  static_assert(codec::check_codec<Codec, Backend, core::delivery, codec::use::damped_references>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "C-GT"; }

  static void resolve_options(options& o, block_partition const& blocks, std::span<double const>, std::size_t) {
    detail::check_references(o, blocks.values());
  }

  /// Throws config_error on a bad step, a neighbour that does not pull from this node, or values that the codec cannot
  /// take.
  c_gt(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {}

 private:
  static constexpr bool announces_first_tracker = true;
  [[nodiscard]] auto share() const -> double { return this->options_->share; }
};

}  // namespace rubato

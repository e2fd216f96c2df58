// SPDX-License-Identifier: MIT
// BEER, node i.   Source: Zhao, Li, Li, Richtarik, Chi, arXiv 2201.13320, algorithm 1.
// Its formulas are (CG.Y) to (CG.H) of c_gt.hpp with a = 1: s_j and t_j are h_j and k_j, after they have moved. The
// first tracker, which is the first gradient, is not sent: k begins to move in the second round.
// invariants: those of c_gt                                                        tests/unit/algorithm/c_gt.cpp
// differs from the paper: h begins with the common first model, which all know, and not with 0.
// Passes and memory: as c_gt.
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
/// neighbours. Ends at the optimum with a constant step, by any contractive codec, if the consensus step is small
/// enough for it.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::minmax_u8, class Step = step::sgd>
class beer
    : public detail::compressed_tracking<beer<Backend, Codec, Step>, Backend, detail::consensus_options<Codec, Step>> {
  using core = detail::compressed_tracking<beer<Backend, Codec, Step>, Backend, detail::consensus_options<Codec, Step>>;
  friend core;
  static_assert(codec::check_codec<Codec, Backend, core::delivery, codec::use::references>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "BEER"; }

  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t) {
    detail::check_consensus(o.consensus);
  }

  /// Throws config_error on a bad step, a neighbour that does not pull from this node, or values that the codec cannot
  /// take.
  beer(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {}

 private:
  static constexpr bool announces_first_tracker = false;
  static constexpr auto share() -> double { return 1; }
};

}  // namespace rubato

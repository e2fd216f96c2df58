// SPDX-License-Identifier: MIT
// Stochastic gradient push, node i.   Source: SGP, Assran, Loizou, Ballas, Rabbat, arXiv 1811.10792.
// (OS.X) to (OS.Z) of osgp.hpp with overlap 0 in rounds, p the column-stochastic weights of its plan:
//   (SG.R) x_i <- sum_j p_ij (x_j - gamma g_j(z_j)),  w_i <- sum_j p_ij w_j        of one and the same round
// osgp with overlap 0 merges the message of a neighbour that is already a round ahead, and so depends on speeds; here
// it waits for its round. The result is that of the synchronous method, bit for bit, whatever the speeds.
// invariants: as osgp.hpp.   At rest with a constant step and exact gradients, r the Perron vector of p with sum n:
//   r_i z_i = sum_j p_ij (r_j z_j - gamma g_j(z_j)), so sum_i g_i(z_i) = 0 at models that lie O(gamma) apart.
// differs from the source: on a graph that stays every round sends to all out-neighbours. One or two in turn, as in the
// source, are a graph that changes, with p(k) in round k: see osgp.hpp.
// Vectors per local iteration: as osgp.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <rubato/algorithm/options.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// Push-sum in lock-step. Needs lossless, ordered links, and every node.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend, whatever the order of events.
template<backend::array_backend Backend, class Step>
class sgp : public osgp<Backend, Step> {
  using base = osgp<Backend, Step>;

 public:
  using options = detail::step_options<Step>;
  static constexpr auto name() -> std::string_view { return "SGP"; }
  static void resolve_options(options&, block_partition const&, std::span<double const>, std::size_t) {}

  sgp(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : base{std::move(b),
             plan,
             self,
             std::move(x0),
             {o.step, o.scale, o.seed, o.block_values, o.schedule, 0, o.step_rule}} {
    base::meet_at(0, 1);
  }

  /// Each round ends at a meeting of osgp: it merges all that was sent before and nothing that was sent after.
  void on_gradient(instant now, gradient g, outbox& out) {
    base::meet_at(this->iterations_ + 1, 1);  // (SG.R)
    base::on_gradient(now, std::move(g), out);
    base::meet_at(this->iterations_, 1);  // nothing else if that gradient was not asked for
  }
  /// In lock-step every round is one at which nodes can be saved.
  void meet_at(std::uint64_t, std::uint64_t) {}
};

}  // namespace rubato

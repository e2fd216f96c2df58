// SPDX-License-Identifier: MIT
// DCD-PSGD, node i.   Source: Tang, Gan, Zhang, Zhang, Liu, arXiv 1803.06443, algorithm 1 and theorem 1.
// Its formulas are (D.Z) to (D.W) of low_precision_d_psgd.hpp, under the condition of the paper:
//   E |Q(z) - z|^2 <= alpha^2 |z|^2,   alpha < (1 - rho) / (2 mu)
// where rho = |W - 11^T/n| and mu = max_i |1 - lambda_i(W)|. Beyond it, what a codec leaves out of one difference may
// grow from round to round.
// Invariant, passes and memory: as low_precision_d_psgd.
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/codec/bf16.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/spectral.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

/// (1 - rho) / (2 mu) of the plan's W; infinite for one node. A few thousand products of W and a vector at most.
inline auto most_relative_error(mixing::plan const& plan) -> double {
  auto const n = plan.nodes.size();
  if (n < 2) return HUGE_VAL;
  auto weights = std::vector<mixing::entry>{}, turned = weights;
  for (auto const& node : plan.nodes) {
    weights.push_back({node.self, node.self, node.pull_self});
    turned.push_back({node.self, node.self, 2 - node.pull_self});
    for (auto const& e : node.pull_from) {
      weights.push_back({node.self, e.peer, e.weight});
      turned.push_back({node.self, e.peer, -e.weight});
    }
  }
  auto const spectrum = [&](std::vector<mixing::entry>& entries) {
    return mixing::second_singular_value(mixing::from_entries(n, std::move(entries), mixing::stochasticity::doubly,
                                                              "averaging weights", mixing::signs::any));
  };
  auto const mu = spectrum(turned) - 1;  // of 2 I - W: 2 - the least eigenvalue of W
  return (1 - spectrum(weights)) / (2 * mu);
}

}  // namespace detail

/// low_precision_d_psgd that is refused where its codec is too coarse for the graph to promise that differences fade.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::bf16, class Step = step::sgd>
class dcd_sgd : public low_precision_d_psgd<Backend, Codec, Step> {
  using base = low_precision_d_psgd<Backend, Codec, Step>;

 public:
  using typename base::options;
  static constexpr auto name() -> std::string_view { return "DCD-PSGD"; }

  /// Throws config_error on a bad step, a neighbour that does not pull from this node, or a codec that the condition of
  /// the paper excludes on this graph (node 0 looks, for all).
  dcd_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : base{std::move(b), plan, self, std::move(x0), o} {
    if (self != node_id{}) return;
    auto const alpha = std::sqrt(o.codec.relative_error(this->size())), most = detail::most_relative_error(plan);
    if (alpha < most) return;
    throw config_error{"the codec leaves out up to " + shortest_in(alpha) + " of a difference of " +
                       std::to_string(this->size()) + " values, where DCD-PSGD on this graph bears less than " +
                       shortest_in(most) + ": use a finer codec, a graph that mixes faster, or choco_sgd"};
  }

 private:
  static auto shortest_in(double share) -> std::string { return shortest(std::round(share * 1e5) / 1e5); }
};

}  // namespace rubato

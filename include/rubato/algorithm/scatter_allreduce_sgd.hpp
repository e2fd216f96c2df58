// SPDX-License-Identifier: MIT
// Synchronous SGD on the mean of compressed gradients, node i of n.   Source: BAGUA's C_LP_S, arXiv 2107.01499, and
// ByteGrad of its public code; with codec::identity the scatter-reduce form of all-reduce. Formulas (C.*):
// scatter_mean.hpp.
//   (C.X)  x <- x - gamma mean,  mean = the gathered (1/n) sum_j decode(Q(g_j)), compressed twice
// invariant: all replicas are equal bit for bit after a round     tests/unit/algorithm/scatter_allreduce_sgd.cpp
// differs from [BAGUA]: each range covers a chunk of a few thousand values and is shifted (codec/minmax_u8.hpp); it is
// not hierarchical; there are n chunks of d/n values without padding. No error feedback by itself, as in BAGUA:
// what rounding removes from a gradient is lost. With codec::error_feedback it is the two-sided form (DoubleSqueeze),
// with codec::ef21 it comes to the optimum with any contractive codec.
// Passes a round, in vectors, besides those of scatter_mean: reads x, mean; writes x.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/detail/scatter_mean.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// Every node ends every round with the same model. Needs lossless, ordered links; a slow node slows all. The star and
/// the ring send the same bytes over fewer links; here a message takes two hops whatever n is.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec, class Step>
class scatter_allreduce_sgd : public detail::node_core<Backend, detail::coded_options<Codec, Step>> {
  using core = detail::node_core<Backend, detail::coded_options<Codec, Step>>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "scatter all-reduce SGD"; }

  /// All-to-all, whatever the network.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::all_to_all_plan(network.pull().nodes());
  }
  static constexpr std::array all_channels{detail::scatter_mean<Backend, Codec, codec::use::sums>::spec};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  scatter_allreduce_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        mean_{self, plan.nodes[to_index(self)].nodes, core::size(), o.codec, o.seed} {}

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    mean_.begin(this->backend_, core::values_of(g.value), now, this->posting(channel_id::chunk, now, out));
    go_on(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.channel == channel_id::chunk && mean_.accept(p, out)) go_on(now, out);
  }

  /// An all-reduce needs every node.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && !mean_.under_way()) return mean_.resume(change);
    core::refuse_change(change, "the all-reduce, which needs every node; use r_fast where nodes may leave", out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    mean_.add_statistics(s);
    return s;
  }
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, this->pending_.under_way() && !mean_.under_way(), 1, 1};
  }
  static void visit_state(auto& self, auto&& visit) { core::visit_state(self, visit), visit("mean", self.mean_); }

 private:
  void go_on(instant now, outbox& out) {
    if (mean_.advance(this->backend_, now, this->posting(channel_id::chunk, now, out), out)) {
      auto const mean = mean_.take_mean();
      if (!this->step_along(now, mean.data())) {  // (C.X)
        out.failure = mean_.spoilt(this->backend_.pool().values(mean.data(), mean.size()));
      }
      ++this->iterations_;
      this->ask_gradient(out);
    } else if (!this->pending_.under_way() && !out.failure) {
      out.wait = mean_.missing();
    }
  }

  detail::scatter_mean<Backend, Codec, codec::use::sums> mean_;
};

}  // namespace rubato

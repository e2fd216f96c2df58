// SPDX-License-Identifier: MIT
// ASY-SONATA, node i.   [A] = Tian, Sun, Scutari, arXiv 1803.10359.   x, v, z, g, rho in R^d; d_i out-neighbours in A
// One pass of r_fast.hpp from each gradient to the next, (R.T) to (R.W), where all push weights of a node are equal, so
// that one running sum serves all of its out-neighbours:
//   (AS.A)  p = a_i z ;  rho_i <- rho_i + p ;  z <- z - d_i p              p is rounded once; rho is broadcast
//   (AS.B)  v and rho of an iteration leave together, after its gradient   R-FAST posts v before it
// invariant: sum_i z_i + sum_(i->j) (rho_i - rho~_ij) = sum_i g_i, where rho_i counts from when edge (i, j) opened,
// debts of closed edges counted with z                                            tests/property/conservation.cpp
// differs from [A]: gradients are of samples; what is summed is p in place of z, so that receivers add what has been
// rounded, and with the ledger of float the law is exact; the optional scalar that [A] tracks beside z is left out.
// step, vectors and memory: as r_fast.hpp, with one rho for all out-edges that opened at the same time.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>

namespace rubato {

/// As r_fast, whose running sums and messages it has, in the order of its paper. Needs equal push weights of each node.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Weighting, class Ledger, class SumCodec>
class asy_sonata : public r_fast<Backend, Step, Weighting, Ledger, SumCodec> {
  using base = r_fast<Backend, Step, Weighting, Ledger, SumCodec>;

 public:
  using typename base::options;
  static constexpr auto name() -> std::string_view { return "ASY-SONATA"; }
  static void visit_state(auto& self, auto&& visit) { base::visit_state(self, visit), visit("v", self.v_); }

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step, an unsuitable weighting,
  /// and unless the node pushes with the same weight to all.
  asy_sonata(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : base{std::move(b), plan, self, std::move(x0), o} {
    auto const& to = plan.nodes[to_index(self)].push_to;
    if (!std::all_of(to.begin(), to.end(), [&](auto const& e) { return e.weight == to.front().weight; }))
      throw config_error("ASY-SONATA sends one sum to all, and node " + std::to_string(to_index(self)) +
                         " pushes with weights that differ: make them equal (mixing::uniform_push), or use R-FAST");
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    auto const first = !this->tracker_.has_tracked();  // z_0 = g(x_0), and nothing is posted yet
    this->tracker_.receive(std::move(g.value));
    auto v = this->iterate({.pulls = true, .tracks = true, .consumes = !first, .pushes = !first}, now, out);  // (AS.A)
    if (!v) return;
    if (!first) {
      this->post_model(v_, now, out);  // (AS.B)
      ++this->iterations_;
    }
    v_ = std::move(v);
    this->ask_gradient(out);
  }

 private:
  shared_buffer v_;  // of the iteration under way
};

}  // namespace rubato

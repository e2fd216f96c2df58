// SPDX-License-Identifier: MIT
// DiLoCo with a quorum, a server and n workers: a round takes the local work of the first m workers at the current
// model, and of all that come within a grace period after the m-th; later work is dropped, or its steps are stopped.
//   (Fb.L)  worker i: s <- s + g(x_k - gamma s), H times from s = 0; sends s, so D_i = gamma s
//   (Qu.W)  server: the round ends when m results are there and `grace` has passed since the m-th, or when all are
//   (Qu.X)  x_{k+1} <- x_k - rate R(mean D), the D of the results summed by id; sent to all
// Formulas (M.*): m_synchronous_sgd.hpp, whose core this shares. R: the rule of Outer (algorithm/outer.hpp).
// Source: ours, after Decoupled DiLoCo, arXiv 2604.21428, of which only summaries were read.
// invariant: with m = n this is diloco, whatever the speeds and the grace period.
//                                                                  tests/unit/algorithm/m_synchronous_sgd.cpp
// limit: that of local_sgd over the workers that come in time; the data of the others do not count.
// differs from [Decoupled DiLoCo]: the whole model at once, all results count alike (each is of H steps), and a worker
// that comes too late goes on at the new model, with nothing of its own kept.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/outer.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/fwd.hpp>
#include <rubato/server/concepts.hpp>
#include <rubato/server/delay_threshold.hpp>
#include <rubato/server/local_steps.hpp>

namespace rubato {

namespace detail {

template<class Outer>
struct quorum_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  std::size_t m = 0;  ///< results that a round waits for at least; 0: all n
  std::chrono::nanoseconds grace{0};  ///< after the m-th result
  server::local_steps work{.count = 4};
  server::late_jobs late = server::late_jobs::stop;
  double rate = Outer{}.rate;
  decltype(Outer::rule) step_rule = Outer{}.rule;

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("m", self.m, "results that a round waits for at least; 0: one of each node");
    visit("grace", self.grace, "how long a round goes on after the m-th result");
    visit("work", self.work, "local steps of a worker in a round");
    visit("late jobs", self.late, "stop: a new model ends the work at the old one; finish: it does not");
    visit("rate", self.rate, "the outer step, in terms of the mean local work");
    visit("step rule", self.step_rule, "how the outer step is made of the mean local work");
  }
  /// Throws config_error unless the server can tell what workers have done.
  void check_work() const { server::check_local_rate(work.rate, "a server with an outer step"); }
  /// Throws config_error.
  void check() const {
    if (grace.count() < 0)
      throw config_error{"a grace period lasts 0 or more, not " +
                         shortest(std::chrono::duration<double>{grace}.count()) + "s"};
    work.check();
    outer::check_rate(*this);
  }
};

}  // namespace detail

/// Both roles in one class; the neighbourhood says which one a node has. Needs lossless, ordered links. A worker that
/// joins or returns gets the current model, and a worker whose server is gone waits for it. With m = n a lost worker
/// ends the run. `.work.count`: H. The schedule of the step changes the server's part only, so keep it constant.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Outer>
class quorum_diloco : public detail::m_synchronous_core<Backend, detail::quorum_options<Outer>> {
  static_assert(outer::check_outer<Outer, Backend>());

 public:
  using detail::m_synchronous_core<Backend, detail::quorum_options<Outer>>::m_synchronous_core;
  static constexpr auto name() -> std::string_view { return "quorum DiLoCo"; }
};

}  // namespace rubato

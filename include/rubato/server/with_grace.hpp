// SPDX-License-Identifier: MIT
// A server that waits for a while after a result, so that workers that end about together go on at one model:
//   (Wg.O)  a result that finds no window open opens one, of `grace`; each result moves the model as it comes
//   (Wg.E)  when the window ends, or nobody computes any more, all whose results have come get the model as it is
// So results of one window are applied one after another, in order of arrival, and none of their workers begins at a
// model that lacks one of them. With grace 0 each worker goes on at once. Source: the grace period of asynchronous
// DiLoCo, Liu et al., arXiv 2401.09135, by a public implementation; that nobody waits where nobody computes is ours.
#pragma once

#include <chrono>
#include <cstddef>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::server {

/// Policy, see assignment_policy: Work with a grace period. Needs a Work that lets the worker whose result came go on.
template<class Work>
struct with_grace : Work {
  std::chrono::nanoseconds grace{0};  ///< from a result to the models for all whose results have come by then

  static void visit_options(auto& self, auto&& visit) {
    Work::visit_options(self, visit);
    visit("grace", self.grace, "how long the server waits after a result for others, which go on at the same model");
  }
  /// Throws config_error.
  void resolve_options(std::size_t workers) const {
    if (grace.count() < 0)
      throw config_error{"a grace period lasts 0 or more, not " +
                         shortest(std::chrono::duration<double>{grace}.count()) + "s"};
    if constexpr (requires(Work const& w) { w.resolve_options(workers); }) Work::resolve_options(workers);
  }
};

}  // namespace rubato::server

// SPDX-License-Identifier: MIT
// buffered, with as many gradients as there are workers by default, and the step of a round: one that moves the model
// by gamma times the mean, whatever the number of workers.
#pragma once

#include <cstddef>
#include <string_view>

#include <rubato/server/buffered.hpp>

namespace rubato::server {

/// Policy, see aggregation_policy. Memory and passes are those of buffered.
struct collected {
  static constexpr auto name() -> std::string_view { return "collected"; }
  static constexpr bool by_round = true;
  static constexpr bool by_shard = true;
  static void visit_options(auto& self, auto&& visit) {
    visit("size", self.size, "gradients of which a step takes the mean; 0: as many as workers");
  }
  std::size_t size = 0;

  void resolve_options(std::size_t workers) {
    if (size == 0) size = workers;
  }

  template<class Backend>
  struct state : buffered::state<Backend> {
    state(collected const& c, std::size_t workers)
        : buffered::state<Backend>{buffered{c.size == 0 ? workers : c.size}, workers} {}  // (Rn.X) (Fb.X)
  };
};

}  // namespace rubato::server

// SPDX-License-Identifier: MIT
// Each gradient makes a step of its own. Copies nothing.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <rubato/server/concepts.hpp>

namespace rubato::server {

/// Policy, see aggregation_policy.
struct apply_at_once {
  static constexpr auto name() -> std::string_view { return "apply at once"; }
  static constexpr bool by_shard = true;
  void resolve_options(std::size_t) const {}

  template<class Backend>
  struct state {
    using scalar = typename Backend::scalar;
    state(apply_at_once const&, std::size_t) {}
    auto take(Backend&, shared_buffer const& g, double weight, received_gradient const&)
        -> std::optional<direction<scalar>> {
      return direction<scalar>{g.template view<scalar>().data(), static_cast<scalar>(weight)};
    }
  };
};

}  // namespace rubato::server

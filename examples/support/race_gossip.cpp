// SPDX-License-Identifier: MIT
// race's algorithms in which neighbours exchange models.
#include <array>

#include "support/race_assemble.hpp"

namespace rubato::examples {

auto detail::gossip_entries() -> std::span<algorithm_entry const> {
  static constexpr auto rows = std::to_array<algorithm_entry>({
      {"r_fast", &detail::assemble_as<r_fast<race_backend>>},
      {"push_pull", &detail::assemble_as<push_pull<race_backend>>},
      {"s_ab", &detail::assemble_as<s_ab<race_backend>>},
      {"d_psgd", &detail::assemble_as<d_psgd<race_backend>>},
      {"d_psgd_atc", &detail::assemble_as<d_psgd_atc<race_backend>>},
      {"low_precision_d_psgd", &detail::assemble_as<low_precision_d_psgd<race_backend>>},
      {"non_blocking_d_psgd", &detail::assemble_non_blocking<non_blocking_d_psgd<race_backend>>,
       non_blocking_minibatches},
      {"ad_psgd", &detail::assemble_as<ad_psgd<race_backend>>},
      {"osgp", &detail::assemble_as<osgp<race_backend>>},
  });
  return rows;
}

}  // namespace rubato::examples

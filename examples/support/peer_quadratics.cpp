// SPDX-License-Identifier: MIT
// The algorithms that peer and cluster run on quadratics, compiled once for both.
#include <array>

#include "support/peer_problem.hpp"
#include "support/race_assemble.hpp"

namespace rubato::examples {

auto quadratic_catalogue() -> std::span<quadratic_entry const> {
  static constexpr auto rows = std::to_array<quadratic_entry>({
      {"r_fast", &detail::assemble_as<r_fast<race_backend>, problem::quadratic>},
      {"ring_allreduce_sgd", &detail::assemble_as<ring_allreduce_sgd<race_backend>, problem::quadratic>},
      {"m_synchronous_sgd", &detail::assemble_as<m_synchronous_sgd<race_backend>, problem::quadratic>},
  });
  return rows;
}

}  // namespace rubato::examples

// SPDX-License-Identifier: MIT
// race's collectives, and its servers with workers.
#include <array>
#include <vector>

#include "support/race_assemble.hpp"

namespace rubato::examples {

auto detail::other_entries() -> std::span<algorithm_entry const> {
  static constexpr auto rows = std::to_array<algorithm_entry>({
      {"ring_allreduce_sgd", &detail::assemble_as<ring_allreduce_sgd<race_backend>>},
      {"m_synchronous_sgd", &detail::assemble_as<m_synchronous_sgd<race_backend>>, 1, 1},
      {"asgd", &detail::assemble_as<asgd<race_backend>>, 1, 1},
      {"rescaled_asgd", &detail::assemble_as<rescaled_asgd<race_backend>>, 1, 1},
      {"ringmaster_asgd", &detail::assemble_as<ringmaster_asgd<race_backend>>, 1, 1},
      {"byte_grad", &detail::assemble_as<byte_grad<race_backend>>},
      {"async_model_average", &detail::assemble_as<async_model_average<race_backend>>},
      {"non_blocking_allreduce", &detail::assemble_non_blocking<non_blocking_allreduce<race_backend>>,
       non_blocking_minibatches},
  });
  return rows;
}

auto catalogue() -> std::span<algorithm_entry const> {
  static auto const all = [] {
    auto const a = detail::gossip_entries(), b = detail::other_entries();
    std::vector<algorithm_entry> rows(a.begin(), a.end());
    rows.insert(rows.end(), b.begin(), b.end());
    return rows;
  }();
  return all;
}

}  // namespace rubato::examples

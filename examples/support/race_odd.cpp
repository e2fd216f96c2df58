// SPDX-License-Identifier: MIT
// The node types of the even-numbered rows of the catalogue: second, fourth, ...; and both halves together.
#include <algorithm>

#include "support/race_assemble.hpp"

namespace rubato::examples {

auto detail::odd_entries() -> std::vector<algorithm_entry> { return every_second_entry<1>(); }

auto catalogue() -> std::span<algorithm_entry const> {
  static auto const all = [] {
    auto const even = detail::even_entries(), odd = detail::odd_entries();
    std::vector<algorithm_entry> rows;
    for (std::size_t i = 0; i < even.size() + odd.size(); ++i) rows.push_back((i % 2 == 0 ? even : odd)[i / 2]);
    return rows;
  }();
  return all;
}

}  // namespace rubato::examples

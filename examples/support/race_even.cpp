// SPDX-License-Identifier: MIT
// The node types of the odd-numbered rows of the catalogue: first, third, ...
#include "support/race_assemble.hpp"

namespace rubato::examples {

auto detail::even_entries() -> std::vector<algorithm_entry> { return every_second_entry<0>(); }

}  // namespace rubato::examples

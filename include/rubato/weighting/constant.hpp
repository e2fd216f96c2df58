// SPDX-License-Identifier: MIT
// Every received value counts fully, however old.
#pragma once

#include <cstdint>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::weighting {

/// Policy. A weighting maps the age of a value, in the receiver's own local iterations since it arrived, to a factor in
/// 0..1 on its mixing weight; what it withholds goes to the node itself. `can_cut` says that the factor may be 0.
struct constant {
  static constexpr auto name() -> std::string_view { return "constant"; }
  static constexpr bool can_cut = false;
  static constexpr bool depends_on_age = false;
  [[nodiscard]] auto operator()(std::uint64_t) const -> double { return 1.0; }
};

}  // namespace rubato::weighting

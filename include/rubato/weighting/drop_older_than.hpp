// SPDX-License-Identifier: MIT
// A value counts fully up to an age and not at all beyond it.
#pragma once

#include <cstdint>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::weighting {

/// Policy, see weighting::constant. It can cut a neighbour off, so a node that has only one to learn from is refused.
class drop_older_than {
 public:
  static constexpr auto name() -> std::string_view { return "drop older than"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("age", self.oldest_, "the greatest age at which a message counts");
  }
  static constexpr bool can_cut = true;
  static constexpr bool depends_on_age = true;

  explicit drop_older_than(std::uint64_t age = 16) : oldest_{age} {}
  [[nodiscard]] auto operator()(std::uint64_t age) const -> double { return age <= oldest_ ? 1.0 : 0.0; }

 private:
  std::uint64_t oldest_;
};

}  // namespace rubato::weighting

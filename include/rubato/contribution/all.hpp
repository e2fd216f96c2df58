// SPDX-License-Identifier: MIT
// A node contributes when its whole batch is done, however long the others wait.
#pragma once

#include <cstddef>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::contribution {

/// Policy. A batch is `minibatches` gradients at one model, computed one after the other (1: plain SGD).
struct all {
  static constexpr auto name() -> std::string_view { return "all"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("mini-batches", self.minibatches, "gradients of a batch, computed one after the other at one model");
  }
  static constexpr bool follows_the_fastest = false;
  std::size_t minibatches = 1;
  [[nodiscard]] auto counted(std::size_t finished) const -> std::size_t { return finished; }
};

}  // namespace rubato::contribution

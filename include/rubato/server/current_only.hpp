// SPDX-License-Identifier: MIT
// A gradient counts only if it was computed at the current model: no step uses an older one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/server/delay_threshold.hpp>

namespace rubato::server {

/// Policy, see acceptance_policy: delay_threshold with a limit of 1.
struct current_only {
  static constexpr auto name() -> std::string_view { return "current only"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("late jobs", self.late, "finish: what comes too late is ignored; stop: the worker is told at once");
  }
  static constexpr bool may_stop = true;
  late_jobs late = late_jobs::finish;

  void resolve_options(std::size_t) {}
  [[nodiscard]] auto accepts(std::uint64_t delay) const -> bool { return delay == 0; }
  [[nodiscard]] auto stops() const -> bool { return late == late_jobs::stop; }
};

}  // namespace rubato::server

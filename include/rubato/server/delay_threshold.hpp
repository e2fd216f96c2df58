// SPDX-License-Identifier: MIT
// A gradient counts if its delay is below a limit R, so no step uses a gradient from R or more versions ago.
// Source: Ringmaster ASGD, Maranjyan, Tyurin, Richtarik, arXiv 2501.16168, without and with stops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::server {

/// What to do with a running job whose gradient can no longer be accepted.
enum class late_jobs : std::uint8_t {
  finish,  ///< its gradient is ignored on arrival; a round trip is wasted
  stop,    ///< the worker is told at once and starts again at the current model
};
constexpr auto name_of(late_jobs late) -> std::string_view { return late == late_jobs::finish ? "finish" : "stop"; }

/// Policy, see acceptance_policy. A small limit excludes slow workers altogether: their data then do not count.
struct delay_threshold {
  static constexpr auto name() -> std::string_view { return "delay threshold"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("limit", self.limit, "the largest delay that is accepted; 0: twice the number of workers"),
        visit("late jobs", self.late, "finish: what comes too late is ignored; stop: the worker is told at once");
  }
  static constexpr bool may_stop = true;
  static constexpr bool by_shard = true;
  std::uint64_t limit = 0;  ///< R; 0: twice the number of workers, about twice the mean delay
  late_jobs late = late_jobs::finish;

  void resolve_options(std::size_t workers) {
    if (limit == 0) limit = 2 * std::uint64_t{workers};
  }
  [[nodiscard]] auto accepts(std::uint64_t delay) const -> bool { return delay < limit; }
  [[nodiscard]] auto stops() const -> bool { return late == late_jobs::stop; }
};

}  // namespace rubato::server

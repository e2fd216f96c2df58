// SPDX-License-Identifier: MIT
// A gradient counts if its delay is below a limit R, so that no step is taken along one from R versions ago.
// Source: Ringmaster ASGD, Maranjyan, Tyurin, Richtarik, arXiv 2501.16168, without and with stops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::server {

/// What becomes of a running job whose gradient could not be accepted any more.
enum class late_jobs : std::uint8_t {
  finish,  ///< its gradient is ignored when it comes, a round trip for nothing
  stop,    ///< the worker is told at once and starts anew at the present model
};
constexpr auto name_of(late_jobs late) -> std::string_view { return late == late_jobs::finish ? "finish" : "stop"; }

/// Policy, see acceptance_policy. A small limit leaves slow workers out altogether: then their data do not count.
struct delay_threshold {
  static constexpr auto name() -> std::string_view { return "delay threshold"; }
  static void visit_options(auto& self, auto&& visit) { visit("limit", self.limit), visit("late jobs", self.late); }
  static constexpr bool may_stop = true;
  std::uint64_t limit = 0;  ///< R; 0: twice the number of workers, about twice the mean delay
  late_jobs late = late_jobs::finish;

  void resolve_options(std::size_t workers) {
    if (limit == 0) limit = 2 * std::uint64_t{workers};
  }
  [[nodiscard]] auto accepts(std::uint64_t delay) const -> bool { return delay < limit; }
  [[nodiscard]] auto stops() const -> bool { return late == late_jobs::stop; }
};

}  // namespace rubato::server

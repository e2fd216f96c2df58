// SPDX-License-Identifier: MIT
// The page that shows the runs of a race in a browser while they go on, one after the other.
#pragma once

#include <memory>
#include <string>

#include <rubato/run/assemble.hpp>
#include <rubato/run/node_status.hpp>

namespace rubato::examples {

/// Serves until it is destroyed, and says where when it is made.
class live_page {
 public:
  /// `port` of loopback, or auto. Throws config_error if nobody can be served there.
  explicit live_page(std::string const& port);
  live_page(live_page const&) = delete;
  auto operator=(live_page const&) -> live_page& = delete;
  ~live_page();

  /// From now on this run, whose driver is to get the boards that are returned.
  [[nodiscard]] auto begin(assembly const& a) -> status_boards;
  /// After the last run: where a person sits at a terminal, the page stays until Enter, or for ten minutes.
  void stay();

 private:
  struct served;
  std::unique_ptr<served> self_;
};

}  // namespace rubato::examples

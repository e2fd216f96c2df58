// SPDX-License-Identifier: MIT
// The worker whose gradient arrived goes on with the new model, so no worker is ever idle and nothing queues.
#pragma once

#include <cstddef>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::server {

/// Policy, see assignment_policy.
struct same_worker {
  static constexpr auto name() -> std::string_view { return "same worker"; }
  auto operator()(std::size_t arrived) const -> std::size_t { return arrived; }
};

}  // namespace rubato::server

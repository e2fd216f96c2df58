// SPDX-License-Identifier: MIT
// Every gradient counts, however old: plain asynchronous SGD.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::server {

/// Policy, see acceptance_policy.
struct accept_all {
  static constexpr auto name() -> std::string_view { return "accept all"; }
  static constexpr bool may_stop = false;
  static constexpr bool by_shard = true;
  void resolve_options(std::size_t) {}
  [[nodiscard]] auto accepts(std::uint64_t) const -> bool { return true; }
  [[nodiscard]] auto stops() const -> bool { return false; }
};

}  // namespace rubato::server

// SPDX-License-Identifier: MIT
// Names that the system's resolver may not know yet: the pods of a stateful set get theirs one after the other.
#pragma once

#include <poll.h>

#include <chrono>
#include <string>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/transport/asio.hpp>

#include "support/interrupt.hpp"

namespace rubato::examples {

/// Until each NAME:PORT has a name that is known here. Throws config_error, with the resolver's words, if one is not by
/// then. Returns where interrupted.
inline void await_names(std::vector<std::string> const& addresses, std::chrono::nanoseconds patience) {
  auto const latest = transport::later(patience);
  for (auto const& a : addresses) {
    while (!interrupted()) {
      try {
        static_cast<void>(transport::address_in(a, true));
        break;
      } catch (config_error const&) {
        if (transport::clock::now() > latest) throw;
      }
      poll(nullptr, 0, 100);
    }
  }
}

}  // namespace rubato::examples

// SPDX-License-Identifier: MIT
// What the nodes of a run declared of their channels (law 3), for drivers: how to deliver each channel, and a check
// that no node posts what it did not declare.
#pragma once

#include <array>
#include <span>
#include <string>

#include <rubato/core/errors.hpp>
#include <rubato/core/packet.hpp>

namespace rubato {

class channel_table {
 public:
  /// Adds a node type's channels; throws config_error if another type of the run declared one of them otherwise.
  void add(std::span<channel_spec const> specs) {
    for (auto const& s : specs) {
      auto& mine = specs_[static_cast<std::size_t>(s.channel)];
      if (mine.values != element::none && (mine.kind != s.kind || mine.values != s.values)) {
        throw config_error{"the nodes of a run disagree about the channel " + std::string{name_of(s.channel)}};
      }
      mine = s;
    }
  }

  [[nodiscard]] auto kind_of(channel_id channel) const -> channel_kind {
    return specs_[static_cast<std::size_t>(channel)].kind;
  }

  /// Checks that a packet is as its node type declared: channel, element type and scalars.
  void check(packet const& p) const {
    auto const& s = specs_[static_cast<std::size_t>(p.channel)];
    RUBATO_EXPECTS(s.values != element::none, "a node posts only on channels that it declares");
    RUBATO_EXPECTS(p.body.kind() == s.values, "a body has the element type that its channel declares");
    RUBATO_EXPECTS((p.extra.mask() & ~s.carried_scalars) == 0,
                   "a message carries only scalars that its channel declares");
  }

 private:
  std::array<channel_spec, channel_count> specs_{};
};

}  // namespace rubato

// SPDX-License-Identifier: MIT
// One machine under two names: what a hosts file cannot show, and what is known once its names are looked up.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include <rubato/core/text.hpp>
#include <rubato/transport/asio.hpp>

namespace rubato::examples {

/// Says of the first two nodes that would listen at one place who they are; empty: there are none. `texts`: as they
/// were given, by id; `where`: what was found of each, if anything.
[[nodiscard]] inline auto words_of_same_place(std::vector<std::string> const& texts,
                                              std::vector<std::optional<transport::address>> const& where)
    -> std::string {
  std::map<std::pair<boost::asio::ip::address, unsigned>, std::size_t> taken;
  for (std::size_t i = 0; i < where.size(); ++i) {
    if (!where[i] || where[i]->port == 0) continue;
    auto const [first, is_fresh] = taken.emplace(std::pair{where[i]->host, unsigned{where[i]->port}}, i);
    if (is_fresh) continue;
    auto const nodes = "nodes " + std::to_string(first->second) + " and " + std::to_string(i);
    if (texts[first->second] == texts[i])
      return nodes + " are given the same address, " + escaped(texts[i], 100) + ": each needs one of its own";
    return nodes + " are at one place: " + escaped(texts[first->second], 100) + " and " + escaped(texts[i], 100) +
           " are both " + where[i]->numbers() + "; name each machine once, with slots=N in a hosts file";
  }
  return {};
}

}  // namespace rubato::examples

// SPDX-License-Identifier: MIT
// What a node knows of one peer that it talks to by datagrams, how it tells that peer's lives apart, and what datagrams
// cannot carry. What travels in them is transport/udp.hpp's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include <boost/asio/ip/udp.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/transport/block_stream.hpp>
#include <rubato/transport/edges.hpp>
#include <rubato/wire/hello.hpp>

namespace rubato::transport::detail {

struct udp_edge : edge {
  boost::asio::ip::udp::endpoint where;
  bool open = false;              // it has said hello
  bool knows_us = false;          // and has heard ours
  std::uint32_t incarnation = 0;  // theirs; 0: it has never come
  std::uint32_t lives = 0;        // how often the edge has been opened here
  session life{};                 // as the node here knows it; on the wire stand incarnations
  std::uint64_t drawn = 0;        // numbers the draws of injected loss, of blocks
  std::uint64_t drawn_words = 0;  // and of standings, whose number depends on time
  block_stream waiting;
  clock::time_point heard{};
  clock::time_point spoke{};
  clock::time_point answered{};
  int parting_words = 0;          // how often it was told our last standing when we knew its own
  std::string trouble = "nothing was heard of it";

  [[nodiscard]] auto is_open() const -> bool { return open; }
};

/// Tells the lives of one process apart without memory: milliseconds, which wrap after seven weeks; never 0.
[[nodiscard]] inline auto incarnation_of(std::int64_t clock_began) -> std::uint32_t {
  return (std::max)(1U, static_cast<std::uint32_t>(clock_began / 1'000'000));
}
/// Of two lives less than half of that apart.
[[nodiscard]] inline auto is_before(std::uint32_t a, std::uint32_t b) -> bool { return a - b > b - a; }

/// Throws config_error if a channel, a block or the agreement is more than datagrams of so many bytes may be trusted with.
inline void refuse_what_no_datagram_carries(identity const& me, std::size_t datagram_bytes) {
  for (auto const& c : me.channels) {
    if (c.kind == channel_kind::event) {
      throw config_error{"on the channel " + std::string{name_of(c.lane)} +
                         " every message counts, and udp may lose some: use tcp"};
    }
    auto const block = (std::min)(me.blocks.block_values(), std::max<std::size_t>(me.blocks.values(), 1));
    auto const most = (datagram_bytes - wire::header_bytes) / bytes_of(c.values);
    if (block <= most) continue;
    throw config_error{"a block of " + std::to_string(block) + " values does not fit a datagram of " +
                       std::to_string(datagram_bytes) + " bytes: give block_values of at most " +
                       std::to_string(most / block_partition::alignment * block_partition::alignment)};
  }
  if (wire::hello_bytes + me.agreed.text().size() > datagram_bytes) {
    throw config_error{"what nodes agree on takes more than a datagram: udp allows " +
                       std::to_string(datagram_bytes - wire::hello_bytes) + " bytes of text"};
  }
}

}  // namespace rubato::transport::detail

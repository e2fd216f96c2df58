// SPDX-License-Identifier: MIT
// What a node knows of one peer that it talks to by datagrams, by which numbers it tells sessions apart, and what
// datagrams cannot carry. What travels in them is transport/udp.hpp's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

#include <boost/asio/ip/udp.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/transport/block_stream.hpp>
#include <rubato/transport/edges.hpp>
#include <rubato/wire/hello.hpp>

namespace rubato::transport::detail {

/// Whether what came from there came from this address. A machine that calls itself by several addresses of its
/// loopback sends from the one that its system likes.
[[nodiscard]] inline auto is_from(boost::asio::ip::udp::endpoint const& there,
                                  boost::asio::ip::udp::endpoint const& peer) -> bool {
  return there == peer ||
         (there.port() == peer.port() && there.address().is_loopback() && peer.address().is_loopback());
}

/// A number that nobody else can know before it is told, for one end of one session; never 0.
[[nodiscard]] inline auto fresh_nonce() -> std::uint32_t {
  std::random_device source;
  return (std::max)(1U, source());
}

struct udp_edge : edge {
  boost::asio::ip::udp::endpoint where;
  bool open = false;  // in the session `wire`
  bool knows_us = false;  // and so is it
  session_id wire{};  // what stands in frames to it: our nonce, and its own
  std::uint32_t offer = fresh_nonce();  // ours, for the next session
  std::uint32_t heard_offer = 0;  // what it said last that is not of this session
  std::uint32_t closed = 0;  // its nonce of the session that was closed here last
  std::uint32_t sessions = 0;  // how often the edge has been opened here
  session_id session{};  // as the node here knows it
  std::uint64_t drawn = 0;  // numbers the draws of injected loss, of blocks
  std::uint64_t drawn_words = 0;  // and of standings, whose number depends on time
  block_stream waiting;
  clock::time_point heard{};
  clock::time_point spoke{};
  clock::time_point answered{};
  int parting_words = 0;  // how often it was told our last standing when we knew its own
  std::string trouble = "nothing was heard of it";

  [[nodiscard]] auto is_open() const -> bool { return open; }
};

/// Throws config_error if a channel, a block or the agreement is more than datagrams of so many bytes may be trusted
/// with.
inline void refuse_what_no_datagram_carries(identity const& me, std::size_t datagram_bytes) {
  for (auto const& c : me.channels) {
    if (c.kind == channel_kind::event) {
      throw config_error{"on the channel " + std::string{name_of(c.channel)} +
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

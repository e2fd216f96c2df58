// SPDX-License-Identifier: MIT
// What a node knows of a peer with which it exchanges datagrams, the numbers that distinguish sessions, and what
// datagrams cannot carry. Their content is in transport/udp.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <boost/asio/ip/udp.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/transport/detail/block_stream.hpp>
#include <rubato/transport/detail/callers/tcp.hpp>
#include <rubato/transport/detail/edges.hpp>
#include <rubato/transport/security.hpp>
#include <rubato/wire/hello.hpp>

namespace rubato::transport::detail {

/// Whether a datagram from that endpoint came from this address. A machine with several loopback addresses may send
/// from any of them.
[[nodiscard]] inline auto is_from(boost::asio::ip::udp::endpoint const& there,
                                  boost::asio::ip::udp::endpoint const& peer) -> bool {
  return there == peer ||
         (there.port() == peer.port() && there.address().is_loopback() && peer.address().is_loopback());
}

/// An unpredictable number for one end of one session; never 0.
[[nodiscard]] inline auto fresh_nonce() -> std::uint32_t {
  std::random_device source;
  return (std::max)(1U, source());
}

struct udp_edge : edge, calling_edge {
  boost::asio::ip::udp::endpoint where;
  bool open = false;  // in the session `wire`
  bool knows_us = false;  // the peer is in it too
  session_id wire{};  // in frames to the peer: our nonce and its own
  std::uint32_t offer = fresh_nonce();  // ours, for the next session
  std::uint32_t heard_offer = 0;  // the last nonce it offered that is not of this session
  std::uint32_t closed = 0;  // its nonce in the session that was closed here last
  session_id session{};  // as the node here knows it
  std::uint64_t drawn = 0;  // numbers the draws of injected loss for blocks
  std::uint64_t drawn_words = 0;  // and for statuses, whose number depends on time
  block_stream waiting;
  clock::time_point heard{};
  clock::time_point spoke{};
  clock::time_point answered{};
  int parting_words = 0;  // how often our last status was sent after its own had come
  /// Where datagrams are sealed: first the keys of the open session, and last those that were agreed on last, which may
  /// be the same.
  std::vector<std::unique_ptr<datagram_keys>> keys;
  std::size_t under = 0;  // by which of them the datagram was sealed that is being read

  [[nodiscard]] auto is_open() const -> bool { return open; }
  /// Decrypts a datagram under any of the keys.
  [[nodiscard]] auto unseal(std::span<std::byte const> datagram, std::span<std::byte> into) -> bool {
    for (under = 0; under < keys.size(); ++under) {
      if (keys[under]->open(datagram, into)) return true;
    }
    return false;
  }
  /// What was sealed so belongs to the open session: who sent it has those keys, and none that are older.
  void use_these_keys() {
    if (under > 0) keys.erase(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(under));
    under = 0;
  }
};

/// Throws config_error if a channel, a block or the agreement cannot be carried by datagrams of that many bytes.
inline void refuse_what_no_datagram_carries(identity const& me, std::size_t bytes) {
  for (auto const& c : me.channels) {
    if (c.kind == channel_kind::event) {
      throw config_error{"on the channel " + std::string{name_of(c.channel)} +
                         " every message counts, and udp may lose some: use tcp"};
    }
    if (c.body == body_form::codes) {  // a datagram holds one block, of which a receiver keeps the newest
      throw config_error{"on the channel " + std::string{name_of(c.channel)} +
                         " a message is one code of a whole vector, and udp sends vectors block by block: use tcp"};
    }
    auto const block = (std::min)(me.blocks.block_values(), std::max<std::size_t>(me.blocks.values(), 1));
    auto const most = (bytes - wire::header_bytes) / bytes_of(c.values);
    if (block <= most) continue;
    throw config_error{"a block of " + std::to_string(block) + " values does not fit a datagram of " +
                       std::to_string(bytes) + " bytes: give block_values of at most " +
                       std::to_string(most / block_partition::alignment * block_partition::alignment)};
  }
  if (wire::hello_bytes + me.agreed.text().size() > bytes) {
    throw config_error{"what nodes agree on takes more than a datagram: udp allows " +
                       std::to_string(bytes - wire::hello_bytes) + " bytes of text"};
  }
}

}  // namespace rubato::transport::detail

// SPDX-License-Identifier: MIT
// What encrypts the connections of transport/tcp.hpp and the datagrams of transport/udp.hpp, and knows who is at their
// other end. transport/tls.hpp has it by OpenSSL; this is what it, or a library of your own, must offer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <rubato/core/ids.hpp>

namespace rubato::transport {

enum class side : std::uint8_t { caller, called };

/// Keys for datagrams between two ends, one for each direction, that nobody else has. A datagram begins with four bytes
/// that say under which keys it was sealed; they are no secret.
class datagram_keys {
 public:
  static constexpr std::size_t name_bytes = 4;
  static constexpr std::size_t overhead = name_bytes + 8 + 16;  ///< bytes that a datagram is longer than what it holds

  datagram_keys() = default;
  datagram_keys(datagram_keys const&) = delete;
  auto operator=(datagram_keys const&) -> datagram_keys& = delete;
  virtual ~datagram_keys() = default;

  /// Encrypts both parts, one after the other, with a number that no other datagram of this end has. `into` has the
  /// bytes of both parts and `overhead`.
  virtual void seal(std::span<std::byte const> head, std::span<std::byte const> body, std::span<std::byte> into) = 0;
  /// Decrypts a datagram of the other end; `into` is shorter by `overhead`. False, and nothing that may be read, if it
  /// is not one, if it was changed, or if it was opened before.
  [[nodiscard]] virtual auto open(std::span<std::byte const> datagram, std::span<std::byte> into) -> bool = 0;
};

/// One connection. Belongs to the thread that polls; a read and a write may be under way at once, never two of a kind.
/// It may be destroyed when the socket is closed and every `then` has run.
class secure_stream {
 public:
  using error_code = boost::system::error_code;
  using executor_type = boost::asio::ip::tcp::socket::executor_type;

  secure_stream() = default;
  secure_stream(secure_stream const&) = delete;
  auto operator=(secure_stream const&) -> secure_stream& = delete;
  virtual ~secure_stream() = default;

  /// The first thing on a connection, from who calls and from who was called: each shows the other one who it is, and
  /// both agree on keys. Until `then` has run without an error nothing of the run is said.
  virtual void shake_hands(side ours, std::function<void(error_code)> then) = 0;
  /// After that: whether the other end may speak as this node.
  [[nodiscard]] virtual auto may_be(node_id) const -> bool = 0;
  /// After it, too: keys for datagrams between both ends, which the other end derives from the same handshake and the
  /// same context; nothing if they cannot be made. They outlive the stream.
  [[nodiscard]] virtual auto keys_for_datagrams(std::string_view context) -> std::unique_ptr<datagram_keys> = 0;
  /// What to say of an error of this stream: a clause without a full stop, or nothing if it has to do with no key.
  [[nodiscard]] virtual auto words_of(error_code error) const -> std::string { return error.message(); }
  /// Whether an error of this stream tells that keys or certificates are at fault, for sure.
  [[nodiscard]] virtual auto is_verdict(error_code) const -> bool { return false; }

  // As Asio's streams.
  [[nodiscard]] virtual auto get_executor() -> executor_type = 0;
  template<class Buffers, class Handler>
  void async_read_some(Buffers const& into, Handler&& handler) {
    read_some(first_of<boost::asio::mutable_buffer>(into), shared(std::forward<Handler>(handler)));
  }
  template<class Buffers, class Handler>
  void async_write_some(Buffers const& from, Handler&& handler) {
    write_some(first_of<boost::asio::const_buffer>(from), shared(std::forward<Handler>(handler)));
  }

 protected:
  using done = std::function<void(error_code, std::size_t)>;
  /// Reads at least a byte; writes at least a byte.
  virtual void read_some(boost::asio::mutable_buffer into, done then) = 0;
  virtual void write_some(boost::asio::const_buffer from, done then) = 0;

 private:
  template<class Buffer, class Buffers>
  static auto first_of(Buffers const& all) -> Buffer {
    auto at = boost::asio::buffer_sequence_begin(all);
    auto const end = boost::asio::buffer_sequence_end(all);
    while (at != end && Buffer{*at}.size() == 0) ++at;
    return at == end ? Buffer{} : Buffer{*at};
  }
  /// Asio's handlers can be moved only, and a std::function wants to copy.
  template<class Handler>
  static auto shared(Handler&& handler) -> done {
    auto kept = std::make_shared<std::decay_t<Handler>>(std::forward<Handler>(handler));
    return [kept = std::move(kept)](error_code error, std::size_t n) { (*kept)(error, n); };
  }
};

/// Makes one for each connection of a transport.
class security {
 public:
  security() = default;
  security(security const&) = delete;
  auto operator=(security const&) -> security& = delete;
  virtual ~security() = default;
  /// The socket outlives the stream.
  [[nodiscard]] virtual auto over(boost::asio::ip::tcp::socket& socket) const -> std::unique_ptr<secure_stream> = 0;
};

}  // namespace rubato::transport

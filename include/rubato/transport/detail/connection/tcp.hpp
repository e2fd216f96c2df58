// SPDX-License-Identifier: MIT
// One TCP connection: how hellos and frames are read and written on it. transport/tcp.hpp interprets them.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <rubato/transport/concepts.hpp>
#include <rubato/transport/security.hpp>
#include <rubato/wire/frame.hpp>
#include <rubato/wire/hello.hpp>

namespace rubato::transport::detail {

enum class phase : std::uint8_t { connecting, greeting, open, closed };

/// Asio moves 64 KiB a system call unless it is told to take all, and that halves the rate of large bodies. This also
/// notes when bytes moved, since a peer in the middle of a large body is not silent.
struct all_at_once {
  clock::time_point* moved = nullptr;
  auto operator()(boost::system::error_code const& error, std::size_t so_far) const -> std::size_t {
    if (so_far > 0) *moved = clock::now();
    return error ? 0 : std::size_t{1} << 30;
  }
};

/// The same for a body with a checksum: in pieces, each of which is summed up while it is in the cache, before it goes
/// or after it has come.
struct summed_on_its_way {
  static constexpr auto piece = 4 * wire::running_sum::stretch;  // measured: half or twice as much is slower
  clock::time_point* moved = nullptr;
  wire::running_sum* sum = nullptr;
  std::span<std::byte const> body{};
  std::byte* tail = nullptr;  // of what goes: written as soon as the sum is known
  phase const* at = nullptr;  // of the connection: nothing is read once it is closed, for who lent it may take it back
  auto operator()(boost::system::error_code const& error, std::size_t so_far) const -> std::size_t {
    if (error || *at == phase::closed) return 0;
    if (so_far > 0) *moved = clock::now();
    auto const ahead = tail == nullptr ? so_far : so_far + piece;
    sum->advance(body.first((std::min)(ahead, body.size())));
    if (tail != nullptr && ahead >= body.size())
      wire::encode_tail(sum->of_whole(body), std::span<std::byte, wire::tail_bytes>{tail, wire::tail_bytes});
    return piece;
  }
};

/// Limits the system's pause between retransmissions to an eighth of `silence`, or a second if that is longer, where it
/// can (Linux). By default the pauses double. Over a link that loses a tenth of everything, a live peer would then
/// sometimes be silent for longer than it may.
inline void try_again_soon([[maybe_unused]] int socket, [[maybe_unused]] std::chrono::nanoseconds silence) {
#if defined(__linux__)  // on other systems these numbers may mean other options
  auto const set = [socket](int option, int value) {
    static_cast<void>(
        setsockopt(socket, IPPROTO_TCP, option, &value, sizeof value));  // without effect on older systems
  };
  constexpr auto longest_pause_in_ms = 44;  // TCP_RTO_MAX_MS of Linux 6.15, which no libc names yet
  set(longest_pause_in_ms,
      static_cast<int>(std::clamp<std::int64_t>(silence / std::chrono::milliseconds{8}, 1000, 120'000)));
  constexpr auto shortest_pause_in_us = 45;  // TCP_RTO_MIN_US of Linux 6.15: 200 ms otherwise, on links of one too
  set(shortest_pause_in_us, 50'000);
#ifdef TCP_THIN_LINEAR_TIMEOUTS
  set(TCP_THIN_LINEAR_TIMEOUTS, 1);  // with few segments under way the pause is not doubled at all
#endif
#endif
}

/// Nothing is lost within a machine, so a congestion control that paces what a socket sends only costs time there: BBR,
/// where it is the system's default, up to half the speed. Linux lets every socket have TCP Reno.
inline void never_pace_within_machine([[maybe_unused]] boost::asio::ip::tcp::socket& s) {
#if defined(__linux__)
  boost::system::error_code error, other;
  if (s.remote_endpoint(error).address() != s.local_endpoint(other).address() || error || other) return;
  constexpr auto name = std::string_view{"reno"};
  static_cast<void>(setsockopt(s.native_handle(), IPPROTO_TCP, TCP_CONGESTION, name.data(), socklen_t{name.size()}));
#endif
}

/// Kept alive by its pending handlers; all members belong to the owner's thread.
struct tcp_connection : std::enable_shared_from_this<tcp_connection> {
  using socket_type = boost::asio::ip::tcp::socket;
  using error_code = boost::system::error_code;

  explicit tcp_connection(socket_type s) : socket{std::move(s)} {}

  void close() {
    if (std::exchange(at, phase::closed) == phase::closed) return;
    error_code ignored;
    socket.shutdown(socket_type::shutdown_both, ignored);
    socket.close(ignored);
  }

  /// Encrypts what follows, unless `by` is empty; `then(why it failed, or nothing)`.
  template<class Then>
  void shake_hands(security const* by, side ours, Then then) {
    if (by == nullptr) return then(std::string{});
    secure = by->over(socket);
    secure->shake_hands(ours, [self = shared_from_this(), then = std::move(then)](error_code error) mutable {
      if (self->at == phase::closed) return;
      auto why = error ? self->found(error) : std::string{};
      then(error && why.empty() ? error.message() : std::move(why));
    });
  }
  /// What to say of an error of `secure`, or nothing if it has to do with no key.
  [[nodiscard]] auto found(error_code error) -> std::string {
    is_verdict = secure->is_verdict(error);
    return secure->words_of(error);
  }
  /// Whether the other end may speak as this node, as far as the connection tells.
  [[nodiscard]] auto may_be(node_id node) const -> bool { return !secure || secure->may_be(node); }

  /// `then(error)` runs unless the connection was closed here meanwhile.
  template<class Buffers, class Then>
  void read(Buffers const& into, Then then) {
    read(into, all_at_once{&heard}, std::move(then));
  }
  template<class Buffers, class Pieces, class Then>
  void read(Buffers const& into, Pieces const& pieces, Then then) {
    auto handler = [self = shared_from_this(), then = std::move(then)](error_code error, std::size_t) mutable {
      if (self->at == phase::closed) return;
      if (!error) self->heard = clock::now();
      then(error);
    };
    if (secure) boost::asio::async_read(*secure, into, pieces, std::move(handler));
    else boost::asio::async_read(socket, into, pieces, std::move(handler));
  }
  /// Decodes `header` into `frame`; false if it is damaged, or not one of this run.
  [[nodiscard]] auto understands_header(wire::seal const& s) -> bool {
    summed = wire::running_sum{header, s};
    return !wire::decode_header(header, frame, s) && summed.of_header() == frame.sum;
  }
  /// Reads what follows that header into `arriving`; `then(error, whether it is intact)`.
  template<class Then>
  void read_body(buffer_pool const& pool, Then then) {
    arriving = {frame.kind, frame.values, pool};
    auto const values = arriving.bytes();
    auto const into = boost::asio::buffer(values.data(), values.size());
    if (!summed.is_wanted() || values.empty())
      return read(into, [then = std::move(then)](error_code error) mutable { then(error, !error); });
    read(std::array{into, boost::asio::buffer(tail)}, summed_on_its_way{&heard, &summed, values, nullptr, &at},
         [this, values, then = std::move(then)](error_code error) mutable {
           then(error, !error && summed.of_whole(values) == wire::decode_tail(tail));
         });
  }
  template<class Buffers, class Then>
  void write(Buffers const& from, Then then) {
    write(from, all_at_once{&spoke}, std::move(then));
  }
  template<class Buffers, class Pieces, class Then>
  void write(Buffers const& from, Pieces const& pieces, Then then) {
    writing = true;
    auto handler = [self = shared_from_this(), then = std::move(then)](error_code error, std::size_t) mutable {
      self->writing = false;
      self->body = {};
      if (self->at == phase::closed) return;
      if (!error) self->spoke = clock::now();
      then(error);
    };
    if (secure) boost::asio::async_write(*secure, from, pieces, std::move(handler));
    else boost::asio::async_write(socket, from, pieces, std::move(handler));
  }

  /// Reads a hello and its text; `then(true)` if both are whole, `then(false)` if anything is wrong.
  template<class Then>
  void read_hello(Then then) {
    read(boost::asio::buffer(greeting), [this, then = std::move(then)](error_code error) mutable {
      if (error && secure) refusal = found(error);
      auto const head = std::span<std::byte const, wire::hello_bytes>{greeting};
      auto const said = error ? std::nullopt : wire::decode_hello(head);
      if (!said) return then(false);
      other = *said;
      text.resize(other.text_bytes);
      read(boost::asio::buffer(text), [this, then = std::move(then)](error_code cut) mutable {
        then(!cut && wire::is_intact(std::span<std::byte const, wire::hello_bytes>{greeting}, text));
      });
    });
  }
  template<class Then>
  void write_hello(wire::hello const& who, std::string const& agreed, Then then) {
    out = wire::encode_hello(who, agreed);
    write(boost::asio::buffer(out), std::move(then));
  }

  /// The body is sent without a copy.
  template<class Then>
  void write_frame(packet const& p, wire::piece const& part, wire::seal const& s, Then then) {
    out.resize(wire::header_bytes + wire::tail_bytes);
    sent = wire::encode_stream_header(p, part, s, std::span{out}.first<wire::header_bytes>());
    body = p.body;
    auto const head = boost::asio::const_buffer{out.data(), wire::header_bytes};
    auto const values = boost::asio::const_buffer{part.body.data(), part.body.size()};
    if (!sent.is_wanted() || part.body.empty()) return write(std::array{head, values}, std::move(then));
    auto* const end = out.data() + wire::header_bytes;
    write(std::array{head, values, boost::asio::const_buffer{end, wire::tail_bytes}},
          summed_on_its_way{&spoke, &sent, part.body, end, &at}, std::move(then));
  }

  socket_type socket;
  std::unique_ptr<secure_stream> secure;  ///< over it; empty: plain bytes
  std::string refusal;  ///< of who was called: why it has not answered a hello, if that is known
  bool is_verdict = false;  ///< keys or certificates are at fault, for sure
  phase at = phase::connecting;
  node_id peer{};  ///< known after its hello, or from the beginning if we called
  bool writing = false;
  clock::time_point until{};  ///< deadline of its present action before it is open
  clock::time_point heard = clock::now();
  clock::time_point spoke = clock::now();

  std::array<std::byte, wire::hello_bytes> greeting{};
  wire::hello other;
  std::string text;
  std::array<std::byte, wire::header_bytes> header{};
  wire::frame_view frame;
  wire::arriving_body arriving;
  wire::running_sum summed, sent;  ///< of the frames that are being read and written
  std::array<std::byte, wire::tail_bytes> tail{};
  std::vector<std::byte> out;
  shared_buffer body;  ///< of the frame that is being written
};

}  // namespace rubato::transport::detail

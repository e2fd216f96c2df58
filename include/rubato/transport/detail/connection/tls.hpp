// SPDX-License-Identifier: MIT
// One connection under TLS. transport/tls.hpp says with which keys.
#pragma once

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>

#include <rubato/core/ids.hpp>
#include <rubato/transport/detail/sealing/tls.hpp>
#include <rubato/transport/security.hpp>

namespace rubato::transport::detail {

/// By what a node shows that it belongs to the run.
enum class proof : std::uint8_t { shared_key, certificate };

/// After so many records one way a connection takes new keys: RFC 8446, section 5.5, allows 2^24.5 under one.
inline constexpr std::uint64_t records_of_a_key = std::uint64_t{1} << 22;

/// What a certificate of a node is made out to, as a name of DNS.
inline auto name_in_certificate(node_id node) -> std::string {
  return "node-" + std::to_string(to_index(node)) + ".rubato";
}

inline auto is_made_out_to(X509* certificate, node_id node) -> bool {
  auto const name = name_in_certificate(node);
  return certificate != nullptr &&
         X509_check_host(certificate, name.data(), name.size(),
                         X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 1;
}

/// The bytes of a connection between OpenSSL, which takes and gives a record of 16 KiB at a time, and a socket that
/// does not block, which is asked for more at once. (OpenSSL's own reading ahead moves all that it has read for each
/// record.)
class record_buffers {
 public:
  int descriptor = -1;

  /// OpenSSL's functions: 1 if anything was moved.
  auto read(BIO* bio, char* into, std::size_t n, std::size_t& moved) -> int {
    BIO_clear_retry_flags(bio);
    moved = 0;
    if (in_at_ == in_end_) {
      if (in_.empty()) in_.resize(bytes);
      auto const got = ::recv(descriptor, in_.data(), in_.size(), 0);
      if (got < 0 && is_not_yet()) BIO_set_retry_read(bio);
      if (got == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
      if (got <= 0) return 0;
      in_at_ = 0;
      in_end_ = static_cast<std::size_t>(got);
    }
    moved = (std::min)(n, in_end_ - in_at_);
    std::memcpy(into, in_.data() + in_at_, moved);
    in_at_ += moved;
    return 1;
  }
  auto write(BIO* bio, char const* from, std::size_t n, std::size_t& moved) -> int {
    BIO_clear_retry_flags(bio);
    moved = 0;
    if (out_end_ + n > bytes && !flush()) {
      if (is_not_yet()) BIO_set_retry_write(bio);
      return 0;
    }
    if (out_.size() < out_end_ + n) out_.resize((std::max)(out_end_ + n, bytes));
    std::memcpy(out_.data() + out_end_, from, n);
    out_end_ += n;
    moved = n;
    return 1;
  }
  /// Gives the socket what it takes; whether that is all. Otherwise errno says why not. As Asio does, so that a
  /// connection that is gone is an error and no signal.
  auto flush() -> bool {
    while (out_at_ < out_end_) {
      auto const sent = ::send(descriptor, out_.data() + out_at_, out_end_ - out_at_, MSG_NOSIGNAL);
      if (sent < 0) return false;
      out_at_ += static_cast<std::size_t>(sent);
    }
    out_at_ = out_end_ = 0;
    return true;
  }
  static auto is_not_yet() -> bool { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

 private:
  static constexpr std::size_t bytes = std::size_t{128} << 10;
  std::vector<char> in_, out_;
  std::size_t in_at_ = 0, in_end_ = 0, out_at_ = 0, out_end_ = 0;
};

/// The first method of a program lives to its end.
inline auto record_method() -> BIO_METHOD* {
  static auto* const method = [] {
    auto* const m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rubato");
    if (m == nullptr) throw std::bad_alloc{};
    BIO_meth_set_read_ex(m, [](BIO* bio, char* into, std::size_t n, std::size_t* moved) {
      return static_cast<record_buffers*>(BIO_get_data(bio))->read(bio, into, n, *moved);
    });
    BIO_meth_set_write_ex(m, [](BIO* bio, char const* from, std::size_t n, std::size_t* moved) {
      return static_cast<record_buffers*>(BIO_get_data(bio))->write(bio, from, n, *moved);
    });
    BIO_meth_set_ctrl(m, [](BIO* bio, int what, long, void*) -> long {
      if (what == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
      if (what != BIO_CTRL_FLUSH) return 0;
      auto const done = static_cast<record_buffers*>(BIO_get_data(bio))->flush();
      if (!done && record_buffers::is_not_yet()) BIO_set_retry_write(bio);
      return done ? 1 : -1;
    });
    return m;
  }();
  return method;
}

/// A connection under TLS. Asio says when the socket can be read and written.
class tls_stream final : public secure_stream {
 public:
  using socket_type = boost::asio::ip::tcp::socket;

  /// `keys` and the socket outlive it.
  tls_stream(socket_type& socket, SSL_CTX* keys, proof by, std::uint64_t renew_after = records_of_a_key)
      : socket_{socket}, ssl_{SSL_new(keys), &SSL_free}, by_{by}, renew_after_{renew_after} {
    auto* const bio = BIO_new(record_method());
    if (!ssl_ || bio == nullptr) {
      BIO_free(bio);
      throw std::bad_alloc{};
    }
    BIO_set_data(bio, &bytes_);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  }

  void shake_hands(side ours, std::function<void(error_code)> then) override {
    error_code failed;
    socket_.native_non_blocking(true, failed);
    side_ = ours;
    if (ours == side::caller) SSL_set_connect_state(ssl_.get());
    else SSL_set_accept_state(ssl_.get());
    attempt(
        action::shake_hands, [this](std::size_t) { return std::size_t{SSL_do_handshake(ssl_.get()) == 1 ? 1U : 0U}; },
        1,
        [this, then = std::move(then)](error_code error, std::size_t) {
          // Whoever has no key might have a certificate of nobody's; without one, a handshake means the key.
          if (!error && by_ == proof::shared_key && SSL_session_reused(ssl_.get()) != 1)
            error = boost::asio::error::no_permission;
          agreed_ = !error;
          then(error);
        });
  }
  [[nodiscard]] auto may_be(node_id node) const -> bool override {
    if (by_ == proof::shared_key) return true;
    auto const theirs = std::unique_ptr<X509, void (*)(X509*)>{SSL_get1_peer_certificate(ssl_.get()), &X509_free};
    return is_made_out_to(theirs.get(), node);
  }
  /// By the exporter of TLS (RFC 8446, section 7.5).
  [[nodiscard]] auto keys_for_datagrams(std::string_view context) -> std::unique_ptr<datagram_keys> override {
    constexpr auto label = std::string_view{"EXPERIMENTAL rubato datagrams"};
    datagram_secrets made{};
    auto const* const said = reinterpret_cast<unsigned char const*>(context.data());
    auto const good = agreed_ && SSL_export_keying_material(ssl_.get(), made.data(), made.size(), label.data(),
                                                            label.size(), said, context.size(), 1) == 1;
    ERR_clear_error();
    auto keys = good ? std::make_unique<tls_datagrams>(made, side_) : nullptr;
    OPENSSL_cleanse(made.data(), made.size());
    return keys;
  }
  /// In TLS 1.3 a caller hears only after its own handshake that its certificate was refused.
  [[nodiscard]] auto words_of(error_code error) const -> std::string override {
    auto const by_certificate = by_ == proof::certificate;
    auto const verified = by_certificate ? SSL_get_verify_result(ssl_.get()) : long{X509_V_OK};
    if (verified != X509_V_OK)
      return std::string{"its certificate is refused here: "} + X509_verify_cert_error_string(verified);
    auto const is_alert = error.category() == boost::asio::error::get_ssl_category();
    if (agreed_ && !by_certificate) return {};
    if (!is_verdict(error) && !is_hang_up(error)) return {};
    if (agreed_ && !is_alert) return "it has hung up: it is busy or ends, or this node's certificate is another node's";
    return (by_certificate ? "it refuses this node's certificate, or has none, or a key ("
                           : "it has another key, or none, or a certificate (") +
           error.message() + ")";
  }
  /// An end that hung up may have had another reason, and a network that fails has none at all.
  [[nodiscard]] auto is_verdict(error_code error) const -> bool override {
    if (by_ == proof::certificate && SSL_get_verify_result(ssl_.get()) != X509_V_OK) return true;
    if (error == boost::asio::error::no_permission) return !agreed_;
    return error.category() == boost::asio::error::get_ssl_category() && !is_hang_up(error);
  }
  [[nodiscard]] auto get_executor() -> executor_type override { return socket_.get_executor(); }
  /// How often this end has taken new keys for what it writes.
  [[nodiscard]] auto renewals() const -> std::uint64_t { return renewals_; }

 private:
  enum class action : std::uint8_t { shake_hands, read, write };
  static constexpr std::size_t bytes_a_turn = std::size_t{1} << 20;  // before others get their turn

  void read_some(boost::asio::mutable_buffer into, done then) override {
    auto* const at = static_cast<unsigned char*>(into.data());
    attempt(
        action::read,
        [this, at, n = into.size()](std::size_t from) {
          std::size_t moved = 0;
          return SSL_read_ex(ssl_.get(), at + from, n - from, &moved) == 1 ? moved : 0;
        },
        into.size(), std::move(then));
  }
  void write_some(boost::asio::const_buffer from, done then) override {
    auto const* const at = static_cast<unsigned char const*>(from.data());
    attempt(
        action::write,
        [this, at, n = from.size()](std::size_t begin) {
          std::size_t moved = 0;
          if (SSL_write_ex(ssl_.get(), at + begin, n - begin, &moved) != 1) return std::size_t{0};
          ++by_this_key_;  // a record
          return moved;
        },
        from.size(), std::move(then));
  }

  /// Where a record waits to be written again, the next call is soon enough.
  void renew() {
    if (by_this_key_ < renew_after_) return;
    if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1) {
      by_this_key_ = 0;
      ++renewals_;
    }
    ERR_clear_error();
  }
  /// Calls step(bytes moved so far), which says how many more it has moved, until `all` are, or until it cannot go on:
  /// then `then` gets what was moved, or, if that is nothing, waits for the socket first. (Who reads does not wait for
  /// what is being written: two ends that both did so would wait for each other.) Once the socket is closed nothing of
  /// the caller's is touched any more, for who closed it may have taken back what it had lent.
  template<class Step>
  void attempt(action what, Step step, std::size_t all, done then) {
    if (!look_up_descriptor()) return post(boost::asio::error::operation_aborted, 0, std::move(then));
    if (what == action::write) renew();
    ERR_clear_error();
    std::size_t moved = 0;
    auto reason = SSL_ERROR_NONE;
    while (moved < (std::min)(all, bytes_a_turn)) {
      auto const n = step(moved);
      if (n == 0) {
        reason = SSL_get_error(ssl_.get(), 0);
        break;
      }
      moved += n;
    }
    if (moved > 0 && what == action::read) return post({}, moved, std::move(then));
    if (moved > 0) return finish(moved, std::move(then));
    if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
      return post(reason == SSL_ERROR_NONE ? error_code{} : error_of(reason), 0, std::move(then));
    }
    auto const side = reason == SSL_ERROR_WANT_READ ? socket_type::wait_read : socket_type::wait_write;
    socket_.async_wait(side,
                       [this, what, step = std::move(step), all, then = std::move(then)](error_code error) mutable {
                         if (error) then(error, 0);
                         else attempt(what, std::move(step), all, std::move(then));
                       });
  }
  /// When the system has all bytes of it.
  void finish(std::size_t moved, done then) {
    if (!look_up_descriptor()) return post(boost::asio::error::operation_aborted, 0, std::move(then));
    if (bytes_.flush()) return post({}, moved, std::move(then));
    if (!record_buffers::is_not_yet()) return post({errno, boost::system::system_category()}, 0, std::move(then));
    socket_.async_wait(socket_type::wait_write, [this, moved, then = std::move(then)](error_code error) mutable {
      if (error) then(error, 0);
      else finish(moved, std::move(then));
    });
  }
  /// Before it is used each time: the number of a socket that was closed meanwhile may be another connection's.
  auto look_up_descriptor() -> bool {
    bytes_.descriptor = socket_.is_open() ? socket_.native_handle() : -1;
    return socket_.is_open();
  }
  void post(error_code error, std::size_t moved, done then) {
    boost::asio::post(socket_.get_executor(), [then = std::move(then), error, moved] { then(error, moved); });
  }
  static auto is_hang_up(error_code error) -> bool {
    namespace errors = boost::asio::error;
    if (error.category() == errors::get_ssl_category())
      return ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    return error == errors::eof || error == errors::connection_reset || error == errors::broken_pipe;
  }
  static auto error_of(int reason) -> error_code {
    auto const code = ERR_get_error();
    if (code != 0) return {static_cast<int>(code), boost::asio::error::get_ssl_category()};
    if (reason == SSL_ERROR_SYSCALL && errno != 0) return {errno, boost::system::system_category()};
    return boost::asio::error::eof;
  }

  socket_type& socket_;
  record_buffers bytes_;  // before ssl_, which refers to it
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
  proof by_;
  bool agreed_ = false;
  side side_ = side::caller;
  std::uint64_t renew_after_;  // records
  std::uint64_t by_this_key_ = 0, renewals_ = 0;
};

}  // namespace rubato::transport::detail

// SPDX-License-Identifier: MIT
// Keys for transport/tcp.hpp: TLS 1.3 by OpenSSL, with a secret that all nodes of a run share, or with a certificate
// for each node. Nothing of the run is said before both ends have shown that they have them.
//
//   transport::tcp wires{me, {.addresses = all, .security = transport::shared_key("run.key")}};
#pragma once

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/transport/security.hpp>

namespace rubato::transport {

namespace detail {

inline constexpr std::size_t key_bytes = 32;
/// After so many bytes one way a connection takes new keys: far below the 2^24.5 records of RFC 8446, section 5.5.
inline constexpr std::uint64_t bytes_of_a_key = std::uint64_t{1} << 36;
inline constexpr unsigned char context[] = {'r', 'u', 'b', 'a', 't', 'o'};  // of sessions, which OpenSSL compares

/// A secret in memory, overwritten when it is not needed any more.
struct secret {
  std::array<unsigned char, key_bytes> bytes{};
  secret() = default;
  secret(secret const&) = delete;
  auto operator=(secret const&) -> secret& = delete;
  ~secret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

inline auto openssl_words() -> std::string {
  auto const code = ERR_get_error();
  ERR_clear_error();
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(ERR_GET_REASON(code));
  auto const* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "no reason is known" : reason;
}

/// A descriptor of a file that holds a secret; throws config_error, with a sentence, unless it is a file of this user
/// that nobody else can read.
inline auto open_secret(std::filesystem::path const& file, char const* what) -> int {
  auto const name = std::string{what} + " '" + escaped(file.string(), 200) + "'";
  auto const descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // nobody waits for a pipe
  if (descriptor < 0) throw config_error{name + " cannot be read: " + std::strerror(errno)};
  struct stat is{};
  auto const known = ::fstat(descriptor, &is) == 0;
  auto const refuse = [&](std::string const& why) {
    ::close(descriptor);
    throw config_error{name + " " + why};
  };
  if (!known || !S_ISREG(is.st_mode)) refuse("is not a file");
  if (is.st_uid != ::geteuid() && is.st_uid != 0) refuse("belongs to another user, who may know it");
  if ((is.st_mode & 077) != 0) refuse("can be read by other users: chmod 600 it, and change it if they may have");
  return descriptor;
}

/// Reads a key as make_key() writes it.
inline void read_key(std::filesystem::path const& file, secret& into) {
  auto const descriptor = open_secret(file, "the key file");
  std::array<char, 2 * key_bytes + 2> text{};
  auto const n = ::read(descriptor, text.data(), text.size());
  ::close(descriptor);
  auto said = std::string_view{text.data(), n < 0 ? 0U : static_cast<std::size_t>(n)};
  if (said.ends_with('\n')) said.remove_suffix(1);
  auto const digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  auto is_key = said.size() == 2 * key_bytes;
  for (std::size_t i = 0; is_key && i < key_bytes; ++i) {
    auto const high = digit(said[2 * i]), low = digit(said[2 * i + 1]);
    is_key = high >= 0 && low >= 0;
    if (is_key) into.bytes[i] = static_cast<unsigned char>(16 * high + low);
  }
  auto const length = said.size();
  OPENSSL_cleanse(text.data(), text.size());
  if (is_key) return;
  throw config_error{"the key file '" + escaped(file.string(), 200) + "' holds no key: that is a line of " +
                     std::to_string(2 * key_bytes) + " hexadecimal digits, not " +
                     (length == 2 * key_bytes  ? "of other characters"
                      : length > 2 * key_bytes ? "of more"
                                               : "of " + std::to_string(length) + " characters")};
}

/// What a certificate of a node is made out to, as a name of DNS.
inline auto name_in_certificate(node_id node) -> std::string {
  return "node-" + std::to_string(to_index(node)) + ".rubato";
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

  tls_stream(socket_type& socket, SSL_CTX* keys, bool by_certificate, std::uint64_t renew_after = bytes_of_a_key)
      : socket_{socket}, ssl_{SSL_new(keys), &SSL_free}, by_certificate_{by_certificate}, renew_after_{renew_after} {
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

  void shake_hands(bool calls, std::function<void(error_code)> then) override {
    error_code failed;
    socket_.native_non_blocking(true, failed);
    if (calls) SSL_set_connect_state(ssl_.get());
    else SSL_set_accept_state(ssl_.get());
    attempt(
        action::shake_hands, [this] { return SSL_do_handshake(ssl_.get()) == 1 ? 1 : 0; }, 1,
        [this, then = std::move(then)](error_code error, std::size_t) {
          // Whoever has no key might have a certificate of nobody's; without one, a handshake means the key.
          if (!error && !by_certificate_ && SSL_session_reused(ssl_.get()) != 1)
            error = boost::asio::error::no_permission;
          then(error);
        });
  }
  [[nodiscard]] auto may_be(node_id node) const -> bool override {
    if (!by_certificate_) return true;
    auto const theirs = std::unique_ptr<X509, void (*)(X509*)>{SSL_get1_peer_certificate(ssl_.get()), &X509_free};
    auto const name = name_in_certificate(node);
    return theirs && X509_check_host(theirs.get(), name.data(), name.size(),
                                     X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 1;
  }
  [[nodiscard]] auto words_of(error_code error) const -> std::string override {
    auto const verified = by_certificate_ ? SSL_get_verify_result(ssl_.get()) : long{X509_V_OK};
    if (verified != X509_V_OK)
      return std::string{"its certificate is refused here: "} + X509_verify_cert_error_string(verified);
    return (by_certificate_ ? "it refuses this node's certificate, or has none (" : "it has another key, or none (") +
           error.message() + ")";
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
        [this, at, so_far = std::size_t{0}, n = into.size()]() mutable {
          std::size_t got = 0;
          if (SSL_read_ex(ssl_.get(), at + so_far, n - so_far, &got) != 1) got = 0;
          so_far += got;
          return got;
        },
        into.size(), std::move(then));
  }
  void write_some(boost::asio::const_buffer from, done then) override {
    renew();
    auto const* const at = static_cast<unsigned char const*>(from.data());
    attempt(
        action::write,
        [this, at, so_far = std::size_t{0}, n = from.size()]() mutable {
          std::size_t sent = 0;
          if (SSL_write_ex(ssl_.get(), at + so_far, n - so_far, &sent) != 1) sent = 0;
          so_far += sent;
          by_this_key_ += sent;
          return sent;
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
  /// Calls step(), which says how many bytes it has moved, until `all` are, or until it cannot go on: then `then` gets
  /// what was moved, or, if that is nothing, waits for the socket first. (Who reads does not wait for what is being
  /// written: two ends that both did so would wait for each other.)
  template<class Step>
  void attempt(action what, Step step, std::size_t all, done then) {
    look_up_descriptor();
    ERR_clear_error();
    std::size_t moved = 0;
    auto reason = SSL_ERROR_NONE;
    while (moved < (std::min)(all, bytes_a_turn)) {
      auto const n = static_cast<std::size_t>(step());
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
    socket_.async_wait(side, [this, what, step, all, then = std::move(then)](error_code error) mutable {
      if (error) then(error, 0);
      else attempt(what, std::move(step), all, std::move(then));
    });
  }
  /// When the system has all bytes of it.
  void finish(std::size_t moved, done then) {
    look_up_descriptor();
    if (bytes_.flush()) return post({}, moved, std::move(then));
    if (!record_buffers::is_not_yet()) return post({errno, boost::system::system_category()}, 0, std::move(then));
    socket_.async_wait(socket_type::wait_write, [this, moved, then = std::move(then)](error_code error) mutable {
      if (error) then(error, 0);
      else finish(moved, std::move(then));
    });
  }
  /// Before it is used each time: the number of a socket that was closed meanwhile may be another connection's.
  void look_up_descriptor() { bytes_.descriptor = socket_.is_open() ? socket_.native_handle() : -1; }
  void post(error_code error, std::size_t moved, done then) {
    boost::asio::post(socket_.get_executor(), [then = std::move(then), error, moved] { then(error, moved); });
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
  bool by_certificate_;
  std::uint64_t renew_after_;
  std::uint64_t by_this_key_ = 0, renewals_ = 0;
};

/// What both kinds have in common: TLS 1.3 alone, one cipher, no tickets and no renegotiation.
class tls : public security {
 public:
  explicit tls(bool by_certificate) : by_certificate_{by_certificate}, keys_{SSL_CTX_new(TLS_method()), &SSL_CTX_free} {
    auto const good = keys_ && SSL_CTX_set_min_proto_version(handle(), TLS1_3_VERSION) == 1 &&
                      SSL_CTX_set_ciphersuites(handle(), "TLS_AES_128_GCM_SHA256") == 1 &&
                      SSL_CTX_set_session_id_context(handle(), context, sizeof context) == 1;
    if (!good) throw config_error{"this OpenSSL has no TLS 1.3 with TLS_AES_128_GCM_SHA256: " + openssl_words()};
    SSL_CTX_set_num_tickets(handle(), 0);
    SSL_CTX_set_session_cache_mode(handle(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(handle(), SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_verify(handle(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  [[nodiscard]] auto over(boost::asio::ip::tcp::socket& socket) const -> std::unique_ptr<secure_stream> override {
    return std::make_unique<tls_stream>(socket, handle(), by_certificate_);
  }

  [[nodiscard]] auto handle() const -> SSL_CTX* { return keys_.get(); }

 private:
  bool by_certificate_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> keys_;
};

/// TLS 1.3 with an external pre-shared key and an exchange of fresh ones (psk_dhe_ke), so that who learns the key later
/// cannot read what was said before.
class shared_key_tls final : public tls {
 public:
  explicit shared_key_tls(std::filesystem::path const& file) : tls{false} {
    read_key(file, key_);
    SSL_CTX_set_ex_data(handle(), place(), this);
    SSL_CTX_set_psk_use_session_callback(handle(), &calling);
    SSL_CTX_set_psk_find_session_callback(handle(), &called);
  }

 private:
  static constexpr std::string_view identity = "rubato";

  static auto place() -> int {
    static auto const index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
  }
  static auto of(SSL const* ssl) -> shared_key_tls const& {
    return *static_cast<shared_key_tls const*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), place()));
  }
  [[nodiscard]] auto session(SSL* ssl) const -> SSL_SESSION* {
    constexpr unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
    auto made = std::unique_ptr<SSL_SESSION, void (*)(SSL_SESSION*)>{SSL_SESSION_new(), &SSL_SESSION_free};
    auto const* const cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    auto const good = made && cipher != nullptr &&
                      SSL_SESSION_set1_master_key(made.get(), key_.bytes.data(), key_.bytes.size()) == 1 &&
                      SSL_SESSION_set1_id_context(made.get(), context, sizeof context) == 1 &&
                      SSL_SESSION_set_cipher(made.get(), cipher) == 1 &&
                      SSL_SESSION_set_protocol_version(made.get(), TLS1_3_VERSION) == 1;
    return good ? made.release() : nullptr;
  }
  static auto calling(SSL* ssl, EVP_MD const*, unsigned char const** id, std::size_t* length, SSL_SESSION** session)
      -> int {
    *session = of(ssl).session(ssl);
    *id = reinterpret_cast<unsigned char const*>(identity.data());
    *length = identity.size();
    return *session != nullptr ? 1 : 0;
  }
  static auto called(SSL* ssl, unsigned char const* id, std::size_t length, SSL_SESSION** session) -> int {
    auto const is_ours = std::string_view{reinterpret_cast<char const*>(id), length} == identity;
    *session = is_ours ? of(ssl).session(ssl) : nullptr;
    return !is_ours || *session != nullptr ? 1 : 0;
  }

  secret key_;
};

/// TLS 1.3 with a certificate at both ends, from one authority, which is trusted for this and nothing else.
class certificate_tls final : public tls {
 public:
  certificate_tls(std::filesystem::path const& authority, std::filesystem::path const& certificate,
                  std::filesystem::path const& key)
      : tls{true} {
    auto const done = [](bool good, char const* what, std::filesystem::path const& file) {
      if (good) return;
      throw config_error{std::string{what} + " '" + escaped(file.string(), 200) +
                         "' cannot be used: " + openssl_words()};
    };
    ERR_clear_error();
    done(SSL_CTX_load_verify_file(handle(), authority.c_str()) == 1, "the authority's certificate", authority);
    done(SSL_CTX_use_certificate_chain_file(handle(), certificate.c_str()) == 1, "the certificate", certificate);
    ::close(open_secret(key, "the private key"));
    done(SSL_CTX_use_PrivateKey_file(handle(), key.c_str(), SSL_FILETYPE_PEM) == 1, "the private key", key);
    done(SSL_CTX_check_private_key(handle()) == 1, "the private key", key);
  }
};

}  // namespace detail

/// A secret that all nodes of a run have, in a file: 64 hexadecimal digits, which make_key() writes. Who has it may
/// speak as any node. Throws config_error, with a sentence, if it is no key or if other users can read it.
[[nodiscard]] inline auto shared_key(std::filesystem::path const& file) -> std::shared_ptr<security const> {
  return std::make_shared<detail::shared_key_tls>(file);
}

/// A certificate for each node, of an authority of this run or cluster (all three in PEM; examples/keys makes them).
/// That of node 3 is made out to the name of DNS node-3.rubato, and its owner may speak as node 3 alone. Throws
/// config_error, with a sentence, if one cannot be used, or if other users can read the private key.
[[nodiscard]] inline auto certificates(std::filesystem::path const& authority, std::filesystem::path const& certificate,
                                       std::filesystem::path const& key) -> std::shared_ptr<security const> {
  return std::make_shared<detail::certificate_tls>(authority, certificate, key);
}

/// Writes a new key for shared_key() into a file that must not exist yet, and that nobody else can read. Of several
/// that make the same file at once one succeeds, and nobody reads half a key. Throws config_error.
inline void make_key(std::filesystem::path const& file) {
  detail::secret key;
  auto const name = "the key file '" + escaped(file.string(), 200) + "'";
  if (RAND_bytes(key.bytes.data(), static_cast<int>(key.bytes.size())) != 1)
    throw config_error{"there is no randomness for a key: " + detail::openssl_words()};
  std::array<char, 2 * detail::key_bytes + 1> text{};
  for (std::size_t i = 0; i < key.bytes.size(); ++i) {
    text[2 * i] = "0123456789abcdef"[key.bytes[i] >> 4];
    text[2 * i + 1] = "0123456789abcdef"[key.bytes[i] & 15];
  }
  text.back() = '\n';
  auto first = file.string() + ".XXXXXX";
  auto const descriptor = ::mkstemp(first.data());  // of mode 600
  if (descriptor < 0) throw config_error{name + " cannot be made: " + std::strerror(errno)};
  errno = 0;
  auto const written = ::write(descriptor, text.data(), text.size());
  auto const good = ::close(descriptor) == 0 && written == static_cast<ssize_t>(text.size()) &&
                    ::link(first.c_str(), file.c_str()) == 0;
  auto const why = errno;
  OPENSSL_cleanse(text.data(), text.size());
  ::unlink(first.c_str());
  if (!good) throw config_error{name + " cannot be made: " + std::strerror(why)};
}

}  // namespace rubato::transport

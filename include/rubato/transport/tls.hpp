// SPDX-License-Identifier: MIT
// Keys for transport/tcp.hpp: TLS 1.3 by OpenSSL, with a secret that all nodes of a run share, or with a certificate
// for each node. Nothing of the run is said before both ends have shown that they have them.
//
//   transport::tcp wires{me, {.addresses = all, .security = transport::shared_key("run.key")}};
#pragma once

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/transport/detail/connection/tls.hpp>
#include <rubato/transport/secret_file.hpp>
#include <rubato/transport/security.hpp>

namespace rubato::transport {

namespace detail {

inline constexpr std::size_t key_bytes = 32;
inline constexpr unsigned char session_context[] = {'r', 'u', 'b', 'a', 't', 'o'};  // OpenSSL compares it

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

/// Reads a key as make_key() writes it.
inline void read_key(std::filesystem::path const& file, secret& into) {
  std::array<char, 2 * key_bytes + 16> text{};
  auto const said = read_secret(file, "the key file", text);
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

/// What both kinds have in common: TLS 1.3 alone, one cipher, no tickets and no renegotiation.
class tls_security : public security {
 public:
  explicit tls_security(proof by) : by_{by}, keys_{SSL_CTX_new(TLS_method()), &SSL_CTX_free} {
    auto const good = keys_ && SSL_CTX_set_min_proto_version(handle(), TLS1_3_VERSION) == 1 &&
                      SSL_CTX_set_ciphersuites(handle(), "TLS_AES_128_GCM_SHA256") == 1 &&
                      SSL_CTX_set_session_id_context(handle(), session_context, sizeof session_context) == 1;
    if (!good) throw config_error{"this OpenSSL has no TLS 1.3 with TLS_AES_128_GCM_SHA256: " + openssl_words()};
    SSL_CTX_set_num_tickets(handle(), 0);
    SSL_CTX_set_session_cache_mode(handle(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(handle(), SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_verify(handle(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  [[nodiscard]] auto over(boost::asio::ip::tcp::socket& socket) const -> std::unique_ptr<secure_stream> override {
    return std::make_unique<tls_stream>(socket, handle(), by_);
  }

  [[nodiscard]] auto handle() const -> SSL_CTX* { return keys_.get(); }

 private:
  proof by_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> keys_;
};

/// TLS 1.3 with an external pre-shared key and an exchange of fresh ones (psk_dhe_ke), so that who learns the key later
/// cannot read what was said before.
class shared_key_tls final : public tls_security {
 public:
  explicit shared_key_tls(std::filesystem::path const& file) : tls_security{proof::shared_key} {
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
                      SSL_SESSION_set1_id_context(made.get(), session_context, sizeof session_context) == 1 &&
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
class certificate_tls final : public tls_security {
 public:
  certificate_tls(std::filesystem::path const& authority, std::filesystem::path const& certificate,
                  std::filesystem::path const& key, std::optional<node_id> whose)
      : tls_security{proof::certificate} {
    auto const done = [](bool good, char const* what, std::filesystem::path const& file) {
      if (good) return;
      throw config_error{std::string{what} + " '" + escaped(file.string(), 200) +
                         "' cannot be used: " + openssl_words()};
    };
    ERR_clear_error();
    done(SSL_CTX_load_verify_file(handle(), authority.c_str()) == 1, "the authority's certificate", authority);
    done(SSL_CTX_use_certificate_chain_file(handle(), certificate.c_str()) == 1, "the certificate", certificate);
    if (whose && !is_made_out_to(SSL_CTX_get0_certificate(handle()), *whose))
      throw config_error{"the certificate '" + escaped(certificate.string(), 200) +
                         "' is another node's: that of node " + std::to_string(to_index(*whose)) + " is made out to " +
                         name_in_certificate(*whose)};
    auto const file =
        std::unique_ptr<BIO, int (*)(BIO*)>{BIO_new_fd(open_secret(key, "the private key"), BIO_CLOSE), &BIO_free};
    auto const no_passphrase = [](char*, int, int, void*) { return -1; };  // or OpenSSL asks at the terminal
    auto const own = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>{
        PEM_read_bio_PrivateKey(file.get(), nullptr, no_passphrase, nullptr), &EVP_PKEY_free};
    done(own && SSL_CTX_use_PrivateKey(handle(), own.get()) == 1, "the private key", key);
    done(SSL_CTX_check_private_key(handle()) == 1, "the private key", key);
  }
};

}  // namespace detail

/// A secret that all nodes of a run have, in a file: 64 hexadecimal digits, which make_key() writes. Who has it may
/// speak as any node. Throws config_error, with a sentence, if it is no key or if other users can get at it.
[[nodiscard]] inline auto shared_key(std::filesystem::path const& file) -> std::shared_ptr<security const> {
  return std::make_shared<detail::shared_key_tls>(file);
}

/// A certificate for each node, of an authority of this run or cluster (all three in PEM; examples/keys makes them).
/// That of node 3 is made out to the name of DNS node-3.rubato, and its owner may speak as node 3 alone. Throws
/// config_error, with a sentence, if one cannot be used, or if other users can get at the private key, or if
/// that needs a passphrase, or, where it is said whose the certificate must be, if it is another node's.
[[nodiscard]] inline auto certificates(std::filesystem::path const& authority, std::filesystem::path const& certificate,
                                       std::filesystem::path const& key, std::optional<node_id> whose = {})
    -> std::shared_ptr<security const> {
  return std::make_shared<detail::certificate_tls>(authority, certificate, key, whose);
}

/// Writes a new key for shared_key() into a file that must not exist yet, and that nobody else can read. Of several
/// that make the same file at once one succeeds, and nobody reads half a key. Throws config_error.
inline void make_key(std::filesystem::path const& file) {
  detail::secret key;
  if (RAND_bytes(key.bytes.data(), static_cast<int>(key.bytes.size())) != 1)
    throw config_error{"there is no randomness for a key: " + detail::openssl_words()};
  std::array<char, 2 * detail::key_bytes + 1> text{};
  write_digits(key.bytes, text);
  text.back() = '\n';
  auto const why = write_secret(file, {text.data(), text.size()});
  OPENSSL_cleanse(text.data(), text.size());
  if (why != 0) throw config_error{name_of_secret(file, "the key file") + " cannot be made: " + std::strerror(why)};
}

}  // namespace rubato::transport

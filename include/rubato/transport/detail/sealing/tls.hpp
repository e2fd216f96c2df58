// SPDX-License-Identifier: MIT
// Datagrams under keys of a TLS handshake: AES-128-GCM by OpenSSL, one datagram at a time.
#pragma once

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/transport/detail/replay_window.hpp>
#include <rubato/transport/security.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato::transport::detail {

/// After so many datagrams one way another key is derived: RFC 9001, appendix B, allows 2^28 of up to 2 KiB under one.
inline constexpr std::uint64_t datagrams_of_a_key = std::uint64_t{1} << 26;

inline constexpr std::size_t direction_bytes = 32;  // the secret of one direction
/// What both ends have in common: the name of the keys, and the secrets from the caller and to it.
using datagram_secrets = std::array<unsigned char, datagram_keys::name_bytes + 2 * direction_bytes>;

/// The key of one direction for `datagrams_of_a_key` datagrams, and what its nonces begin with.
class epoch_cipher {
 public:
  epoch_cipher() : context_{EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free} {
    if (!context_) throw std::bad_alloc{};
  }
  [[nodiscard]] auto is_of(std::uint64_t epoch) const -> bool { return epoch_ == epoch; }
  /// HKDF-Expand (RFC 5869). Throws std::bad_alloc.
  void derive(std::span<unsigned char const, direction_bytes> secret, std::uint64_t epoch) {
    auto info = std::array<std::byte, 8>{};
    wire::detail::put(info.data(), epoch);
    auto made = std::array<unsigned char, key_bytes_ + nonce_bytes>{};
    auto mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    auto digest = std::array<char, 7>{'S', 'H', 'A', '2', '5', '6', '\0'};
    OSSL_PARAM const how[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<unsigned char*>(secret.data()), secret.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()), OSSL_PARAM_construct_end()};
    auto const method =
        std::unique_ptr<EVP_KDF, void (*)(EVP_KDF*)>{EVP_KDF_fetch(nullptr, "HKDF", nullptr), &EVP_KDF_free};
    auto const kdf =
        std::unique_ptr<EVP_KDF_CTX, void (*)(EVP_KDF_CTX*)>{EVP_KDF_CTX_new(method.get()), &EVP_KDF_CTX_free};
    auto const good = kdf && EVP_KDF_derive(kdf.get(), made.data(), made.size(), how) == 1 &&
                      EVP_CipherInit_ex(context_.get(), EVP_aes_128_gcm(), nullptr, made.data(), nullptr, 1) == 1;
    for (std::size_t i = 0; i < nonce_bytes; ++i) start_[i] = made[key_bytes_ + i];
    OPENSSL_cleanse(made.data(), made.size());
    if (!good) throw std::bad_alloc{};
    epoch_ = epoch;
  }

  /// `tag` is written.
  [[nodiscard]] auto encrypt(std::uint64_t number, std::span<std::byte const> shown, std::span<std::byte const> head,
                             std::span<std::byte const> body, unsigned char* to, unsigned char* tag) -> bool {
    auto* const c = context_.get();
    auto const nonce = nonce_of(number);
    auto n = 0, last = 0;
    return EVP_EncryptInit_ex(c, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
           EVP_EncryptUpdate(c, nullptr, &n, bytes_of(shown), size_of(shown)) == 1 &&
           EVP_EncryptUpdate(c, to, &n, bytes_of(head), size_of(head)) == 1 &&
           EVP_EncryptUpdate(c, to + head.size(), &n, bytes_of(body), size_of(body)) == 1 &&
           EVP_EncryptFinal_ex(c, to, &last) == 1 && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, tag_bytes, tag) == 1;
  }
  [[nodiscard]] auto decrypt(std::uint64_t number, std::span<std::byte const> shown, std::span<std::byte const> from,
                             std::span<std::byte const> tag, unsigned char* to) -> bool {
    auto* const c = context_.get();
    auto const nonce = nonce_of(number);
    auto expected = std::array<unsigned char, tag_bytes>{};
    for (std::size_t i = 0; i < tag_bytes; ++i) expected[i] = std::to_integer<unsigned char>(tag[i]);
    auto n = 0, last = 0;
    return EVP_DecryptInit_ex(c, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
           EVP_DecryptUpdate(c, nullptr, &n, bytes_of(shown), size_of(shown)) == 1 &&
           EVP_DecryptUpdate(c, to, &n, bytes_of(from), size_of(from)) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, tag_bytes, expected.data()) == 1 &&
           EVP_DecryptFinal_ex(c, to, &last) == 1;
  }

  static constexpr std::size_t tag_bytes = 16;

 private:
  static constexpr std::size_t key_bytes_ = 16, nonce_bytes = 12;

  /// As TLS 1.3 has it (RFC 8446, section 5.3).
  [[nodiscard]] auto nonce_of(std::uint64_t number) const -> std::array<unsigned char, nonce_bytes> {
    auto nonce = start_;
    for (std::size_t i = 0; i < 8; ++i) nonce[nonce_bytes - 1 - i] ^= static_cast<unsigned char>(number >> (8 * i));
    return nonce;
  }
  static auto bytes_of(std::span<std::byte const> s) -> unsigned char const* {
    return reinterpret_cast<unsigned char const*>(s.data());
  }
  static auto size_of(std::span<std::byte const> s) -> int { return static_cast<int>(s.size()); }

  std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)> context_;
  std::array<unsigned char, nonce_bytes> start_{};
  std::uint64_t epoch_ = (std::numeric_limits<std::uint64_t>::max)();
};

/// Layout of a datagram: 0 name of the keys, 4 number u64 little-endian, 12 ciphertext, then the tag of 16 bytes, which
/// covers name and number too.
class tls_datagrams final : public datagram_keys {
 public:
  tls_datagrams(datagram_secrets const& made, side ours, std::uint64_t renew_after = datagrams_of_a_key)
      : made_{made}, ours_{ours}, renew_after_{renew_after} {}
  ~tls_datagrams() override { OPENSSL_cleanse(made_.data(), made_.size()); }

  void seal(std::span<std::byte const> head, std::span<std::byte const> body, std::span<std::byte> into) override {
    RUBATO_EXPECTS(into.size() == head.size() + body.size() + overhead, "a sealed datagram has its overhead");
    auto const number = next_++;
    if (auto const epoch = number / renew_after_; !sends_.is_of(epoch)) sends_.derive(secret(from_caller()), epoch);
    for (std::size_t i = 0; i < name_bytes; ++i) into[i] = static_cast<std::byte>(made_[i]);
    wire::detail::put(into.data() + name_bytes, number);
    auto* const to = reinterpret_cast<unsigned char*>(into.data());
    auto const good = sends_.encrypt(number, into.first<shown_bytes>(), head, body, to + shown_bytes,
                                     to + into.size() - epoch_cipher::tag_bytes);
    if (!good) throw std::bad_alloc{};  // nothing else can be wrong
  }

  [[nodiscard]] auto open(std::span<std::byte const> datagram, std::span<std::byte> into) -> bool override {
    if (datagram.size() < overhead || into.size() != datagram.size() - overhead) return false;
    for (std::size_t i = 0; i < name_bytes; ++i) {
      if (datagram[i] != static_cast<std::byte>(made_[i])) return false;
    }
    auto const number = wire::detail::get<std::uint64_t>(datagram.data() + name_bytes);
    if (!come_.is_new(number)) return false;
    // Beyond the next key nobody can be, so strangers cannot have any number of keys derived.
    auto const epoch = number / renew_after_, newest = come_.next() / renew_after_;
    if (epoch > newest + 1 || epoch + 1 < newest) return false;
    auto& cipher = receives_[epoch % receives_.size()];
    if (!cipher.is_of(epoch)) cipher.derive(secret(!from_caller()), epoch);
    auto const good =
        cipher.decrypt(number, datagram.first<shown_bytes>(), datagram.subspan(shown_bytes, into.size()),
                       datagram.last<epoch_cipher::tag_bytes>(), reinterpret_cast<unsigned char*>(into.data()));
    if (good) come_.note(number);
    return good;
  }

 private:
  static constexpr std::size_t shown_bytes = name_bytes + 8;

  [[nodiscard]] auto from_caller() const -> bool { return ours_ == side::caller; }
  [[nodiscard]] auto secret(bool of_caller) const -> std::span<unsigned char const, direction_bytes> {
    auto const all = std::span<unsigned char const>{made_}.subspan(name_bytes);
    return of_caller ? all.first<direction_bytes>() : all.last<direction_bytes>();
  }

  datagram_secrets made_;
  side ours_;
  std::uint64_t renew_after_;
  std::uint64_t next_ = 0;
  replay_window come_;
  epoch_cipher sends_;
  std::array<epoch_cipher, 3> receives_;  // the newest key, the one before and the next one
};

}  // namespace rubato::transport::detail

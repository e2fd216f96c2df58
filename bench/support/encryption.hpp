// SPDX-License-Identifier: MIT
// A key for a benchmark, and what its cipher does alone.
#pragma once

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <rubato/transport/tls.hpp>

#include "support/goodput.hpp"

namespace bench {

inline auto fresh_key() -> std::shared_ptr<rubato::transport::security const> {
  auto const file = std::filesystem::temp_directory_path() / ("bench-" + std::to_string(getpid()) + ".key");
  rubato::transport::make_key(file);
  auto made = rubato::transport::shared_key(file);
  std::filesystem::remove(file);
  return made;
}

/// One side's work alone, in GB/s: AES-128-GCM over pieces of that many bytes, each with a nonce and a tag.
inline auto encryption_rate(load const& l, std::size_t piece) -> double {
  rubato::buffer_pool pool;
  auto const body = vector_of(pool, l.values);
  std::vector<unsigned char> out(piece), tag(16), nonce(12), secret(16);
  auto const context =
      std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)>{EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free};
  auto good = EVP_EncryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, secret.data(), nonce.data()) == 1;
  auto const begin = std::chrono::steady_clock::now();
  for (std::size_t k = 0; k < l.messages; ++k) {
    auto const* from = reinterpret_cast<unsigned char const*>(body.bytes().data());
    for (auto left = body.size_bytes(); left > 0;) {
      auto const n = std::min(left, piece);
      auto length = 0;
      ++nonce[0];
      good = good && EVP_EncryptInit_ex(context.get(), nullptr, nullptr, nullptr, nonce.data()) == 1 &&
             EVP_EncryptUpdate(context.get(), out.data(), &length, from, static_cast<int>(n)) == 1 &&
             EVP_EncryptFinal_ex(context.get(), out.data(), &length) == 1 &&
             EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, 16, tag.data()) == 1;
      from += n, left -= n;
    }
  }
  if (!good) {
    std::fprintf(stderr, "AES-128-GCM failed\n");
    std::exit(1);
  }
  return l.gigabytes() / seconds_since(begin);
}

}  // namespace bench

// SPDX-License-Identifier: MIT
// The options --key and --certificates of peer and plan.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/transport/asio.hpp>
#include <rubato/transport/security.hpp>

#if RUBATO_EXAMPLES_HAVE_OPENSSL
#include <rubato/transport/tls.hpp>
#endif

namespace rubato::examples {

struct key_files {
  std::string key{};  ///< file of a secret
  std::string certificates{};  ///< folder
  [[nodiscard]] auto are_asked_for() const -> bool { return !key.empty() || !certificates.empty(); }
};

/// What keeps strangers out, if it was asked for. Makes a key where none is and all nodes are on this machine, and then
/// says so if `aloud`. Throws config_error.
[[nodiscard]] inline auto security_of([[maybe_unused]] key_files const& files, [[maybe_unused]] std::size_t id,
                                      [[maybe_unused]] std::vector<std::string> const& peers,
                                      [[maybe_unused]] bool aloud) -> std::shared_ptr<transport::security const> {
  if (!files.are_asked_for()) return nullptr;
#if RUBATO_EXAMPLES_HAVE_OPENSSL
  namespace fs = std::filesystem;
  if (!files.certificates.empty()) {
    auto const folder = fs::path{files.certificates};
    auto const own = "node-" + std::to_string(id);
    return transport::certificates(folder / "authority.pem", folder / (own + ".pem"), folder / (own + ".key"),
                                   to_node(id));
  }
  auto const is_here = [](std::string const& a) { return transport::address_in(a, true).host.is_loopback(); };
  auto const is_missing = [&] {
    auto error = std::error_code{};
    return fs::symlink_status(files.key, error).type() == fs::file_type::not_found;
  };
  if (is_missing() && std::all_of(peers.begin(), peers.end(), is_here)) {
    try {
      transport::make_key(files.key);
      if (aloud) std::printf("made the key %s, which the other nodes of this run need\n", files.key.c_str());
    } catch (config_error const&) {
      if (is_missing()) throw;  // or another node was first
    }
  }
  return transport::shared_key(files.key);
#else
  throw config_error{"this program was built without OpenSSL, and has no --key and no --certificates"};
#endif
}

}  // namespace rubato::examples

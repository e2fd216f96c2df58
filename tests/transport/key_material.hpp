// SPDX-License-Identifier: MIT
// Keys and certificates of one test.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include <rubato/transport/tls.hpp>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace rubato::test {

using keys = std::shared_ptr<transport::security const>;

inline auto key_in(scratch_folder const& folder, char const* name = "run.key") -> keys {
  auto const file = folder.path() / name;
  if (!std::filesystem::exists(file)) transport::make_key(file);
  return transport::shared_key(file);
}

/// An authority and `nodes` certificates, by the script that users have.
struct certified {
  explicit certified(std::size_t nodes) {
    auto const command = "bash " RUBATO_TESTS_DIR "/../examples/keys " + (folder.path() / "k").string() + " " +
                         std::to_string(nodes) + " >/dev/null";
    REQUIRE(std::system(command.c_str()) == 0);
  }
  [[nodiscard]] auto file(std::string const& name) const -> std::filesystem::path { return folder.path() / "k" / name; }
  [[nodiscard]] auto of(std::size_t node) const -> keys {
    auto const name = "node-" + std::to_string(node);
    return transport::certificates(file("authority.pem"), file(name + ".pem"), file(name + ".key"));
  }
  scratch_folder folder{"certified"};
};

}  // namespace rubato::test

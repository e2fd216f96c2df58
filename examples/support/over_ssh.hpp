// SPDX-License-Identifier: MIT
// A peer on another machine, through ssh. Its key and the token of its page go there by standard input, which then
// stays open: the peer ends when it closes, and so when the machine or the process that started it is no more. What it
// prints comes back on standard error, and its results on standard output.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::examples {

/// One word of a POSIX shell that means this text.
[[nodiscard]] inline auto shell_quoted(std::string const& text) -> std::string {
  std::string word{'\''};
  for (auto const c : text) word += c == '\'' ? std::string{"'\\''"} : std::string{c};
  return word + '\'';
}

/// What starts `peer` (a program and its options) on that host, in this folder if it is there too, and brings its
/// results back. The first line that it reads is the key of the run, or is empty, and the second one that token.
[[nodiscard]] inline auto ssh_command(std::string host, std::filesystem::path const& folder,
                                      std::vector<std::string> const& peer) -> std::vector<std::string> {
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  // One line, since the login shell may be a csh.
  auto remote = "exec sh -c " +
                shell_quoted(R"(umask 077; d=$(mktemp -d) || exit 1; trap 'rm -rf "$d"' 0; )"
                             R"(trap 'exit 143' 1 2 15; cd "$1" 2>/dev/null; shift; )"
                             R"(for what in key status-token; do IFS= read -r word || exit 1; )"
                             R"(if [ -n "$word" ]; then printf '%s\n' "$word" >"$d/$what"; )"
                             R"(set -- "$@" "--$what" "$d/$what"; fi; done; )"
                             R"("$@" --report "$d/node" --attached >&2; status=$?; )"
                             R"(if [ -e "$d/node" ]; then wc -c <"$d/node"; )"
                             R"(cat "$d/node" "$d/node.models"; fi; exit $status)") +
                " peer " + shell_quoted(folder.string());
  for (auto const& word : peer) remote += " " + shell_quoted(word);
  // Without a terminal, and without questions; an end that does not answer any more is noticed.
  return {"/usr/bin/env", "ssh", "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", std::move(host), remote};
}

/// Writes the two files of a report from what came back; does nothing if nothing did. Throws run_error.
inline void unpack_results(std::filesystem::path const& results, std::filesystem::path const& report) {
  std::ifstream in{results, std::ios::binary};
  auto bytes = std::size_t{0};
  if (!(in >> bytes)) return;
  in.ignore((std::numeric_limits<std::streamsize>::max)(), '\n');
  std::ofstream words{report, std::ios::binary};
  std::ofstream models{report.string() + ".models", std::ios::binary};
  for (std::size_t k = 0; k < bytes && in.peek() != std::ifstream::traits_type::eof(); ++k)
    words.put(static_cast<char>(in.get()));
  if (in.peek() != std::ifstream::traits_type::eof()) models << in.rdbuf();
  words.close(), models.close();
  if (!words || !models) throw run_error{"'" + escaped(report.string(), 200) + "' cannot be written"};
}

}  // namespace rubato::examples

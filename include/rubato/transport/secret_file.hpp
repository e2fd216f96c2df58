// SPDX-License-Identifier: MIT
// Files that hold a secret: of this user, and readable by nobody else.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::transport {

/// What sentences call it.
inline auto name_of_secret(std::filesystem::path const& file, char const* what) -> std::string {
  return std::string{what} + " '" + escaped(file.string(), 200) + "'";
}

/// A descriptor of a file that holds a secret; throws config_error, with a sentence, unless it is a file of this user
/// that nobody else can read.
inline auto open_secret(std::filesystem::path const& file, char const* what) -> int {
  auto const name = name_of_secret(file, what);
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
  if ((is.st_mode & 077) != 0)
    refuse("is open to other users: chmod 600 it, and make another if they may have read it");
  return descriptor;
}

/// Writes a secret into a file that must not exist yet. Of several that make the same file at once one succeeds, and
/// nobody reads half of it. Returns the error's number, 0 if there was none.
[[nodiscard]] inline auto write_secret(std::filesystem::path const& file, std::string_view text) -> int {
  auto first = file.string() + ".XXXXXX";
  auto const descriptor = ::mkstemp(first.data());  // of mode 600
  if (descriptor < 0) return errno;
  errno = 0;
  auto const written = ::write(descriptor, text.data(), text.size());
  auto const good = ::close(descriptor) == 0 && written == static_cast<ssize_t>(text.size()) &&
                    ::link(first.c_str(), file.c_str()) == 0;
  auto const why = errno == 0 ? ENOSPC : errno;  // written in part
  ::unlink(first.c_str());
  return good ? 0 : why;
}

/// The text of such a file, as far as there is room for it, without white space at its end. Throws as open_secret().
[[nodiscard]] inline auto read_secret(std::filesystem::path const& file, char const* what, std::span<char> room)
    -> std::string_view {
  auto const descriptor = open_secret(file, what);
  auto const n = ::read(descriptor, room.data(), room.size());
  ::close(descriptor);
  auto text = std::string_view{room.data(), n < 0 ? 0U : static_cast<std::size_t>(n)};
  while (text.ends_with('\n') || text.ends_with('\r') || text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

/// Two hexadecimal digits a byte. Requires room for so many.
inline void write_digits(std::span<unsigned char const> bytes, std::span<char> room) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    room[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
    room[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
  }
}

}  // namespace rubato::transport

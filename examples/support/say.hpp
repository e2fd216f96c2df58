// SPDX-License-Identifier: MIT
// What these programs print, and how they end. If the reader is gone (`race | head -1`), the terminal closed or the
// disk full, the run goes on; at the end this is reported, with a status that is not 0.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "support/complain.hpp"

namespace rubato::examples {

namespace detail {

/// The errno of output that was lost; 0: none was.
inline int unsaid = 0;

/// Opens closed standard streams, so that a file opened later does not take their place and get their output.
inline void fill_standard_streams() {
  for (auto const stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) == -1 && errno == EBADF)
      static_cast<void>(open(stream == 0 ? "/dev/null" : "/dev/full", O_RDWR));
  }
}

}  // namespace detail

/// Prints at once.
inline void say(std::string_view text) {
  errno = 0;
  auto const written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written && detail::unsaid == 0) detail::unsaid = errno != 0 ? errno : EIO;
}

/// The whole of a program. Returns the status from `body`, or from complain() if it throws;
/// 1 in place of 0 if output was lost.
template<class Body>
auto run_program(char const* name, Body const& body) -> int {
  detail::fill_standard_streams();
  signal(SIGPIPE, SIG_IGN);
  auto status = 0;
  try {
    status = body();
  } catch (...) {
    status = complain(name);
  }
  say({});
  if (detail::unsaid == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "%s: not all that was to be printed could be: %s\n", name,
               std::strerror(detail::unsaid != 0 ? detail::unsaid : EIO));
  return status != 0 ? status : 1;
}

}  // namespace rubato::examples

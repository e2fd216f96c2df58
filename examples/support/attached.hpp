// SPDX-License-Identifier: MIT
// A process that ends with its standard input: whoever started it, here or through ssh, holds the other end.
#pragma once

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include <rubato/core/errors.hpp>

#include "support/complain.hpp"

namespace rubato::examples {

/// While it lives: when standard input has ended, the process gets SIGTERM, and is ended if it is still there after ten
/// seconds. What can be read is thrown away.
class attached {
 public:
  attached() {
    if (pipe(ends_) != 0) throw run_error{"standard input cannot be watched: " + std::string{std::strerror(errno)}};
    watcher_ = std::thread{[this] { watch(); }};
  }
  attached(attached const&) = delete;
  auto operator=(attached const&) -> attached& = delete;
  ~attached() {
    close(ends_[1]);
    watcher_.join();
    close(ends_[0]);
  }

 private:
  void watch() const {
    char thrown_away[256];
    pollfd both[] = {{STDIN_FILENO, POLLIN, 0}, {ends_[0], POLLIN, 0}};
    while (true) {
      if (poll(both, 2, -1) < 0 && errno != EINTR) return;
      if (both[1].revents != 0) return;
      if (both[0].revents != 0 && read(STDIN_FILENO, thrown_away, sizeof thrown_away) <= 0 && errno != EINTR) break;
    }
    kill(getpid(), SIGTERM);
    constexpr auto grace = std::chrono::milliseconds{std::chrono::seconds{10}};
    if (poll(both + 1, 1, static_cast<int>(grace.count())) == 0) _exit(status::interrupted);
  }

  int ends_[2] = {-1, -1};
  std::thread watcher_;
};

}  // namespace rubato::examples

// SPDX-License-Identifier: MIT
// A process that ends with its standard input: whoever started it, here or through ssh, holds the other end.
#pragma once

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include <rubato/core/errors.hpp>

#include "complain.hpp"  // not "support/...", so that a test may include this

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
  /// Whether the input has ended, once that is so or this object ends.
  [[nodiscard]] auto input_has_ended() const -> bool {
    char thrown_away[256];
    pollfd both[] = {{STDIN_FILENO, POLLIN, 0}, {ends_[0], POLLIN, 0}};
    while (true) {
      if (poll(both, 2, -1) < 0) {
        if (errno == EINTR) continue;
        return false;
      }
      if (both[1].revents != 0) return false;
      if (both[0].revents == 0) continue;
      auto const n = read(STDIN_FILENO, thrown_away, sizeof thrown_away);
      if (n == 0 || (n < 0 && errno != EINTR)) return true;
    }
  }
  void watch() const {
    if (!input_has_ended()) return;
    kill(getpid(), SIGTERM);
    using std::chrono::milliseconds, std::chrono::steady_clock;
    auto const latest = steady_clock::now() + std::chrono::seconds{10};
    pollfd end{ends_[0], POLLIN, 0};
    auto ready = -1;
    while (ready < 0) {  // a signal may interrupt it
      auto const left = std::chrono::duration_cast<milliseconds>(latest - steady_clock::now()).count();
      ready = poll(&end, 1, static_cast<int>((std::max)(left, milliseconds::rep{0})));
      if (ready < 0 && errno != EINTR) return;
    }
    if (ready == 0) _exit(status::interrupted);
  }

  int ends_[2] = {-1, -1};
  std::thread watcher_;
};

}  // namespace rubato::examples

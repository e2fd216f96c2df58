// SPDX-License-Identifier: MIT
// A bridge from signals to a stop token: while it lives, the first SIGINT, SIGTERM or SIGHUP asks for a stop.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <system_error>
#include <thread>

#include <rubato/core/errors.hpp>
#include <rubato/run/stop_token.hpp>

namespace rubato {

namespace detail {

/// What a signal handler may use: when the first signal came (0: none has), and where to report it.
struct signal_bridge {
  static_assert(std::atomic<std::int64_t>::is_always_lock_free, "a signal handler may use nothing that locks");
  inline static std::atomic<std::int64_t> first_at_ns = 0;
  inline static std::atomic<int> write_end = -1;
  inline static std::atomic<int> owner = 0;  // the process; a forked child is not the owner
  inline static std::atomic<std::int64_t> once_ns = 500'000'000;  // within which signals are the same word

  /// A second signal ends the program as usual, unless it comes within half a second of the first: `timeout` and others
  /// send theirs to the process and to its group, and mean one.
  static void hear(int which) {
    auto const errno_before = errno;
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    auto const now = std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec + 1;
    auto first = std::int64_t{0};
    auto const is_child = owner != ::getpid();
    if (!is_child && first_at_ns.compare_exchange_strong(first, now)) {
      auto const word = 's';
      [[maybe_unused]] auto const n = ::write(write_end, &word, 1);
    } else if (is_child || now - first > once_ns) {
      ::signal(which, SIG_DFL);
      ::raise(which);  // once this handler has returned
    }
    errno = errno_before;
  }
};

}  // namespace detail

/// Handles SIGINT, SIGTERM and SIGHUP (the terminal is gone; not where that is ignored, as under nohup) until it is
/// destroyed. The first one requests a stop; another one, at least half a second later, ends the program as usual.
/// There can be one such object at a time.
class stop_on_signals {
 public:
  /// Throws run_error if there is one already, or if the system refuses.
  stop_on_signals() {
    // For the life of the process, since a handler may still run on another thread; a forked child has its own.
    static auto ends = opened_pipe();
    static auto process = ::getpid();
    if (process != ::getpid()) ends = opened_pipe(), process = ::getpid();
    auto none = -1;
    if (!detail::signal_bridge::write_end.compare_exchange_strong(none, ends[1]))
      refuse("another stop_on_signals does");
    read_end_ = ends[0];
    detail::signal_bridge::first_at_ns = 0;
    detail::signal_bridge::owner = ::getpid();
    try {
      listener_ = std::thread{[this] { listen(); }};
    } catch (std::system_error const& e) {
      detail::signal_bridge::write_end = -1;
      refuse(e.what());
    }
    struct sigaction action{};
    action.sa_handler = &detail::signal_bridge::hear;
    for (std::size_t k = 0; k < handled.size(); ++k) {
      ::sigaction(handled[k], nullptr, &former_[k]);
      if (handled[k] != SIGHUP || former_[k].sa_handler != SIG_IGN) ::sigaction(handled[k], &action, nullptr);
    }
  }
  stop_on_signals(stop_on_signals const&) = delete;
  auto operator=(stop_on_signals const&) -> stop_on_signals& = delete;
  ~stop_on_signals() {
    for (std::size_t k = 0; k < handled.size(); ++k) ::sigaction(handled[k], &former_[k], nullptr);
    auto const word = 'e';
    [[maybe_unused]] auto const n = ::write(detail::signal_bridge::write_end, &word, 1);
    listener_.join();
    detail::signal_bridge::write_end = -1;
  }

  [[nodiscard]] auto token() const -> stop_token { return source_.get_token(); }
  /// Whether a signal has come.
  [[nodiscard]] auto heard() const -> bool { return detail::signal_bridge::first_at_ns != 0; }

 private:
  static constexpr std::array<int, 3> handled{SIGINT, SIGTERM, SIGHUP};

  [[noreturn]] static void refuse(char const* why) {
    throw run_error{"signals cannot be listened to: " + std::string{why}};
  }
  static auto opened_pipe() -> std::array<int, 2> {
    auto ends = std::array{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) refuse(std::strerror(errno));
    return ends;
  }
  /// A signal handler may not request a stop itself, since that may run callbacks. So it writes a byte, and this thread
  /// requests it.
  void listen() {
    auto word = char{};
    while (true) {
      auto const n = ::read(read_end_, &word, 1);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0 || word == 'e') return;
      source_.request_stop();
    }
  }

  int read_end_ = -1;
  std::array<struct sigaction, 3> former_{};
  stop_source source_;
  std::thread listener_;
};

}  // namespace rubato

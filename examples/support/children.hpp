// SPDX-License-Identifier: MIT
// Child processes that never outlive their parent, however it ends. Each has a process group of its own, which ends
// with it. A child that starts processes in other groups gets time to end them.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>

namespace rubato::examples {

/// How a child is started.
struct child_start {
  std::vector<std::string> command;  ///< the program's path and its arguments
  std::vector<int> keep{};           ///< descriptors from `close` that it inherits
  std::vector<int> close{};          ///< descriptors that no other child may keep open
  std::string output{};              ///< a new file for what it prints, on both streams
  std::chrono::milliseconds grace{};  ///< time between SIGTERM and SIGKILL, to end what it started; 0: SIGKILL at once
  std::string results{};  ///< if not empty: a new file for standard output alone
  /// If given, the child reads this text, and then the end of its input when its owner ends it or is no more.
  std::optional<std::string> input{};
};

struct child_ending {
  std::size_t which = 0;
  int status = 0;  ///< if no signal ended it
  int signal = 0;  ///< the signal that ended it; 0: none
};

/// How the process ended, in words that follow "the process".
[[nodiscard]] inline auto words_of(child_ending const& end) -> std::string {
  if (end.signal == 0) return "ended with status " + std::to_string(end.status);
  return "was ended by signal " + std::to_string(end.signal) + " (" + strsignal(end.signal) + ")";
}

/// Whether it was ended by a fault of its own. Other signals come from outside.
[[nodiscard]] inline auto has_crashed(child_ending const& end) -> bool {
  constexpr int faults[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
  return std::find(std::begin(faults), std::end(faults), end.signal) != std::end(faults);
}

/// On destruction ends and reaps those that are left.
class children {
 public:
  children() = default;
  children(children const&) = delete;
  auto operator=(children const&) -> children& = delete;
  ~children() { end_all(); }

  /// Throws run_error if no process can be made.
  void start(child_start const& s) {
    std::vector<char*> arguments;
    for (auto const& text : s.command) arguments.push_back(const_cast<char*>(text.c_str()));  // execv's signature
    arguments.push_back(nullptr);
    auto const parent = getpid();
    int ends[2] = {-1, -1};
    if (s.input && pipe2(ends, O_CLOEXEC) != 0) refuse_start();
    if (s.input && write(ends[1], s.input->data(), s.input->size()) != static_cast<ssize_t>(s.input->size()))
      refuse_start();
    auto const id = fork();
    if (id < 0) refuse_start();
    if (id == 0) become(s, arguments, parent, ends[0]);
    if (s.input) close(ends[0]);
    setpgid(id, id);  // here too: it may be killed before it has called this itself
    running_.push_back({id, s.grace, ends[1]});
  }

  /// The next child that ends before `until`, if any.
  [[nodiscard]] auto next_end(std::chrono::steady_clock::time_point until) -> std::optional<child_ending> {
    do {
      for (std::size_t i = 0; i < running_.size(); ++i) {
        if (auto const status = reap(running_[i], WNOHANG)) {
          if (WIFSIGNALED(*status)) return child_ending{i, 0, WTERMSIG(*status)};
          return child_ending{i, WEXITSTATUS(*status)};
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    } while (std::chrono::steady_clock::now() < until);
    return std::nullopt;
  }

  /// Asks all that are left to end, or ends them where they have no grace. next_end() tells of each.
  auto end_rest() -> std::vector<std::size_t> {
    std::vector<std::size_t> those;
    for (std::size_t i = 0; i < running_.size(); ++i) {
      if (running_[i].id <= 0) continue;
      kill(-running_[i].id, running_[i].grace.count() > 0 ? SIGTERM : SIGKILL);
      those.push_back(i);
    }
    return those;
  }

  void end_all() {
    auto const now = std::chrono::steady_clock::now();
    for (auto& c : running_) {
      if (c.input >= 0) close(std::exchange(c.input, -1));
      if (c.id > 0) kill(-c.id, c.grace.count() > 0 ? SIGTERM : SIGKILL);
    }
    for (auto& c : running_) {
      while (c.id > 0 && std::chrono::steady_clock::now() < now + c.grace && !reap(c, WNOHANG)) {
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
      }
      if (c.id > 0) kill(-c.id, SIGKILL);
      reap(c, 0);
    }
  }

 private:
  struct child {
    pid_t id = 0;  // also the id of its group; 0: has ended
    std::chrono::milliseconds grace{};
    int input = -1;  // what it reads is written here; never more than a pipe holds
  };

  [[noreturn]] static void refuse_start() {
    throw run_error{"no process can be started: " + std::string{std::strerror(errno)}};
  }

  /// The status of a child that has ended. The rest of its group is ended at once,
  /// while no other process can have its id.
  static auto reap(child& c, int how) -> std::optional<int> {
    siginfo_t ended{};
    if (c.id <= 0 || waitid(P_PID, static_cast<id_t>(c.id), &ended, WEXITED | WNOWAIT | how) != 0 ||
        ended.si_pid == 0) {
      return std::nullopt;
    }
    auto status = 0;
    kill(-c.id, SIGKILL);
    if (c.input >= 0) close(std::exchange(c.input, -1));
    waitpid(std::exchange(c.id, 0), &status, 0);
    return status;
  }

  /// In the child, between fork and exec: nothing that allocates or locks.
  [[noreturn]] static void become(child_start const& s, std::vector<char*> const& arguments, pid_t parent, int input) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, s.grace.count() > 0 ? SIGTERM : SIGKILL);
    if (getppid() != parent) _exit(127);  // the parent has ended already
    for (auto const d : s.close) {
      if (std::find(s.keep.begin(), s.keep.end(), d) == s.keep.end()) close(d);
    }
    signal(SIGPIPE, SIG_DFL);  // whatever the parent has set
    auto const out = open(s.output.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out >= 0) {
      dup2(out, STDOUT_FILENO);
      dup2(out, STDERR_FILENO);
    }
    if (input >= 0) dup2(input, STDIN_FILENO);
    if (!s.results.empty()) {
      auto const alone = open(s.results.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
      if (alone >= 0) dup2(alone, STDOUT_FILENO);
    }
    execv(arguments[0], arguments.data());
    constexpr char words[] = "this program cannot be started\n";
    static_cast<void>(!write(STDERR_FILENO, words, sizeof words - 1));
    _exit(127);
  }

  std::vector<child> running_;
};

}  // namespace rubato::examples

// SPDX-License-Identifier: MIT
#include "../../../examples/support/attached.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/catch.hpp"

namespace rubato::test {
namespace {

int heard_at = -1;

/// As an interrupted call leaves errno.
void hear(int) {
  char const word = 's';
  [[maybe_unused]] auto const n = write(heard_at, &word, 1);
  errno = EINTR;
}

/// Ends by SIGTERM once its input has ended, and by SIGALRM if it never sees that.
[[noreturn]] void be_attached() {
  int input[2], heard[2];
  if (pipe(input) != 0 || pipe(heard) != 0 || dup2(input[0], STDIN_FILENO) < 0) _exit(1);
  heard_at = heard[1];
  struct sigaction action{};
  action.sa_handler = &hear;
  sigaction(SIGUSR1, &action, nullptr);
  signal(SIGTERM, SIG_DFL), signal(SIGALRM, SIG_DFL);
  alarm(30);
  examples::attached const its_watcher;
  sigset_t one;
  sigemptyset(&one), sigaddset(&one, SIGUSR1);
  sigprocmask(SIG_BLOCK, &one, nullptr);  // the watcher hears it
  kill(getpid(), SIGUSR1);
  char word = 0;
  if (read(heard[0], &word, 1) != 1) _exit(1);
  close(input[1]);
  while (true) pause();
}

TEST_CASE("an attached process sees the end of its input, also after a signal has interrupted what waits for it") {
  auto const child = fork();
  if (child == 0) be_attached();
  auto status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGTERM);
}

}  // namespace
}  // namespace rubato::test

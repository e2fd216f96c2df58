// SPDX-License-Identifier: MIT
// A disk that takes no more, for the files of this process.
#pragma once

#include <sys/resource.h>

#include <csignal>

namespace rubato::test {

/// While it lives no file of this process may grow beyond so many bytes: a full disk.
class full_disk {
 public:
  explicit full_disk(rlim_t most) : former_handler_{std::signal(SIGXFSZ, SIG_IGN)} {
    ::getrlimit(RLIMIT_FSIZE, &former_);
    auto limit = former_;
    limit.rlim_cur = most;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  full_disk(full_disk const&) = delete;
  auto operator=(full_disk const&) -> full_disk& = delete;
  ~full_disk() {
    ::setrlimit(RLIMIT_FSIZE, &former_);
    std::signal(SIGXFSZ, former_handler_);
  }

 private:
  void (*former_handler_)(int);
  rlimit former_{};
};

}  // namespace rubato::test
